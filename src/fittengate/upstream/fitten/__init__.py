"""The Fitten Code service."""

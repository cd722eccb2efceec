"""fittengate serves a Fitten Code account as OpenAI- and Anthropic-compatible APIs. Importing it does nothing."""

__version__ = "0.1.0"

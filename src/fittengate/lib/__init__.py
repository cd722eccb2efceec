"""Floor 0: small parts with no word of our domain. May import the standard library and msgspec only."""

"""Floor 3a: client wire formats, each in a file of its own that knows no other."""

"""Floor 1: the room between the two walls. Pure values; no I/O, no time, no logging, no vendor's words."""

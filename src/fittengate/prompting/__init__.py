"""Floor 2: making a text-in, text-out service talk like a chat model. Pure."""

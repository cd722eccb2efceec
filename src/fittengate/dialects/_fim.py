"""What the formats of code completion share: the model's name, and how many stop sequences there may be."""

COMPLETION = "fitten-completion"
"""The model that stands for code completion; a request that names it wants that, with or without a suffix."""

MAX_FILL_STOPS = 32
"""Most stop sequences of a code completion: editors send every marker of their model, more than OpenAI allows."""

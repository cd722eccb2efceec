"""Floor 3a: client wire formats, each in a file of its own that knows no other."""

from fittengate.dialects.base import Dialect
from fittengate.dialects.openai_chat import OpenAIChat

DIALECTS: tuple[Dialect, ...] = (OpenAIChat(),)
"""Every dialect that is served. The first one speaks where a path belongs to none."""

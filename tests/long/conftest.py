"""What takes minutes: left out unless ``make chaos`` asks for it."""

import os

collect_ignore_glob = [] if "CHAOS_ROUNDS" in os.environ else ["*"]

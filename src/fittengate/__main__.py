"""``python -m fittengate``: the same as the command ``fittengate``."""

from fittengate.cli import main

if __name__ == "__main__":
    main()

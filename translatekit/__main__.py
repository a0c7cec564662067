"""``python -m translatekit``."""

from translatekit.cli import main

main()

"""`python -m yoloprune` is the `yoloprune` command."""

from yoloprune.cli.main import main

main()

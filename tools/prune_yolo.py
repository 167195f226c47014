"""`yoloprune prune` as a script: same arguments, same results."""

import sys

from yoloprune.cli.main import app

if __name__ == "__main__":
    app(["prune", *sys.argv[1:]])

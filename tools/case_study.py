"""`yoloprune case-study` as a script: same arguments, same results."""

import sys

from yoloprune.cli.main import main

if __name__ == "__main__":
    sys.argv[:1] = ["yoloprune", "case-study"]
    main()

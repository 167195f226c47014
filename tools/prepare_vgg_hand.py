"""`yoloprune data vgg-hand` as a script: same arguments, same results."""

import sys

from yoloprune.cli.main import main

if __name__ == "__main__":
    sys.argv[:1] = ["yoloprune", "data", "vgg-hand"]
    main()

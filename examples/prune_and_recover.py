"""Prune a Darknet detector to a fraction of its MACs, and recover it on images without labels."""

import argparse

import yoloprune


def main() -> None:
    """Read the arguments and write a folder as `yoloprune prune` does."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cfg", help="the .cfg of a network, with its .weights beside it")
    parser.add_argument("images", help="folder of images of the kind that the network is for")
    parser.add_argument("--keep-macs", type=float, default=0.6, help="fraction of the MACs to keep")
    parser.add_argument("--out", default="slim", help="folder to write")
    options = parser.parse_args()

    dense = yoloprune.load(options.cfg)
    print(dense)
    cut = yoloprune.prune(dense, {"macs": options.keep_macs}, images=options.images)
    print(cut)
    print("written:", *cut.save(options.out))


if __name__ == "__main__":
    main()

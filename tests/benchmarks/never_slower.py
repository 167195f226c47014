"""What `prune` leaves of the time by default, in each engine that is installed.

Run as `python -m tests.benchmarks.never_slower NETWORK ... [--threads 1]`, each a .cfg with its
.weights beside it, or an .onnx. It prints a Markdown table: dense's time, and the share of it that
slim takes at 0.9, 0.7 and 0.5 of the MACs, medians of alternating runs; and fails where one is
slower than dense.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from yoloprune.engines.side_by_side import SideBySide, side_by_side
from yoloprune.engines.table import ENGINES
from yoloprune.errors import YoloPruneError
from yoloprune.graph.model import Model
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune

SHARES = (0.9, 0.7, 0.5)
SLOWER = 1.02
"""The share from which on a slim network is slower: less is what timing is off by."""


def measured(network: Model, threads: int) -> Iterator[tuple[str, list[SideBySide | None]]]:
    """By engine, slim beside dense at each share, None where it cannot be reached."""
    slim: list[Model | None] = []
    for share in SHARES:
        try:
            slim.append(prune(network, {"macs": share}).slim)
        except YoloPruneError as error:
            print(f"{network.document.title} at {share}: {error}", file=sys.stderr)
            slim.append(None)
    for name, engine in ENGINES.items():
        if engine.missing or name == "zero-skipping":
            continue
        try:
            yield (
                engine.title,
                [s and side_by_side(network, s, name, threads) for s in slim],
            )
        except YoloPruneError as error:
            print(f"{network.document.title}: {error}", file=sys.stderr)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    print("| Network | Engine | Dense, ms | 0.9 | 0.7 | 0.5 |\n|---|---|---:|---:|---:|---:|")
    slower = 0
    for path in arguments.networks:
        for title, found in measured(load(path), arguments.threads):
            dense = next(each.dense_ms for each in found if each)
            cells = ["-" if each is None else f"{each.share:.2f}" for each in found]
            slower += sum(each is not None and each.share > SLOWER for each in found)
            print(f"| {path.stem} | {title} | {dense:.1f} | {' | '.join(cells)} |", flush=True)
    print(f"{slower} slower than dense")
    return int(slower > 0)


if __name__ == "__main__":
    sys.exit(main())

"""How near a budget in time lands, and how well the time was predicted.

Run as `python -m tests.benchmarks.keep_ms NETWORK ... [--keep 0.5] [--engines onnxruntime ...]
[--threads 1]`, each a .cfg with its .weights beside it, or an .onnx. It prints a Markdown table:
the share of dense's time that was predicted, and the one that is measured afterwards, slim and
dense run in turn; and fails where that is more than 0.05 from what was asked for, or a tenth from
what was predicted, or where the budget cannot be met.
"""

import argparse
import sys
import time
from pathlib import Path

from yoloprune.engines.side_by_side import side_by_side
from yoloprune.errors import PlanError
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.timing import cpu_threads

NEAR, OFF = 0.05, 0.1
"""What may lie between the share asked for and the measured one, and by how much of it the
prediction may be off."""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="+", type=Path)
    parser.add_argument("--keep", type=float, default=0.5)
    parser.add_argument("--engines", nargs="+", default=["onnxruntime"])
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    threads = arguments.threads
    print(
        "| Network | Engine | Threads | Dense, ms | Predicted | Measured | MACs kept "
        "| Multiples of | Search, s |\n|---|---|---:|---:|---:|---:|---:|---:|---:|"
    )
    missed = 0
    for path in arguments.networks:
        network = load(path)
        for engine in arguments.engines:
            start = time.monotonic()
            try:
                cut = prune(network, {"ms": arguments.keep}, engine=engine, threads=threads)
            except PlanError as error:
                missed += 1
                print(f"{path.stem} in {engine}: {error}", file=sys.stderr, flush=True)
                continue
            took = time.monotonic() - start
            with cpu_threads(threads):
                found = side_by_side(network, cut.slim, engine, threads)
            predicted = cut.settings["predicted_share"]
            missed += abs(found.share - arguments.keep) > NEAR
            missed += abs(predicted / found.share - 1) > OFF
            print(
                f"| {path.stem} | {found.engine} | {threads} | {found.dense_ms:.2f} "
                f"| {predicted:.3f} | {found.share:.3f} "
                f"| {cut.slim.cost.macs / network.cost.macs:.2f} "
                f"| {cut.plan.budget.multiple_of} | {took:.0f} |",
                flush=True,
            )
    print(f"{missed} missed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""Each lever alone beside what a sweep recommends, at equal shares of the dense network's time.

Run as `python -m tests.benchmarks.levers NETWORK OUT --learn DIR --choose DATA --judge DATA`, with
`--levers width,input,int8`, `--share 0.8 ...` of the MACs and `--keep-ms 0.7 ...` of the time
perhaps: the network is swept into OUT, learning from the images of `--learn`. Of the points that
are as fast, each kind's best on `--choose` is evaluated on `--judge`. It prints a Markdown table of
mAP@0.5 (coco).
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from yoloprune.workflows.evaluate import evaluate
from yoloprune.workflows.lever_points import Point, Setting
from yoloprune.workflows.levers import BEST_AT, SHARES, pull_levers

Kind = Callable[[Setting, Setting], bool]
"""Whether a point is of this kind, given where the dense network's levers stand."""


def _alone(**pulled: object) -> Kind:
    """No lever is pulled but these, however far."""
    return lambda own, dense: own == replace(dense, **{name: getattr(own, name) for name in pulled})


KINDS: Mapping[str, Kind] = {
    "smaller input": _alone(height=0, width=0),
    "pruning": _alone(keep_macs=0, keep_ms=0, blocks=0),
    "int8": _alone(int8=True),
    "pruning in int8": _alone(keep_macs=0, keep_ms=0, blocks=0, int8=True),
    "recommended": lambda own, dense: True,
}


def main() -> None:
    """Sweep, evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path)
    parser.add_argument("out", type=Path)
    for name in ("--learn", "--choose", "--judge"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--levers", default="width,input,int8")
    parser.add_argument("--share", type=float, nargs="*", default=SHARES)
    parser.add_argument("--keep-ms", type=float, nargs="+", default=())
    given = parser.parse_args()
    found = pull_levers(
        given.network,
        given.choose,
        given.learn,
        given.out,
        levers=given.levers.split(","),
        shares=given.share,
        ms_shares=given.keep_ms,
    )
    dense, *_ = found.points

    def judged(point: Point) -> float:
        return evaluate(given.out / point.file, given.judge, engine="onnxruntime").map50

    print(f"dense: {judged(dense):.3f} in {dense.time.slim_ms:.1f} ms\n")
    print(f"| Time kept | {' | '.join(KINDS)} |\n|---|{'---|' * len(KINDS)}")
    for share in BEST_AT:
        cells = []
        for kind in KINDS.values():
            own = [point for point in found.points if kind(point.setting, dense.setting)]
            fast = [point for point in own if point.share <= share]
            best = max(fast, key=lambda point: point.map50, default=None)
            cells.append(
                "-"
                if best is None
                else f"{judged(best):.3f} ({best.setting.name}; {best.share:.2f} of the time)"
            )
        print(f"| {share:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()

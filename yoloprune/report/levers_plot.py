"""A picture of mAP against milliseconds, a dot a network, and the line of those that none beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoloprune.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A network in the picture."""

    ms: float
    map50: float
    name: str
    int8: bool


def write_levers_picture(path: Path, spots: Sequence[Spot], front: Sequence[int]) -> None:
    """Write a PNG; `front` are numbers of the spots that none beats, the slowest first."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    best = [spots[number] for number in front]
    line = [s.ms for s in best], [s.map50 for s in best]
    axes.plot(*line, color="0.7", zorder=1, label="none is faster and better")
    for label, int8, marker in (("float", False, "o"), ("int8", True, "s")):
        own = [spot for spot in spots if spot.int8 is int8]
        if own:
            axes.scatter([s.ms for s in own], [s.map50 for s in own], marker=marker, label=label)
    for number, spot in enumerate(spots):
        told = f"#{number} {spot.name}" if number in front else f"#{number}"
        axes.annotate(
            told, (spot.ms, spot.map50), xytext=(4, -9), textcoords="offset points", fontsize=7
        )
    axes.set(xlabel="ms, ONNX Runtime", ylabel="mAP@0.5 (coco)")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")

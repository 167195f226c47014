"""A picture of mAP or of errors against MACs, a line a criterion."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from yoloprune.files import write_atomically

_MARKERS = "os^Dv*"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """A slim network: its share of the dense network's MACs, and what it is judged by.

    `predicted` is what was foretold of that figure without labels.
    """

    criterion: str
    keep_macs: float
    figure: float
    predicted: float | None = None


def write_sweep_picture(
    path: Path, points: Sequence[SweepPoint], dense: float, measure: str
) -> None:
    """Write a PNG; `dense` is the figure with all MACs, from which every line starts."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, criterion in enumerate(dict.fromkeys(point.criterion for point in points)):
        own = [point for point in points if point.criterion == criterion]
        shares = [1.0, *(point.keep_macs for point in own)]
        figures = [dense, *(point.figure for point in own)]
        marker = _MARKERS[number % len(_MARKERS)]
        (line,) = axes.plot(shares, figures, marker=marker, label=criterion)
        told = [point.predicted for point in own if point.predicted is not None]
        if told:
            axes.plot(
                shares,
                [dense, *told],
                "--",
                color=line.get_color(),
                label=f"{criterion}, predicted",
            )
    axes.invert_xaxis()
    axes.set(xlabel="share of MACs kept", ylabel=measure, ylim=(0, None))
    axes.set_title("Without training", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120)

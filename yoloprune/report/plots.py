"""The report's plots, each a function from data to an `<svg>` element.

Two widths: plots of one curve fit a phone; plots with something for each layer grow with the
network, and the page lets them scroll. No plot tells things apart by color alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.model import LayerRow, Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import PruningPlan
from yoloprune.report.pruning import channels_by_layer
from yoloprune.report.study import (
    FINE_TUNED,
    ORIGINAL,
    PRUNED,
    Measurement,
    Selection,
    Study,
    TrainingLog,
)
from yoloprune.report.svg import COLORS, NARROW, render
from yoloprune.report.wording import average

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p", "h")
"""As many as a study has rows: there are fewer colors and lines."""


def layer_chart_width(layers: int) -> float:
    """Width in CSS pixels at which so many layers stay apart."""
    return max(NARROW[0], 64 + 9.6 * layers)


def channel_chart(dense: Model, slim: Model) -> str:
    """Output channels of each layer with a kernel, before and after."""
    channels = channels_by_layer(dense, slim)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        before, after = ([row[kind] for row in channels.values()] for kind in ("dense", "slim"))
        _before_after(axes, list(channels), before, after)
        axes.set(ylabel="output channels", xlabel=_layers_of(channels))
        _legend_above(axes)

    description = "Bar chart: output channels of each convolution, original and pruned"
    return render("channels", description, (layer_chart_width(len(channels)), 240), draw)


def cost_chart(dense: Model, slim: Model) -> str:
    """MACs and parameters of each layer with a kernel, before and after."""
    names = list(channels_by_layer(dense, slim))

    def draw(figure: "Figure") -> None:
        costs = [_rows(network) for network in (dense, slim)]
        upper, lower = figure.subplots(2, 1, sharex=True)
        for axes, what, label in ((upper, "macs", "MACs"), (lower, "params", "parameters")):
            values = [[getattr(rows[name], what) / 1e6 for name in names] for rows in costs]
            _before_after(axes, names, *values)
            axes.set(ylabel=f"{label} (millions)")
        lower.set(xlabel=_layers_of(names))
        figure.align_ylabels()
        _legend_above(upper)

    description = "Bar charts: MACs and parameters of each convolution, original and pruned"
    return render("cost", description, (layer_chart_width(len(names)), 380), draw)


def score_histogram(selection: Selection) -> str:
    """How many channels have which score, and which of them were removed."""
    kept, removed = selection.split()

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        # Outliers would squeeze everybody else into a few bars: they share the outer ones.
        low, high = np.quantile(np.concatenate((kept, removed)), (0.002, 0.998))
        edges = np.linspace(low, max(high, low + 1e-9), 41)
        axes.hist(
            [np.clip(scores, edges[0], edges[-1]) for scores in (removed, kept)],
            bins=edges.tolist(),
            stacked=True,
            color=[COLORS["removed"], COLORS["after"]],
            label=[f"{len(removed):,} removed", f"{len(kept):,} kept"],
        )
        # matplotlib takes a hatch for each of the stacked series from 3.10 on only.
        for bar in axes.containers[0]:
            bar.set_hatch("//////")
        if len(removed):
            cut = float(removed.max())
            axes.axvline(cut, color=COLORS["ink"], linewidth=1, linestyle="--")
            axes.annotate(
                f"cut {cut:.2g}",
                (cut, 1),
                xytext=(4 if cut < edges.mean() else -4, 0),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="left" if cut < edges.mean() else "right",
                va="top",
            )
        axes.margins(y=0.14)
        axes.set(xlabel=f"score ({selection.plan.criterion})", ylabel="channels")
        _legend_above(axes)

    return render("scores", "Histogram of channel scores with the cut", NARROW, draw)


def keep_chart(dense: Model, plan: PruningPlan) -> str:
    """The share of its channels that each prunable group keeps, in the order of the network."""
    groups = analyze(dense.graph).prunable

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        kinds = (("coupled group", True, "after", "////"), ("one producer", False, "series-3", ""))
        for label, coupled, color, hatch in kinds:
            shares = {
                place: len(plan.keep.get(group.id, group.channels)) / group.size
                for place, group in enumerate(groups)
                if group.coupled is coupled
            }
            if shares:
                places, heights = list(shares), list(shares.values())
                axes.bar(places, heights, color=COLORS[color], hatch=hatch, label=label)
        axes.set(ylim=(0, 1), xlabel="prunable groups, first to last", ylabel="share kept")
        axes.set_xticks([])
        axes.margins(x=0.01)
        _legend_above(axes)

    return render("kept", "Bar chart: share of its channels that each group keeps", NARROW, draw)


def training_chart(training: Mapping[str, TrainingLog]) -> str | None:
    """mAP on the validation images over the epochs of all trainings; None if none was evaluated.

    A training begins where the one that it follows has ended.
    """
    starts: dict[str, int] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    for name, log in training.items():
        before = None if log.follows is None else training.get(log.follows)
        starts[name] = 0 if before is None else starts[str(log.follows)] + before.epochs
        points = [(starts[name] + line["epoch"], line.get("map50")) for line in log.lines]
        curves[name] = [(epoch, value) for epoch, value in points if value is not None]
    if not any(curves.values()):
        return None
    drawn_as = styles(curves)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for name, points in curves.items():
            if points:
                epochs, values = zip(*points, strict=True)
                markevery = max(1, len(points) // 12)
                axes.plot(epochs, values, label=name, **drawn_as[name], markevery=markevery)
        for start in sorted(set(starts.values()) - {0}):
            axes.axvline(start + 0.5, color=COLORS["line"], linewidth=0.8)
        axes.set(xlabel="epochs", ylabel="mAP@0.5 (case-study), validation")
        axes.locator_params(axis="x", integer=True)
        axes.set_ylim(bottom=0)
        _legend_above(axes)

    return render("training", "mAP over the epochs of each training", NARROW, draw)


def distillation_chart(curve: Sequence[tuple[int, float]]) -> str | None:
    """What is left of the distance to the dense network, by step; None for less than a line."""
    if len(curve) < 2:
        return None
    steps, left = zip(*curve, strict=True)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        axes.plot(steps, left, **_series(2), markevery=max(1, len(curve) // 12))
        axes.set(xlabel="steps", ylabel="distance left")
        axes.locator_params(axis="x", integer=True)
        axes.set_ylim(bottom=0)

    return render("distillation", "Distance left over the steps of distillation", NARROW, draw)


def precision_recall_chart(measurements: Sequence[Measurement]) -> str | None:
    """Precision over recall of every network by `case-study`; None if no curve is known."""
    curves = {
        row.name: (row.accuracy["case-study"].curve, row.accuracy["case-study"].map50)
        for row in measurements
        if "case-study" in row.accuracy
    }
    drawn = {name: (curve, area) for name, (curve, area) in curves.items() if curve is not None}
    if not drawn:
        return None
    drawn_as = styles(drawn)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for name, (curve, area) in drawn.items():
            recall, precision = envelope(curve.recall, curve.precision)
            line = drawn_as[name] | {"marker": "none"}
            axes.plot(recall, precision, label=f"{name} {average(area)}", **line)
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="recall", ylabel="precision")
        _legend_above(axes)

    return render("precision-recall", "Precision-recall curves of every network", NARROW, draw)


def trade_chart(study: Study, name: str) -> str | None:
    """mAP@0.5 of every network, with its interval, over its "macs" or "ms"; None without both."""
    points = []
    for row in study.measurements:
        cost = row.macs if name == "macs" else row.median_ms(study.engine)
        found = row.accuracy.get(study.protocol)
        if cost is not None and found is not None and np.isfinite(found.map50):
            points.append((row.name, cost / 1e6 if name == "macs" else cost, found))
    if len(points) < 2:
        return None
    drawn_as = styles(name for name, _, _ in points)

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for label, cost, found in points:
            low, high = found.interval or (found.map50, found.map50)
            reach = [[max(0.0, found.map50 - low)], [max(0.0, high - found.map50)]]
            # Hollow: rows of one network at one cost lie over each other.
            style = drawn_as[label] | {"linestyle": "none", "markerfacecolor": "none"}
            axes.errorbar([cost], [found.map50], yerr=reach, label=label, capsize=3, **style)
        axes.set(ylabel=f"mAP@0.5 ({study.protocol})", ylim=(0, None), xlim=(0, None))
        axes.set(xlabel="MACs (millions)" if name == "macs" else f"ms in {study.engine}")
        axes.margins(0.08)
        _legend_above(axes)

    what = "MACs" if name == "macs" else "milliseconds"
    return render(f"trade-{name}", f"mAP of every network over its {what}", NARROW, draw)


def envelope(
    recall: NDArray[np.float64], precision: NDArray[np.float64], points: int = 200
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # (T,), (T,) -> (P,), (P,)
    """The best precision at each recall or above, which is what AP is the area under."""
    best = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.linspace(0, recall[-1] if len(recall) else 0, points)
    heights = best[np.searchsorted(recall, at)] if len(recall) else np.zeros(points)
    # No detection goes further: the curve falls to the axis.
    return np.append(at, at[-1]), np.append(heights, 0.0)


def _rows(network: Model) -> dict[str, LayerRow]:
    return {str(row.name): row for row in network.document.layers(network.graph)}


def _are_numbers(names: Iterable[str]) -> bool:
    """Whether layers are called by their numbers, which are short enough to stand below bars."""
    return all(name.isdecimal() for name in names)


def _layers_of(names: Iterable[str]) -> str:
    return "layer of the cfg" if _are_numbers(names) else "layers with kernels, in order"


def _before_after(
    axes: "Axes", names: Sequence[str], before: Sequence[float], after: Sequence[float]
) -> None:
    """A hollow bar for what was, a filled one inside it for what is."""
    places = np.arange(len(names))
    texts = names if _are_numbers(names) else [str(place + 1) for place in places]
    axes.bar(places, before, width=0.8, color="none", edgecolor=COLORS["before"], label="original")
    axes.bar(places, after, width=0.8, color=COLORS["after"], label="pruned")
    shown = places[:: 1 if len(places) <= 20 else 5]
    axes.set_xticks(shown, [texts[i] for i in shown])
    axes.margins(x=8 / layer_chart_width(len(names)))


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """How each series is drawn: the study's own rows alike in every plot, others after them."""
    rows = (ORIGINAL, PRUNED, FINE_TUNED)
    others = [name for name in names if name not in rows]
    return {name: _series(number) for number, name in enumerate((*rows, *others))}


def _series(number: int) -> dict[str, Any]:
    """No two of the first 36 have both the color and the line, of the first 12 the marker."""
    return {
        "color": COLORS[f"series-{number % 6}"],
        "linestyle": _LINES[(number + number // 6) % 6],
        "marker": _MARKERS[number % 12],
    }


def _legend_above(axes: "Axes") -> None:
    """A legend over the plot, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    columns = 2 if max(map(len, labels)) > 12 else 3
    axes.figure.legend(handles, labels, loc="outside upper left", ncols=min(columns, len(labels)))

"""A picture of the dependency groups over the network.

Above: the layers in order, with arcs where one reads another than its predecessor. Below, in lanes:
each group from the convolutions that produce its channels to those that consume them.
"""

from typing import TYPE_CHECKING

from yoloprune.counting import counted
from yoloprune.frontends.darknet.document import layer_of
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.spec import (
    Conv,
    Head,
    Layer,
    MaxPool,
    NetworkSpec,
    Route,
    Shortcut,
    Upsample,
)
from yoloprune.pruning.groups import ChannelGroup, analyze
from yoloprune.pruning.plan import PruningPlan
from yoloprune.report.svg import COLORS, NARROW, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LANE = 15.0
"""Height of a lane in CSS pixels."""

_KINDS: tuple[tuple[str, tuple[type[Layer], ...], str], ...] = (
    ("convolution", (Conv,), "s"),
    ("shortcut", (Shortcut,), "P"),
    ("route", (Route,), ">"),
    ("max pool", (MaxPool,), "v"),
    ("upsample", (Upsample,), "^"),
    ("head", (Head,), "*"),
    ("other", (Layer,), "."),
)


def group_chart(dense: NetworkSpec, plan: PruningPlan | None = None) -> str:
    """The groups of the original network; with a plan, how much of each coupled one stays."""
    groups = analyze(lower(dense)).groups
    coupled = [group for group in groups if group.coupled and group.frozen_because is None]
    single = [group for group in groups if not group.coupled and group.frozen_because is None]
    frozen = [group for group in groups if group.frozen_because is not None]
    lanes = [[group] for group in coupled] + packed(single) + packed(frozen)

    width = max(NARROW[0], 24 + 8.6 * len(dense.layers))

    def draw(figure: "Figure") -> None:
        above, below = figure.subplots(
            2, 1, sharex=True, height_ratios=(110, _LANE * (len(lanes) + 2))
        )
        _draw_layers(above, dense, kinds_in_a_row=6 if width > 480 else 3)
        for lane, members in enumerate(lanes):
            for group in members:
                _draw_group(below, group, lane)
        for lane, group in enumerate(coupled):
            _write_kept(below, group, lane, plan, len(dense.layers))
        _draw_key(below, {"coupled": coupled, "single": single, "frozen": frozen})
        for axes in (above, below):
            axes.grid(False)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        below.set(ylim=(len(lanes) + 0.2, -0.8), xlabel="layer of the cfg")
        below.margins(x=0.01)

    description = (
        f"The network's {len(dense.layers)} layers and its {len(groups)} channel groups: "
        f"{len(coupled)} coupled, {len(single)} of one convolution, {len(frozen)} frozen"
    )
    return render("groups", description, (width, 190 + _LANE * (len(lanes) + 2)), draw)


def packed(groups: list[ChannelGroup]) -> list[list[ChannelGroup]]:
    """As few lanes as hold the groups, in order, without two of them touching."""
    lanes: list[list[ChannelGroup]] = []
    for group in sorted(groups, key=lambda group: _span(group)[0]):
        free = (lane for lane in lanes if _span(lane[-1])[1] < _span(group)[0])
        lane = next(free, None)
        if lane is None:
            lanes.append([group])
        else:
            lane.append(group)
    return lanes


def _span(group: ChannelGroup) -> tuple[int, int]:
    layers = [layer_of(member.node) for member in (*group.producers, *group.consumers)]
    return min(layers), max(layers)


def _draw_layers(axes: "Axes", spec: NetworkSpec, kinds_in_a_row: int) -> None:
    from matplotlib.patches import Arc

    left = list(spec.layers)
    for name, kinds, marker in _KINDS:
        indices = [layer.index for layer in left if isinstance(layer, kinds)]
        left = [layer for layer in left if not isinstance(layer, kinds)]
        if indices:
            color = COLORS["muted" if name == "convolution" else "ink"]
            axes.plot(indices, [0] * len(indices), marker, color=color, markersize=5, label=name)
    for layer in spec.layers:
        for source in layer.sources:
            if 0 <= source < layer.index - 1:
                reach = layer.index - source
                axes.add_patch(
                    Arc(
                        ((layer.index + source) / 2, 0.25),
                        reach,
                        # Long arcs are flattened, or they would leave no room for the short ones.
                        2 * min(1.0, 0.28 + reach / 60),
                        theta1=0,
                        theta2=180,
                        color=COLORS["before"],
                        linewidth=1,
                    )
                )
    axes.set_ylim(-0.3, 1.4)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(bottom=False)
    axes.figure.legend(
        loc="outside upper left", ncols=kinds_in_a_row, handletextpad=0.1, columnspacing=1.2
    )


def _draw_group(axes: "Axes", group: ChannelGroup, lane: int) -> None:
    first, last = _span(group)
    color = COLORS["after" if group.coupled else "series-3"]
    if group.frozen_because is not None:
        color = COLORS["muted"]
    axes.plot([first, last], [lane, lane], color=color, linewidth=1.4)
    consumers = [layer_of(member.node) for member in group.consumers]
    axes.plot(
        consumers,
        [lane] * len(consumers),
        "o",
        markerfacecolor=COLORS["paper"],
        markeredgecolor=color,
        markersize=4.5,
    )
    producers = [layer_of(member.node) for member in group.producers]
    marker = "x" if group.frozen_because is not None else "o"
    axes.plot(producers, [lane] * len(producers), marker, color=color, markersize=4.5)


def _write_kept(
    axes: "Axes", group: ChannelGroup, lane: int, plan: PruningPlan | None, layers: int
) -> None:
    """How many channels stay, on the side of the group's line where there is room."""
    text = counted(group.size, "channel")
    if plan is not None:
        text = f"{len(plan.keep.get(group.id, range(group.size)))} of {text} stay"
    first, last = _span(group)
    at, align = (last + 1, "left") if last < 0.7 * layers else (first - 1, "right")
    axes.text(at, lane, text, va="center", ha=align, color=COLORS["muted"])


def _draw_key(axes: "Axes", present: dict[str, list[ChannelGroup]]) -> None:
    from matplotlib.lines import Line2D

    def sample(label: str, color: str, marker: str, face: str) -> Line2D:
        return Line2D(
            [], [], color=COLORS[color], marker=marker, markerfacecolor=COLORS[face],
            markersize=4.5, label=label,
        )  # fmt: skip

    samples = {
        "coupled": sample("coupled group", "after", "o", "after"),
        "single": sample("group of one producer", "series-3", "o", "series-3"),
        "frozen": sample("frozen: a head reads it", "muted", "x", "muted"),
    }
    handles = [samples[kind] for kind, groups in present.items() if groups]
    handles.append(sample("hollow: consumers", "ink", "o", "paper"))
    axes.figure.legend(handles=handles, loc="outside lower left", ncols=2)

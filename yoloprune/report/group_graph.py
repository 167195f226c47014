"""A picture of the dependency groups over the network.

Above: the layers in order, with arcs where one reads another than its predecessor. Below, in lanes:
each group from the convolutions that produce its channels to those that consume them.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoloprune.counting import counted
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import ChannelGroup, analyze
from yoloprune.pruning.plan import PruningPlan
from yoloprune.report.svg import COLORS, NARROW, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LANE = 15.0
"""Height of a lane in CSS pixels."""

_KINDS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("convolution", ("convolutional", "Conv", "ConvTranspose", "Gemm", "MatMul"), "s"),
    ("shortcut", ("shortcut", "Add"), "P"),
    ("route", ("route", "Concat", "Split", "Slice"), ">"),
    ("max pool", ("maxpool", "MaxPool"), "v"),
    ("upsample", ("upsample", "Resize"), "^"),
    ("head", ("yolo", "Gaussian_yolo", "region"), "*"),
)
"""What layers are called, by their types: sections of a cfg, or operators."""

_OTHER = "other"


def group_chart(dense: Model, plan: PruningPlan | None = None) -> str:
    """The groups of the original network; with a plan, how much of each coupled one stays."""
    layers = _Layers(dense)
    groups = analyze(dense.graph).groups
    coupled = [group for group in groups if group.coupled and group.frozen_because is None]
    single = [group for group in groups if not group.coupled and group.frozen_because is None]
    frozen = [group for group in groups if group.frozen_because is not None]
    spans = {group.id: layers.span(group) for group in groups}
    lanes = [[group] for group in coupled] + packed(single, spans) + packed(frozen, spans)

    width = max(NARROW[0], 24 + 8.6 * len(layers.rows))

    def draw(figure: "Figure") -> None:
        above, below = figure.subplots(
            2, 1, sharex=True, height_ratios=(110, _LANE * (len(lanes) + 2))
        )
        _draw_layers(above, layers, kinds_in_a_row=6 if width > 480 else 3)
        for lane, members in enumerate(lanes):
            for group in members:
                _draw_group(below, group, lane, layers)
        for lane, group in enumerate(coupled):
            _write_kept(below, group, lane, plan, layers)
        _draw_key(below, {"coupled": coupled, "single": single, "frozen": frozen})
        for axes in (above, below):
            axes.grid(False)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
        below.set(ylim=(len(lanes) + 0.2, -0.8), xlabel=layers.title)
        below.margins(x=0.01)

    description = (
        f"The network's {len(layers.rows)} layers and its {len(groups)} channel groups: "
        f"{len(coupled)} coupled, {len(single)} of one convolution, {len(frozen)} frozen"
    )
    return render("groups", description, (width, 190 + _LANE * (len(lanes) + 2)), draw)


class _Layers:
    """The layers of a network in their format, in order, and where groups lie among them."""

    def __init__(self, network: Model) -> None:
        self._document = network.document
        self.rows = network.document.layers(network.graph)
        self.places = {row.name: place for place, row in enumerate(self.rows)}
        numbered = all(name == place for name, place in self.places.items())
        self.title = "layer of the cfg" if numbered else "nodes of the graph, in order"

    def place(self, node: str) -> int:
        return self.places[self._document.layer(node)]

    def span(self, group: ChannelGroup) -> tuple[int, int]:
        places = [self.place(member.node) for member in (*group.producers, *group.consumers)]
        return min(places), max(places)


def packed(
    groups: list[ChannelGroup], spans: Mapping[int, tuple[int, int]]
) -> list[list[ChannelGroup]]:
    """As few lanes as hold the groups, in order, without two of them touching.

    `spans` are the first and the last layer of each, by its id.
    """
    lanes: list[list[ChannelGroup]] = []
    for group in sorted(groups, key=lambda group: spans[group.id][0]):
        free = (lane for lane in lanes if spans[lane[-1].id][1] < spans[group.id][0])
        lane = next(free, None)
        if lane is None:
            lanes.append([group])
        else:
            lane.append(group)
    return lanes


def _draw_layers(axes: "Axes", layers: _Layers, kinds_in_a_row: int) -> None:
    from matplotlib.patches import Arc

    known = {kind for _, kinds, _ in _KINDS for kind in kinds}
    others = tuple({row.type for row in layers.rows} - known)
    for name, kinds, marker in (*_KINDS, (_OTHER, others, ".")):
        indices = [place for place, row in enumerate(layers.rows) if row.type in kinds]
        if indices:
            color = COLORS["muted" if name == "convolution" else "ink"]
            axes.plot(indices, [0] * len(indices), marker, color=color, markersize=5, label=name)
    for place, row in enumerate(layers.rows):
        for source in (layers.places.get(name, place) for name in row.sources):
            if source < place - 1:
                reach = place - source
                axes.add_patch(
                    Arc(
                        ((place + source) / 2, 0.25),
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


def _draw_group(axes: "Axes", group: ChannelGroup, lane: int, layers: _Layers) -> None:
    first, last = layers.span(group)
    color = COLORS["after" if group.coupled else "series-3"]
    if group.frozen_because is not None:
        color = COLORS["muted"]
    axes.plot([first, last], [lane, lane], color=color, linewidth=1.4)
    consumers = [layers.place(member.node) for member in group.consumers]
    axes.plot(
        consumers,
        [lane] * len(consumers),
        "o",
        markerfacecolor=COLORS["paper"],
        markeredgecolor=color,
        markersize=4.5,
    )
    producers = [layers.place(member.node) for member in group.producers]
    marker = "x" if group.frozen_because is not None else "o"
    axes.plot(producers, [lane] * len(producers), marker, color=color, markersize=4.5)


def _write_kept(
    axes: "Axes", group: ChannelGroup, lane: int, plan: PruningPlan | None, layers: _Layers
) -> None:
    """How many channels stay, on the side of the group's line where there is room."""
    text = counted(group.size, "channel")
    if plan is not None:
        text = f"{len(plan.keep.get(group.id, range(group.size)))} of {text} stay"
    first, last = layers.span(group)
    at, align = (last + 1, "left") if last < 0.7 * len(layers.rows) else (first - 1, "right")
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
        "frozen": sample("frozen: it stays whole", "muted", "x", "muted"),
    }
    handles = [samples[kind] for kind, groups in present.items() if groups]
    handles.append(sample("hollow: consumers", "ink", "o", "paper"))
    axes.figure.legend(handles=handles, loc="outside lower left", ncols=2)

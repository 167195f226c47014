"""How long a network takes of which some channels are removed, without building it.

Its convolutions take what a table says that theirs take. The rest (pools, sums, moves, matrix
products, bringing maps into another layout) takes what they leave of the whole dense network's
time, and falls with what it reads and writes. How far it falls is known better once narrower
networks were timed as a whole: a constant a node does not fall at all, and counts that fit blocks
badly add to it. What the prediction was off by there changes evenly from one to the next.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Shape, integer
from yoloprune.graph.operators.windows import frame
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph
from yoloprune.pruning.labels.labels import Contraction
from yoloprune.pruning.layer_times import Layer, Timings, usual_factors

ACTIVATIONS = {"Relu": "Relu", "LeakyRelu": "LeakyRelu", "Clip": "Relu"}
"""What engines compute within a convolution, and what it is timed as."""

LISTED_MULTIPLES = (16, 8, 4, 1)
LISTED_SHARES = (
    *((share,) for share in (0.875, 0.75, 0.625, 0.5, 0.375, 0.25)),
    *((1.0, 0.5), (0.5, 1.0), (0.75, 0.25, 0.5)),
)
"""Of what is listed to be timed elsewhere: counts make these multiples, and groups keep these
shares in turn."""

CAUSES = 4
"""Of a convolution's time: itself, memory, and computing, depthwise or not."""

OTHERS = "what is no convolution"
"""What the rest of a network is called."""

LEAST = 0.01
"""The share of the dense network's time that any slim one is taken to need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Milliseconds of a network, and what they go into, which adds up to them.

    Of convolutions that is each layer itself, memory, computing, and what those take beyond it
    whose channels fill no blocks; then all that is no convolution.
    """

    ms: float
    overhead: float
    memory: float
    macs: float
    unfilled: float
    others: float

    @property
    def parts(self) -> dict[str, float]:
        """The share of each."""
        parts = {
            "layer count": self.overhead,
            "memory": self.memory,
            "MACs": self.macs,
            "unfilled blocks": self.unfilled,
            OTHERS: self.others,
        }
        return {name: float(part / self.ms) for name, part in parts.items()}

    @property
    def bound_by(self) -> str:
        """What takes the largest part."""
        parts = self.parts
        return max(parts, key=lambda name: parts[name])


Whole = Callable[[NDArray[np.bool_]], float]
"""Milliseconds of a whole network of which these channel ids stay."""


class Clock:
    """Tells a network's time under masks over its channel ids; `timings` are an engine's.

    `whole` times what is left as a whole, where that can be done.
    """

    def __init__(
        self, dependencies: DependencyGraph, timings: Timings, whole: Whole | None = None
    ) -> None:
        self.dependencies = dependencies
        self.timings = timings
        self._time_whole = whole
        # By network, what it takes by its layers, and how much more it took as a whole.
        self._seen: dict[bytes, tuple[float, float]] = {}
        self._layers = timed_layers(dependencies)
        self._narrower: dict[tuple[Layer, int, int], Layer] = {}
        self._weights = _rest(dependencies, {found.node for found, _ in self._layers})
        dense = np.ones(dependencies.labels.count, np.bool_)
        self._whole = float(self._weights.sum())
        timings.learn(self.layers(dense))
        layers = self._sum(dense)
        network = layers if timings.network is None else timings.network
        # Layers that took longer alone than in the network are taken to do so by one factor.
        self._factor = min(1.0, network / layers) if layers else 1.0
        self._rest = max(0.0, network - layers)
        self._total = network

    def layers(self, kept: NDArray[np.bool_]) -> list[Layer]:
        """The convolutions that are left, in order."""
        return [_narrowed(found, layer, kept, self._narrower) for found, layer in self._layers]

    def learn(self, kept: NDArray[np.bool_]) -> None:
        """Measure the convolutions that are left, where they can be and are not known."""
        self.timings.learn(self.layers(kept))

    def ms(self, kept: NDArray[np.bool_]) -> float:
        """Milliseconds of what is left."""
        by_layers = self._by_layers(kept)
        places, off = zip((self._total, 0.0), *self._seen.values(), strict=True)
        order = np.argsort(places)
        more = np.interp(by_layers, np.array(places)[order], np.array(off)[order])
        return max(by_layers + float(more), LEAST * self._total)

    @property
    def each(self) -> dict[str, float]:
        """Milliseconds of each convolution of the dense network, by node."""
        return {found.node: self.timings.ms(layer) for found, layer in self._layers}

    def shortened(self, dependencies: DependencyGraph) -> float:
        """Milliseconds of a network that is this one without some blocks, no channel removed."""
        layers = timed_layers(dependencies)
        rest = float(_rest(dependencies, {found.node for found, _ in layers}).sum())
        convolutions = sum(self.timings.ms(layer) for _, layer in layers)
        return self._factor * convolutions + self._rest * (rest / self._whole if rest else 0.0)

    def observe(self, kept: NDArray[np.bool_]) -> float | None:
        """Time what is left as a whole, and predict by that from now on; None if it cannot be."""
        if self._time_whole is None:
            return None
        key = kept.tobytes()
        if key not in self._seen:
            found, by_layers = self._time_whole(kept), self._by_layers(kept)
            self._seen[key] = by_layers, found - by_layers
        return sum(self._seen[key])

    def _by_layers(self, kept: NDArray[np.bool_]) -> float:
        """Milliseconds of what is left, before any narrower network was timed."""
        return self._factor * self._sum(kept) + self._rest * self._share(kept)

    def _share(self, kept: NDArray[np.bool_]) -> float:
        """What is left of what the rest reads and writes."""
        return float(self._weights[kept].sum()) / self._whole if self._whole else 1.0

    def time(self, kept: NDArray[np.bool_]) -> Time:
        """Milliseconds of what is left, and what they go into.

        A layer's own time is divided as one with its counts would be that takes what is usual of
        all layers that were timed, of those that fill blocks if there are some.
        """
        ms, known = self.ms(kept), self.timings.layers
        filled = {layer: own for layer, own in known.items() if layer.fills_blocks}
        known = filled if len(filled) >= CAUSES else known
        costs = usual_factors(
            np.array([_causes(layer) for layer in known], np.float64),
            np.array(list(known.values()), np.float64),
        )
        parts, unfilled = np.zeros(CAUSES), 0.0
        for layer in self.layers(kept):
            own, usual = self.timings.ms(layer), _causes(layer) * costs
            whole = float(usual.sum())
            if not layer.fills_blocks:
                unfilled += max(0.0, own - whole)
                own = min(own, whole)
            parts += own * (usual / whole if whole else np.eye(CAUSES)[0])
        # What was predicted is less than its layers take, where a network timed as a whole was.
        scale = min(self._factor, ms / (parts.sum() + unfilled))
        overhead, memory, macs = scale * parts[0], scale * parts[1], scale * (parts[2] + parts[3])
        unfilled *= scale
        others = ms - overhead - memory - macs - unfilled
        return Time(
            ms=ms, overhead=overhead, memory=memory, macs=macs, unfilled=unfilled, others=others
        )

    def _sum(self, kept: NDArray[np.bool_]) -> float:
        return sum(self.timings.ms(layer) for layer in self.layers(kept))


def _causes(layer: Layer) -> NDArray[np.float64]:
    """What a layer's time may go into; depthwise ones compute at another speed."""
    own = (0, layer.macs) if layer.depthwise else (layer.macs, 0)
    return np.array([1, layer.moved, *own], np.float64)


def timed_layers(dependencies: DependencyGraph) -> list[tuple[Contraction, Layer]]:
    """The convolutions of images that can be timed alone, in order."""
    graph, labels = dependencies.graph, dependencies.labels
    shapes = labels.facts.shapes
    nodes = {node.name: node for node in graph.nodes}
    activations = _activations(graph)
    found = []
    for contraction in labels.contractions:
        node = nodes[contraction.node]
        if node.operator == "Conv" and len(shapes[node.inputs[0]]) == 4:
            layer = _layer(node, shapes, activations.get(node.name, ""))
            found.append((contraction, layer))
    return found


def listed_layers(dependencies: DependencyGraph) -> list[Layer]:
    """The convolutions of a network and of narrower ones: enough to estimate all others by.

    All groups keep one share, in multiples that engines like and in counts that make none; or one
    half of the groups keeps more than the other, as layers may lose what they read and what they
    give apart.
    """
    layers = timed_layers(dependencies)
    found = dict.fromkeys(layer for _, layer in layers)
    for multiple in LISTED_MULTIPLES:
        for shares in LISTED_SHARES:
            kept = dependencies.kept(
                {
                    group.id: _first(group, shares[number % len(shares)], multiple)
                    for number, group in enumerate(dependencies.prunable)
                }
            )
            found |= dict.fromkeys(_narrowed(own, layer, kept, {}) for own, layer in layers)
    return list(found)


def _first(group: ChannelGroup, share: float, multiple: int) -> tuple[int, ...]:
    """The first channels of each part, so that the share stays or a little more."""
    each = math.ceil(share * group.part_size / multiple) * multiple
    numbers = np.arange(group.size).reshape(group.equal_parts, -1)[:, : each | (multiple == 1)]
    return tuple(numbers.reshape(-1).tolist())


def _layer(node: Node, shapes: Mapping[str, Shape], activation: str) -> Layer:
    _, inputs, height, width = shapes[node.inputs[0]]
    outputs, _, *kernel = shapes[node.inputs[1]]
    windows = frame(node, (height, width), tuple(kernel))
    two = tuple[int, int]
    return Layer(
        kernel=cast(two, windows.kernel),
        strides=cast(two, windows.strides),
        dilations=cast(two, windows.dilations),
        pads=cast(tuple[int, int, int, int], windows.before + windows.after),
        groups=integer(node, "group", 1),
        height=height,
        width=width,
        inputs=inputs,
        outputs=outputs,
        activation=activation,
    )


def _narrowed(
    found: Contraction,
    layer: Layer,
    kept: NDArray[np.bool_],
    known: dict[tuple[Layer, int, int], Layer],
) -> Layer:
    """What is left of a layer; looked up in what is `known`, for it is asked for time and again."""
    inputs = int(np.count_nonzero(kept[found.read]))
    outputs = int(np.count_nonzero(kept[found.filters]))
    if (inputs, outputs) == (layer.inputs, layer.outputs):
        return layer
    key = layer, inputs, outputs
    if key not in known:
        groups = inputs if found.depthwise else layer.groups
        known[key] = replace(layer, inputs=inputs, outputs=outputs, groups=groups)
    return known[key]


def _activations(graph: Graph) -> dict[str, str]:
    """By convolution, the activation that alone reads it or its batch norm."""
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in node.inputs:
            readers[name].append(node)
    found = {}
    for node in graph.nodes:
        after = readers[node.outputs[0]]
        if len(after) == 1 and after[0].operator == "BatchNormalization":
            after = readers[after[0].outputs[0]]
        if node.operator == "Conv" and len(after) == 1 and after[0].operator in ACTIVATIONS:
            found[node.name] = ACTIVATIONS[after[0].operator]
    return found


def _rest(dependencies: DependencyGraph, timed: set[str]) -> NDArray[np.float64]:
    """By channel id, the numbers that other nodes than those timed read and give of it."""
    labels = dependencies.labels
    weights = np.zeros(labels.count)
    fused = set(ACTIVATIONS) | {"BatchNormalization"}
    for node in dependencies.graph.nodes:
        if node.name in timed or node.operator in fused:
            continue
        for name in {*node.inputs, *node.outputs} & labels.values.keys():
            ids = labels.values[name].reshape(-1)
            size = float(np.prod(labels.facts.shapes[name], dtype=np.float64))
            weights += np.bincount(ids, minlength=labels.count) * (size / len(ids))
    return weights

"""How long convolutions take in an engine on this machine.

A layer alone would be charged for bringing its input into the engine's own layout and its output
back, which a network does not do at each layer. So copies of it are timed one after the other, each
between 1x1 convolutions, expand and reduce, whose time is known and taken off:

    x (16) - expand - layer - reduce - expand - layer - reduce - ... - mean

    less what these take in x - expand - reduce - mean, and with both twice

Not side by side: what engines compute breadth first has left the caches before it is read.

Of all runs the fastest counts: what else goes on in a machine only ever slows a run down.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from yoloprune.engines.benchmark import Timer, sample_image, timer
from yoloprune.engines.table import run_in
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Document, Model
from yoloprune.pruning.layer_times import Layer

NARROW = 16
"""Channels outside of expand and reduce."""

COPIES = 3
"""How often a layer is there, at most; of one that computes long enough, one will do, and one is
all that can be where its output has another room than its input."""

LONG = 100_000_000
"""Multiply-accumulates of a layer that computes long enough."""

SHORTEST = 1e-4
"""Milliseconds that any layer takes at least: less is what noise makes of it."""

LEAST_RUNS, MOST_RUNS, ENOUGH_MS = 5, 60, 12.0
"""Each graph is run for so many milliseconds, but so often at least and at most."""

SURER = 3
"""So many times as long run what is around layers: it is taken off many of them."""

NETWORK_RUNS = 20
"""How often the whole network is run at least; ten times as often, and as long, at most."""

_SLOPE = {"LeakyRelu": {"alpha": 0.1}}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Between:
    """Milliseconds of expand or reduce around so many channels in this room, and of all else."""

    each: float
    beside: float


class LayerTimer:
    """Times layers in an engine, with so many threads."""

    def __init__(self, engine: str, threads: int) -> None:
        self.engine, self.threads = engine, threads
        self._between: dict[tuple[int, int, int], _Between] = {}

    def __call__(self, layers: Collection[Layer]) -> dict[Layer, float]:
        """Milliseconds of each."""
        return {layer: self._layer(layer) for layer in layers}

    def _layer(self, layer: Layer) -> float:
        before = self._room(layer.inputs, (layer.height, layer.width))
        after = self._room(layer.outputs, layer.room)
        copies = copies_of(layer)
        whole = self._fastest(sandwich(layer, copies))
        each = (whole - before.beside) / copies - before.each - after.each
        return max(each, SHORTEST)

    def _room(self, channels: int, room: tuple[int, int]) -> _Between:
        key = (channels, *room)
        if key not in self._between:
            once, twice = (self._fastest(between(channels, room, n), SURER) for n in (1, 2))
            # Expanding takes about as long as reducing.
            each = max(twice - once, 0.0) / 2
            self._between[key] = _Between(each=each, beside=once - 2 * each)
        return self._between[key]

    def _fastest(self, graph: Graph, longer: int = 1) -> float:
        # Engines ask for a document only where a file was read.
        model = Model(graph=graph, parameters=noise(graph), document=cast(Document, None))
        runner = run_in(model, self.engine, device="cpu", threads=self.threads, batch=1)
        return fastest(
            timer(runner, sample_image(model), self.threads),
            most=longer * MOST_RUNS,
            enough=longer * ENOUGH_MS,
        )


def network_ms(model: Model, engine: str, threads: int) -> float:
    """Milliseconds of a whole network in an engine, of the fastest run."""
    runner = run_in(model, engine, device="cpu", threads=threads, batch=1)
    run = timer(runner, sample_image(model), threads)
    return fastest(run, least=NETWORK_RUNS, most=10 * NETWORK_RUNS, enough=100 * ENOUGH_MS)


def fastest(
    run: Timer, *, least: int = LEAST_RUNS, most: int = MOST_RUNS, enough: float = ENOUGH_MS
) -> float:
    """Milliseconds of the fastest of several runs, after two that do not count."""
    run()
    run()
    times = [run() for _ in range(least)]
    while len(times) < most and sum(times) < enough:
        times.append(run())
    return min(times)


def copies_of(layer: Layer) -> int:
    """How often a layer is timed in a row."""
    return COPIES if layer.macs <= LONG and layer.room == (layer.height, layer.width) else 1


def sandwich(layer: Layer, copies: int) -> Graph:
    """So many copies of a layer, each with kernels of its own, between 1x1 convolutions."""
    builder, value = expanded(layer.inputs, (layer.height, layer.width))
    for number in range(copies):
        if number:
            value = pointwise(builder, f"expand{number}", value, NARROW, layer.inputs)
        name = f"layer{number}"
        kernel = builder.parameter(
            f"{name}.kernel", (layer.outputs, layer.inputs // layer.groups, *layer.kernel)
        )
        bias = builder.parameter(f"{name}.bias", (layer.outputs,))
        value = builder.node(
            name,
            "Conv",
            value,
            kernel,
            bias,
            strides=layer.strides,
            dilations=layer.dilations,
            pads=layer.pads,
            group=layer.groups,
            kernel_shape=layer.kernel,
        )
        if layer.activation:
            slope = _SLOPE.get(layer.activation, {})
            value = builder.node(f"{name}.activation", layer.activation, value, **slope)
        value = pointwise(builder, f"reduce{number}", value, layer.outputs, NARROW)
    return _averaged(builder, value)


def between(channels: int, room: tuple[int, int], times: int) -> Graph:
    """Expand to so many channels, and reduce, so many times."""
    builder, value = expanded(channels, room)
    for number in range(times):
        if number:
            value = pointwise(builder, f"expand{number}", value, NARROW, channels)
        value = pointwise(builder, f"reduce{number}", value, channels, NARROW)
    return _averaged(builder, value)


def expanded(channels: int, room: tuple[int, int]) -> tuple[GraphBuilder, str]:
    """A graph of an image so large, expanded to so many channels, and the name of these."""
    builder = GraphBuilder(opset=13)
    images = builder.input("images", (1, NARROW, *room))
    return builder, pointwise(builder, "expand", images, NARROW, channels)


def pointwise(builder: GraphBuilder, name: str, value: str, inputs: int, outputs: int) -> str:
    """Put a 1x1 convolution behind a value, and name what it gives."""
    kernel = builder.parameter(f"{name}.kernel", (outputs, inputs, 1, 1))
    bias = builder.parameter(f"{name}.bias", (outputs,))
    return builder.node(name, "Conv", value, kernel, bias, kernel_shape=(1, 1))


def _averaged(builder: GraphBuilder, value: str) -> Graph:
    mean = builder.node("mean", "GlobalAveragePool", value)
    return builder.build({mean: (1, NARROW, 1, 1)})


def noise(graph: Graph) -> dict[str, Tensor]:
    """Seeded numbers for a graph's parameters."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.1 * torch.randn(parameter.shape, generator=generator)
        for name, parameter in graph.parameters.items()
    }

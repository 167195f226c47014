"""Of how many channels counts should be multiples for an engine to compute them fast.

Engines compute in blocks of channels, and fill up what makes none: then half a block less saves
nothing. That is seen by timing a little network of depthwise, 1x1 and 3x3 convolutions whose
width lies between two that are multiples.
"""

from typing import cast

from yoloprune.engines.benchmark import sample_image, timer
from yoloprune.engines.layer_times import expanded, noise, pointwise
from yoloprune.engines.table import run_in
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Document, Model

QUANTA = (32, 16, 8, 4, 2)
"""What counts may have to be multiples of, coarsest first."""

WIDEST, SIDE = 64, 20
"""Channels of the widest network, and the side of its maps."""

WASTED = 1.1
"""How much longer than halfway between its neighbors a width takes that wastes time."""

RUNS = 30
"""Of each network in turn; the fastest counts."""


def channel_quantum(engine: str) -> int:
    """The coarsest of `QUANTA` of which half a step wastes time on one thread; 1 if none does.

    Raises what `run_in` raises.
    """
    widths = sorted({WIDEST} | {WIDEST - q // part for q in QUANTA for part in (1, 2)})
    timers = {}
    for width in widths:
        graph = _of_width(width)
        # Engines ask for a document only where a file was read.
        model = Model(graph=graph, parameters=noise(graph), document=cast(Document, None))
        runner = run_in(model, engine, device="cpu", threads=1, batch=1)
        timers[width] = timer(runner, sample_image(model), 1)
    ms = {width: min(run() for _ in range(2)) for width, run in timers.items()}
    for _ in range(RUNS):
        ms = {width: min(ms[width], run()) for width, run in timers.items()}
    return coarsest_wasted(ms)


def coarsest_wasted(ms: dict[int, float]) -> int:
    """The coarsest of `QUANTA` of which half a step less than `WIDEST` wastes time; 1 if none."""
    for quantum in QUANTA:
        halfway = (ms[WIDEST - quantum] + ms[WIDEST]) / 2
        if ms[WIDEST - quantum // 2] > WASTED * halfway:
            return quantum
    return 1


def _of_width(width: int) -> Graph:
    """Two times a depthwise, a 1x1 and a 3x3 convolution of so many channels."""
    builder, value = expanded(width, (SIDE, SIDE))
    for number, (side, groups) in enumerate(2 * ((3, width), (1, 1), (3, 1))):
        kernel = builder.parameter(f"kernel{number}", (width, width // groups, side, side))
        bias = builder.parameter(f"bias{number}", (width,))
        value = builder.node(
            f"layer{number}",
            "Conv",
            value,
            kernel,
            bias,
            kernel_shape=(side, side),
            pads=(side // 2,) * 4,
            group=groups,
        )
        value = builder.node(f"activation{number}", "Relu", value)
    reduced = pointwise(builder, "reduce", value, width, 16)
    mean = builder.node("mean", "GlobalAveragePool", reduced)
    return builder.build({mean: (1, 16, 1, 1)})

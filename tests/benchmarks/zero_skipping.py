"""A whole network at several sparsities: size on disk, and speed against dense engines.

All engines alternate run by run on as many threads as asked for; the dense ones run the network
with the zeros of the first sparsity, which does not matter to them. Weights are random unless
given.
Usage: python tests/benchmarks/zero_skipping.py THREADS SCOPE PATTERN [SPARSITY ...] [CFG WEIGHTS]
"""

import statistics
import sys
from functools import partial
from pathlib import Path

import torch

from yoloprune.engines.benchmark import (
    Timer,
    alternating_times,
    cpu_runners,
    sample_image,
    timer,
    times_as_fast,
    wall_clock,
)
from yoloprune.engines.zero_skipping import SparseNetwork
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.document import state as layers
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.pruning.choices import WeightScope
from yoloprune.pruning.weights.masks import MaskSettings, Pattern, apply_masks, magnitude_masks
from yoloprune.pruning.weights.storage import pack

RUNS = 7


def main() -> None:
    threads, scope, pattern = int(sys.argv[1]), WeightScope(sys.argv[2]), Pattern(sys.argv[3])
    torch.set_num_threads(threads)
    rest = sys.argv[4:]
    if rest and rest[-1].endswith(".weights"):
        spec = read_cfg(Path(rest[-2]))
        dense, rest = read_weights(Path(rest[-1]), spec), rest[:-2]
    else:
        spec = yolov3(classes=80)
        dense = random_state(spec)
    graph, named = lower(spec), parameters(dense)
    image, size = sample_image(model(spec, dense, title="")), cost(spec).weight_bytes
    networks: dict[float, SparseNetwork] = {}
    rows: dict[float, tuple[int, int]] = {}
    timers: dict[str, Timer] = {}
    for sparsity in map(float, rest or ("0.8", "0.9", "0.95", "0.98")):
        settings = MaskSettings(sparsity=sparsity, scope=scope, pattern=pattern)
        arrays = apply_masks(graph, named, magnitude_masks(graph, named, settings))
        state = layers(arrays)
        if not timers:
            runners = cpu_runners(model(spec, state, title=""))
            timers = {name: timer(runner, image) for name, runner in runners.items()}
        networks[sparsity] = SparseNetwork(graph, arrays, threads=threads)
        skipping = sum(choice.is_sparse for choice in networks[sparsity].choices)
        rows[sparsity] = (len(pack(graph, arrays)), skipping)
    skipping_timers = {
        f"{zeros:.0%}": wall_clock(partial(net, image)) for zeros, net in networks.items()
    }
    times = alternating_times(timers | skipping_timers, "timing", runs=RUNS, warmup=1)
    medians = {name: statistics.median(series) for name, series in times.items()}
    fastest = min(timers, key=lambda name: medians[name])
    print(f"{threads} threads, scope {scope.value}, pattern {pattern.value}")
    for name in timers:
        print(f"  {name:14} {medians[name]:8.1f} ms")
    for sparsity, (packed, skipping) in rows.items():
        name = f"{sparsity:.0%}"
        speedup = times_as_fast(times[name], than=times[fastest])
        print(
            f"  {name:>14} {medians[name]:8.1f} ms  {speedup:5.2f}x {fastest}; "
            f"{skipping} of {len(spec.convs)} convolutions skip zeros; "
            f"packed {packed / 1e6:.1f} MB, {packed / size:.1%} of {size / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()

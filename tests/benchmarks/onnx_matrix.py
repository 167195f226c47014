"""ONNX files cut by 30% in every free group: what can be thinned, how exact, and how long it takes.

Usage: python -m tests.benchmarks.onnx_matrix [FILE.onnx | CLASSIFIER] ...
A classifier, of those in tests/classifiers.py, is exported by torch first; all are by default.
Columns: convolutions that may lose filters, of all; MACs kept; the largest relative error of slim
against masked over all values in float64; the same over the outputs in ONNX Runtime, float32, and
how far dense is from masked there; seconds to read, to analyze and cut, and to prove.
"""

import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from tests.classifiers import CLASSIFIERS, export
from yoloprune.errors import YoloPruneError
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.frontends.onnx.read import read
from yoloprune.graph.cost import cost
from yoloprune.graph.edits import edit
from yoloprune.graph.model import Model
from yoloprune.graph.shapes import facts
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.masked import silenced
from yoloprune.pruning.prove import exactness
from yoloprune.pruning.verification import random_images

SHARE = 0.7


def kept(dependencies: DependencyGraph) -> NDArray[np.bool_]:
    """A seeded choice of that share of each free group's channels."""
    generator = np.random.default_rng(0)
    keep = {}
    for group in dependencies.prunable:
        each = max(1, round(SHARE * group.part_size))
        runs = [generator.permutation(group.part_size)[:each] for _ in range(group.equal_parts)]
        numbers = np.concatenate([run + i * group.part_size for i, run in enumerate(runs)])
        keep[group.id] = tuple(sorted(numbers.tolist()))
    return dependencies.kept(keep)


def computed(network: Model, feeds: dict[str, NDArray[np.generic]]) -> list[NDArray[np.generic]]:
    """The outputs in ONNX Runtime of the file that a network is."""
    with TemporaryDirectory() as folder:
        network.save(path := Path(folder) / "net.onnx")
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return session.run(None, feeds)


def error(found: list[NDArray[np.generic]], expected: list[NDArray[np.generic]]) -> float:
    """The largest over outputs of max |a - b| / max |b|."""
    pairs = [(a.astype(float), b.astype(float)) for a, b in zip(found, expected, strict=True)]
    return max(float(np.abs(a - b).max() / (np.abs(b).max() or 1)) for a, b in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A file's line of the table: see above."""

    thinned: int
    convolutions: int
    macs: float
    exact: float
    runtime: float
    change: float
    seconds: tuple[float, ...]

    def __str__(self) -> str:
        seconds = "  ".join(f"{own:5.2f}" for own in self.seconds)
        return (
            f"{self.thinned:3}/{self.convolutions:<3} {self.macs:.3f}  {self.exact:.1e}  "
            f"{self.runtime:.1e}  {self.change:.1e}  {seconds}"
        )


def measured(path: Path) -> Row:
    """What comes of a file."""
    times = [time.perf_counter()]
    dense = read(path)
    assert isinstance(dense.document, OnnxDocument)
    times.append(time.perf_counter())
    dependencies = analyze(dense.graph)
    mask = kept(dependencies)
    edits = removal(dependencies, mask)
    slim = edit(dense.graph, dense.parameters, edits)
    times.append(time.perf_counter())
    images = random_images(dense.graph)
    found = exactness(dependencies, dense.parameters, mask, slim, images)
    times.append(time.perf_counter())
    graph, parameters = silenced(dependencies, dense.parameters, mask)
    silent = Model(graph=graph, parameters=parameters, document=dense.document.saying(graph))
    feeds = {n: t.numpy().astype(dense.graph.inputs[n].dtype) for n, t in images.items()}
    outputs = computed(silent, feeds)
    free = {member.node for group in dependencies.prunable for member in group.producers}
    convs = {n.name for n in dense.graph.nodes if n.operator in ("Conv", "ConvTranspose")}
    macs = [cost(g, facts(g).shapes).macs for g in (slim[0], dense.graph)]
    return Row(
        thinned=len(free & convs),
        convolutions=len(convs),
        macs=macs[0] / max(1, macs[1]),
        exact=found.relative_error,
        runtime=error(computed(dense.edited(edits), feeds), outputs),
        change=error(computed(dense, feeds), outputs),
        seconds=tuple(b - a for a, b in pairwise(times)),
    )


def main() -> None:
    torch.set_num_threads(1)
    print(f"{'file':36} convs   MACs   float64  runtime  change   read    cut  proof")
    for name in sys.argv[1:] or CLASSIFIERS:
        with TemporaryDirectory() as folder:
            path = Path(name)
            if name in CLASSIFIERS:
                export(name, path := Path(folder) / f"{name}.onnx")
            try:
                print(f"{path.name:36} {measured(path)}", flush=True)
            except YoloPruneError as problem:
                print(f"{path.name:36} {problem}", flush=True)


if __name__ == "__main__":
    main()

"""AlexNet and SqueezeNet: parameters, bytes and MACs, dense, without neurons, and with zeros.

Neurons of fully connected layers are ranked by the L2 norm of their weight column, and the lowest
half or four fifths of each layer removed; or channels and neurons of the whole network go, to a
share of its MACs; or weights of smallest magnitude are zeroed. Weights are random, as nobody's are
at hand, so nothing is said of accuracy; counts do not depend on them, packed sizes hardly.
Usage: python -m tests.benchmarks.lecture_table
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from tests.classifiers import CLASSIFIERS, exported, randomized
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, analyze
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prune import prove
from yoloprune.pruning.score.on_weights import CRITERIA, score
from yoloprune.report.table import amount, file_size, markdown_table
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.sparsify import sparsify

NAMES = ("alexnet", "squeezenet-1.0")
HEADER = ("Network", "Parameters", "Size", "MACs", "slim = masked, float64")


FULLY_CONNECTED = ("Gemm", "MatMul")
"""Operators whose channels are the neurons of fully connected layers."""


def produced_by(graph: DependencyGraph, operators: tuple[str, ...]) -> list[ChannelGroup]:
    """Prunable groups all of whose producers are of these operators."""
    kinds = {node.name: node.operator for node in graph.graph.nodes}
    return [
        group
        for group in graph.prunable
        if all(kinds[member.node] in operators for member in group.producers)
    ]


def without_channels(
    dense: Model, share: float, operators: tuple[str, ...] = FULLY_CONNECTED
) -> tuple[Model, float]:
    """The network without this share of each such group's channels, lowest L2 norms first.

    And the relative error, in float64, by which it is not what the masked network computes.
    """
    graph = analyze(dense.graph)
    scores = score(graph, dense.parameters, CRITERIA["l2"])
    keep = {}
    for group in produced_by(graph, operators):
        left = group.size - int(share * group.size)
        keep[group.id] = tuple(sorted(np.argsort(scores[group.id])[-left:].tolist()))
    plan = PruningPlan(
        graph_digest=graph.digest, criterion="l2", budget=Budget(limits={}), keep=keep
    )
    slim = dense.edited(cut(graph, plan))
    proof = prove(graph, dense.parameters, plan, (slim.graph, slim.parameters))
    return slim, proof.exactness.relative_error


def rows(name: str, dense: Model) -> Iterator[tuple[str, ...]]:
    """The network's rows of the table."""

    def row(
        how: str, network: Model, error: float | None = None, size: int | None = None
    ) -> tuple[str, ...]:
        cost = network.cost
        return (
            f"{name}, {how}",
            f"{cost.params:,}",
            file_size(size or cost.weight_bytes),
            amount(cost.macs),
            "" if error is None else f"{error:.1g}",
        )

    yield row("dense", dense)
    if produced_by(analyze(dense.graph), FULLY_CONNECTED):
        for share in (0.5, 0.8):
            slim, error = without_channels(dense, share)
            yield row(f"{share:.0%} of the neurons removed", slim, error)
    for share in (0.5, 0.3):
        found = prune(dense, {"macs": share})
        yield row(
            f"pruned to {share:.0%} of the MACs", found.slim, found.proof.exactness.relative_error
        )
    for share in (0.8, 0.9):
        sparse = sparsify(dense, share)
        left = sum(int((array != 0).sum()) for array in sparse.model.parameters.values())
        yield (
            f"{name}, {share:.0%} of the weights zero, packed",
            f"{left:,} not zero",
            file_size(len(sparse.packed)),
            amount(dense.cost.macs),
            "",
        )


def main() -> None:
    torch.set_num_threads(1)
    table = []
    with TemporaryDirectory() as folder:
        for name in NAMES:
            network = randomized(CLASSIFIERS[name].make())
            found = list(rows(name, load(exported(network, Path(folder) / f"{name}.onnx"))))
            table += found
            print("\n".join(map(str, found)), file=sys.stderr, flush=True)
    print(markdown_table(HEADER, table), end="")


if __name__ == "__main__":
    main()

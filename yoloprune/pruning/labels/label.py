"""How labels are found in any graph.

Every contraction with a trained kernel gives birth to ids. Moves do to ids what they do to the
data; where an operator computes one element from several, their channels become one, or must stay.
There is a rule a family of operators and none an architecture; what is not understood freezes what
it reads, with a reason that names the node.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import assert_never

from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Family
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.graph.shapes import Facts, facts
from yoloprune.pruning.labels.arrays import through_arrays
from yoloprune.pruning.labels.asked import asked
from yoloprune.pruning.labels.chains import Chains
from yoloprune.pruning.labels.contractions import contraction
from yoloprune.pruning.labels.families import (
    elementwise,
    moved,
    normalizer,
    reduction,
    spatial,
    unknown,
)
from yoloprune.pruning.labels.ids import NONE, connect, no_channels
from yoloprune.pruning.labels.labels import Labels, renamed
from yoloprune.pruning.labels.walk import Walk


def label(
    graph: Graph, known: Facts | None = None, entries: Mapping[str, int] | None = None
) -> Labels:
    """Follow the channels through a graph; `known` are its `facts`, if they are there already.

    Of the values that `entries` names, each entry along the axis that it gives is one channel.
    """
    entries = entries or {}
    walk = Walk(graph=graph, facts=facts(graph) if known is None else known)
    for name, value in graph.inputs.items():
        _read_input(walk, name, len(value.shape))
    for node in graph.nodes:
        read = any(name in walk.values for name in node.inputs)
        # What depends on shapes alone says nothing about channels.
        if read and not all(name in walk.facts.known for name in filter(None, node.outputs)):
            _follow(walk, node)
        for name in walk.values.keys() & entries.keys() & {*node.outputs}:
            size = walk.facts.shapes[name][entries[name]]
            walk.along(walk.values[name], entries[name], size, node)
    for name in graph.outputs:
        if name in walk.values:
            walk.freeze(walk.values[name], f"network output {name}")
    through_arrays(walk)
    asked(walk)
    chains = Chains(walk)
    canonical = connect(walk.count, walk.unions)
    while unions := chains.settle(canonical):
        walk.unions += unions
        canonical = connect(walk.count, walk.unions)
    labels = Labels(
        facts=walk.facts,
        values=walk.values,
        contractions=tuple(walk.contractions),
        vectors=tuple(walk.vectors),
        computed=walk.computed,
        sums=tuple(walk.sums),
        partitions=(*walk.partitions, *chains.partitions()),
        subsets=tuple(walk.subsets),
        lines=chains.lines,
        chains=chains.chains,
        within=chains.within,
        frozen={},
        count=walk.count,
    )
    labels = renamed(labels, canonical)
    reasons: dict[int, str] = {}
    for ids, reason in walk.frozen:
        for i in canonical[ids].tolist():
            reasons.setdefault(i, reason)
    reasons.pop(NONE, None)
    return replace(labels, frozen=reasons)


def _read_input(walk: Walk, name: str, rank: int) -> None:
    """Images (B, C, ...) hold channels that nothing here gives; other inputs hold none.

    What is (B, N, C), as words are, has none along N: a network that takes products of matrices
    reads it so, unless a convolution reads it.
    """
    readers = {node.operator for node in walk.graph.nodes if name in node.inputs}
    words = any(node.operator == "MatMul" for node in walk.graph.nodes)
    if rank < 3 or (rank == 3 and words and not readers & {"Conv", "ConvTranspose"}):
        walk.values[name] = no_channels(rank)
        return
    ids = walk.born(walk.facts.shapes[name][1])
    walk.freeze(ids, "network input")
    walk.values[name] = ids.reshape([1, -1] + [1] * (rank - 2))


def _follow(walk: Walk, node: Node) -> None:
    operator = OPERATORS.get(node.operator)
    family = Family.OTHER if operator is None else operator.family
    match family:
        case Family.MOVE:
            moved(walk, node)
        case Family.ELEMENTWISE:
            elementwise(walk, node)
        case Family.SPATIAL:
            spatial(walk, node)
        case Family.REDUCTION:
            reduction(walk, node)
        case Family.NORMALIZER:
            normalizer(walk, node)
        case Family.CONTRACTION:
            contraction(walk, node)
        case Family.SHAPE | Family.OTHER:
            unknown(walk, node)
        case _:
            assert_never(family)

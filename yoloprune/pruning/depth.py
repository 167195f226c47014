"""Blocks that a network can do without: what only a sum reads beside the rest of it.

    a ──┬── b ── c ── + ── d            a ── d
        └─────────────┘

Without the block b, c the sum gives what else it reads, a. That is exactly what the network
computes in which the block's contribution is multiplied by 0.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from yoloprune.errors import PlanError
from yoloprune.graph.cost import cost
from yoloprune.graph.edits import Edits, Reading
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.shapes import facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What goes with a contribution to a sum: `reading` is the sum, and which of its inputs.

    `nodes` compute nothing else; `macs` are theirs for one image.
    """

    reading: Reading
    nodes: tuple[str, ...]
    macs: int

    @property
    def name(self) -> str:
        """The sum's name."""
        return self.reading[0]


def blocks(graph: Graph) -> tuple[Block, ...]:
    """The residual blocks and branches of a graph, in order: each can go, with its convolutions.

    Of two branches that meet in a sum either can.
    """
    shapes = facts(graph).shapes
    each = {node.name: node.macs for node in cost(graph, shapes).per_node}
    alive = set(_needed(graph, ()))
    found = []
    for node in graph.nodes:
        if node.operator != "Add" or not _alike(graph, node, shapes):
            continue
        for position in range(2):
            reading = (node.name, position)
            gone = alive - set(_needed(graph, [reading])) - {node.name}
            macs = sum(each[name] for name in gone)
            if macs:
                nodes = tuple(own.name for own in graph.nodes if own.name in gone)
                found.append(Block(reading=reading, nodes=nodes, macs=macs))
    return tuple(found)


def _alike(graph: Graph, node: Node, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether a sum's terms are both computed, and as large as it."""
    fixed = graph.parameters.keys() | graph.constants.keys() | graph.inputs.keys()
    return not fixed & set(node.inputs) and (
        shapes[node.inputs[0]] == shapes[node.inputs[1]] == shapes[node.outputs[0]]
    )


def _needed(graph: Graph, gone: Collection[Reading]) -> list[str]:
    """Nodes that a graph's outputs depend on where sums do not read these inputs."""
    read, found = set(graph.outputs), []
    for node in reversed(graph.nodes):
        if read.intersection(filter(None, node.outputs)):
            found.append(node.name)
            read.update(
                name for n, name in enumerate(node.inputs) if name and (node.name, n) not in gone
            )
    return found


def check_readings(graph: Graph, gone: Sequence[Reading]) -> None:
    """Raise `PlanError` unless these are contributions to sums that can go together."""
    nodes = {node.name: node for node in graph.nodes}
    shapes = facts(graph).shapes
    for name, position in gone:
        node = nodes.get(name)
        if node is None or node.operator != "Add" or position not in (0, 1):
            raise PlanError(f"{name}, input {position}: no sum of two that the network has")
        if not _alike(graph, node, shapes):
            raise PlanError(f"{name}: its terms are of other shapes than the sum")
    if len({name for name, _ in gone}) < len(gone):
        raise PlanError("of a sum only one term can go")


def shortened(graph: Graph, gone: Sequence[Reading]) -> Edits:
    """The edits after which these contributions to sums are not computed any more.

    Who read such a sum reads its other term. Raises what `check_readings` raises.
    """
    check_readings(graph, gone)
    lost = dict(gone)
    stands: dict[str, str] = {}
    places: dict[str, tuple[Node, ...]] = {}
    for node in graph.nodes:
        inputs = tuple(stands.get(name, name) for name in node.inputs)
        if node.name in lost:
            (left,) = (name for n, name in enumerate(inputs) if n != lost[node.name])
            stands[node.outputs[0]] = left
            given = replace(node, operator="Identity", inputs=(left,), attributes={})
            places[node.name] = (given,) if node.outputs[0] in graph.outputs else ()
        elif inputs != node.inputs:
            places[node.name] = (replace(node, inputs=inputs),)
    return Edits(arrays={}, constants={}, attributes={}, nodes=places)

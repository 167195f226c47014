"""The rows of heads that nobody asks for any more, removed before any channel is.

A score that is kept is computed from the same numbers as before: nothing is weighed, and nothing is
lost. Where other scores are read inside the network too (a soft-max over all classes), their rows
stay, and the kept ones are taken from what the network gave.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from yoloprune.errors import PlanError, VerificationError
from yoloprune.graph.edits import Edits, Entries, Task
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.shapes import facts
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.ids import NONE, Ids, Mask
from yoloprune.pruning.labels.label import label
from yoloprune.pruning.labels.labels import Labels
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.scales import without_scales
from yoloprune.pruning.shake import compact
from yoloprune.pruning.verification import TOLERANCE, batches, compare


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Narrowing:
    """How a network is cut to a task.

    `whole` are the outputs from which entries are taken behind the network, and why its rows stay.
    `rows` is what stays, by node, of the channels that it gives: the mask, broadcastable to them.
    """

    edits: Edits
    whole: Mapping[str, str]
    rows: Mapping[str, Mask]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProof:
    """How what a narrowed network gives compares with those entries of the dense one's outputs.

    Where the sums of a row are taken in the dense network's order they are equal in float64, bit
    for bit (`equal`), or differ relatively by `relative_error`; in the order of fewer rows, sums
    differ by `rounding`.
    """

    outputs: int
    equal: bool
    relative_error: float
    rounding: float


def narrowing(graph: Graph, task: Task, *, scales: bool = True) -> Narrowing:
    """The edits after which a graph gives what a task names, and computes no row for nothing.

    With `scales`, entries may be boxes of all scales, one after the other, of which whole scales
    go; rows of a head's map are none. Raises `PlanError` for a task of another network.
    """
    check_task(graph, task)
    if scales and (without := without_scales(graph, task)) is not None:
        return Narrowing(edits=without, whole={}, rows={})
    asked, takers = _asked(graph, task)
    labels = label(asked, entries={name: left.axis for name, left in task.outputs.items()})
    gone, whole = _removable(labels, task)
    mask = np.ones(labels.count, dtype=np.bool_)
    mask[gone] = False
    found = removal(
        DependencyGraph(graph=asked, labels=labels, groups=(), digest=asked.digest()), mask
    )
    nodes, added = dict(found.nodes), dict(found.added)
    for name in whole:
        taker = takers[name]
        numbers = found.constants.get((taker.name, 1), asked.constants[taker.inputs[1]])
        _take_behind(graph, nodes, name, taker)
        added[taker.inputs[1]] = numbers
    own = {taker.name for taker in takers.values()}
    edits = replace(
        found,
        constants={place: array for place, array in found.constants.items() if place[0] not in own},
        nodes={name: place for name, place in nodes.items() if name not in own},
        added=added,
        task=task,
    )
    rows = {
        contraction.node: mask[labels.values[node.outputs[0]]]
        for contraction in labels.contractions
        for node in graph.nodes
        if node.name == contraction.node and not mask[contraction.filters].all()
    }
    return Narrowing(edits=edits, whole=whole, rows=rows)


def check_task(graph: Graph, task: Task) -> None:
    """Raise `PlanError` unless a network has the outputs that a task names, and their entries."""
    shapes, classes = facts(graph).shapes, task.classes
    if not classes or list(classes) != sorted(set(classes)) or classes[0] < 0:
        raise PlanError("the task's classes must be whole numbers that ascend")
    for name, left in task.outputs.items():
        if name not in graph.outputs:
            raise PlanError(f"the task names the output {name}, which the network has not")
        rank = len(shapes[name])
        if not 0 <= left.axis < rank:
            raise PlanError(f"the task names axis {left.axis} of {name}, which has {rank}")
        size, kept = shapes[name][left.axis], left.kept
        if not kept or list(kept) != sorted(set(kept)) or not 0 <= kept[0] <= kept[-1] < size:
            raise PlanError(f"the task's entries of {name} must ascend within 0..{size - 1}")


def prove_task(
    dense: tuple[Graph, Mapping[str, Tensor]],
    narrow: tuple[Graph, Mapping[str, Tensor]],
    found: Narrowing,
    inputs: Mapping[str, Tensor],
) -> TaskProof:
    """Run both in float64, and compare what is kept.

    A library adds up a row's products in an order that depends on how many rows there are: what
    both networks add up is compared, and then goes on as the dense network rounded it. Raises
    `VerificationError` where outputs differ by more than rounding.
    """
    task = found.edits.task
    assert task is not None
    results = [
        _compared(dense, narrow, found.rows, task, part) for part in batches(dense[0], inputs)
    ]
    proof = TaskProof(
        outputs=len(task.outputs),
        equal=all(equal for equal, _, _ in results),
        relative_error=max(error for _, error, _ in results),
        rounding=max(rounding for _, _, rounding in results),
    )
    if not max(proof.relative_error, proof.rounding) <= TOLERANCE:
        raise VerificationError(
            f"cut to its task, the network gives other scores than before: relative error "
            f"{max(proof.relative_error, proof.rounding):.3g} in float64, allowed {TOLERANCE:g}"
        )
    return proof


def _asked(graph: Graph, task: Task) -> tuple[Graph, dict[str, Node]]:
    """The graph that gives just what a task names, by a node behind each output."""
    taken = {*graph.inputs, *graph.parameters, *graph.constants}
    taken |= {name for node in graph.nodes for name in (node.name, *node.outputs)}
    takers, constants = {}, dict(graph.constants)
    given = {name: value for name, value in graph.outputs.items() if name not in task.outputs}
    for name, left in task.outputs.items():
        own = f"{name}.asked"
        while own in taken or f"{own}.entries" in taken:
            own += "_"
        constants[f"{own}.entries"] = np.array(left.kept, np.int64)
        takers[name] = Node(
            name=own,
            operator="Gather",
            inputs=(name, f"{own}.entries"),
            outputs=(own,),
            attributes={"axis": left.axis},
        )
        shape = tuple(graph.outputs[name].shape)
        if shape:
            shape = (*shape[: left.axis], len(left.kept), *shape[left.axis + 1 :])
        given[own] = replace(graph.outputs[name], shape=shape)
    nodes = (*graph.nodes, *takers.values())
    return replace(graph, nodes=nodes, constants=constants, outputs=given), takers


def _removable(labels: Labels, task: Task) -> tuple[Ids, dict[str, str]]:
    """The ids that nobody asks for, and the outputs whose rows stay, with the reason.

    An output loses all of its entries that are not asked for, or none.
    """
    read = "read by other layers"
    needed: dict[int, str] = {NONE: "not a channel of its own", **labels.frozen}
    for found in labels.contractions:
        needed |= dict.fromkeys(found.columns.tolist(), read)
    for total in labels.sums:
        needed |= dict.fromkeys(total.ids.reshape(-1).tolist(), read)
    unasked: dict[str, Ids] = {}
    for name, left in task.outputs.items():
        ids = np.broadcast_to(labels.values[name], labels.facts.shapes[name])
        unasked[name] = np.unique(np.delete(ids, left.kept, axis=left.axis))
        kept = np.unique(np.take(ids, left.kept, axis=left.axis))
        needed |= dict.fromkeys(kept.tolist(), "shared by entries that stay")
    whole: dict[str, str] = {}
    while True:
        stay = {
            name: needed[int(ids[np.isin(ids, list(needed))][0])]
            for name, ids in unasked.items()
            if name not in whole and np.isin(ids, list(needed)).any()
        }
        for name in stay:
            needed |= dict.fromkeys(unasked[name].tolist(), f"given by {name}")
        whole |= stay
        if not stay:
            gone = _joined([ids for name, ids in unasked.items() if name not in whole])
            if not (uneven := _uneven(labels, gone)):
                return gone, whole
            needed |= uneven


def _joined(ids: list[Ids]) -> Ids:
    return np.unique(np.concatenate([np.zeros(0, np.int64), *ids]))


def _uneven(labels: Labels, gone: Ids) -> dict[int, str]:
    """What cannot go because a part would lose all of its channels, or more than others."""
    found: dict[int, str] = {}
    for partition in labels.partitions:
        left = (~np.isin(partition.ids, gone)).reshape(partition.parts, -1).sum(axis=1)
        if (left != left[0]).any():
            found |= dict.fromkeys(partition.ids.tolist(), "in parts that must stay equal")
    for ids in labels.subsets:
        if np.isin(ids, gone).all():
            found |= dict.fromkeys(ids.tolist(), "the only channels of a part")
    return found


def _take_behind(graph: Graph, nodes: dict[str, tuple[Node, ...]], name: str, taker: Node) -> None:
    """Let what is asked for of an output bear its name, and all of it another."""
    every = f"{taker.name}.of"
    for node in graph.nodes:
        place = nodes.get(node.name, (node,))
        if not any(name in (*own.inputs, *own.outputs) for own in place):
            continue
        renamed = tuple(
            replace(
                own,
                inputs=tuple(every if read == name else read for read in own.inputs),
                outputs=tuple(every if given == name else given for given in own.outputs),
            )
            for own in place
        )
        if any(name in own.outputs for own in place):
            entries = taker.inputs[1]
            renamed = (*renamed, replace(taker, inputs=(every, entries), outputs=(name,)))
        nodes[node.name] = renamed


def _compared(
    dense: tuple[Graph, Mapping[str, Tensor]],
    narrow: tuple[Graph, Mapping[str, Tensor]],
    rows: Mapping[str, Mask],
    task: Task,
    inputs: Mapping[str, Tensor],
) -> tuple[bool, float, float]:
    """Whether all is equal, and the largest relative errors: of outputs, and of sums alone."""
    sums: dict[str, Tensor] = {}
    rounding = [0.0]

    def keep(node: Node, _: Sequence[Tensor | None], given: Sequence[Tensor]) -> Sequence[Tensor]:
        if node.name in rows:
            sums[node.name] = compact(given[0], rows[node.name], None)
        return given

    def put(node: Node, _: Sequence[Tensor | None], given: Sequence[Tensor]) -> Sequence[Tensor]:
        if node.name not in rows:
            return given
        rounding.append(compare((given[0],), (sums[node.name],)).relative_error)
        return (sums[node.name], *given[1:])

    wanted = [
        _asked_of(task.outputs.get(name), value)
        for name, value in zip(dense[0].outputs, outputs(*dense, inputs, keep), strict=True)
    ]
    found = outputs(*narrow, inputs, put)
    equal = all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    return equal, compare(found, tuple(wanted)).relative_error, max(rounding)


def _asked_of(left: Entries | None, value: Tensor) -> Tensor:
    if left is None:
        return value
    return value.index_select(left.axis, torch.tensor(left.kept, device=value.device))

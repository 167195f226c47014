"""A pruning plan: plain data that says which channels stay, and survives a trip through JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from yoloprune.documents import read_document
from yoloprune.errors import PlanError
from yoloprune.files import write_json
from yoloprune.graph.edits import Reading, Task
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation
from yoloprune.pruning.groups import DependencyGraph, named

KeepIndices = tuple[int, ...]
"""Channel numbers of a group that stay, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningPlan:
    """Which channels of each prunable group stay, for the network with this digest.

    `keep` maps group ids to channel numbers; a group that is not named stays whole. `carriers` are
    the kept channels that, with carrier compensation, carry the constants of the removed ones.
    Where the network was cut to a `task` first, and `blocks` were removed then (contributions to
    sums, by node and input), what that leaves is the network that is meant.
    """

    graph_digest: str
    criterion: str
    budget: Budget
    keep: Mapping[int, KeepIndices]
    compensation: Compensation = Compensation.NONE
    carriers: Mapping[int, KeepIndices] = field(default_factory=dict)
    task: Task | None = None
    blocks: tuple[Reading, ...] = ()


def check_plan(graph: DependencyGraph, plan: PruningPlan) -> None:
    """Raise `PlanError` unless the plan fits the network."""
    digest = graph.digest
    if plan.graph_digest != digest:
        raise PlanError(
            f"the plan was made for another network (its digest starts with "
            f"{plan.graph_digest[:12]}, this network's with {digest[:12]}): give the one that was "
            "pruned; of a network that was pruned twice, that is the first slim one"
        )
    for group_id, numbers in plan.keep.items():
        if not 0 <= group_id < len(graph.groups):
            raise PlanError(f"the plan names group {group_id}; there are {len(graph.groups)}")
        group = graph.groups[group_id]
        where = f"group {group_id} ({named(group)})"
        if not numbers:
            raise PlanError(f"the plan empties {where}")
        if list(numbers) != sorted(set(numbers)) or not 0 <= numbers[0] <= numbers[-1] < group.size:
            raise PlanError(f"keep indices of {where} must ascend within 0..{group.size - 1}")
        if group.frozen_because is not None and len(numbers) != group.size:
            raise PlanError(f"the plan cuts {where}, which is frozen: {group.frozen_because}")
        parts = np.bincount(np.array(numbers) // group.part_size, minlength=group.equal_parts)
        if (parts != parts[0]).any():
            raise PlanError(f"the {group.equal_parts} parts of {where} must keep equally many")
        if not set(plan.carriers.get(group_id, ())) <= set(numbers):
            raise PlanError(f"the carriers of {where} are not among its kept channels")


def kept_filters(graph: DependencyGraph, plan: PruningPlan) -> dict[str, KeepIndices]:
    """Output channels that each contraction keeps, by node."""
    mask = graph.kept(plan.keep)
    return {
        found.node: tuple(np.flatnonzero(mask[found.filters]).tolist())
        for found in graph.labels.contractions
    }


def compose(
    first_graph: DependencyGraph,
    first: PruningPlan,
    second_graph: DependencyGraph,
    second: PruningPlan,
) -> PruningPlan:
    """One plan that does what `first` and then, on the slim network, `second` do.

    Carriers are not composed: compensation acts on a state before its own surgery. Raises
    `PlanError` for what no plan of the dense network can say: a grouped convolution that `first`
    leaves with one channel a group is depthwise, and `second` may remove whole groups of it.
    """
    check_plan(first_graph, first)
    check_plan(second_graph, second)
    mask = first_graph.kept(first.keep)
    kept_first, kept_second = kept_filters(first_graph, first), kept_filters(second_graph, second)
    for found in first_graph.labels.contractions:
        survivors = np.array(kept_first[found.node])[list(kept_second[found.node])]
        gone = np.setdiff1d(np.arange(len(found.filters)), survivors)
        mask[found.filters[gone]] = False
    keep = {
        group.id: tuple(np.flatnonzero(mask[list(group.channels)]).tolist())
        for group in first_graph.prunable
    }
    composed = PruningPlan(
        graph_digest=first.graph_digest,
        criterion=f"{first.criterion}, {second.criterion}",
        budget=second.budget,
        keep=keep,
        task=first.task,
        blocks=first.blocks,
    )
    check_plan(first_graph, composed)
    return composed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    producers: tuple[str, ...]
    keep: KeepIndices
    carriers: KeepIndices = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    keep: KeepIndices


@dataclass(frozen=True, slots=True, kw_only=True)
class _PlanFile:
    """A plan as JSON; `layers` repeats it as kept output channels of each contraction.

    Version 3 has a task and version 4 perhaps, and blocks that are removed, which programs that do
    not know of it must not overlook.
    """

    version: Literal[2, 3, 4]
    graph_digest: str
    criterion: str
    budget: Budget
    compensation: Compensation
    groups: dict[int, _Group]
    layers: dict[str, _Layer]
    task: Task | None = None
    blocks: tuple[Reading, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """What is read of a plan before the network is there that it was made for."""

    budget: Budget
    task: Task | None = None
    blocks: tuple[Reading, ...] = ()


def write_plan(path: Path, graph: DependencyGraph, plan: PruningPlan) -> None:
    """Write a plan as JSON."""
    document = _PlanFile(
        version=4 if plan.blocks else 2 if plan.task is None else 3,
        graph_digest=plan.graph_digest,
        criterion=plan.criterion,
        budget=plan.budget,
        compensation=plan.compensation,
        groups={
            group_id: _Group(
                producers=tuple(member.node for member in graph.groups[group_id].producers),
                keep=numbers,
                carriers=tuple(plan.carriers.get(group_id, ())),
            )
            for group_id, numbers in plan.keep.items()
        },
        layers={node: _Layer(keep=filters) for node, filters in kept_filters(graph, plan).items()},
        task=plan.task,
        blocks=plan.blocks,
    )
    written = asdict(document)
    if plan.task is None:
        del written["task"]
    if not plan.blocks:
        del written["blocks"]
    write_json(path, written)


def read_before(path: Path) -> Before:
    """What was done to a plan's network first; raises `PlanError` as `read_plan` does."""
    return read_document(path, Before, fault=PlanError)


def read_plan(path: Path, graph: DependencyGraph) -> PruningPlan:
    """Read a plan for a network; raises `PlanError` when it is malformed or of another network."""
    document = read_document(path, _PlanFile, fault=PlanError)
    plan = PruningPlan(
        graph_digest=document.graph_digest,
        criterion=document.criterion,
        budget=document.budget,
        keep={group_id: group.keep for group_id, group in document.groups.items()},
        compensation=document.compensation,
        carriers={
            group_id: group.carriers
            for group_id, group in document.groups.items()
            if group.carriers
        },
        task=document.task,
        blocks=document.blocks,
    )
    try:
        check_plan(graph, plan)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
    layers = {node: layer.keep for node, layer in document.layers.items()}
    if layers != kept_filters(graph, plan):
        raise PlanError(f"{path}: its 'layers' and its 'groups' contradict each other")
    return plan

"""A pruning plan: plain data that says which channels stay, and survives a trip through JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from yoloprune.errors import PlanError
from yoloprune.files import write_text
from yoloprune.pruning.groups import DependencyGraph

VERSION = 1

KeepIndices = tuple[int, ...]
"""Channel numbers of a group that stay, ascending."""


class Compensation(StrEnum):
    """What happens to the constants of removed channels (see `compensation.py`)."""

    NONE = "none"
    FOLD = "fold"
    CARRIER = "carrier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the slim network may cost; every limit that is given holds.

    Args:
        keep_macs: largest share of the dense network's MACs, in (0, 1].
        keep_params: largest share of its parameters.
        keep_channels: largest share of its convolutions' output channels.
        min_channels: fewest channels that a group keeps (or all it has, if it has fewer).
        multiple_of: channel counts of pruned layers are rounded up to multiples of this; a layer
            that it would leave uneven is not pruned.
        max_layer_cut: largest share of its channels that a group may lose, in [0, 1].
    """

    keep_macs: float | None = None
    keep_params: float | None = None
    keep_channels: float | None = None
    min_channels: int = 1
    multiple_of: int = 1
    max_layer_cut: float = 1.0

    def __post_init__(self) -> None:
        for name in ("keep_macs", "keep_params", "keep_channels"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 1:
                raise PlanError(f"{name}={value} must be in (0, 1]: it is the share that is kept")
        if self.min_channels < 1 or self.multiple_of < 1:
            raise PlanError("min_channels and multiple_of must be at least 1")
        if not 0 <= self.max_layer_cut <= 1:
            raise PlanError(f"max_layer_cut={self.max_layer_cut} must be in [0, 1]")

    @property
    def limits(self) -> dict[str, float]:
        """The shares that are limited, by the name of the cost they limit."""
        shares = {
            "macs": self.keep_macs,
            "params": self.keep_params,
            "channels": self.keep_channels,
        }
        return {name: share for name, share in shares.items() if share is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class PruningPlan:
    """Which channels of each prunable group stay, for the network with this digest.

    `keep` maps group ids to channel numbers; a group that is not named stays whole. `carriers` are
    the kept channels that, with carrier compensation, carry the constants of the removed ones.
    """

    spec_digest: str
    criterion: str
    budget: Budget
    keep: Mapping[int, KeepIndices]
    compensation: Compensation = Compensation.NONE
    carriers: Mapping[int, KeepIndices] = field(default_factory=dict)
    version: int = VERSION


def check_plan(graph: DependencyGraph, plan: PruningPlan) -> None:
    """Raise `PlanError` unless the plan fits the network."""
    digest = graph.spec.digest()
    if plan.spec_digest != digest:
        raise PlanError(
            f"the plan was made for another network (its digest starts with "
            f"{plan.spec_digest[:12]}, this network's with {digest[:12]})"
        )
    for group_id, numbers in plan.keep.items():
        if not 0 <= group_id < len(graph.groups):
            raise PlanError(f"the plan names group {group_id}; there are {len(graph.groups)}")
        group = graph.groups[group_id]
        where = f"group {group_id} (layers {[m.layer for m in group.producers]})"
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


def kept_filters(graph: DependencyGraph, plan: PruningPlan) -> dict[int, KeepIndices]:
    """Output channels that each convolution keeps, by layer index."""
    mask = graph.kept(plan.keep)
    outputs = graph.channels.outputs
    return {
        conv.index: tuple(np.flatnonzero(mask[outputs[conv.index]]).tolist())
        for conv in graph.spec.convs
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
    for conv in first_graph.spec.convs:
        survivors = np.array(kept_first[conv.index])[list(kept_second[conv.index])]
        gone = np.setdiff1d(np.arange(conv.filters), survivors)
        mask[first_graph.channels.outputs[conv.index][gone]] = False
    keep = {
        group.id: tuple(np.flatnonzero(mask[list(group.channels)]).tolist())
        for group in first_graph.prunable
    }
    composed = PruningPlan(
        spec_digest=first.spec_digest,
        criterion=f"{first.criterion}, {second.criterion}",
        budget=second.budget,
        keep=keep,
    )
    check_plan(first_graph, composed)
    return composed


def write_plan(path: Path, graph: DependencyGraph, plan: PruningPlan) -> None:
    """Write a plan as JSON; `layers` repeats it as kept output channels of each convolution."""
    document = {
        "version": plan.version,
        "spec_digest": plan.spec_digest,
        "criterion": plan.criterion,
        "budget": asdict(plan.budget),
        "compensation": plan.compensation.value,
        "groups": {
            str(group_id): {
                "producers": [member.layer for member in graph.groups[group_id].producers],
                "keep": list(numbers),
                "carriers": list(plan.carriers.get(group_id, ())),
            }
            for group_id, numbers in plan.keep.items()
        },
        "layers": {
            str(layer): {"keep": list(filters)}
            for layer, filters in kept_filters(graph, plan).items()
        },
    }
    write_text(path, json.dumps(document, indent=1) + "\n")


def read_plan(path: Path, graph: DependencyGraph) -> PruningPlan:
    """Read a plan for a network; raises `PlanError` when it is malformed or of another network."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot read the plan: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path}: this is not a plan: {error}") from error
    try:
        plan = _plan_from(document)
        layers = {int(k): tuple(map(index, v["keep"])) for k, v in document["layers"].items()}
        check_plan(graph, plan)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PlanError(f"{path}: this is not a plan: {error!r}") from error
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
    if layers != kept_filters(graph, plan):
        raise PlanError(f"{path}: its 'layers' and its 'groups' contradict each other")
    return plan


def _plan_from(document: Any) -> PruningPlan:
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']}, expected {VERSION}")
    known = {f.name for f in fields(Budget)}
    groups = document["groups"].items()
    return PruningPlan(
        spec_digest=str(document["spec_digest"]),
        criterion=str(document["criterion"]),
        budget=Budget(**{k: v for k, v in document["budget"].items() if k in known}),
        keep={int(k): tuple(map(index, v["keep"])) for k, v in groups},
        compensation=Compensation(document["compensation"]),
        carriers={int(k): tuple(map(index, v["carriers"])) for k, v in groups if v.get("carriers")},
    )

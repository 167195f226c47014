"""Weight masks: which single weights of each kernel stay, by their magnitude.

S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015. Biases
and batch norms are never masked.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import PlanError, UsageError
from yoloprune.graph.cost import cost
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.contractions import CONTRACTIONS
from yoloprune.graph.operators.operator import integer
from yoloprune.graph.shapes import facts
from yoloprune.pruning.choices import WeightScope

EXCLUSIONS = ("first", "heads")
"""What may be left dense: the first kernel, and the last ones before the network's outputs."""


class Pattern(StrEnum):
    """Which weights are removed together.

    `UNSTRUCTURED`: each by itself. `TWO_OF_FOUR`: of every four consecutive input channels the two
    smaller weights go, which GPUs have instructions for; a kernel whose groups read a number of
    channels that four does not divide stays dense. `ONE_BY_FOUR`: an input weight goes in four
    consecutive filters at once, so that each pixel that is loaded serves four filters.
    """

    UNSTRUCTURED = "unstructured"
    TWO_OF_FOUR = "2:4"
    ONE_BY_FOUR = "1x4"


TYPICAL, LEAST, POWERS = 0.9, 0.1, 16
"""The sparsity by which magnitude and time are weighed, the share of what is kept on average that
each kernel keeps then, and in how many steps they are weighed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """How masks are made.

    Args:
        sparsity: share of the weights to remove, in [0, 1), of the kernels that are neither
            excluded nor left dense by the pattern.
        scope: rank over the whole network, with or without regard to time, or in each kernel by
            itself.
        pattern: which weights go together; 2:4 is a half of each kernel by definition.
        exclude: names of `EXCLUSIONS`.
    """

    sparsity: float
    scope: WeightScope = WeightScope.GLOBAL
    pattern: Pattern = Pattern.UNSTRUCTURED
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise UsageError(
                f"`sparsity` {self.sparsity:g} must be in [0, 1): it is the fraction removed"
            )
        if self.pattern is Pattern.TWO_OF_FOUR and self.sparsity != 0.5:
            raise UsageError(
                f"pattern 2:4 removes exactly half: give a sparsity of 0.5, not {self.sparsity:g}"
            )
        unknown = [name for name in self.exclude if name not in EXCLUSIONS]
        if unknown:
            raise UsageError(
                f"`exclude` {unknown[0]!r} is unknown (known: {', '.join(EXCLUSIONS)})"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightMasks:
    """Which weights stay, for the graph with this digest.

    `kept` maps names of parameters, each a kernel, to bool tensors of their shapes; a kernel that
    is not named stays dense.
    """

    graph_digest: str
    settings: MaskSettings
    kept: Mapping[str, Tensor]

    def digest(self) -> str:
        """SHA-256 over the graph's digest and the masks."""
        digest = hashlib.sha256(self.graph_digest.encode())
        for name, mask in sorted(self.kept.items()):
            digest.update(f"{name} {tuple(mask.shape)} ".encode())
            digest.update(np.packbits(mask.numpy()).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Trained numbers that a contraction sums with; F / `groups` filters each read C / `groups`.

    `name` is that of the parameter, `node` that of the first node that reads it.
    """

    name: str
    node: str
    filters: int
    columns: int
    filter_axis: int
    groups: int


def kernels(graph: Graph) -> list[Kernel]:
    """The kernels of a graph in the order in which they are read; biases are none."""
    found: dict[str, Kernel] = {}
    for node in graph.nodes:
        name = _kernel_name(graph, node)
        if name is not None and name not in found:
            shape = graph.parameters[name].shape
            axis = _filter_axis(node)
            found[name] = Kernel(
                name=name,
                node=node.name,
                filters=shape[axis],
                columns=shape[1 - axis],
                filter_axis=axis,
                groups=integer(node, "group", 1),
            )
    return list(found.values())


def magnitude_masks(
    graph: Graph, parameters: Mapping[str, Tensor], settings: MaskSettings
) -> WeightMasks:
    """Masks that remove the weights of smallest magnitude; ties go by kernel, then by place.

    Weights that are zero already are the first to go and never stay, so masks of a higher sparsity
    include those of a lower one with the same settings. Raises `PlanError` where a kernel would
    lose all its weights or none has the pattern.
    """
    chosen = masked_kernels(graph, settings)
    # Filters first, so that a pattern means the same for every operator.
    values = {
        kernel.name: np.moveaxis(
            parameters[kernel.name].detach().abs().to("cpu", torch.float32).numpy(),
            kernel.filter_axis,
            0,
        )
        for kernel in chosen
    }
    if settings.pattern is Pattern.TWO_OF_FOUR:
        kept = {name: _two_of_four(kernel) for name, kernel in values.items()}
    else:
        together = 4 if settings.pattern is Pattern.ONE_BY_FOUR else 1
        scores = {name: _block_means(kernel, together) for name, kernel in values.items()}
        if settings.scope is WeightScope.TIME:
            scores = _by_time(scores, _uses(graph, chosen))
        kept = {
            name: np.repeat(mask, together, axis=0)[: len(values[name])]
            for name, mask in _largest(scores, settings).items()
        }
    for kernel in chosen:
        # What was zero before is named too: training would bring it back otherwise.
        kept[kernel.name] &= values[kernel.name] != 0
        if values[kernel.name].any() and not kept[kernel.name].any():
            raise PlanError(
                f"{kernel.node} would lose all its weights at sparsity {settings.sparsity:g}: "
                "choose a smaller `sparsity`, `scope` layer, or `exclude` it"
            )
    return WeightMasks(
        graph_digest=graph.digest(),
        settings=settings,
        kept={
            kernel.name: torch.from_numpy(
                np.ascontiguousarray(np.moveaxis(kept[kernel.name], 0, kernel.filter_axis))
            )
            for kernel in chosen
        },
    )


def masked_kernels(graph: Graph, settings: MaskSettings) -> list[Kernel]:
    """The kernels that masks with these settings name.

    Raises `UsageError` where `exclude` leaves none, `PlanError` where none can have the pattern.
    """
    allowed = _allowed(graph, settings)
    chosen = [kernel for kernel in allowed if _has_pattern(kernel, settings.pattern)]
    if not chosen:
        raise PlanError(
            f"no convolution can have the pattern {settings.pattern.value}: "
            "its channels do not come in fours; choose another `pattern`"
        )
    return chosen


def left_dense(graph: Graph, settings: MaskSettings) -> list[str]:
    """The nodes whose kernels are not excluded, but cannot have the pattern."""
    return [k.node for k in _allowed(graph, settings) if not _has_pattern(k, settings.pattern)]


def apply_masks(
    graph: Graph, parameters: Mapping[str, Tensor], masks: WeightMasks
) -> dict[str, Tensor]:
    """The parameters with the masked weights at zero, in new tensors where they are named.

    Raises `PlanError` for another network's masks.
    """
    check_masks(graph, masks)
    zeroed = {name: parameters[name].masked_fill(~mask, 0) for name, mask in masks.kept.items()}
    return {**parameters, **zeroed}


def kept_share(graph: Graph, parameters: Mapping[str, Tensor], settings: MaskSettings) -> float:
    """Share of the weights that are not zero, of those that masks with these settings name."""
    values = [parameters[kernel.name] for kernel in masked_kernels(graph, settings)]
    nonzero = sum(int(value.count_nonzero()) for value in values)
    return nonzero / sum(value.numel() for value in values)


def check_masks(graph: Graph, masks: WeightMasks) -> None:
    """Raise `PlanError` unless the masks are this network's."""
    digest = graph.digest()
    if masks.graph_digest != digest:
        raise PlanError(
            f"the masks were made for another network (its digest starts with "
            f"{masks.graph_digest[:12]}, this network's with {digest[:12]}; the input size counts)"
        )
    for name, mask in masks.kept.items():
        parameter = graph.parameters.get(name)
        expected = None if parameter is None else parameter.shape
        if tuple(mask.shape) != expected:
            raise PlanError(f"the mask of {name} is {tuple(mask.shape)}, not {expected}")


def _kernel_name(graph: Graph, node: Node) -> str | None:
    if node.operator not in CONTRACTIONS or len(node.inputs) < 2:
        return None
    parameter = graph.parameters.get(node.inputs[1])
    if parameter is None or "float" not in parameter.dtype or len(parameter.shape) < 2:
        return None
    return node.inputs[1]


def _filter_axis(node: Node) -> int:
    """Which axis of its kernel counts filters: of the first two, or of (..., K, N) the second."""
    match node.operator:
        case "Conv":
            return 0
        case "Gemm":
            return 0 if integer(node, "transB", 0) else 1
        case _:
            return 1


def _allowed(graph: Graph, settings: MaskSettings) -> list[Kernel]:
    """The kernels that are not excluded; raises `UsageError` where there are none."""
    every = kernels(graph)
    out = {every[0].name} if "first" in settings.exclude and every else set()
    if "heads" in settings.exclude:
        out |= _last(graph)
    allowed = [kernel for kernel in every if kernel.name not in out]
    if not allowed:
        why = f"`exclude` {','.join(settings.exclude)} leaves" if every else "the network has"
        raise UsageError(f"{why} no convolution")
    return allowed


def _last(graph: Graph) -> set[str]:
    """The kernels behind which no other is read on some way to an output."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    names, seen, last = list(graph.outputs), set(graph.outputs), set()
    while names:
        node = makers.get(names.pop())
        if node is None:
            continue
        kernel = _kernel_name(graph, node)
        if kernel is not None:
            last.add(kernel)
            continue
        new = set(node.inputs) - seen
        seen |= new
        names.extend(new)
    return last


def _has_pattern(kernel: Kernel, pattern: Pattern) -> bool:
    match pattern:
        case Pattern.TWO_OF_FOUR:
            return kernel.columns % 4 == 0
        case Pattern.ONE_BY_FOUR:
            # Filters of two groups read different channels: nothing is loaded for both.
            return kernel.groups == 1 or kernel.filters // kernel.groups % 4 == 0
        case Pattern.UNSTRUCTURED:
            return True


def _block_means(kernel: NDArray[np.float32], together: int) -> NDArray[Any]:
    """Mean magnitude over each `together` consecutive filters (of the rest, at the end)."""
    if together == 1:
        return kernel
    starts = np.arange(0, len(kernel), together)
    counts = np.diff([*starts, len(kernel)])
    sums = np.add.reduceat(kernel, starts, axis=0, dtype=np.float64)
    means: NDArray[Any] = sums / counts.reshape(-1, *(1,) * (kernel.ndim - 1))
    return means


def _largest(
    scores: Mapping[str, NDArray[Any]], settings: MaskSettings
) -> dict[str, NDArray[np.bool_]]:
    """Masks of what stays, each of its scores' shape."""
    if settings.scope is WeightScope.LAYER:
        return {
            name: _without_smallest(values.reshape(-1), settings.sparsity).reshape(values.shape)
            for name, values in scores.items()
        }
    everything = np.concatenate([values.reshape(-1) for values in scores.values()])
    stays = _without_smallest(everything, settings.sparsity)
    ends = np.cumsum([values.size for values in scores.values()])
    parts = np.split(stays, ends[:-1])
    return {
        name: part.reshape(values.shape)
        for (name, values), part in zip(scores.items(), parts, strict=True)
    }


def _uses(graph: Graph, chosen: Sequence[Kernel]) -> dict[str, float]:
    """How often each weight of a kernel is multiplied for one image."""
    macs = {node.name: node.macs for node in cost(graph, facts(graph).shapes).per_node}
    total = dict.fromkeys((kernel.name for kernel in chosen), 0)
    for node in graph.nodes:
        name = _kernel_name(graph, node)
        if name in total:
            total[name] += macs[node.name]
    return {name: n / math.prod(graph.parameters[name].shape) for name, n in total.items()}


def _by_time(
    scores: Mapping[str, NDArray[Any]], uses: Mapping[str, float]
) -> dict[str, NDArray[Any]]:
    """Scores that are lower where a zero saves more.

    Divided by the smallest power of the uses with which multiplications fall as far as weights do,
    or as far as they can if no kernel is to keep less than `LEAST` of what all do: at a sparsity of
    `TYPICAL`, and not at the one that is asked for, so that masks of a higher one include others.
    """
    settings = MaskSettings(sparsity=TYPICAL)
    best, least = dict(scores), math.inf
    dense = sum(values.size * uses[name] for name, values in scores.items())
    for number in range(POWERS + 1):
        weighed = {
            name: values / max(uses[name], 1.0) ** (number / POWERS)
            for name, values in scores.items()
        }
        kept = _largest(weighed, settings)
        left = sum(np.count_nonzero(mask) * uses[name] for name, mask in kept.items())
        balanced = min(mask.mean() for mask in kept.values()) >= LEAST * (1 - TYPICAL)
        if balanced and left < least:
            best, least = weighed, left
        if least <= (1 - TYPICAL) * dense:
            break
    return best


def _without_smallest(scores: NDArray[Any], share: float) -> NDArray[np.bool_]:
    """False for the smallest share of the scores, rounded down; of equal ones the first go."""
    # Plus a little: 0.07 x 100 is a hair under 7 in binary.
    count = math.floor(share * scores.size + 1e-6)
    if not count:
        return np.ones(scores.size, bool)
    threshold = np.partition(scores, count - 1)[count - 1]
    stays: NDArray[np.bool_] = scores >= threshold
    equal = np.flatnonzero(scores == threshold)
    stays[equal[: count - (scores.size - np.count_nonzero(stays))]] = False
    return stays


def _two_of_four(kernel: NDArray[np.float32]) -> NDArray[np.bool_]:
    filters, channels, *window = kernel.shape
    fours = kernel.reshape(filters, channels // 4, 4, *window)
    # Stable: of equal weights the first stay.
    order = np.argsort(-fours, axis=2, kind="stable")
    kept = np.zeros(fours.shape, bool)
    np.put_along_axis(kept, order[:, :, :2], True, axis=2)
    return kept.reshape(kernel.shape)

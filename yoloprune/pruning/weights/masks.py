"""Weight masks: which single weights of each convolution stay, by their magnitude.

S. Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015. Biases
and batch norms are never masked.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import PlanError, UsageError
from yoloprune.frontends.darknet.spec import Conv, NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import check_state, parameter_shapes
from yoloprune.pruning.choices import Scope

EXCLUSIONS = ("first", "heads")
"""What may be left dense: the first convolution, and those that heads read."""


class Pattern(StrEnum):
    """Which weights are removed together.

    `UNSTRUCTURED`: each by itself. `TWO_OF_FOUR`: of every four consecutive input channels the two
    smaller weights go, which GPUs have instructions for; a convolution whose groups read a number
    of channels that four does not divide stays dense. `ONE_BY_FOUR`: an input weight goes in four
    consecutive filters at once, so that each pixel that is loaded serves four filters.
    """

    UNSTRUCTURED = "unstructured"
    TWO_OF_FOUR = "2:4"
    ONE_BY_FOUR = "1x4"


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskSettings:
    """How masks are made.

    Args:
        sparsity: share of the weights to remove, in [0, 1), of the convolutions that are neither
            excluded nor left dense by the pattern.
        scope: rank over the whole network, or in each convolution by itself.
        pattern: which weights go together; 2:4 is a half of each convolution by definition.
        exclude: names of `EXCLUSIONS`.
    """

    sparsity: float
    scope: Scope = Scope.GLOBAL
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
    """Which weights stay, for the network with this digest.

    `kept` maps layer indices to bool tensors of the kernel's shape, (F, C/g, k, k); a convolution
    that is not named stays dense.
    """

    spec_digest: str
    settings: MaskSettings
    kept: Mapping[int, Tensor]

    def digest(self) -> str:
        """SHA-256 over the network's digest and the masks."""
        digest = hashlib.sha256(self.spec_digest.encode())
        for index, mask in sorted(self.kept.items()):
            digest.update(f"{index} {tuple(mask.shape)} ".encode())
            digest.update(np.packbits(mask.numpy()).tobytes())
        return digest.hexdigest()


def magnitude_masks(spec: NetworkSpec, state: State, settings: MaskSettings) -> WeightMasks:
    """Masks that remove the weights of smallest magnitude; ties go by layer, then by place.

    Weights that are zero already are the first to go and never stay, so masks of a higher sparsity
    include those of a lower one with the same settings. Raises `PlanError` where a convolution
    would lose all its weights or none has the pattern, `WeightsError` where the state does not fit.
    """
    check_state(spec, state)
    chosen = masked_convs(spec, settings)
    kernels = {
        conv.index: state[conv.index].kernel.detach().abs().to("cpu", torch.float32).numpy()
        for conv in chosen
    }
    if settings.pattern is Pattern.TWO_OF_FOUR:
        kept = {index: _two_of_four(kernel) for index, kernel in kernels.items()}
    else:
        together = 4 if settings.pattern is Pattern.ONE_BY_FOUR else 1
        scores = {index: _block_means(kernel, together) for index, kernel in kernels.items()}
        kept = {
            index: np.repeat(mask, together, axis=0)[: len(kernels[index])]
            for index, mask in _largest(scores, settings).items()
        }
    for conv in chosen:
        # What was zero before is named too: training would bring it back otherwise.
        kept[conv.index] &= kernels[conv.index] != 0
        if kernels[conv.index].any() and not kept[conv.index].any():
            raise PlanError(
                f"{conv.title} would lose all its weights at sparsity {settings.sparsity:g}: "
                "choose a smaller `sparsity`, `scope` layer, or `exclude` it"
            )
    return WeightMasks(
        spec_digest=spec.digest(),
        settings=settings,
        kept={index: torch.from_numpy(mask) for index, mask in kept.items()},
    )


def masked_convs(spec: NetworkSpec, settings: MaskSettings) -> list[Conv]:
    """The convolutions that masks with these settings name.

    Raises `UsageError` where `exclude` leaves none, `PlanError` where none can have the pattern.
    """
    out = _excluded(spec, settings.exclude)
    allowed = [conv for conv in spec.convs if conv.index not in out]
    if not allowed:
        raise UsageError(f"`exclude` {','.join(settings.exclude)} leaves no convolution")
    shapes = parameter_shapes(spec)
    chosen = [c for c in allowed if _has_pattern(c, shapes[c.index]["kernel"], settings.pattern)]
    if not chosen:
        raise PlanError(
            f"no convolution can have the pattern {settings.pattern.value}: "
            "its channels do not come in fours; choose another `pattern`"
        )
    return chosen


def left_dense(spec: NetworkSpec, settings: MaskSettings) -> list[Conv]:
    """The convolutions that the settings do not exclude, but that cannot have the pattern."""
    out = _excluded(spec, settings.exclude) | {c.index for c in masked_convs(spec, settings)}
    return [conv for conv in spec.convs if conv.index not in out]


def apply_masks(spec: NetworkSpec, state: State, masks: WeightMasks) -> dict[int, ConvParameters]:
    """The state with the masked weights at zero; raises `PlanError` for another network's masks."""
    check_masks(spec, masks)
    applied = dict(state)
    for index, mask in masks.kept.items():
        kernel = state[index].kernel.masked_fill(~mask, 0.0)
        applied[index] = replace(state[index], kernel=kernel)
    return applied


def kept_share(spec: NetworkSpec, state: State, settings: MaskSettings) -> float:
    """Share of the weights that are not zero, of those that masks with these settings name."""
    kernels = [state[conv.index].kernel for conv in masked_convs(spec, settings)]
    nonzero = sum(int(kernel.count_nonzero()) for kernel in kernels)
    return nonzero / sum(kernel.numel() for kernel in kernels)


def check_masks(spec: NetworkSpec, masks: WeightMasks) -> None:
    """Raise `PlanError` unless the masks are this network's."""
    digest = spec.digest()
    if masks.spec_digest != digest:
        raise PlanError(
            f"the masks were made for another network (its digest starts with "
            f"{masks.spec_digest[:12]}, this network's with {digest[:12]}; the input size counts)"
        )
    shapes = parameter_shapes(spec)
    for index, mask in masks.kept.items():
        expected = shapes[index]["kernel"] if index in shapes else None
        if tuple(mask.shape) != expected:
            raise PlanError(f"the mask of layer {index} is {tuple(mask.shape)}, not {expected}")


def _excluded(spec: NetworkSpec, names: Iterable[str]) -> set[int]:
    indices: set[int] = set()
    if "first" in names:
        indices.add(spec.convs[0].index)
    if "heads" in names:
        read = {source for head in spec.heads for source in head.sources}
        indices |= {i for i in read if i >= 0 and isinstance(spec.layers[i], Conv)}
    return indices


def _has_pattern(conv: Conv, shape: tuple[int, ...], pattern: Pattern) -> bool:
    match pattern:
        case Pattern.TWO_OF_FOUR:
            return shape[1] % 4 == 0
        case Pattern.ONE_BY_FOUR:
            # Filters of two groups read different channels: nothing is loaded for both.
            return conv.groups == 1 or conv.filters // conv.groups % 4 == 0
        case Pattern.UNSTRUCTURED:
            return True


def _block_means(kernel: NDArray[np.float32], together: int) -> NDArray[Any]:
    """Mean magnitude over each `together` consecutive filters (of the rest, at the end)."""
    if together == 1:
        return kernel
    starts = np.arange(0, len(kernel), together)
    counts = np.diff([*starts, len(kernel)])
    sums = np.add.reduceat(kernel, starts, axis=0, dtype=np.float64)
    means: NDArray[Any] = sums / counts[:, None, None, None]
    return means


def _largest(
    scores: Mapping[int, NDArray[Any]], settings: MaskSettings
) -> dict[int, NDArray[np.bool_]]:
    """Masks of what stays, each of its scores' shape."""
    if settings.scope is Scope.LAYER:
        return {
            index: _without_smallest(values.reshape(-1), settings.sparsity).reshape(values.shape)
            for index, values in scores.items()
        }
    everything = np.concatenate([values.reshape(-1) for values in scores.values()])
    stays = _without_smallest(everything, settings.sparsity)
    ends = np.cumsum([values.size for values in scores.values()])
    parts = np.split(stays, ends[:-1])
    return {
        index: part.reshape(values.shape)
        for (index, values), part in zip(scores.items(), parts, strict=True)
    }


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
    filters, channels, height, width = kernel.shape
    fours = kernel.reshape(filters, channels // 4, 4, height, width)
    # Stable: of equal weights the first stay.
    order = np.argsort(-fours, axis=2, kind="stable")
    kept = np.zeros(fours.shape, bool)
    np.put_along_axis(kept, order[:, :, :2], True, axis=2)
    return kept.reshape(kernel.shape)

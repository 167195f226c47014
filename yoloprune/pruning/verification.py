"""Proof that surgery kept its promise: slim and masked networks, run side by side in float64.

The masked network is the dense one with the removed channels silenced: their producers' filters and
batch norms are zero, and so are the kernel columns that read them. It has the dense network's shape
and needs no surgery, so it can be built and run by any program.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yoloprune.darknet.spec import Conv, Layer, NetworkSpec
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.errors import VerificationError, WeightsError
from yoloprune.model.network import Network, Transform
from yoloprune.pruning.channels import is_depthwise
from yoloprune.pruning.groups import DependencyGraph, analyse
from yoloprune.pruning.plan import PruningPlan, check_plan

TOLERANCE = 1e-12
"""Largest relative error in float64 that rounding in another order of summation explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How far one network's head maps are from another's.

    `relative_error` is the largest over the heads of max |a - b| / max |b|; `per_head` are those;
    `passed` says whether it is within `tolerance`.
    """

    max_abs_error: float
    relative_error: float
    per_head: tuple[float, ...]
    dtype: str
    tolerance: float
    passed: bool


def masked_state(spec: NetworkSpec, state: State, plan: PruningPlan) -> dict[int, ConvParameters]:
    """The dense state with the removed channels silenced, in new tensors where they differ."""
    graph = analyse(spec)
    check_plan(graph, plan)
    kept = graph.kept(plan.keep)
    return {
        conv.index: _masked_parameters(graph, kept, conv, state[conv.index]) for conv in spec.convs
    }


def _masked_parameters(
    graph: DependencyGraph, kept: np.ndarray, conv: Conv, parameters: ConvParameters
) -> ConvParameters:
    outputs = kept[graph.channels.outputs[conv.index]]
    inputs = kept[graph.channels.inputs[conv.index]]
    if outputs.all() and inputs.all():
        return parameters
    silent = torch.from_numpy(~outputs)
    tensors = {name: t.clone() for name, t in parameters.items()}
    for name in ("kernel", "bias", "scale"):
        if name in tensors:
            tensors[name][silent] = 0
    if not is_depthwise(conv, len(inputs)):
        for kernel, mask in zip(
            tensors["kernel"].chunk(conv.groups), np.split(~inputs, conv.groups), strict=True
        ):
            kernel[:, torch.from_numpy(mask)] = 0
    return ConvParameters(**tensors)


def random_images(spec: NetworkSpec, *, seed: int = 0) -> Tensor:
    """One image of uniform noise in [0, 1): (1, C, H, W) float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, *spec.input_shape, dtype=torch.float64, generator=generator)


def head_maps(
    spec: NetworkSpec, state: State, images: Tensor, transform: Transform | None = None
) -> tuple[Tensor, ...]:
    """Head maps of a state in the images' dtype; `transform` as in `Network.forward`."""
    cast = {
        index: ConvParameters(**{name: t.to(images.dtype) for name, t in p.items()})
        for index, p in state.items()
    }
    with torch.inference_mode():
        maps: tuple[Tensor, ...] = Network.from_state(spec, cast)(images, transform)
    return maps


def dense_maps(spec: NetworkSpec, state: State, images: Tensor) -> tuple[Tensor, ...]:
    """Head maps of a network that is to be pruned, in the images' dtype, float64.

    Raises `WeightsError` if they are not finite, or would not be in float32, as programs run it.
    """
    beyond: list[Layer] = []

    def note(layer: Layer, output: Tensor) -> Tensor:
        # A NaN compares as False.
        if not beyond and not bool(output.abs().amax() <= torch.finfo(torch.float32).max):
            beyond.append(layer)
        return output

    maps = head_maps(spec, state, images, note)
    # What is beyond float32 inside may still be finite at the heads, behind a logistic, say.
    if beyond and not all(
        m.isfinite().all() for m in (*maps, *head_maps(spec, state, images.float()))
    ):
        raise WeightsError(
            f"the dense network itself gives values that are not finite in float32, from "
            f"{beyond[0].title} on: its weights are damaged, or its training diverged"
        )
    return maps


def compare(
    candidate: tuple[Tensor, ...], reference: tuple[Tensor, ...], *, tolerance: float = TOLERANCE
) -> Verification:
    """Errors of head maps against reference maps; a map that is not finite never passes."""
    absolute = [(a - b).abs().max().item() for a, b in zip(candidate, reference, strict=True)]
    relative = []
    for error, b in zip(absolute, reference, strict=True):
        size = b.abs().max().item()
        relative.append(error if size == 0 else error / size)
    worst = float(np.max(relative))
    return Verification(
        max_abs_error=float(np.max(absolute)),
        relative_error=worst,
        per_head=tuple(relative),
        dtype=str(reference[0].dtype).removeprefix("torch."),
        tolerance=tolerance,
        passed=bool(worst <= tolerance),
    )


def require(verification: Verification, what: str) -> None:
    """Raise `VerificationError` unless the verification passed."""
    if not verification.passed:
        raise VerificationError(
            f"{what}: relative error {verification.relative_error:.3g} in {verification.dtype}, "
            f"allowed {verification.tolerance:g}: not the weights that the plan makes of the dense"
        )

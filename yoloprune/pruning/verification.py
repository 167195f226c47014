"""How far one network's outputs are from another's, and what networks are compared on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from yoloprune.errors import VerificationError
from yoloprune.graph.graph import Graph

TOLERANCE = 1e-12
"""Largest relative error in float64 that rounding in another order of summation explains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """How far one network's outputs are from another's.

    `relative_error` is the largest over the outputs of max |a - b| / max(|a|, |b|), which is 2 at
    most, whether or not the reference is next to nothing; `per_output` are those; `passed` says
    whether it is within `tolerance`.
    """

    max_abs_error: float
    relative_error: float
    per_output: tuple[float, ...]
    dtype: str
    tolerance: float
    passed: bool


def random_images(graph: Graph, *, seed: int = 0, batch: int = 1) -> dict[str, Tensor]:
    """Uniform noise in [0, 1) for everything that a graph is given, by name, float64.

    Sizes that may be any are those that the graph takes for them, or else `batch`. Where whole
    numbers are wanted, those of bytes are up to 255 and others 1.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, value in graph.inputs.items():
        shape = [
            graph.sizes.get(size, batch) if isinstance(size, str) else size for size in value.shape
        ]
        noise = torch.rand(shape, dtype=torch.float64, generator=generator)
        if value.dtype == "uint8":
            noise = (noise * 256).byte()
        elif value.dtype.startswith(("int", "uint", "bool")):
            noise = torch.ones(shape, dtype=getattr(torch, value.dtype))
        found[name] = noise
    return found


def at_once(graph: Graph) -> int | None:
    """How many images a network reads at once; None where it takes any number.

    Where shapes were observed, it takes as many as it was run with then.
    """
    for value in graph.inputs.values():
        first = value.shape[0] if value.shape else 1
        if not isinstance(first, str):
            return first
        if graph.observed:
            return graph.sizes.get(first, 1)
    return None


def batches(graph: Graph, inputs: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Inputs in parts that a network can read, in order; what is left over is not among them."""
    several = at_once(graph)
    if several is None or len(inputs) > 1:
        return [dict(inputs)]
    ((name, images),) = inputs.items()
    count = len(images) // several
    return [{name: images[i * several : (i + 1) * several]} for i in range(count)]


def compare(
    candidate: tuple[Tensor, ...], reference: tuple[Tensor, ...], *, tolerance: float = TOLERANCE
) -> Verification:
    """Errors of outputs against reference outputs; one that is not finite never passes."""
    absolute, relative = [], []
    for a, b in zip(candidate, reference, strict=True):
        error = _largest(a.double() - b.double()) if a.shape == b.shape else math.inf
        size = max(_largest(a.double()), _largest(b.double()))
        absolute.append(error)
        relative.append(error / size if size > 0 and math.isfinite(error) else error)
    worst = float(np.max(relative))
    return Verification(
        max_abs_error=float(np.max(absolute)),
        relative_error=worst,
        per_output=tuple(relative),
        dtype=str(reference[0].dtype).removeprefix("torch."),
        tolerance=tolerance,
        passed=bool(worst <= tolerance),
    )


def _largest(value: Tensor) -> float:
    return value.abs().max().item() if value.numel() else 0.0


def require(verification: Verification, what: str) -> None:
    """Raise `VerificationError` unless the verification passed."""
    if not verification.passed:
        raise VerificationError(
            f"{what}: relative error {verification.relative_error:.3g} in {verification.dtype}, "
            f"allowed {verification.tolerance:g}: the weights do not match the plan applied to the "
            "dense network"
        )

"""Whether an engine computes what torch computes on the CPU."""

from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.devices import AUTO
from yoloprune.engines.benchmark import sample_image
from yoloprune.engines.table import engine_named, run_in
from yoloprune.errors import VerificationError
from yoloprune.graph.model import Model

TOLERANCE = 1e-3
"""Largest relative error between float32 runtimes that sum in different orders and fuse layers."""

LEAST = 1e-3
"""Size of outputs under which errors are no longer relative to it: engines' logistic functions are
off by 1e-7, however small their value."""


def largest_difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Largest difference of outputs from those expected, each relative to its largest value.

    That is taken for no less than `LEAST`. Not a number where an output has one. Raises `KeyError`
    for an output that is not expected.
    """
    errors = [
        (theirs.cpu() - expected[name]).abs().max() / expected[name].abs().max().clamp(min=LEAST)
        for name, theirs in found.items()
    ]
    return float(torch.stack(errors).max())


def check_engine(model: Model, engine: str, device: str = AUTO) -> float:
    """How far an engine's outputs are from torch's on the CPU, on seeded noise.

    Raises `VerificationError` if that is more than `TOLERANCE`, and what `run_in` raises.
    """
    images = sample_image(model)
    found = run_in(model, engine, device=device)(images)
    error = largest_difference(found, run_in(model, device="cpu")(images))
    if not error <= TOLERANCE:
        raise VerificationError(
            f"{engine_named(engine).title} differs from torch by {error:.3g} of an output's "
            f"largest value (allowed {TOLERANCE:g})"
        )
    return error

"""Proof that surgery kept its promise: slim and masked networks, run side by side in float64.

Every value of the two is compared, not their outputs alone. On images some channels are silent, and
one of them in another's place would go unnoticed: so both networks are shaken alike, each channel
by a number of its own, wherever it is made or may fall silent.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.counting import counted
from yoloprune.errors import VerificationError, WeightsError
from yoloprune.execution.run import Change, Run, array_like
from yoloprune.graph.edits import Reading
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.labels.ids import Ids
from yoloprune.pruning.masked import silenced
from yoloprune.pruning.shake import Shake, compact, size_of
from yoloprune.pruning.verification import TOLERANCE

FAINTEST = 1e-3
"""Channels that are weaker than this fraction of a value's strongest are compared to that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exactness:
    """How far the slim network is from the masked one, over all values.

    `relative_error` is the largest over all channels of all values of max |slim - masked| / max
    |masked|, found in the value `worst`; `values` counts what was compared. Where they were
    compared `stepwise`, each was computed of what the masked network gave, so that rounding of
    many layers does not add up.
    """

    relative_error: float
    worst: str
    values: int
    tolerance: float
    stepwise: bool = False

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.relative_error <= self.tolerance

    @property
    def compared(self) -> str:
        """What was compared, and how, in words."""
        return counted(self.values, "value") + (", step by step" if self.stepwise else "")


def exactness(
    dependencies: DependencyGraph,
    parameters: Mapping[str, Tensor],
    kept: NDArray[np.bool_],
    slim: tuple[Graph, Mapping[str, Tensor]],
    inputs: Mapping[str, Tensor],
    *,
    muted: Collection[Reading] = (),
    seed: int = 0,
    tolerance: float = TOLERANCE,
) -> Exactness:
    """Compare a slim network with the dense one in which removed channels are not heard.

    `kept` is a mask over channel ids, `inputs` what both read, in float64 and on one device. Nor
    is heard what nodes read as `muted`.
    """
    masked = silenced(dependencies, parameters, kept, muted)
    shake = Shake(dependencies, kept, seed)
    errors = _errors(dependencies, kept, masked, slim, inputs, shake, most=tolerance)
    stepwise = not all(error <= tolerance for error in errors.values())
    if stepwise:
        # Shaken all the way, values grow from layer to layer, and their rounding with them: an
        # exponential makes much of it, or cannot take them at all, and where a mean is taken off
        # little else is left. A channel in another's place differs all the same, and at once.
        shake = Shake(dependencies, kept, seed, _sizes(masked, inputs))
        errors = _errors(dependencies, kept, masked, slim, inputs, shake)
    if not errors:
        return Exactness(relative_error=0.0, worst="", values=0, tolerance=tolerance)
    # Of several, the first that is not a number counts as the largest.
    worst = int(np.argmax([*errors.values()]))
    where = [*errors][worst]
    return Exactness(
        relative_error=errors[where],
        worst=where,
        values=len(errors),
        tolerance=tolerance,
        stepwise=stepwise,
    )


def _errors(
    dependencies: DependencyGraph,
    kept: NDArray[np.bool_],
    masked: tuple[Graph, Mapping[str, Tensor]],
    slim: tuple[Graph, Mapping[str, Tensor]],
    inputs: Mapping[str, Tensor],
    shake: Shake,
    most: float = math.inf,
) -> dict[str, float]:
    """The largest error of each value that both networks have, up to the first above `most`."""
    # Either has values that the other has not: products with masks, gathers for chains of moves.
    common = {name for node in dependencies.graph.nodes for name in node.outputs}
    common &= {name for node in slim[0].nodes for name in node.outputs}
    errors: dict[str, float] = {}
    labels = dependencies.labels
    pairs = zip(
        _of(common, computed(*masked, inputs, shake.dense)),
        _of(common, computed(*slim, inputs, shake.slim)),
        strict=True,
    )
    for (name, reference), (own, value) in pairs:
        assert own == name
        value = shake.own.get(name, value)
        ids = labels.values.get(name)
        if ids is not None and reference.dim() != ids.ndim:
            raise VerificationError(
                f"{name} has {reference.dim()} axes, of which {ids.ndim} were expected: this is a "
                "fault of yoloprune or of a damaged file"
            )
        if ids is not None and value.is_floating_point():
            left = compact(reference, kept[ids], labels.lines.get(name))
            errors[name] = _error(value, left, ids, final=name in dependencies.graph.outputs)
        elif ids is not None:
            # Rounding may fall on either side where a number becomes a whole one: shapes alone.
            left = compact(reference, kept[ids], labels.lines.get(name))
            if left.shape != value.shape:
                errors[name] = math.inf
        if not errors.get(name, 0.0) <= most:
            break
    return errors


def _sizes(
    network: tuple[Graph, Mapping[str, Tensor]], inputs: Mapping[str, Tensor]
) -> dict[str, float]:
    """The largest number that each node gives first, by node, in a network that is not shaken."""
    sizes: dict[str, float] = {}

    def watch(node: Node, _: Sequence[Tensor | None], given: Sequence[Tensor]) -> Sequence[Tensor]:
        if given[0].is_floating_point():
            sizes[node.name] = size_of(given[0])
        return given

    for _ in computed(*network, inputs, watch):
        pass
    return sizes


def _of(names: set[str], values: Iterator[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    return (pair for pair in values if pair[0] in names)


def require(found: Exactness) -> None:
    """Raise `VerificationError` unless the slim network is exact."""
    if not found.passed:
        raise VerificationError(
            f"slim against masked dense: relative error {found.relative_error:.3g} in float64 at "
            f"{found.worst}, allowed {found.tolerance:g}"
        )


def computed(
    graph: Graph,
    parameters: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    change: Change | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Every value that a graph computes, in order, in the inputs' dtype and on their device.

    `change(node, read, outputs)` gives what stands in for a node's outputs, where that is wanted.
    What an operator gives that is not known is noise, the same each time: it reads no channel that
    may go. Parameters are converted as they are read; a value is let go after its last reader.
    """
    real = (value for value in inputs.values() if value.is_floating_point())
    like = next(real, next(iter(inputs.values())).double())
    run = Run(graph, array_like(graph, parameters, like), {**stand_ins(graph, like), **inputs})
    for node in graph.nodes:
        if node.operator not in OPERATORS:
            continue
        with torch.inference_mode():
            given = run.step(node, change)
        yield from ((n, value) for n, value in zip(node.outputs, given, strict=False) if n)


def stand_ins(graph: Graph, like: Tensor) -> dict[str, Tensor]:
    """Noise for everything that operators give that are not known, of the shapes observed."""
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(graph.observed[name], dtype=torch.float64, generator=generator).to(like)
        for node in graph.nodes
        if node.operator not in OPERATORS
        for name in filter(None, node.outputs)
    }


def outputs(
    graph: Graph,
    parameters: Mapping[str, Tensor],
    inputs: Mapping[str, Tensor],
    change: Change | None = None,
) -> tuple[Tensor, ...]:
    """What a network gives, in the order of the graph's outputs and in the inputs' dtype.

    `change` as in `computed`.
    """
    given = {
        name: value
        for name, value in computed(graph, parameters, inputs, change)
        if name in graph.outputs
    }
    given = {**stand_ins(graph, next(iter(inputs.values()))), **inputs, **given}
    return tuple(given[name] for name in graph.outputs if name in given)


def dense_outputs(
    graph: Graph, parameters: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> tuple[Tensor, ...]:
    """What a network that is to be pruned gives, in float32, as programs run it.

    Raises `WeightsError` if that is not finite.
    """
    beyond = ""

    def watch(node: Node, _: Sequence[Tensor | None], given: Sequence[Tensor]) -> Sequence[Tensor]:
        nonlocal beyond
        value = given[0]
        if not beyond and value.is_floating_point() and not value.sum().isfinite():
            beyond = "" if value.isfinite().all() else node.name
        return given

    dense = outputs(graph, parameters, single(inputs), watch)
    # What is not finite inside may still be finite at the outputs, behind a logistic, say.
    if not all(value.isfinite().all() for value in dense if value.is_floating_point()):
        raise WeightsError(
            f"the dense network itself gives values that are not finite in float32, from {beyond} "
            "on: its weights are damaged, or its training diverged"
        )
    return dense


def single(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inputs with their real numbers in float32."""
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in inputs.items()
    }


def _error(slim: Tensor, masked: Tensor, ids: Ids, *, final: bool) -> float:
    """The largest error over channels, relative to what the masked network has there.

    What is infinite or no number in both is equal, unless it is `final`: there it proves nothing.
    """
    if slim.shape != masked.shape:
        return float("inf")
    if not slim.numel():
        return 0.0
    axes = [axis for axis in range(slim.ndim) if ids.shape[axis] == 1 or slim.shape[axis] == 1]
    size, error = (_largest(value, axes) for value in (masked, slim - masked))
    if not error.isfinite().all():
        same = slim == masked
        if not final:
            same |= slim.isnan() & masked.isnan()
        gone = torch.where(same, 0.0, slim - masked)
        size, error = (_largest(v, axes) for v in (masked.nan_to_num(posinf=0, neginf=0), gone))
    scale = torch.clamp(size, min=FAINTEST * float(size.max()))
    return float(torch.where(error == 0, error, error / scale).max())


def _largest(value: Tensor, axes: list[int]) -> Tensor:
    """The largest absolute value along axes."""
    # An axis of one is dropped beforehand: over that alone torch takes many times as long.
    wide = [axis for axis in axes if value.shape[axis] > 1]
    return value.abs().amax(wide) if wide else value.abs()

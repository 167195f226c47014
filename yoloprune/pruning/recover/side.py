"""One slim layer beside the dense one: what it is fitted to, and its fit.

Many images come in batches, each of them run through both networks anew. What was gathered of a
layer in those before is added to what is gathered now, so that each fit is one to all images seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from yoloprune.execution.stream import Stream, Stretch
from yoloprune.pruning.layers import Arrays, Layer
from yoloprune.pruning.recover.layer import (
    RIDGE,
    ChannelSums,
    as_matrix,
    channel_sums,
    fit_kernel,
    held_out_ridge,
    recalibrated,
)
from yoloprune.pruning.recover.moments import (
    Moments,
    Positions,
    gather_parts,
    joined,
    patches,
    positions_per_image,
    random_positions,
    toward,
    values_at,
    windows_of,
)
from yoloprune.pruning.recover.ways import Ahead

SCARCE_RIDGE = 10.0
"""How many times larger the ridge is where samples are fewer than unknowns."""

STEPS = 1
"""Times that a fitted kernel is fitted again through what bends on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFit:
    """How far a layer's output was from the dense one's on the samples it was fitted to.

    Root of the sum of squared differences, relative to the dense output's variation. `before`: with
    the kernel that surgery left, on the input as it was then; `after`: with the fitted one, before
    it is fitted through what bends on its way. Fewer
    `samples` than `unknowns` (a filter's weights) do not determine a kernel: it stays near the old
    one, and `images_needed` says how many images would do. `ridge` is what held it there.
    """

    before: float
    after: float
    samples: int
    unknowns: int
    images_needed: int
    ridge: float = RIDGE

    @property
    def scarce(self) -> bool:
        """Whether the images were too few."""
        return self.samples < self.unknowns


@dataclass(slots=True, kw_only=True, eq=False)
class Gathered:
    """What was gathered of a layer in the batches so far.

    `halves` of the images; in each step through what bends, the outputs that were wanted instead;
    of recalibration, what dense and slim channels gave.
    """

    halves: Sequence[Moments] = ()
    bent: dict[int, Moments] = field(default_factory=dict)
    given: Sequence[ChannelSums] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taken:
    """Samples of a chunk: their places, the dense outputs, and what another branch lacks there."""

    positions: Positions
    wanted: Tensor
    error: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One slim layer beside the dense one, each at the beginning of a stretch of nodes.

    `kept` are the dense filters that it has; `held` (F,) of these carry a constant and are not to
    be fitted.
    """

    dense: Stream
    slim: Stream
    part: Stretch
    cut: Stretch
    dense_layer: Layer
    layer: Layer
    kept: Tensor
    held: Tensor
    ahead: Ahead

    def inputs(self, chunk: int, positions: Positions) -> Tensor:
        """What the slim layer reads at some places."""
        return patches(self.slim.value(self.layer.source, chunk), self.layer, positions)

    def other_error(self, chunk: int, positions: Positions) -> Tensor | None:
        """What the slim network's other branch lacks where the layer's output is added to it.

        None without such a sum, or where that branch is computed later.
        """
        name = self.ahead.way.other
        if name is None:
            return None
        wanted, given = self.dense.known(name, chunk), self.slim.known(name, chunk)
        if wanted is None or given is None:
            return None
        wanted = wanted.index_select(self.layer.channel_axis, self.kept.to(wanted.device))
        return values_at(wanted - given, self.layer, positions)

    def again(self, taken: Sequence[_Taken], weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """The samples, with what would make up for what weights (g, F / g, d) are off by."""
        for chunk, own in enumerate(taken):
            u = self.inputs(chunk, own.positions)
            error = torch.zeros_like(own.wanted) if own.error is None else own.error
            yield u, self.ahead.target(own.wanted, error, u @ weights.mT)

    def dense_mean(self) -> Tensor | None:
        """The mean that the dense batch norm takes off `wanted`, where there is one."""
        norm = self.dense_layer.norm
        return None if norm is None else self.dense.array(norm.mean)[self.kept].double()

    def wanted(self) -> Iterator[Tensor]:
        """The dense outputs that it should give, by chunk; the dense network goes on meanwhile."""
        for chunk in range(self.dense.chunks):
            given = _given(self.dense, self.part, self.dense_layer, chunk)
            yield given.index_select(self.layer.channel_axis, self.kept.to(given.device))
            self.dense.run(self.part[1:], chunk)


def _given(stream: Stream, part: Stretch, layer: Layer, chunk: int) -> Tensor:
    """What a layer gives before batch norm, with its bias."""
    given = stream.run(part[:1], chunk)
    assert given is not None
    if layer.bias is not None and layer.output != layer.node.outputs[0]:
        given = given + stream.array(layer.bias)
    return given


def fit_side(
    side: Side,
    parameters: Arrays,
    ridge: float | None,
    images: int,
    generator: torch.Generator,
    past: Gathered,
) -> tuple[dict[str, Tensor], LayerFit]:
    """A layer's new arrays, and how well they fit; both networks go on to its stretch's end.

    `images` are those of all batches; what is gathered is added to the `past`.
    """
    layer = side.layer
    count = positions_per_image(layer, images)
    taken: list[_Taken] = []

    def samples() -> Iterator[tuple[Tensor, Tensor]]:
        for chunk, wanted in enumerate(side.wanted()):
            sizes = windows_of(layer).sizes
            positions = random_positions(len(wanted), sizes, count, generator)
            y, error = values_at(wanted, layer, positions), side.other_error(chunk, positions)
            u = side.inputs(chunk, positions)
            taken.append(_Taken(positions=positions, wanted=y, error=error))
            if error is not None:
                y = side.ahead.target(y, error)
            # The samples of an image lie together.
            middle = len(wanted) // 2 * count
            if middle:
                yield u[:, :middle], y[:, :middle]
            yield u[:, middle:], y[:, middle:]

    halves = gather_parts(layer, samples(), 2)
    if past.halves:
        halves = [joined(own) for own in zip(past.halves, halves, strict=True)]
    past.halves = halves
    moments = joined(halves)
    unknowns = moments.gram.shape[-1]
    arrays = {name: tensor.to(moments.gram.device) for name, tensor in _arrays(layer, parameters)}
    mean = side.dense_mean()
    if ridge is None and all(half.count for half in halves):
        ridge = held_out_ridge(halves, layer, arrays, mean, side.held)
    else:
        ridge = (ridge or RIDGE) * (SCARCE_RIDGE if moments.count < unknowns else 1)
    fitted = fit_kernel(moments, layer, arrays, ridge, mean, side.held)
    for step in range(STEPS if side.ahead.way.bends else 0):
        weights = as_matrix(layer, {**arrays, **fitted.arrays}, mean)
        closer = toward(moments, side.again(taken, weights), past.bent.get(step))
        # The matrix of what is read is that of both halves.
        past.bent[step] = replace(closer, gram=closer.gram[:, :0, :0])
        found = fit_kernel(closer, layer, arrays, ridge, mean, side.held)
        fitted = replace(fitted, arrays=found.arrays)
    side.slim.load(fitted.arrays)
    for chunk in range(side.slim.chunks):
        side.slim.run(side.cut, chunk)
    fit = LayerFit(
        before=fitted.before,
        after=fitted.after,
        samples=moments.count,
        unknowns=unknowns,
        images_needed=-(-unknowns // count),
        ridge=ridge,
    )
    return fitted.arrays, fit


def recalibrate_side(side: Side, parameters: Arrays, past: Gathered) -> dict[str, Tensor]:
    """A layer's new batch-norm statistics; both networks go on to its stretch's end."""
    layer, dense_mean = side.layer, side.dense_mean()
    given = (_given(side.slim, side.cut, layer, n) for n in range(side.slim.chunks))
    sums = [channel_sums(side.wanted()), channel_sums(given)]
    if past.given:
        sums = [a + b for a, b in zip(past.given, sums, strict=True)]
    past.given = sums
    wanted, own = (each.statistics() for each in sums)
    assert dense_mean is not None
    arrays = {name: tensor.to(dense_mean.device) for name, tensor in _arrays(layer, parameters)}
    new = recalibrated(layer, arrays, dense_mean, wanted, own)
    side.slim.load(new)
    for chunk in range(side.slim.chunks):
        side.slim.run(side.cut[1:], chunk)
    return new


def _arrays(layer: Layer, parameters: Arrays) -> Iterator[tuple[str, Tensor]]:
    """A layer's own arrays."""
    names = [layer.kernel, layer.bias]
    if layer.norm is not None:
        names += [layer.norm.mean, layer.norm.variance]
    return ((name, parameters[name]) for name in names if name is not None)

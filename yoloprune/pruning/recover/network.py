"""Recovery without training: the slim network fitted to the dense one, layer by layer.

Surgery leaves every consumer with the kernels that it had, although a part of what they read is
gone. Here each layer, in forward order, gets the kernel that comes closest, in least squares, to
what the dense network's layer gives before batch norm, from the slim network's own input: so later
layers make up for what earlier ones could not. Where another branch is added, a layer makes up for
that one too, and then it is fitted through the activation on its way (`ways`). It takes a few
images without labels, and no gradients of the network. A ridge draws each kernel towards the one
that surgery left; the constant goes into the bias, or out of the batch norm's mean. Which layers
can be fitted, `layer.can_be_fitted` says: convolutions, and products with a kernel; what cannot
stays as surgery left it.

`Recovery.RECALIBRATE` is the cheap alternative: kernels stay, batch norms get the statistics under
which each channel has the mean and deviation that it had in the dense network.

Both networks run side by side, one layer over all images before the next (`execution.stream`), so
nothing is computed twice; `memory_needed` says beforehand what is held at most.

The idea for single layers: Y. He et al., "Channel Pruning for Accelerating Very Deep Neural
Networks", 2017.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch
from torch import Tensor

from yoloprune.errors import PlanError
from yoloprune.execution.stream import Stream, Stretch, chunked, held, stretches
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.compensation import carrier_mask
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.layers import Arrays, Layer, Layers, layers_of
from yoloprune.pruning.plan import PruningPlan, check_plan, kept_filters
from yoloprune.pruning.recover.layer import (
    RIDGE,
    as_matrix,
    can_be_fitted,
    channel_statistics,
    fit_kernel,
    held_out_ridge,
    recalibrated,
)
from yoloprune.pruning.recover.moments import (
    Positions,
    gather_parts,
    joined,
    patches,
    positions_per_image,
    random_positions,
    sample_bytes,
    toward,
    values_at,
    window_values,
    windows_of,
)
from yoloprune.pruning.recover.ways import Ahead, Way, ways_of
from yoloprune.reporter import SILENT, Reporter

SCARCE_RIDGE = 10.0
"""How many times larger the ridge is where samples are fewer than unknowns."""

STEPS = 1
"""Times that a fitted kernel is fitted again through what bends on its way."""

CHUNK = 8
"""Images that run through a layer at once."""


class Recovery(StrEnum):
    """What is changed in the slim network."""

    RECONSTRUCT = "reconstruct"
    """Kernels and constants."""
    RECALIBRATE = "recalibrate"
    """Batch-norm statistics."""


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recovered:
    """The recovered parameters and, of each layer that was fitted, by node, how well it went."""

    parameters: dict[str, Tensor]
    fits: Mapping[str, LayerFit]


def recover(
    dependencies: DependencyGraph,
    parameters: Arrays,
    plan: PruningPlan,
    slim: tuple[Graph, Arrays],
    images: Tensor,
    *,
    target: tuple[Graph, Arrays] | None = None,
    recovery: Recovery = Recovery.RECONSTRUCT,
    ridge: float | None = None,
    fixed: Collection[str] = (),
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Recovered:
    """Bring a slim network back towards the dense one that the plan was made for.

    `images` (B, C, H, W) are network inputs: everything is computed in their dtype and on their
    device. The same images and seed give the same parameters. Without a `ridge` each layer has the
    one with which a kernel that is fitted to half of the images is best on the others. Layers that
    are `fixed`, by their nodes, stay. Where the plan's network is what is left of a deeper one,
    that is the `target`, with the same names. Raises `PlanError` when the plan was made for another
    network, or there is no batch norm to recalibrate.
    """
    check_plan(dependencies, plan)
    target = (dependencies.graph, parameters) if target is None else target
    slim_graph, slim_parameters = slim
    layers, slim_layers = layers_of(dependencies), layers_of(analyze(slim_graph))
    ready = {
        name
        for name, layer in slim_layers.items()
        if name not in fixed
        and (can_be_fitted(layer) if recovery is Recovery.RECONSTRUCT else _can_calibrate(layer))
    }
    if recovery is Recovery.RECALIBRATE and not ready:
        raise PlanError(
            "no layer has batch norm, so there is nothing to recalibrate: re-fit instead"
        )
    kept = kept_filters(dependencies, plan)
    # A carrier gives a constant, which its consumers count on, and not what it gave before.
    carriers = carrier_mask(dependencies, plan, layers)
    whole = layers_of(analyze(target[0]))
    ways = _ways(target[0], slim_graph, whole, slim_layers)
    chunks = chunked(dependencies.graph, images, CHUNK)
    dense = Stream(*target, chunks)
    own = Stream(slim_graph, slim_parameters, chunks)
    generator = torch.Generator().manual_seed(seed)
    recovered, fits = dict(slim_parameters), {}
    parts = zip(stretches(target[0], ready), stretches(slim_graph, ready), strict=True)
    for part, cut in reporter.track(list(parts), "recovering"):
        if not cut or cut[0].name not in ready:
            for chunk in range(len(chunks)):
                dense.run(part, chunk)
                own.run(cut, chunk)
            continue
        name = cut[0].name
        own_kept = torch.tensor(kept[name])
        side = _Side(
            dense=dense,
            slim=own,
            part=part,
            cut=cut,
            dense_layer=whole[name],
            layer=slim_layers[name],
            kept=own_kept,
            held=torch.from_numpy(carriers[layers[name].contraction.filters][list(kept[name])]),
            ahead=Ahead(
                way=ways[name],
                graph=target[0],
                array=dense.array,
                layer=whole[name],
                kept=own_kept,
            ),
        )
        if recovery is Recovery.RECONSTRUCT:
            new, fits[name] = _fit(side, slim_parameters, ridge, generator)
        else:
            new = _recalibrate(side, slim_parameters)
        recovered |= {key: array.to(slim_parameters[key]) for key, array in new.items()}
    return Recovered(parameters=recovered, fits=fits)


def memory_needed(dependencies: DependencyGraph, slim: Graph, images: int) -> int:
    """Roughly the bytes that `recover` holds at most, in float32, beside the two networks."""
    layers = {
        name: layer for name, layer in layers_of(analyze(slim)).items() if can_be_fitted(layer)
    }
    at_once = min(images, CHUNK)
    both = (dependencies.graph, dependencies.labels.facts), (slim, facts(slim))
    dense, cut = (held(graph, known.shapes, stretches(graph, layers)) for graph, known in both)
    most = 0
    for part, a, b in zip(stretches(slim, layers), dense, cut, strict=True):
        bytes_held = 4 * images * (a.between + b.between)
        bytes_held += 4 * at_once * max(a.passing, b.passing)
        if part and part[0].name in layers:
            bytes_held += _work(layers[part[0].name], images, at_once)
        most = max(most, bytes_held)
    return most


def _work(layer: Layer, images: int, at_once: int) -> int:
    """Bytes that one layer's fit or calibration takes."""
    width = window_values(layer) + 1
    samples = at_once * positions_per_image(layer)
    # The Gram matrices of both halves and of all, the same with its ridge, its factor; and y^T u of
    # these with what is solved from it.
    fit = 8 * layer.groups * 5 * width**2 + 8 * 6 * layer.filters * width
    fit += samples * sample_bytes(layer)
    # What the dense layer gives in the places that were sampled, and what another branch lacks.
    fit += 16 * images * positions_per_image(layer) * layer.filters
    # For recalibration: all that the slim convolution gives, and a chunk of it in float64.
    size = math.prod(layer.after)
    return max(fit, 4 * images * size + 16 * at_once * size)


def _ways(dense: Graph, slim: Graph, whole: Layers, layers: Layers) -> dict[str, Way]:
    """The ways that layers have in both networks; where they differ, none."""
    known = ways_of(dense, facts(dense).shapes, [whole[name] for name in layers])
    found = ways_of(slim, facts(slim).shapes, layers.values())
    return {
        name: way if way.same(known[name]) else Way(output=way.output, end=way.output)
        for name, way in found.items()
    }


def _can_calibrate(layer: Layer) -> bool:
    return layer.own and layer.norm is not None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Taken:
    """Samples of a chunk: their places, the dense outputs, and what another branch lacks there."""

    positions: Positions
    wanted: Tensor
    error: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
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


def _fit(
    side: _Side, parameters: Arrays, ridge: float | None, generator: torch.Generator
) -> tuple[dict[str, Tensor], LayerFit]:
    layer = side.layer
    count = positions_per_image(layer)
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
    moments = joined(halves)
    unknowns = moments.gram.shape[-1]
    arrays = {name: tensor.to(moments.gram.device) for name, tensor in _arrays(layer, parameters)}
    mean = side.dense_mean()
    if ridge is None and all(half.count for half in halves):
        ridge = held_out_ridge(halves, layer, arrays, mean, side.held)
    else:
        ridge = (ridge or RIDGE) * (SCARCE_RIDGE if moments.count < unknowns else 1)
    fitted = fit_kernel(moments, layer, arrays, ridge, mean, side.held)
    for _ in range(STEPS if side.ahead.way.bends else 0):
        weights = as_matrix(layer, {**arrays, **fitted.arrays}, mean)
        closer = toward(moments, side.again(taken, weights))
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


def _recalibrate(side: _Side, parameters: Arrays) -> dict[str, Tensor]:
    layer, dense_mean = side.layer, side.dense_mean()
    wanted = channel_statistics(side.wanted())
    given = (_given(side.slim, side.cut, layer, n) for n in range(side.slim.chunks))
    own = channel_statistics(given)
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

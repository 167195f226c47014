"""Recovery without training: the slim network fitted to the dense one, layer by layer.

Surgery leaves every consumer with the kernels that it had, although a part of what they read is
gone. Here each convolution, in forward order, gets the kernel that comes closest, in least squares,
to what the dense network's convolution gives before batch norm, from the slim network's own input:
so later layers make up for what earlier ones could not. It takes a few images without labels, and
no gradients. A ridge draws each kernel towards the one that surgery left; the constant goes into
the bias, or out of the batch norm's mean.

`Recovery.RECALIBRATE` is the cheap alternative: kernels stay, batch norms get the statistics under
which each channel has the mean and deviation that it had in the dense network.

Both networks run side by side, one layer over all images before the next (`model.stream`), so
nothing is computed twice; `memory_needed` says beforehand what is held at most.

The idea for single layers: Y. He et al., "Channel Pruning for Accelerating Very Deep Neural
Networks", 2017.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from yoloprune.darknet.shapes import Shape, layer_shapes, source_shapes
from yoloprune.darknet.spec import Conv, NetworkSpec
from yoloprune.darknet.state import ConvParameters, State
from yoloprune.errors import PlanError
from yoloprune.model.network import Network
from yoloprune.model.stream import Stream, largest_outputs
from yoloprune.pruning.compensation import carrier_mask
from yoloprune.pruning.fitting import RIDGE, channel_statistics, fit_kernel, recalibrated
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import PruningPlan, check_plan, kept_filters
from yoloprune.pruning.statistics import (
    gather,
    patches,
    positions_per_image,
    random_positions,
    sample_bytes,
    values_at,
    window_values,
)
from yoloprune.reporter import SILENT, Reporter

SCARCE_RIDGE = 10.0
"""How many times larger the ridge is where samples are fewer than unknowns."""

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
    """How far a convolution's output was from the dense one's on the samples it was fitted to.

    Root of the sum of squared differences, relative to the dense output's variation. `before`: with
    the kernel that surgery left, on the input as it was then; `after`: with the fitted one. Fewer
    `samples` than `unknowns` (a filter's weights) do not determine a kernel: its ridge is larger,
    and `images_needed` says how many images would do.
    """

    before: float
    after: float
    samples: int
    unknowns: int
    images_needed: int

    @property
    def scarce(self) -> bool:
        """Whether the images were too few."""
        return self.samples < self.unknowns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recovered:
    """The recovered parameters and, of each convolution that was fitted, how well it went."""

    state: dict[int, ConvParameters]
    fits: Mapping[int, LayerFit]


def recover(
    spec: NetworkSpec,
    state: State,
    plan: PruningPlan,
    slim_spec: NetworkSpec,
    slim_state: State,
    images: Tensor,
    *,
    recovery: Recovery = Recovery.RECONSTRUCT,
    ridge: float = RIDGE,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> Recovered:
    """Bring a slim network back towards the dense one that the plan was made for.

    `images` (B, C, H, W) are network inputs in the states' dtype. The same images and seed give the
    same parameters. Raises `PlanError` when the plan was made for another network, or there is no
    batch norm to recalibrate.
    """
    if recovery is Recovery.RECALIBRATE and not any(conv.batch_normalize for conv in spec.convs):
        raise PlanError(
            "no layer has batch norm, so there is nothing to recalibrate: re-fit instead"
        )
    graph = analyse(spec)
    check_plan(graph, plan)
    kept = kept_filters(graph, plan)
    # A carrier gives a constant, which its consumers count on, and not what it gave before.
    carriers = carrier_mask(graph, plan)
    chunks = torch.split(images, CHUNK)
    dense = Stream(Network.from_state(spec, state), chunks)
    slim = Stream(Network.from_state(slim_spec, slim_state), chunks)
    shapes = layer_shapes(slim_spec)
    generator = torch.Generator().manual_seed(seed)
    recovered, fits = dict(slim_state), {}
    for layer in reporter.track(spec.layers, "recovering"):
        cut = slim_spec.layers[layer.index]
        if not isinstance(cut, Conv):
            for chunk in range(len(chunks)):
                dense.run(layer, chunk)
                slim.run(cut, chunk)
            continue
        own = list(kept[cut.index])
        side = _Side(
            dense=dense,
            slim=slim,
            conv=cut,
            kept=torch.tensor(own),
            held=torch.from_numpy(carriers[graph.channels.outputs[cut.index]][own]),
            dense_mean=state[cut.index].mean,
            in_channels=source_shapes(cut, slim_spec, shapes)[0][0],
            shape=shapes[cut.index],
        )
        if recovery is Recovery.RECONSTRUCT:
            new, fits[cut.index] = _fit(side, slim_state[cut.index], ridge, generator)
        else:
            new = _recalibrate(side, slim_state[cut.index])
        recovered[cut.index] = new
    return Recovered(state=recovered, fits=fits)


def memory_needed(spec: NetworkSpec, slim_spec: NetworkSpec, images: int) -> int:
    """Roughly the bytes that `recover` holds at most, in float32, beside the two networks."""
    dense_shapes, shapes = layer_shapes(spec), layer_shapes(slim_spec)
    held = [
        4 * images * (dense + slim)
        for dense, slim in zip(largest_outputs(spec), largest_outputs(slim_spec), strict=True)
    ]
    at_once = min(images, CHUNK)
    for conv in slim_spec.convs:
        in_channels, shape = source_shapes(conv, slim_spec, shapes)[0][0], shapes[conv.index]
        width = window_values(conv, in_channels) + 1
        samples = at_once * positions_per_image(conv, in_channels, shape, images)
        # The Gram matrix with its ridge, its factor, and y^T u with what is solved from it.
        fit = 8 * conv.groups * 3 * width**2 + 8 * 4 * conv.filters * width
        fit += samples * sample_bytes(conv, width)
        # For recalibration: all that the slim convolution gives, and a chunk of it in float64.
        statistics = 4 * images * math.prod(shape) + 16 * at_once * math.prod(shape)
        # The dense convolution's output before and after batch norm.
        before = 4 * 2 * at_once * math.prod(dense_shapes[conv.index])
        held[conv.index] += before + max(fit, statistics)
    return max(held)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Side:
    """One slim convolution beside the dense one; `kept` are the dense filters that it has.

    `held` (F,) of these carry a constant and are not to be fitted; `dense_mean` (F,) is the dense
    batch norm's mean, if there is one.
    """

    dense: Stream
    slim: Stream
    conv: Conv
    kept: Tensor
    held: Tensor
    dense_mean: Tensor | None
    in_channels: int
    shape: Shape

    def wanted_mean(self) -> Tensor | None:
        """The mean that the dense batch norm takes off `wanted`, where there is one."""
        return None if self.dense_mean is None else self.dense_mean[self.kept].double()

    def wanted(self) -> Iterator[Tensor]:
        """The dense outputs that it should give, by chunk; the dense network goes on meanwhile."""
        for chunk in range(self.dense.chunks):
            convolved = self.dense.convolve(self.conv, chunk)
            yield convolved[:, self.kept]
            self.dense.finish(self.conv, chunk, convolved)


def _fit(
    side: _Side, parameters: ConvParameters, ridge: float, generator: torch.Generator
) -> tuple[ConvParameters, LayerFit]:
    conv, shape = side.conv, side.shape
    count = positions_per_image(conv, side.in_channels, shape, side.slim.images)

    def samples() -> Iterator[tuple[Tensor, Tensor]]:
        for chunk, wanted in enumerate(side.wanted()):
            positions = random_positions(len(wanted), shape, count, generator)
            (inputs,) = side.slim.inputs(conv, chunk)
            yield patches(inputs, conv, positions), values_at(wanted, conv, positions)

    moments = gather(conv, side.in_channels, samples())
    unknowns = moments.gram.shape[-1]
    if moments.count < unknowns:
        ridge *= SCARCE_RIDGE
    fitted, before, after = fit_kernel(moments, parameters, ridge, side.wanted_mean(), side.held)
    side.slim.network.load({conv.index: fitted})
    for chunk in range(side.slim.chunks):
        side.slim.run(conv, chunk)
    fit = LayerFit(
        before=before,
        after=after,
        samples=moments.count,
        unknowns=unknowns,
        images_needed=-(-unknowns // count),
    )
    return fitted, fit


def _recalibrate(side: _Side, parameters: ConvParameters) -> ConvParameters:
    wanted = channel_statistics(side.wanted())
    convolved = [side.slim.convolve(side.conv, chunk) for chunk in range(side.slim.chunks)]
    if (dense_mean := side.wanted_mean()) is not None:
        own = channel_statistics(convolved)
        parameters = recalibrated(parameters, dense_mean, wanted, own)
        side.slim.network.load({side.conv.index: parameters})
    for chunk in range(side.slim.chunks):
        side.slim.finish(side.conv, chunk, convolved[chunk])
    return parameters

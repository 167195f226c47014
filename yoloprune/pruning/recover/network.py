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
nothing is computed twice. Where memory does not hold what all images give (`memory`), it holds the
second moments of all layers instead, and batches of images follow one another: in each, every layer
is fitted to the sums over this and those before. What was summed up first had gone through kernels
that were fitted to fewer images.

The idea for single layers: Y. He et al., "Channel Pruning for Accelerating Very Deep Neural
Networks", 2017.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from yoloprune.errors import PlanError
from yoloprune.execution.stream import Images, Stream, Stretch, batched, chunked, stretches
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.compensation import carrier_mask
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.layers import Arrays, Layer, Layers, layers_of
from yoloprune.pruning.plan import PruningPlan, check_plan, kept_filters
from yoloprune.pruning.recover.layer import can_be_fitted
from yoloprune.pruning.recover.memory import CHUNK, images_at_once
from yoloprune.pruning.recover.side import Gathered, LayerFit, Side, fit_side, recalibrate_side
from yoloprune.pruning.recover.ways import Ahead, Way, ways_of
from yoloprune.reporter import SILENT, Reporter


class Recovery(StrEnum):
    """What is changed in the slim network."""

    RECONSTRUCT = "reconstruct"
    """Kernels and constants."""
    RECALIBRATE = "recalibrate"
    """Batch-norm statistics."""


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
    images: Images,
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
    generator = torch.Generator().manual_seed(seed)
    recovered, fits = dict(slim_parameters), dict[str, LayerFit]()
    gathered: dict[str, Gathered] = {}
    parts = list(zip(stretches(target[0], ready), stretches(slim_graph, ready), strict=True))
    batches = batched(slim_graph, images, images_at_once(dependencies, slim_graph, len(images)))
    steps = _steps((target, slim), images, batches, parts)
    total = len(batches) * len(parts)
    for dense, own, part, cut, last in reporter.track(steps, "recovering", total=total):
        if not cut or cut[0].name not in ready:
            for chunk in range(own.chunks):
                dense.run(part, chunk)
                own.run(cut, chunk)
            continue
        name = cut[0].name
        own_kept = torch.tensor(kept[name])
        side = Side(
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
        past = gathered.pop(name, Gathered())
        if recovery is Recovery.RECONSTRUCT:
            new, fits[name] = fit_side(side, slim_parameters, ridge, len(images), generator, past)
        else:
            new = recalibrate_side(side, slim_parameters, past)
        if not last:
            gathered[name] = past
        recovered |= {key: array.to(slim_parameters[key]) for key, array in new.items()}
    return Recovered(parameters=recovered, fits=fits)


def _steps(
    networks: Sequence[tuple[Graph, Arrays]],
    images: Images,
    batches: Sequence[slice],
    parts: Sequence[tuple[Stretch, Stretch]],
) -> Iterator[tuple[Stream, Stream, Stretch, Stretch, bool]]:
    """The dense and the slim network and a stretch of each; whether the batch is the last.

    As each layer is fitted before it runs, a batch begins with what surgery left.
    """
    for batch in batches:
        chunks = chunked(networks[1][0], images[batch], CHUNK)
        dense, slim = (Stream(*network, chunks) for network in networks)
        del chunks  # Inputs go when both have read them.
        for part, cut in parts:
            yield dense, slim, part, cut, batch is batches[-1]


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

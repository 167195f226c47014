"""Networks without some of their residual blocks and branches."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.closing import is_plain, renamed, without_blocks
from yoloprune.frontends.darknet.document import DarknetDocument, layer_of
from yoloprune.frontends.darknet.spec import Shortcut
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.graph.edits import Reading, edit
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.depth import Block, blocks, check_readings, shortened
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prove import Exactness, exactness, require
from yoloprune.pruning.recover.errors import errors_of, outputs_on
from yoloprune.pruning.verification import batches

Target: TypeAlias = tuple[Graph, Mapping[str, Tensor]]
"""A network that another one is to come near to, by that one's names."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shortened:
    """A network without blocks, the one that it was, and the proof.

    `gone` are the contributions to sums of `before` that are not computed any more; `target` is
    that network too, by the names that nodes and parameters have in the shorter one.
    """

    before: Model
    network: Model
    gone: tuple[Reading, ...]
    target: Target
    proof: Exactness


def removable(network: Model) -> tuple[Block, ...]:
    """The blocks that can go, each alone or with others, in order.

    Of a sum that two branches meet in, the one that saves more. A Darknet shortcut with an
    activation of its own stays.
    """
    found: dict[str, Block] = {}
    for block in blocks(network.graph):
        other = found.get(block.name)
        if _can_go(network, block) and (other is None or other.macs < block.macs):
            found[block.name] = block
    return tuple(found.values())


def _can_go(network: Model, block: Block) -> bool:
    document = network.document
    if not isinstance(document, DarknetDocument):
        return True
    layer = document.spec.layers[layer_of(block.name)]
    return isinstance(layer, Shortcut) and is_plain(layer)


def without(network: Model, gone: Sequence[Reading]) -> tuple[Model, Target]:
    """A network without these contributions to sums, and itself by that one's names."""
    check_readings(network.graph, gone)
    if isinstance(network.document, DarknetDocument):
        short, number = without_blocks(network, {layer_of(name): n for name, n in gone})
        return short, renamed(network, number)
    short = network.edited(shortened(network.graph, gone))
    if isinstance(short.document, OnnxDocument):
        short = replace(short, document=replace(short.document, title=network.document.title))
    return short, (network.graph, network.parameters)


def shorten(network: Model, gone: Sequence[Reading], inputs: Mapping[str, Tensor]) -> Shortened:
    """Remove blocks, and prove on these inputs that the rest computes what it did beside zeros.

    Raises `PlanError` for sums that the network has not, `VerificationError` if anything differs.
    """
    short, target = without(network, gone)
    places = {node.name: number for number, node in enumerate(network.graph.nodes)}
    muted = [(target[0].nodes[places[name]].name, position) for name, position in gone]
    dependencies = analyze(target[0])
    kept, slim = dependencies.kept({}), (short.graph, short.parameters)
    found = [
        exactness(dependencies, target[1], kept, slim, part, muted=muted)
        for part in batches(target[0], inputs)
    ]
    worst = max(found, key=lambda each: each.relative_error)
    require(worst)
    return Shortened(before=network, network=short, gone=tuple(gone), target=target, proof=worst)


def errors_without(
    network: Model, candidates: Sequence[Sequence[Reading]], images: Tensor
) -> list[float]:
    """How far the outputs are from the network's own without each of these sets of blocks.

    The mean over outputs of what `errors_of` gives, on images (B, C, H, W), nothing re-fitted.
    """
    error = _error(network, images)
    return [error(gone) for gone in candidates]


def _error(network: Model, images: Tensor) -> Callable[[Sequence[Reading]], float]:
    """The same for one set of blocks after the other."""
    dense = network.graph, network.parameters
    with torch.inference_mode():
        wanted = outputs_on(images, dense)

    def error(gone: Sequence[Reading]) -> float:
        with torch.inference_mode():
            short = edit(*dense, shortened(network.graph, gone))
            errors = errors_of(outputs_on(images, short), wanted)
        return sum(errors) / len(errors)

    return error


def blocks_in_order(
    network: Model, images: Tensor, ms: Mapping[str, float] | None = None
) -> Iterator[Reading]:
    """The blocks, one by one: each time the one that costs the least error for what it saves.

    Errors are those at the outputs without it and those before, on images (B, C, H, W) and their
    device, for each of the MACs that go, or of the milliseconds, where those of nodes are known.
    They are taken to grow as others go, so that only what seemed the cheapest is looked at again.
    Raises `PlanError` where no block can go.
    """
    left = list(removable(network))
    if not left:
        raise PlanError(
            f"{network.document.title}: it has no residual block and no branch that can go"
        )
    error = _error(network, images)
    gone: list[Reading] = []
    costs: dict[Reading, float] = {}
    while left:
        weighed: set[Reading] = set()
        while True:
            best = min(left, key=lambda own: costs.get(own.reading, 0.0))
            if best.reading in weighed:
                break
            costs[best.reading] = error([*gone, best.reading]) / _saved(best, ms)
            weighed.add(best.reading)
        left.remove(best)
        gone.append(best.reading)
        yield best.reading


def block_order(
    network: Model, images: Tensor, count: int, ms: Mapping[str, float] | None = None
) -> tuple[Reading, ...]:
    """The first of `blocks_in_order`, so many at most; raises what that raises."""
    return tuple(islice(blocks_in_order(network, images, ms), count))


def _saved(block: Block, ms: Mapping[str, float] | None) -> float:
    """What goes with a block: MACs, or milliseconds."""
    if ms is None:
        return block.macs
    # Of a block without a convolution nothing was timed: it saves next to nothing.
    return max(sum(ms.get(node, 0.0) for node in block.nodes), 1e-9)

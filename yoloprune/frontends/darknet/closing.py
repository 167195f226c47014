"""Darknet networks without some of their heads or blocks, and without what only those read.

The sections behind those that go are numbered anew, and so is what refers to them.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from torch import Tensor

from yoloprune.errors import PlanError
from yoloprune.frontends.darknet.cfg import Option, Section
from yoloprune.frontends.darknet.document import darknet, model, state
from yoloprune.frontends.darknet.options import before_comment
from yoloprune.frontends.darknet.spec import (
    INPUT,
    AnyLayer,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    with_option,
)
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model

NOTHING: Mapping[int, int] = MappingProxyType({})


def without_heads(network: Model, heads: Collection[int]) -> tuple[Model, dict[int, int]]:
    """A Darknet network without these heads, and the new number of each layer that stays.

    Arrays are shared, not copied.
    """
    layers = darknet(network).spec.layers
    return _without(network, layers, _left(layers, _unread(layers) - set(heads)))


def without_blocks(network: Model, gone: Mapping[int, int]) -> tuple[Model, dict[int, int]]:
    """A Darknet network in whose shortcuts, by layer, one of two sources is not added any more.

    What only that needed goes, and the shortcut itself where the layer before it is now the one
    that is left; where it is not, a route to that stands in its place. Also the new number of each
    layer that stays. Raises `PlanError` for what is no plain sum of two.
    """
    before = darknet(network).spec.layers
    unread = _unread(before)
    layers = []
    for layer in before:
        if layer.index in gone:
            if not isinstance(layer, Shortcut) or not is_plain(layer):
                raise PlanError(f"layer {layer.index}: no plain shortcut from one layer")
            layer = _route(layer, layer.sources[1 - gone[layer.index]])
        layers.append(layer)
    kept = _left(layers, unread)
    needless = {
        layer.index: layer.sources[0]
        for layer in layers
        if layer.index in gone
        and layer.index in kept
        and not any(layer.sources[0] < index < layer.index for index in kept)
        and layer.index not in unread
        and layer.sources[0] != INPUT
    }
    return _without(network, layers, kept - needless.keys(), needless)


def is_plain(shortcut: Shortcut) -> bool:
    """Whether a shortcut gives the sum of two as it is."""
    return shortcut.activation == "linear" and len(shortcut.sources) == 2


def _route(shortcut: Shortcut, source: int) -> Route:
    """A route from one layer, in a shortcut's place."""
    option = Option(key="layers", value=str(source - shortcut.index if source >= 0 else source))
    section = Section(name="route", options=(option,))
    sources = (source,)
    return Route(index=shortcut.index, section=section, sources=sources, groups=1, group_id=0)


def _without(
    network: Model,
    layers: Sequence[AnyLayer],
    kept: Collection[int],
    stands: Mapping[int, int] = NOTHING,
) -> tuple[Model, dict[int, int]]:
    """The network of those of its layers that are kept, numbered anew.

    Who read one that `stands` for another reads that.
    """
    document = darknet(network)
    own = {index: new for new, index in enumerate(sorted(kept))}
    number = dict(own)
    for index, other in sorted(stands.items()):
        number[index] = number[other]
    arrays = {own[index]: a for index, a in state(network.parameters).items() if index in own}
    moved = tuple(_moved(layer, number) for layer in layers if layer.index in own)
    spec = replace(document.spec, layers=moved)
    return model(spec, arrays, title=document.title, names=document.names), own


def _unread(layers: Sequence[AnyLayer]) -> set[int]:
    """Layers that no other reads."""
    read = {source for layer in layers for source in layer.sources}
    return {layer.index for layer in layers} - read


def _left(layers: Sequence[AnyLayer], wanted: Collection[int]) -> set[int]:
    """What layers that are wanted need, themselves included."""
    kept = set(wanted)
    for layer in reversed(layers):
        if layer.index in kept:
            kept.update(layer.sources)
    return kept - {INPUT}


def renamed(network: Model, number: Mapping[int, int]) -> tuple[Graph, dict[str, Tensor]]:
    """A Darknet network's graph, in which layers have these numbers, and its arrays.

    Others are called `removed_...`.
    """

    def new(name: str) -> str:
        found = _NAME.match(name)
        if found is None:
            return name
        index = int(found[2])
        prefix = found[1] if index in number else f"removed_{found[1]}"
        return f"{prefix}{number.get(index, index)}{name[found.end() :]}"

    graph = network.graph
    nodes = (
        replace(
            node,
            name=new(node.name),
            inputs=tuple(map(new, node.inputs)),
            outputs=tuple(map(new, node.outputs)),
        )
        for node in graph.nodes
    )
    changed = replace(
        graph,
        nodes=tuple(nodes),
        parameters={new(name): own for name, own in graph.parameters.items()},
        constants={new(name): own for name, own in graph.constants.items()},
        outputs={new(name): own for name, own in graph.outputs.items()},
        blocks={new(name): own for name, own in graph.blocks.items()},
    )
    return changed, {new(name): array for name, array in network.parameters.items()}


_NAME = re.compile(r"(layer_|head_)(\d+)")


def _moved(layer: AnyLayer, number: Mapping[int, int]) -> AnyLayer:
    """A layer in its new place."""
    sources = tuple(number.get(source, INPUT) for source in layer.sources)
    own, options = number[layer.index], layer.section.options
    match layer:
        case Route():
            key = "layers"
        case Shortcut() | ScaleChannels() | Sam():
            key = "from"
        case _:
            key = ""
    for option in options:
        if option.key == key:
            before = [int(before_comment(text)) for text in option.value.split(",")]
            after = [_reference(text, layer.index, own, number) for text in before]
            if after != before:
                options = with_option(options, key, ",".join(map(str, after)))
    section = replace(layer.section, options=options)
    return replace(layer, index=own, sources=sources, section=section)


def _reference(before: int, index: int, own: int, number: Mapping[int, int]) -> int:
    """How a layer that had an `index` and has its `own` now refers to another."""
    return number[index + before] - own if before < 0 else number[before]

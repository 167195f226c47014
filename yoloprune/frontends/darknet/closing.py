"""Darknet networks without some of their heads, and without what only those read.

The sections behind those that go are numbered anew, and so is what refers to them.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from yoloprune.frontends.darknet.document import darknet, model, state
from yoloprune.frontends.darknet.options import before_comment
from yoloprune.frontends.darknet.spec import (
    INPUT,
    AnyLayer,
    NetworkSpec,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    with_option,
)
from yoloprune.graph.model import Model


def without_heads(network: Model, heads: Collection[int]) -> tuple[Model, dict[int, int]]:
    """A Darknet network without these heads, and the new number of each layer that stays.

    Arrays are shared, not copied.
    """
    document = darknet(network)
    number = _left(document.spec, heads)
    layers = tuple(_moved(layer, number) for layer in document.spec.layers if layer.index in number)
    arrays = {
        number[index]: own for index, own in state(network.parameters).items() if index in number
    }
    spec = replace(document.spec, layers=layers)
    made = model(spec, arrays, title=document.title, names=document.names)
    return made, number


def _left(spec: NetworkSpec, heads: Collection[int]) -> dict[int, int]:
    """New numbers of the layers that stay, by their old ones: what nobody read before is kept.

    No layer reads a head.
    """
    readers: dict[int, list[int]] = {}
    for layer in spec.layers:
        for source in layer.sources:
            readers.setdefault(source, []).append(layer.index)
    kept: set[int] = set()
    for layer in reversed(spec.layers):
        own = readers.get(layer.index, [])
        if (not own and layer.index not in heads) or any(reader in kept for reader in own):
            kept.add(layer.index)
    return {index: new for new, index in enumerate(sorted(kept))}


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

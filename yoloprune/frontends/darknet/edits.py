"""Edits of a graph as what they are in a cfg: fewer filters, groups, classes and anchors."""

from collections.abc import Sequence
from dataclasses import replace

from yoloprune.frontends.darknet.cfg import Option
from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.options import before_comment
from yoloprune.frontends.darknet.spec import (
    AnyHead,
    AnyLayer,
    Conv,
    Head,
    NetworkSpec,
    Region,
    resized,
    with_option,
)
from yoloprune.graph.edits import Edits


def applied(spec: NetworkSpec, edits: Edits) -> NetworkSpec:
    """The network whose graph is the edited one; every option that edits do not touch stays."""
    # The moves of a cfg (reorg, and parts of routes) leave rectangles: none becomes a gather.
    assert not edits.nodes, "a cfg has no section for other moves"
    outputs = {} if edits.task is None else edits.task.outputs

    def slim(layer: AnyLayer) -> AnyLayer:
        if isinstance(layer, Head):
            left = outputs.get(raw_map(layer))
            return layer if left is None else _narrowed(layer, left.kept)
        if not isinstance(layer, Conv):
            return layer
        node = f"layer_{layer.index}.conv"
        cut = edits.arrays.get((node, 1))
        filters = layer.filters if cut is None else cut.length(layer.filters)
        groups = edits.attributes.get(node, {}).get("group", layer.groups)
        assert isinstance(groups, int)
        if (filters, groups) == (layer.filters, layer.groups):
            return layer
        return resized(layer, filters=filters, groups=groups)

    return replace(spec, layers=tuple(slim(layer) for layer in spec.layers))


def _narrowed(head: AnyHead, kept: Sequence[int]) -> AnyHead:
    """A head that reads these of its channels: the same classes of each anchor that is left."""
    each = head.box_entries + head.classes
    anchors = sorted({entry // each for entry in kept})
    entries = [entry % each for entry in kept if entry // each == anchors[0]]
    classes = [entry - head.box_entries for entry in entries if entry >= head.box_entries]
    options = head.section.options
    if len(classes) < head.classes:
        options = with_option(options, "classes", str(len(classes)))
    for option in options:
        if option.key == "counters_per_class":
            options = with_option(options, option.key, _chosen(option.value, classes))
    if len(anchors) < len(head.anchors):
        options = _of_anchors(head, options, anchors)
    section = replace(head.section, options=options)
    pairs = tuple(head.anchors[number] for number in anchors)
    return replace(head, classes=len(classes), anchors=pairs, section=section)


def _of_anchors(
    head: AnyHead, options: tuple[Option, ...], anchors: Sequence[int]
) -> tuple[Option, ...]:
    """A head's options with these of its anchors: those in `mask`, or of a [region] all."""
    values = {option.key: option.value for option in options}
    if isinstance(head, Region):
        numbers = [place for number in anchors for place in (2 * number, 2 * number + 1)]
        options = with_option(options, "anchors", _chosen(values["anchors"], numbers))
        return with_option(options, "num", str(len(anchors)))
    mask = values.get("mask", ",".join(map(str, range(len(head.anchors)))))
    return with_option(options, "mask", _chosen(mask, anchors))


def _chosen(text: str, places: Sequence[int]) -> str:
    """Some of the items of a list."""
    items = [before_comment(item).strip() for item in text.split(",")]
    return ",".join(items[place] for place in places)

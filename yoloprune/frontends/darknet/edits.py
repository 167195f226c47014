"""Edits of a graph as what they are in a Darknet network: fewer filters, groups and classes."""

from collections.abc import Sequence
from dataclasses import replace

from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.spec import (
    AnyHead,
    AnyLayer,
    Conv,
    Head,
    NetworkSpec,
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
    """A head that reads these of its channels: the same classes of each anchor."""
    each = head.box_entries + head.classes
    classes = [entry - head.box_entries for entry in kept if head.box_entries <= entry < each]
    options = with_option(head.section.options, "classes", str(len(classes)))
    for option in options:
        if option.key == "counters_per_class":
            counters = [counter.strip() for counter in option.value.split(",")]
            text = ",".join(counters[number] for number in classes)
            options = with_option(options, option.key, text)
    section = replace(head.section, options=options)
    return replace(head, classes=len(classes), section=section)

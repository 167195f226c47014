"""Edits of a graph as what they are in a Darknet network: fewer filters, and fewer groups."""

from dataclasses import replace

from yoloprune.frontends.darknet.spec import AnyLayer, Conv, NetworkSpec, resized
from yoloprune.graph.edits import Edits


def applied(spec: NetworkSpec, edits: Edits) -> NetworkSpec:
    """The network whose graph is the edited one; every option that edits do not touch stays."""
    # The moves of a cfg (reorg, and parts of routes) leave rectangles: none becomes a gather.
    assert not edits.nodes, "a cfg has no section for other moves"

    def slim(layer: AnyLayer) -> AnyLayer:
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

"""What recovery holds at once, known beforehand, and how many images that allows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from yoloprune.execution.stream import fitting, held, stretches
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.layers import Layer, layers_of
from yoloprune.pruning.recover.layer import can_be_fitted
from yoloprune.pruning.recover.moments import positions_per_image, sample_bytes, window_values

CHUNK = 8
"""Images that run through a layer at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """Values that both networks hold, as `stream.Held`, and the layer that is fitted first."""

    between: int
    passing: int
    layer: Layer | None


def images_at_once(dependencies: DependencyGraph, slim: Graph, images: int) -> int:
    """How many of so many images `recover` runs through both networks at once."""
    parts = _stretches(dependencies, slim)
    return fitting(images, CHUNK, lambda batch: _needed(parts, batch, images))


def memory_needed(dependencies: DependencyGraph, slim: Graph, images: int) -> int:
    """Roughly the bytes that `recover` holds at most, in float32, beside the two networks."""
    parts = _stretches(dependencies, slim)
    return _needed(parts, images_at_once(dependencies, slim, images), images)


def _stretches(dependencies: DependencyGraph, slim: Graph) -> list[_Stretch]:
    layers = {
        name: layer for name, layer in layers_of(analyze(slim)).items() if can_be_fitted(layer)
    }
    both = (dependencies.graph, dependencies.labels.facts), (slim, facts(slim))
    dense, cut = (held(graph, known.shapes, stretches(graph, layers)) for graph, known in both)
    return [
        _Stretch(
            between=a.between + b.between,
            passing=max(a.passing, b.passing),
            layer=layers.get(part[0].name) if part else None,
        )
        for part, a, b in zip(stretches(slim, layers), dense, cut, strict=True)
    ]


def _needed(parts: Sequence[_Stretch], batch: int, images: int) -> int:
    at_once = min(batch, CHUNK)
    most = stored = 0
    for part in parts:
        bytes_held = 4 * batch * part.between + 4 * at_once * part.passing
        if part.layer is not None:
            bytes_held += _work(part.layer, batch, at_once, images)
            stored += _stored(part.layer)
        most = max(most, bytes_held)
    return most + (stored if batch < images else 0)


def _work(layer: Layer, batch: int, at_once: int, images: int) -> int:
    """Bytes that one layer's fit or calibration takes."""
    width, count = window_values(layer) + 1, positions_per_image(layer, images)
    # The Gram matrices of both halves and of all, the same with its ridge, its factor; and y^T u of
    # these with what is solved from it.
    fit = 8 * layer.groups * 5 * width**2 + 8 * 6 * layer.filters * width
    fit += at_once * count * sample_bytes(layer)
    # What the dense layer gives in the places that were sampled, and what another branch lacks.
    fit += 16 * batch * count * layer.filters
    # For recalibration: all that the slim convolution gives, and a chunk of it in float64.
    size = math.prod(layer.after)
    return max(fit, 4 * batch * size + 16 * at_once * size)


def _stored(layer: Layer) -> int:
    """Bytes of what was gathered of a layer, for the next batch."""
    width = window_values(layer) + 1
    return 8 * layer.groups * 2 * width**2 + 8 * 3 * layer.filters * width

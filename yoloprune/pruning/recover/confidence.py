"""Scores that keep their meaning: what a head is sure of, as sure as in the dense network.

Fitted by least squares, a slim network still ranks what it sees, but is less sure of all of it:
programs that drop what scores little then drop objects. So each row of a head that says whether
there is an object, or of which class it is, gets a slope and an offset: those by which its logits
are distributed as the dense network's on the same images. Quantiles are compared, not places, or
the line would draw towards the mean again; each counts by the probability that it stands for,
for it is the few sure places that are shown. Classes count by the objectness beside them, and
have one line a head, as few of them are seen often. Both are folded into kernel and bias: the
network stays what it is.

Which rows these are, the gradients of the scores tell: the last layers, on the way from which to
the outputs there is no other.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.execution.stream import arrays_like, chunked, computed, only_input
from yoloprune.graph.graph import Graph
from yoloprune.pruning.layers import Arrays, as_kernel, by_filter
from yoloprune.pruning.recover.score_rows import Scored, ScoreRows, score_rows
from yoloprune.pruning.verification import at_once

CHUNK = 8
"""Images at once."""

ASKED = 2
"""Images that tell which rows make scores."""

DOUBT = 5.0
"""Objects that a line weighs which changes nothing."""

SPREAD = 4.0
"""Variance of the logits of these."""

SLOPES = (0.5, 2.0)
"""Between which a slope may be."""

HALVINGS = 20
"""Of the range of slopes, to find one."""

UNHEARD = 1e-3
"""Objectness under which no class is compared."""

LEAST = -9.0
"""Logit under which no class is compared where there is no objectness."""

Floats: TypeAlias = NDArray[np.float64]

Sample: TypeAlias = tuple[Tensor, Tensor]
"""Logits (N,), or (N, C), and how much each counts (N,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a logit becomes: slope * logit + offset; `objects` are how many it was fitted to."""

    slope: float = 1.0
    offset: float = 0.0
    objects: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confidences:
    """The arrays that change, and the lines of each layer's rows, in order.

    Of a layer those of objectness, by anchor, or the one of all its classes, or both.
    """

    arrays: dict[str, Tensor] = field(default_factory=dict)
    lines: Mapping[str, tuple[Line, ...]] = field(default_factory=dict)


def with_confidences(
    dense: tuple[Graph, Arrays],
    slim: tuple[Graph, Arrays],
    images: Tensor,
    scored: Mapping[str, Scored],
) -> Confidences:
    """Lines by which a slim network's scores are distributed as the dense one's.

    `images` (B, C, H, W) are network inputs; `scored` are the outputs with scores, by name. Nothing
    changes where no row can be told from others.
    """
    several = at_once(slim[0]) or ASKED
    objectness, classes = score_rows(slim, images[:several], scored)
    names = {rows.value for rows in (*objectness, *classes)}
    wanted, given = (_values(network, images, names) for network in (dense, slim))
    arrays = dict(slim[1])
    lines: dict[str, tuple[Line, ...]] = {}
    beliefs: dict[str, tuple[Tensor, Tensor]] = {}
    for rows in objectness:
        ours, theirs = (_logits(rows, each[rows.value]) for each in (given, wanted))
        own = [
            _line(_seen(a), _seen(b)) for a, b in zip(ours.unbind(1), theirs.unbind(1), strict=True)
        ]
        beliefs[rows.value] = _moved(ours, own).sigmoid(), theirs.sigmoid()
        lines[rows.layer.name] = tuple(own)
        arrays |= _folded(rows, own, arrays)
    for rows in classes:
        ours, theirs = (_logits(rows, each[rows.value]) for each in (given, wanted))
        belief = beliefs.get(rows.value, _fitting(beliefs, ours))
        if rows.shares:
            line = _sharpened(*map(_places, (ours, theirs), belief))
        else:
            line = _line(*map(_of_all, (ours, theirs), belief))
        lines[rows.layer.name] = (*lines.get(rows.layer.name, ()), line)
        arrays |= _folded(rows, [line] * len(rows.filters), arrays)
    changed = {name: array for name, array in arrays.items() if array is not slim[1][name]}
    return Confidences(arrays=changed, lines=lines)


def _values(
    network: tuple[Graph, Arrays], images: Tensor, names: Collection[str]
) -> dict[str, Tensor]:
    graph, parameters = network
    arrays = arrays_like(graph, parameters, images)
    source = only_input(graph)
    with torch.no_grad():
        parts = [
            computed(graph, arrays, {source: chunk}, names)
            for chunk in chunked(graph, images, CHUNK)
        ]
    return {name: torch.cat([part[name] for part in parts]) for name in names}


def _logits(rows: ScoreRows, value: Tensor) -> Tensor:
    """(B, F, P): of the rows, at every place."""
    axis = rows.layer.channel_axis
    picked = value.movedim(axis, 1).flatten(2) if value.dim() > 2 else value[:, :, None]
    return picked.index_select(1, torch.tensor(rows.filters, device=value.device))


def _fitting(
    beliefs: Mapping[str, tuple[Tensor, Tensor]], logits: Tensor
) -> tuple[Tensor | None, Tensor | None]:
    """The one objectness (B, A, P) with as many places as classes have, slim and dense."""
    found = [
        pair
        for pair in beliefs.values()
        if pair[0].shape[2] == logits.shape[2] and logits.shape[1] % pair[0].shape[1] == 0
    ]
    return found[0] if len(found) == 1 else (None, None)


def _seen(logits: Tensor) -> Sample:
    logits = logits.flatten()
    return logits, torch.ones_like(logits)


def _places(logits: Tensor, belief: Tensor | None) -> Sample:
    """Logits (N, C) where there may be an object, and how probable it is (N,)."""
    if belief is None:
        each = logits.movedim(1, 2).flatten(0, 1)
        return each, torch.ones_like(each[:, 0])
    images, anchors, places = belief.shape
    each = logits.reshape(images, anchors, -1, places).movedim(2, 3)  # (B, A, P, C)
    there = belief > UNHEARD
    return each[there], belief[there]


def _of_all(logits: Tensor, belief: Tensor | None) -> Sample:
    """The logits of all classes, which count as far as there is an object."""
    if belief is None:
        return _seen(logits[logits > LEAST])
    each, weights = _places(logits, belief)
    return each.flatten(), weights[:, None].expand_as(each).flatten()


def _sharpened(slim: Sample, dense: Sample) -> Line:
    """The slope by which the likeliest class has, on average, the share that it has in another."""
    wanted, objects = _mean_share(*dense, 1.0), float(dense[1].sum())
    if objects < 1 or not len(slim[0]):
        return Line()
    low, high = SLOPES
    for _ in range(HALVINGS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _mean_share(*slim, middle) < wanted else (low, middle)
    return Line(slope=low ** (objects / (objects + DOUBT)), objects=objects)


def _mean_share(logits: Tensor, weights: Tensor, slope: float) -> float:
    shares = (slope * logits).softmax(dim=1).amax(dim=1)
    return float((weights * shares).sum() / weights.sum())


def _line(slim: Sample, dense: Sample) -> Line:
    """The line by which logits, counted by weights, are distributed as others.

    From the top, each of the dense network's is compared with the slim one's that has as much above
    it. With `turned` the line goes through 0.
    """
    ours, _, places = _ranked(*slim)
    theirs, weights, wanted = _ranked(*dense)
    if not len(ours) or not len(theirs):
        return Line()
    reached = wanted < places[-1]
    x, y = np.interp(wanted[reached], places, ours), theirs[reached]
    weights = weights[reached] / (1 + np.exp(-y))
    objects = float(weights.sum())
    if objects < 1:
        return Line()
    x_mean, y_mean = weights @ x / objects, weights @ y / objects
    shared = weights @ ((x - x_mean) * (y - y_mean)) + DOUBT * SPREAD
    slope = _bounded(shared / (weights @ np.square(x - x_mean) + DOUBT * SPREAD))
    reach = x_mean + objects / (objects + DOUBT) * (y_mean - x_mean)
    return Line(slope=slope, offset=float(reach - slope * x_mean), objects=objects)


def _bounded(slope: float) -> float:
    return float(min(max(slope, SLOPES[0]), SLOPES[1]))


def _ranked(logits: Tensor, weights: Tensor) -> tuple[Floats, Floats, Floats]:
    """Logits from the top, what each counts, and what all above it and half of it count."""
    values, order = logits.double().sort(descending=True)
    ranked = weights.double()[order]
    places = ranked.cumsum(0) - ranked / 2
    return values.numpy(force=True), ranked.numpy(force=True), places.numpy(force=True)


def _moved(logits: Tensor, lines: Sequence[Line]) -> Tensor:
    slopes, offsets = _columns(lines, logits)
    return slopes[:, None] * logits + offsets[:, None]


def _columns(lines: Sequence[Line], like: Tensor) -> tuple[Tensor, Tensor]:
    return like.new_tensor([o.slope for o in lines]), like.new_tensor([o.offset for o in lines])


def _folded(rows: ScoreRows, lines: Sequence[Line], arrays: Arrays) -> dict[str, Tensor]:
    """The arrays of a layer by which its rows give what the lines make of them."""
    layer = rows.layer
    of_rows = torch.zeros(layer.filters, dtype=torch.bool)
    of_rows[list(rows.filters)] = True
    slopes, offsets = torch.ones(layer.filters).double(), torch.zeros(layer.filters).double()
    slopes[of_rows], offsets[of_rows] = _columns(lines, slopes)
    if (norm := layer.norm) is not None:
        scale, bias = arrays[norm.scale], arrays[norm.bias]
        return {norm.scale: _by(scale, slopes), norm.bias: _by(bias, slopes, offsets)}
    assert layer.bias is not None
    filters = by_filter(layer, arrays[layer.kernel])
    turned = _by(filters, slopes.reshape(-1, *[1] * (filters.dim() - 1)))
    return {
        layer.kernel: as_kernel(layer, turned),
        layer.bias: _by(arrays[layer.bias], slopes, offsets),
    }


def _by(array: Tensor, slopes: Tensor, offsets: Tensor | None = None) -> Tensor:
    slopes = slopes.to(array.device)
    if offsets is not None:
        slopes, offsets = slopes.reshape(array.shape), offsets.to(array.device).reshape(array.shape)
        return (array.double() * slopes + offsets).to(array)
    return (array.double() * slopes).to(array)

"""How a value follows from another by moves, in terms of axes.

Moves of one value give each of its elements a place. Channels may get any order, and axes of their
own; all else must stay whole and in order, or the value is not told as a `Gather` of the other.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from yoloprune.graph.graph import Node
from yoloprune.graph.shapes import Facts
from yoloprune.pruning.labels.ids import Ids, numbered, varying
from yoloprune.pruning.labels.labels import Chain
from yoloprune.pruning.labels.moves import move, one_value


def chained(
    path: Sequence[str],
    moves: Sequence[Node],
    held: tuple[int, ...],
    known: Facts,
    larger: Facts,
    lines: Mapping[str, int],
) -> Chain | None:
    """How the last value of a path follows from the first, whose channels lie along `held`.

    None where that cannot be told. `known` are the facts, and `larger` those with other numbers for
    sizes that may be any, by which axes are told apart; `lines` as in `labels.Labels`.
    """
    root, name = path[0], path[-1]
    before, after = larger.shapes[root], larger.shapes[name]
    rest = [axis for axis in range(len(before)) if axis not in held]
    moved = numbered(before, held), numbered(before, rest)
    for node, own in zip(moves, path[1:], strict=True):
        number = [output for output in node.outputs if output].index(own)
        found = [move(one_value(node, larger, ids)) for ids in moved]
        if found[0] is None or found[1] is None:
            return None
        moved = found[0][number], found[1][number]
    places, others = moved
    channels = varying(places)
    full = {*channels, *varying(others)}
    if (
        set(channels) & set(varying(others))
        or any(size > 1 for axis, size in enumerate(after) if axis not in full)
        or not np.array_equal(others.reshape(-1), np.arange(others.size))
        or others.size != math.prod(before[axis] for axis in rest)
    ):
        return None
    chain = _laid_out(root, name, held, places, known, larger)
    if chain is None or _tellable(chain):
        return chain
    # A single move that leaves the order as it is serves whatever is removed: nothing is gathered.
    serves = (
        len(path) == 2
        and bool(channels)
        and np.array_equal(places.reshape(-1), np.arange(places.size))
        and lines.get(root, held[-1]) == held[-1]
        and lines.get(name, channels[-1]) == channels[-1]
    )
    return chain if serves else None


def _laid_out(
    root: str, name: str, held: tuple[int, ...], places: Ids, known: Facts, larger: Facts
) -> Chain | None:
    plain, other = known.shapes, larger.shapes
    channels = varying(places)
    before, after = (
        tuple(a if a == b else None for a, b in zip(plain[own], other[own], strict=True))
        for own in (root, name)
    )
    first_alike = 0 not in (*held, *channels) and other[root][0] == other[name][0]

    def counted(shape: tuple[int, ...], axes: tuple[int, ...], end: int) -> int:
        return math.prod(size for axis, size in enumerate(shape[:end]) if axis not in axes)

    # Where channels stand among the others, in both: counted as they are, and as told apart.
    ends = [(root, held, held[-1]), *((name, channels, axis) for axis in channels)]
    ends.append((name, channels, len(after)))
    cuts = {
        counted(other[own], axes, end): counted(plain[own], axes, end) for own, axes, end in ends
    }
    start = (other[root][0], plain[root][0]) if first_alike else (1, 1)
    runs = [before[0]] if first_alike else []
    bounds = [start[0]] if first_alike else []
    for a, b in sorted(cuts.items()):
        if a > start[0]:
            if a % start[0] or b % start[1]:
                return None
            size = b // start[1]
            runs.append(size if a // start[0] == size else None)
            bounds.append(a)
            start = a, b
    front = sum(bound <= counted(other[root], held, held[-1]) for bound in bounds)
    order: list[int] = []
    for axis in (*channels, len(after)):
        count = sum(bound <= counted(other[name], channels, axis) for bound in bounds)
        done = sum(number >= 0 for number in order)
        order += [*range(done, count), *([-1] if axis < len(after) else [])]
    return Chain(
        root=root,
        held=held,
        places=places,
        runs=tuple(runs),
        front=front,
        order=tuple(order),
        before=before,
        after=after,
        first_alike=first_alike,
    )


def _tellable(chain: Chain) -> bool:
    """Whether the shapes on the way can be told in numbers: one size at most may be any."""
    if chain.straight:
        return True
    first = 1 if chain.first_alike else 0
    told = [chain.runs[first:], chain.after[first:]]
    if len(chain.held) > 1:
        told.append(tuple(s for n, s in enumerate(chain.before) if n not in chain.held)[first:])
    return all(sum(size is None for size in sizes) <= 1 for sizes in told)

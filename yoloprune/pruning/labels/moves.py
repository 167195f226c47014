"""Moves: operators that only rearrange, done to ids as they do it to the data.

A move computes nothing: what comes out are elements that went in, in other places. So the ids of
its outputs are those of its inputs, moved alike. Sizes come from the values' shapes, bounds and
orders from attributes and constants.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from yoloprune.graph.graph import Node
from yoloprune.graph.shapes import Facts
from yoloprune.pruning.labels.ids import NONE, Ids, aligned, lean, no_channels, reshaped

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Move:
    """A node that moves: what it reads and gives.

    `ids` are those of its inputs (`NONE` for what holds no channels), `before` and `after` the
    shapes of inputs and outputs, `known` the inputs whose numbers are known, by position.
    """

    node: Node
    ids: tuple[Ids, ...]
    before: tuple[Shape, ...]
    after: tuple[Shape, ...]
    known: Mapping[int, NDArray[np.generic]]

    def integers(self, position: int, attribute: str) -> list[int] | None:
        """What `whole_numbers` finds."""
        return whole_numbers(self.node, self.known.get(position), attribute)


def whole_numbers(
    node: Node, known: NDArray[np.generic] | None, attribute: str
) -> list[int] | None:
    """Whole numbers that stand in an input, if they are known, or in an attribute."""
    if known is not None:
        return [int(number) for number in known.reshape(-1)]
    found = node.attributes.get(attribute)
    if found is None or isinstance(found, str | float):
        return None
    return [found] if isinstance(found, int) else [int(number) for number in found]


def one_value(node: Node, facts: Facts, ids: Ids) -> Move:
    """A node that moves one value, of these ids; its other inputs tell it how."""
    before = [facts.shapes.get(name, ()) for name in node.inputs]
    return Move(
        node=node,
        ids=(ids, *(no_channels(len(shape)) for shape in before[1:])),
        before=tuple(before),
        after=tuple(facts.shapes[name] for name in node.outputs if name),
        known={n: facts.known[own] for n, own in enumerate(node.inputs) if own in facts.known},
    )


def move(moved: Move) -> list[Ids] | None:
    """Ids of a move's outputs; None where they depend on numbers that are not known."""
    rule = MOVES.get(moved.node.operator)
    return None if rule is None else rule(moved)


def _identity(moved: Move) -> list[Ids] | None:
    return [moved.ids[0]] + [np.full((1,) * len(shape), NONE) for shape in moved.after[1:]]


def _reshape(moved: Move) -> list[Ids] | None:
    return [reshaped(moved.ids[0], moved.before[0], moved.after[0])]


def _transpose(moved: Move) -> list[Ids] | None:
    order = moved.integers(-1, "perm") or list(range(len(moved.before[0])))[::-1]
    return [moved.ids[0].transpose(order)]


def _slice(moved: Move) -> list[Ids] | None:
    starts, ends = moved.integers(1, "starts"), moved.integers(2, "ends")
    if starts is None or ends is None:
        return None
    axes = moved.integers(3, "axes") or list(range(len(starts)))
    steps = moved.integers(4, "steps") or [1] * len(starts)
    ids = moved.ids[0]
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        own = axis % ids.ndim
        if ids.shape[own] > 1:
            ids = ids[(slice(None),) * own + (slice(start, end, step),)]
    return [lean(ids)]


def _split(moved: Move) -> list[Ids] | None:
    axis = moved.integers(-1, "axis") or [0]
    own = axis[0] % len(moved.before[0])
    ids = moved.ids[0]
    if ids.shape[own] == 1:
        return [ids] * len(moved.after)
    ends = np.cumsum([shape[own] for shape in moved.after])
    return [lean(part) for part in np.split(ids, ends[:-1], axis=own)]


def is_equal(node: Node) -> bool:
    """Whether a `Split` is told no sizes: then its parts are equally long, but for the last."""
    return "split" not in node.attributes and (len(node.inputs) < 2 or not node.inputs[1])


def _concat(moved: Move) -> list[Ids] | None:
    axis = (moved.integers(-1, "axis") or [0])[0] % len(moved.after[0])
    others = [ids.shape[:axis] + ids.shape[axis + 1 :] for ids in moved.ids]
    common = np.broadcast_shapes(*others)
    parts = []
    for ids, shape in zip(moved.ids, moved.before, strict=True):
        parts.append(np.broadcast_to(ids, (*common[:axis], shape[axis], *common[axis:])))
    return [lean(np.concatenate(parts, axis=axis))]


def _gather(moved: Move) -> list[Ids] | None:
    axis = (moved.integers(-1, "axis") or [0])[0] % len(moved.before[0])
    ids, indices = moved.ids[0], len(moved.before[1])
    if ids.shape[axis] == 1:
        shape = (*ids.shape[:axis], *[1] * indices, *ids.shape[axis + 1 :])
        return [ids.reshape(shape)]
    if 1 not in moved.known:
        return None
    return [lean(np.take(ids, moved.known[1].astype(np.int64), axis=axis))]


def _expand(moved: Move) -> list[Ids] | None:
    return [aligned(moved.ids[0], len(moved.after[0]))]


def _tile(moved: Move) -> list[Ids] | None:
    ids = moved.ids[0]
    times = [
        after // before if size > 1 else 1
        for before, after, size in zip(moved.before[0], moved.after[0], ids.shape, strict=True)
    ]
    return [np.tile(ids, times)]


def _pad(moved: Move) -> list[Ids] | None:
    ids = moved.ids[0]
    pads = moved.integers(1, "pads")
    axes = moved.integers(3, "axes") or list(range(ids.ndim))
    if pads is None:
        return None
    for number, axis in enumerate(axes):
        before, after = pads[number], pads[number + len(axes)]
        own = axis % ids.ndim
        single = own == 1 and moved.before[0][own] == 1 and ids.size == 1
        if not (before or after) or (ids.shape[own] == 1 and not single):
            # Along an axis without channels only the size changes.
            continue
        if moved.node.attributes.get("mode", "constant") != "constant" or min(before, after) < 0:
            return None
        widths = [(0, 0)] * ids.ndim
        widths[own] = (before, after)
        ids = np.pad(ids, widths, constant_values=NONE)
    return [lean(ids)]


def _space_to_depth(moved: Move) -> list[Ids] | None:
    (block,) = moved.integers(-1, "blocksize") or [1]
    ids = moved.ids[0]
    return [np.tile(ids, (1, block * block, 1, 1)) if ids.shape[1] > 1 else ids]


MOVES: dict[str, Callable[[Move], list[Ids] | None]] = {
    "Concat": _concat,
    "Dropout": _identity,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": _identity,
    "Pad": _pad,
    "Reshape": _reshape,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
"""Every operator that moves and no more, beside `DepthToSpace`, which ties what it takes apart."""


def pieces(ids: Ids, node: Node) -> Sequence[Ids]:
    """The runs of channels that `DepthToSpace` lays beside one another, each (1, C / b^2, 1, 1)."""
    block = node.attributes["blocksize"]
    assert isinstance(block, int)
    if node.attributes.get("mode", "DCR") == "DCR":
        return np.split(ids, block * block, axis=1)
    return [ids[:, start :: block * block] for start in range(block * block)]

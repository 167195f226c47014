"""What surgery does to a module: which entries of its tensors stay, and what its sizes become."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from yoloprune.errors import UsageError
from yoloprune.graph.edits import ArrayCut

Size: TypeAlias = int | tuple[int, ...]
"""What a module keeps as an attribute: a number, or several."""

Place: TypeAlias = tuple[str, str]
"""A module's path, and the name of one of its attributes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorCut:
    """What stays of a tensor of the shape `before`: as `ArrayCut` says, in plain numbers."""

    before: tuple[int, ...]
    blocks: tuple[dict[int, tuple[int, ...]], ...]

    def __post_init__(self) -> None:
        # It may come from a file.
        if not self._fits():
            raise UsageError(f"no tensor of the shape {self.before} can be cut like this")

    def _fits(self) -> bool:
        if not self.before or not self.blocks or self.before[0] % len(self.blocks):
            return False
        sizes = (self.before[0] // len(self.blocks), *self.before[1:])
        lengths = set()
        for block in self.blocks:
            lengths.add(tuple(sorted((axis, len(kept)) for axis, kept in block.items() if axis)))
            for axis, kept in block.items():
                if not 0 <= axis < len(sizes) or any(a >= b for a, b in pairwise(kept)):
                    return False
                if kept and not 0 <= kept[0] <= kept[-1] < sizes[axis]:
                    return False
        # Blocks are joined again along the first axis.
        return len(lengths) == 1

    @property
    def after(self) -> tuple[int, ...]:
        """The shape of what stays."""
        return self.array.shape(self.before)

    @property
    def array(self) -> ArrayCut:
        """The same as surgery takes it."""
        blocks = ({a: np.array(kept, np.int64) for a, kept in own.items()} for own in self.blocks)
        return ArrayCut(blocks=tuple(blocks))


def tensor_cut(cut: ArrayCut, before: Sequence[int]) -> TensorCut:
    """A cut in plain numbers."""
    blocks = ({axis: tuple(kept.tolist()) for axis, kept in own.items()} for own in cut.blocks)
    return TensorCut(before=tuple(before), blocks=tuple(blocks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surgery:
    """What one pruning does to a module; `tensors` by name, `sizes` by module and attribute."""

    tensors: dict[str, TensorCut] = field(default_factory=dict)
    sizes: dict[str, dict[str, Size]] = field(default_factory=dict)

    def without(self, places: Collection[Place]) -> "Surgery":
        """The same, which leaves these sizes as they are."""
        sizes = {
            path: {name: size for name, size in own.items() if (path, name) not in places}
            for path, own in self.sizes.items()
        }
        return replace(self, sizes=sizes)


def places_in(sizes: Mapping[str, Mapping[str, Size]]) -> list[Place]:
    """Where sizes are, in order."""
    return [(path, name) for path, own in sizes.items() for name in own]

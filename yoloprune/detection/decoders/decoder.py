"""What a decoder is: it knows a family of networks by their outputs, and makes boxes of these.

B images, N boxes an image, C classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from yoloprune.detection.decode import Predictions

Decode: TypeAlias = Callable[[Mapping[str, Tensor]], Predictions]
"""Outputs of a batch, by name, to every box, in pixels of the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """A network as it is seen from outside.

    Attributes:
        size: (height, width) of its input.
        outputs: their shapes for one image, by name, in order.
        operators: which it is made of.
        metadata: what its file says of it.
        names: of its classes, where they are known.
    """

    size: tuple[int, int]
    outputs: Mapping[str, tuple[int, ...]]
    operators: frozenset[str] = frozenset()
    metadata: Mapping[str, str]
    names: tuple[str, ...] | None = None

    def has_classes(self, count: int) -> bool:
        """Whether it may tell so many classes apart."""
        return count > 0 and (self.names is None or len(self.names) == count)

    def __str__(self) -> str:
        """The outputs."""
        return ", ".join(f"{name} {shape}" for name, shape in self.outputs.items())


def scored(boxes: Tensor, scores: Tensor, *, suppressed: bool = False) -> Predictions:
    """Boxes (B, N, 4) of a network without objectness, scores (B, N, C): the best stands for it."""
    objectness = scores.amax(dim=-1)
    classes = scores / objectness.clamp(min=torch.finfo(scores.dtype).tiny)[..., None]
    return Predictions(boxes=boxes, objectness=objectness, classes=classes, suppressed=suppressed)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoding:
    """How the outputs of a network are read.

    Attributes:
        classes: how many it tells apart, if its outputs say so.
        decode: makes boxes of the outputs.
        scores: outputs with an entry a class: their axis, and how many entries stand before the
            first class; none where what a class scores cannot be read without the others.
        beside: what else the score of a class depends on there, in words.
        objectness: outputs with an entry that says whether there is an object, whatever its class:
            their axis, and the entry's number.
    """

    classes: int | None
    decode: Decode
    scores: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    objectness: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    beside: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decoder:
    """One row of the table of decoders.

    Attributes:
        name: as users write it.
        outputs: which it reads, in words.
        read: a network to how its outputs are read; None where they have other shapes.
        evident: whether a network that can be read so is one of the family.
        preprocess: what its own program does with images, as users state it.
    """

    name: str
    outputs: str
    read: Callable[[Surface], Decoding | None]
    evident: Callable[[Surface], bool]
    preprocess: str

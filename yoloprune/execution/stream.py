"""A network run over many images, stretch by stretch: each over all of them before the next.

So a node's parameters can still be changed when everything that it reads is known, and nothing is
computed twice. Values are kept for as long as a later node reads them.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from yoloprune.errors import GraphError
from yoloprune.execution.run import Run, array_like, freed, reads
from yoloprune.graph.arrays import with_computed
from yoloprune.graph.graph import Graph, Node
from yoloprune.graph.operators.operator import Shape

LIMIT = 4 * 10**9
"""Bytes that what runs over many images holds at once, if it can do with so few."""

Stretch: TypeAlias = tuple[Node, ...]
"""Nodes that follow one another."""


def stretches(graph: Graph, stops: Collection[str]) -> list[Stretch]:
    """A graph's nodes in order, in stretches that begin at the nodes of these names.

    What comes before the first of them is a stretch too, and may be empty.
    """
    found: list[list[Node]] = [[]]
    for node in graph.nodes:
        if node.name in stops:
            found.append([])
        found[-1].append(node)
    return [tuple(nodes) for nodes in found]


class Images(Protocol):
    """Network inputs, in order; a tensor (B, C, H, W) or what makes one of a part of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Tensor: ...


class Stream:
    """The values of a network with one input, in chunks of images (B, C, H, W).

    Everything is computed in the images' dtype and on their device. A node can be run for a chunk
    when those that it reads were.
    """

    def __init__(
        self, graph: Graph, parameters: Mapping[str, Tensor], chunks: Sequence[Tensor]
    ) -> None:
        self.chunks = len(chunks)
        self.images = sum(len(chunk) for chunk in chunks)
        # No view, which would keep the images.
        self._like = chunks[0].new_empty(0)
        arrays = with_computed(graph, arrays_like(graph, parameters, self._like))
        name = only_input(graph)
        self._runs = [Run(graph, arrays.__getitem__, {name: chunk}) for chunk in chunks]
        self._arrays = arrays

    def load(self, parameters: Mapping[str, Tensor]) -> None:
        """Go on with these in place of the parameters of their names."""
        for name, tensor in parameters.items():
            self._arrays[name] = tensor.detach().to(self._like)

    def array(self, name: str) -> Tensor:
        """A parameter, a constant, or what nodes compute from those alone."""
        return self._arrays[name]

    def value(self, name: str, chunk: int) -> Tensor:
        """A value that a node still reads."""
        return self._runs[chunk].values[name]

    def known(self, name: str, chunk: int) -> Tensor | None:
        """A value, if it was computed already and a node still reads it."""
        return self._runs[chunk].values.get(name)

    def run(self, nodes: Sequence[Node], chunk: int) -> Tensor | None:
        """Compute what nodes give; the first output of the last of them."""
        first = None
        with torch.no_grad():
            for node in nodes:
                first = self._runs[chunk].step(node)[0]
        return first


def arrays_like(graph: Graph, parameters: Mapping[str, Tensor], like: Tensor) -> dict[str, Tensor]:
    """All parameters and constants as nodes read them (`run.array_like`), by name."""
    array = array_like(graph, parameters, like)
    return {name: array(name) for name in (*graph.constants, *parameters)}


def computed(
    graph: Graph, arrays: Mapping[str, Tensor], inputs: Mapping[str, Tensor], names: Collection[str]
) -> dict[str, Tensor]:
    """The values or arrays of these names, with gradients."""
    run = Run(graph, arrays.__getitem__, inputs, keep=names)
    for node in graph.nodes:
        run.step(node)
    return {name: run.values[name] if name in run.values else arrays[name] for name in names}


def chunked(graph: Graph, images: Tensor, most: int) -> tuple[Tensor, ...]:
    """Images in chunks that a network can read, of `most` where it takes any number.

    One that takes a fixed number is not given what is left over; raises `GraphError` where there
    are fewer.
    """
    size = graph.inputs[only_input(graph)].shape[0]
    if isinstance(size, str):
        return torch.split(images, most)
    if len(images) < size:
        raise GraphError(f"the network reads {size} images at once: {len(images)} are too few")
    return torch.split(images[: len(images) // size * size], size)


def fitting(images: int, chunk: int, needed: Callable[[int], int]) -> int:
    """How many of so many images can be held at once: all, or some chunks, one at least.

    `needed` are the bytes that so many take, more of more images, but all at once may take less
    than one chunk of them after the other. `LIMIT` is what there is, if that suffices for a chunk.
    """
    limit = max(LIMIT, needed(min(images, chunk)))
    if needed(images) <= limit:
        return images
    chunks = range(1, -(-images // chunk))
    return chunk * bisect_left(chunks, True, key=lambda n: needed(n * chunk) > limit)


def batched(graph: Graph, images: Images, most: int) -> list[slice]:
    """Even parts of images, of `most` at most, or as few as the network can read (`chunked`)."""
    size = graph.inputs[only_input(graph)].shape[0]
    unit = 1 if isinstance(size, str) else size
    count = max(len(images) // unit, 1)
    parts = -(-count // max(most // unit, 1))
    each = -(-count // parts) * unit
    return [slice(first, first + each) for first in range(0, count * unit, each)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Values that a stream holds while a stretch is run.

    `between`: for each image, before or after it; `passing`: for each image of the chunk that it is
    run for, as many more.
    """

    between: int
    passing: int


def held(graph: Graph, shapes: Mapping[str, Shape], parts: Sequence[Stretch]) -> list[Held]:
    """What a stream holds in each stretch; `shapes` are those of the values for one image."""
    name = only_input(graph)
    left = reads(graph)
    sizes = {name: math.prod(shapes[name])}
    live = sizes[name]
    found = []
    for nodes in parts:
        start = most = live
        for node in nodes:
            given = {name: math.prod(shapes[name]) for name in filter(None, node.outputs)}
            sizes |= given
            live += sum(given.values())
            most = max(most, live)
            live -= sum(sizes.get(name, 0) for name in freed(node, left))
        between = max(start, live)
        found.append(Held(between=between, passing=most - between))
    return found


def only_input(graph: Graph) -> str:
    """The name of what a network reads; raises `GraphError` where it reads more than images."""
    if len(graph.inputs) != 1:
        raise GraphError(
            f"the network reads {len(graph.inputs)} inputs ({', '.join(graph.inputs)}): "
            "images alone can be given to it"
        )
    return next(iter(graph.inputs))

"""Sizes that a model leaves open, chosen; and shapes that no rule tells, observed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from yoloprune.errors import GraphError, UntoldShapeError
from yoloprune.frontends.onnx.observe import limits, observed, said
from yoloprune.graph.graph import Graph
from yoloprune.graph.operators.operator import Shape
from yoloprune.graph.shapes import facts

if TYPE_CHECKING:
    import onnx

IMAGES = (
    *((side, side) for side in (256, 320, 640, 416, 224, 512, 352, 384, 300, 128)),
    *((48, 320), (48, 192), (32, 320), (64, 256)),
)
"""Heights and widths that are tried for images of any size, in this order."""


def sized(
    graph: Graph,
    model: "onnx.ModelProto",
    folder: Path,
    tried: Sequence[Mapping[str, int]] | None = None,
) -> Graph:
    """A graph all of whose shapes are known, for sizes that suit it where it leaves them open.

    Of those that are `tried`, by default usual ones, it is the first that fits. What no operator's
    rule tells the model may say, or it is observed in ONNX Runtime. Raises `GraphError` where none
    gives shapes that fit one another.
    """
    reasons: list[GraphError] = []
    tried = [*_candidates(graph)] if tried is None else tried
    for sizes in tried:
        try:
            return _known(replace(graph, sizes=sizes), said(model, sizes))
        except GraphError as error:
            reasons.append(error)
    untold = any(isinstance(reason, UntoldShapeError) for reason in reasons)
    if not untold:
        raise reasons[0]
    found = observed(model, folder, graph, tried)
    if found is None:
        raise GraphError(
            f"{reasons[0]}, and ONNX Runtime does not run the network on noise within "
            f"{limits(graph)}"
        )
    return _known(replace(graph, sizes=found[0]), found[1])


def _known(graph: Graph, shapes: Mapping[str, Shape]) -> Graph:
    """The graph with those observed shapes that its facts need."""
    noted = _Noted(shapes)
    try:
        facts(graph, observed=noted)
    except (TypeError, ValueError, IndexError, OverflowError, MemoryError) as error:
        # Rules take for granted what ONNX's checker would: as many inputs, axes and attributes.
        raise GraphError(f"its shapes cannot be worked out: {error}") from error
    return replace(graph, observed={name: shapes[name] for name in noted.read})


class _Noted(dict[str, Shape]):
    """Shapes that note which of them are read."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        super().__init__(shapes)
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Shape:
        self.read.append(name)
        return super().__getitem__(name)


def _candidates(graph: Graph) -> Iterator[dict[str, int]]:
    """Numbers for all sizes that a graph's inputs leave open: one image of several sizes."""
    before: list[dict[str, int]] = []
    for height, width in IMAGES:
        sizes: dict[str, int] = {}
        for value in graph.inputs.values():
            rank = len(value.shape)
            for axis, size in enumerate(value.shape):
                if isinstance(size, str):
                    number = 1 if axis == 0 else width if axis == rank - 1 else height
                    sizes.setdefault(size, 3 if axis == 1 and rank == 4 else number)
        if sizes not in before:
            yield sizes
        before.append(sizes)

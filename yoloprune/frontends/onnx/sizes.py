"""Sizes that a model leaves open, chosen; and shapes that no rule tells, observed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from yoloprune.errors import GraphError, MissingDependencyError
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


def sized(graph: Graph, model: "onnx.ModelProto", folder: Path) -> Graph:
    """A graph all of whose shapes are known, for sizes that suit it where it leaves them open.

    What no operator's rule tells is observed in ONNX Runtime. Raises `GraphError` where no size
    that is tried gives shapes that fit one another.
    """
    reason: GraphError | None = None
    for sizes in _candidates(graph):
        try:
            return _known(replace(graph, sizes=sizes), {})
        except GraphError as error:
            reason = reason or error
    for sizes in _candidates(graph):
        found = observed(model, folder, graph, sizes)
        if found is not None:
            return _known(replace(graph, sizes=sizes), found)
    assert reason is not None
    raise reason


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


def observed(
    model: "onnx.ModelProto", folder: Path, graph: Graph, sizes: Mapping[str, int]
) -> dict[str, Shape] | None:
    """The shapes of all values of a model in one run on noise; None where it does not run so.

    Raises `MissingDependencyError` without ONNX Runtime.
    """
    import onnx

    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "the shapes of this network are known only when it runs, for which onnxruntime is "
            "needed: pip install 'yoloprune[export]'"
        ) from error
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    onnx.load_external_data_for_model(whole, str(folder))
    known = {value.name for value in model.graph.output}
    names = [name for node in model.graph.node for name in node.output if name]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    generator = np.random.default_rng(0)
    feeds = {}
    for name, value in graph.inputs.items():
        shape = [size if isinstance(size, int) else sizes[size] for size in value.shape]
        noise = generator.random(shape)
        feeds[name] = (noise * 2 if value.dtype.startswith(("int", "uint")) else noise).astype(
            value.dtype
        )
    outputs = [value.name for value in whole.graph.output]
    try:
        session = onnxruntime.InferenceSession(
            whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        found = session.run(outputs, feeds)
    except Exception:
        # onnxruntime has an exception of its own for each kind of fault.
        return None
    return {
        # Sequences and the like have no shape; who reads them is not understood either.
        name: tuple(array.shape) if isinstance(array, np.ndarray) else ()
        for name, array in zip(outputs, found, strict=True)
    }

"""Shapes that no rule tells: as the file says them, or as a run has them."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from yoloprune.errors import MissingDependencyError
from yoloprune.frontends.onnx.apart import answer
from yoloprune.graph.graph import Graph
from yoloprune.graph.operators.operator import Shape

if TYPE_CHECKING:
    import onnx

SECONDS = 60
"""That a run may take."""

LEAST_BYTES, TIMES = 1 << 30, 8
"""Memory that a run may take: so much, and so many times the bytes of the parameters."""


def said(model: "onnx.ModelProto", sizes: Mapping[str, int]) -> dict[str, Shape]:
    """The shapes of values that a model names in full, its named sizes being these."""
    shapes: dict[str, Shape] = {}
    for value in (*model.graph.value_info, *model.graph.output):
        kind = value.type.tensor_type
        if value.type.HasField("tensor_type") and kind.HasField("shape"):
            found = [d.dim_value or sizes.get(d.dim_param, 0) for d in kind.shape.dim]
            if all(size > 0 for size in found):
                shapes[value.name] = tuple(found)
    return shapes


def limits(graph: Graph) -> str:
    """What a run of a graph may take, in words."""
    return f"{SECONDS} s and {_bytes(graph) / (1 << 30):.1f} GB"


def _bytes(graph: Graph) -> int:
    return LEAST_BYTES + TIMES * sum(array.nbytes for array in graph.constants.values())


def observed(
    model: "onnx.ModelProto", folder: Path, graph: Graph, tried: Sequence[Mapping[str, int]]
) -> tuple[Mapping[str, int], dict[str, Shape]] | None:
    """The first sizes with which a model runs on noise, and the shapes of all its values.

    None where it runs with none, takes too long, or more memory than it should. Raises
    `MissingDependencyError` without ONNX Runtime.
    """
    if find_spec("onnxruntime") is None:
        raise MissingDependencyError(
            "the shapes of this network are known only when it runs, for which onnxruntime is "
            "needed: pip install 'yoloprune[export]'"
        )
    feeds = [
        {
            name: [[n if isinstance(n, int) else sizes[n] for n in value.shape], value.dtype]
            for name, value in graph.inputs.items()
        }
        for sizes in tried
    ]
    request = {"folder": str(folder.absolute()), "feeds": feeds, "bytes": _bytes(graph)}
    try:
        found = json.loads(answer(model.SerializeToString(), request, SECONDS))
    except (subprocess.SubprocessError, OSError, ValueError):
        return None
    if found is None:
        return None
    number, shapes = found
    # Sequences and the like have no shape; who reads them is not understood either.
    names = (name for node in model.graph.node for name in node.output if name)
    return tried[number], {name: tuple(shapes.get(name, ())) for name in names}

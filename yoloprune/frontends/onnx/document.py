"""What an ONNX file says beside its graph."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from yoloprune.errors import UsageError
from yoloprune.graph.edits import Edits, edit
from yoloprune.graph.graph import Graph

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxDocument:
    """A model as it was read, and the graph that it is to say now.

    `model` said `dense`, with the numbers `parameters`; its arrays that are not in the file are in
    `folder`. What is written is `model` with everything as it was but for what `graph` says
    otherwise.
    """

    model: "onnx.ModelProto"
    folder: Path
    dense: Graph
    parameters: Mapping[str, Tensor]
    graph: Graph
    title: str

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the classes, where the metadata say them as Ultralytics or this package does."""
        for entry in self.model.metadata_props:
            if entry.key == "names":
                return _names(entry.value)
        return None

    def applied(self, edits: Edits) -> "OnnxDocument":
        """The same document of the network that edits leave."""
        arrays = {
            name: torch.empty(parameter.shape, device="meta")
            for name, parameter in self.graph.parameters.items()
        }
        return self.saying(edit(self.graph, arrays, edits)[0])

    def saying(self, graph: Graph) -> "OnnxDocument":
        """The same document of a graph that edits made of its own."""
        return replace(self, graph=graph)

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> None:
        """Write `path`, an .onnx, and beside it its arrays where they are too large for it."""
        from yoloprune.frontends.onnx.write import write

        if path.suffix.lower() != ".onnx":
            raise UsageError(f"{path}: an ONNX network is written as an .onnx: name one")
        write(self, parameters, path)


def _names(text: str) -> tuple[str, ...] | None:
    for parse in (json.loads, ast.literal_eval):
        try:
            found = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            found = list(found.values())
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return None

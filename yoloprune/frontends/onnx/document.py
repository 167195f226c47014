"""What an ONNX file says beside its graph."""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from yoloprune.errors import UsageError
from yoloprune.graph.edits import Edits, edit
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import LayerRow, rows_of_nodes

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxDocument:
    """A model as it was read, and the graph that it is to say now.

    `model` said `dense`, with the numbers `parameters`, of which it holds the large ones no more;
    its arrays that are not in the file are in `folder`. What is written is `model` with everything
    as it was but for what `graph` says otherwise, and `restated` of its metadata. `source` are the
    files that it was read from, none for one that was made.
    """

    model: "onnx.ModelProto"
    folder: Path
    dense: Graph
    parameters: Mapping[str, Tensor]
    graph: Graph
    title: str
    source: tuple[Path, ...] = ()
    restated: Mapping[str, str] = field(default_factory=dict)

    @property
    def suffix(self) -> str:
        """Of the file."""
        return ".onnx"

    @property
    def header_bytes(self) -> int:
        """None: what stands beside the arrays is not counted."""
        return 0

    @property
    def metadata(self) -> dict[str, str]:
        """What the file says of itself."""
        return {e.key: e.value for e in self.model.metadata_props} | dict(self.restated)

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the classes, where the metadata say them as Ultralytics or this package does."""
        found = self.metadata.get("names")
        return None if found is None else _names(found)

    def digest(self) -> str:
        """The digest of the graph."""
        return self.graph.digest()

    def layer(self, node: str) -> str:
        """The node itself."""
        return node

    def layers(self, graph: Graph) -> tuple[LayerRow, ...]:
        """The nodes."""
        return rows_of_nodes(graph)

    def applied(self, edits: Edits) -> "OnnxDocument":
        """The document of the network that edits leave; it was read from no file."""
        arrays = {
            name: torch.empty(parameter.shape, device="meta")
            for name, parameter in self.graph.parameters.items()
        }
        graph, _ = edit(self.graph, arrays, edits)
        made = self.saying(graph).unread()
        if edits.task is None:
            return replace(made, title=f"{self.title}-slim")
        said = self.metadata.get("names")
        if said is None or (names := _chosen_names(said, edits.task.classes)) is None:
            return made
        return replace(made, restated={**self.restated, "names": names})

    def unread(self) -> "OnnxDocument":
        """The same document of other parameters."""
        return replace(self, source=())

    def saying(self, graph: Graph) -> "OnnxDocument":
        """The same document of a graph that edits made of its own."""
        return replace(self, graph=graph)

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> tuple[Path, ...]:
        """Write `path`, an .onnx, and beside it its arrays where they are too large for it."""
        from yoloprune.frontends.onnx.write import write

        if path.suffix.lower() != ".onnx":
            raise UsageError(f"{path}: an ONNX network is written as an .onnx: name one")
        return write(self, parameters, path)


_FORMS: tuple[tuple[Callable[[str], Any], Callable[[Any], str]], ...] = (
    (json.loads, json.dumps),
    (ast.literal_eval, repr),
)
"""How metadata write values: reading, and writing alike."""


def _names(text: str) -> tuple[str, ...] | None:
    for parse, _ in _FORMS:
        try:
            found = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(found, dict):
            found = list(found.values())
        if isinstance(found, list) and all(isinstance(name, str) for name in found):
            return tuple(found)
    return None


def _chosen_names(text: str, classes: Sequence[int]) -> str | None:
    """Those names of some classes, numbered anew, written as before; None where they were none."""
    if (names := _names(text)) is None:
        return None
    chosen = [names[number] for number in classes]
    for parse, written in _FORMS:
        with suppress(ValueError, SyntaxError):
            numbered = isinstance(parse(text), dict)
            return written(dict(enumerate(chosen)) if numbered else chosen)
    return None

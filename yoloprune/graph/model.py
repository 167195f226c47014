"""A trained network: its graph, its parameters, and the document that it was read from."""

import html
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from yoloprune.graph.cost import cost
from yoloprune.graph.edits import Edits, edit
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts


class Document(Protocol):
    """A network in the format that it was read from: what a graph does not say of it.

    Each front end has one of its own, and writes it back with every option as it was.
    """

    @property
    def title(self) -> str:
        """A short name of the network."""

    @property
    def names(self) -> tuple[str, ...] | None:
        """Names of the classes that it tells apart, where they are known."""

    def applied(self, edits: Edits) -> "Document":
        """The same document of the network that edits leave; it was read from no file."""

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> None:
        """Write the network with these parameters, in files named by `path`.

        Raises `UsageError` for a path that says another format.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """A trained network.

    `parameters` are the arrays of the graph's parameters, by name.
    """

    graph: Graph
    parameters: Mapping[str, Tensor]
    document: Document

    def edited(self, edits: Edits, parameters: Mapping[str, Tensor] | None = None) -> "Model":
        """The network that edits leave, of these parameters where they are not the model's own."""
        graph, left = edit(self.graph, self.parameters if parameters is None else parameters, edits)
        return Model(graph=graph, parameters=left, document=self.document.applied(edits))

    def save(self, path: str | Path) -> None:
        """Write the network in the format that it was read from: for Darknet, `path` is the .cfg.

        Raises `UsageError` for a path that says another format.
        """
        self.document.write(self.parameters, Path(path))

    def __str__(self) -> str:
        """The network in a line."""
        return f"{self.document.title}: {', '.join(f'{v} {k}' for k, v in _facts(self.graph))}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>"
            for name, value in _facts(self.graph)
        )
        return f"<table><caption>{html.escape(self.document.title)}</caption>{cells}</table>"


def _facts(graph: Graph) -> list[tuple[str, str]]:
    """What a graph takes, consists of and costs for one image: (what, how much)."""
    shapes = ("x".join(map(str, value.shape)) for value in graph.inputs.values())
    total = cost(graph, facts(graph).shapes)
    return [
        ("input", " and ".join(shapes)),
        ("nodes", f"{len(graph.nodes):,}"),
        ("parameters", f"{total.params:,}"),
        ("MACs", f"{total.macs:,}"),
    ]

"""A trained network: its graph, its parameters, and the document that it was read from."""

import hashlib
import html
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from yoloprune.files import file_sha256
from yoloprune.graph.cost import Cost, cost
from yoloprune.graph.edits import Edits, edit
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """A layer as a network's format has it.

    `name` is the number of a section or the name of a node, `type` what the format calls its kind,
    `sources` are the layers that it reads, `in_channels` is how many channels the first of these
    has, if it has any, `shape` is that of what it gives for one image.
    """

    name: int | str
    type: str
    sources: tuple[int | str, ...]
    in_channels: int | None
    shape: tuple[int, ...]
    params: int
    macs: int


def rows_of_nodes(graph: Graph) -> tuple[LayerRow, ...]:
    """The nodes of a graph as layers, for formats that have no others."""
    shapes = facts(graph).shapes
    total = cost(graph, shapes)
    giver = {name: node.name for node in graph.nodes for name in node.outputs}
    return tuple(
        LayerRow(
            name=node.name,
            type=node.operator,
            sources=tuple(giver[name] for name in node.inputs if name in giver),
            in_channels=next(iter(shapes.get(node.inputs[0], ())[1:2]), None),
            shape=row.shape,
            params=row.params,
            macs=row.macs,
        )
        for node, row in zip(graph.nodes, total.per_node, strict=True)
    )


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

    @property
    def suffix(self) -> str:
        """What the name of the file ends in that `write` is given."""

    @property
    def source(self) -> tuple[Path, ...]:
        """The files that it was read from, that of the parameters last; none if it was made."""

    @property
    def header_bytes(self) -> int:
        """Bytes that a file of its parameters has before them."""

    def digest(self) -> str:
        """SHA-256 over everything that the network computes and means, but its parameters."""

    def layer(self, node: str) -> int | str:
        """The layer that a node belongs to."""

    def layers(self, graph: Graph) -> tuple[LayerRow, ...]:
        """The layers, in order; `graph` is the network's own."""

    def applied(self, edits: Edits) -> "Document":
        """The same document of the network that edits leave; it was read from no file."""

    def unread(self) -> "Document":
        """The same document of a network of other parameters; it was read from no file."""

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> tuple[Path, ...]:
        """Write the network with these parameters, in files named by `path`.

        Gives the files, that of the parameters last. Raises `UsageError` for a path that says
        another format.
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

    @property
    def cost(self) -> Cost:
        """What the network costs for one image; `weight_bytes` are those of a file."""
        total = cost(self.graph, facts(self.graph).shapes)
        return replace(total, weight_bytes=total.weight_bytes + self.document.header_bytes)

    @property
    def sha256(self) -> str:
        """SHA-256 of the file of parameters that it was read from, or else of these themselves."""
        if self.document.source:
            return file_sha256(self.document.source[-1])
        digest = hashlib.sha256()
        for name, tensor in sorted(self.parameters.items()):
            digest.update(name.encode() + raw_bytes(tensor))
        return digest.hexdigest()

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the network in the format that it was read from: for Darknet, `path` is the .cfg.

        Gives the files, that of the parameters last. Raises `UsageError` for a path that says
        another format.
        """
        return self.document.write(self.parameters, Path(path))

    def __str__(self) -> str:
        """The network in a line."""
        return f"{self.document.title}: {', '.join(f'{v} {k}' for k, v in _facts(self))}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in _facts(self)
        )
        return f"<table><caption>{html.escape(self.document.title)}</caption>{cells}</table>"


def _facts(model: Model) -> list[tuple[str, str]]:
    """What a network takes, consists of and costs for one image: (what, how much)."""
    graph, total = model.graph, model.cost
    shapes = ("x".join(map(str, value.shape)) for value in graph.inputs.values())
    return [
        ("input", " and ".join(shapes)),
        ("nodes", f"{len(graph.nodes):,}"),
        ("parameters", f"{total.params:,}"),
        ("MACs", f"{total.macs:,}"),
    ]


def raw_bytes(tensor: Tensor) -> bytes:
    """A tensor's numbers as they lie in memory, row by row."""
    # A view of a single row may keep the row's stride, and still count as contiguous.
    whole = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return whole.reshape(-1).view(torch.uint8).numpy().tobytes()

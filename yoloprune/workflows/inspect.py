"""What a network is made of, what it costs, and which channels depend on each other."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.torch.document import ModuleDocument
from yoloprune.graph.cost import Cost
from yoloprune.graph.model import Model
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, Member, analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.score.on_weights import bn_scale
from yoloprune.report.shown import Result, Shown
from yoloprune.report.table import amount, file_size
from yoloprune.workflows.models import AnyModel, is_onnx, opened


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Inspection(Result):
    """Layers, cost and channel groups; with weights, `dead` channels of each prunable group.

    Those are channels whose producers all have a batch-norm scale of 0, by group id.
    """

    title: str
    network: Model
    total: Cost
    graph: DependencyGraph
    dead: dict[int, int] | None

    def layer_rows(self) -> list[dict[str, Any]]:
        """A layer each: what it reads, gives and costs; of a module, in which of its modules."""
        document = self.network.document
        return [
            {
                "index" if isinstance(row.name, int) else "name": row.name,
                "type": row.type,
                "sources": list(row.sources),
                "in_channels": row.in_channels,
                "out_shape": list(row.shape),
                "params": row.params,
                "macs": row.macs,
            }
            | ({"module": self._called(row.name)} if isinstance(document, ModuleDocument) else {})
            for row in document.layers(self.network.graph)
        ]

    def group_rows(self) -> list[dict[str, Any]]:
        """A channel group each."""
        return [self._group(group) for group in self.graph.groups]

    def _group(self, group: ChannelGroup) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": group.id,
            "channels": group.size,
            "producers": self._layers(group.producers),
            "consumers": self._layers(group.consumers),
            "equal_parts": group.equal_parts,
            "frozen_because": group.frozen_because,
        }
        return row if self.dead is None else row | {"dead_channels": self.dead.get(group.id)}

    def _layers(self, members: Sequence[Member]) -> list[int | str]:
        return [self.network.document.layer(member.node) for member in members]

    def _called(self, layer: int | str) -> str:
        """What a layer is called where it was defined: of a module, the module's path."""
        document = self.network.document
        return document.place(str(layer)) if isinstance(document, ModuleDocument) else str(layer)

    def _short(self, layers: Sequence[int | str]) -> str:
        # A module may be called several times.
        names = dict.fromkeys(map(self._called, layers))
        between = ", " if isinstance(self.network.document, ModuleDocument) else " "
        return between.join(names) or "none"

    def layers(self) -> Shown:
        """The layers as a table: sections all, nodes where they have parameters."""
        numbered = [
            row
            for row in self.network.document.layers(self.network.graph)
            if isinstance(row.name, int) or row.params
        ]
        sections = all(isinstance(row.name, int) for row in numbered)
        rows = [
            (
                self._called(row.name),
                row.type,
                *([" ".join(map(str, row.sources))] if sections else []),
                "x".join(map(str, reversed(row.shape))),
                f"{row.params:,}" if row.params else "",
                f"{row.macs / 1e6:,.1f}" if row.macs else "",
            )
            for row in numbered
        ]
        reads = ["Reads"] if sections else []
        header = ("Layer", "Type", *reads, "Output", "Params", "MACs (M)")
        return Shown(title=self.title, summary=self._totals(), header=header, rows=rows)

    def shown(self) -> Shown:
        """The channel groups as a table; as JSON the layers too."""
        groups = self.group_rows()
        dead = bool(self.dead)
        rows = [
            (
                row["id"],
                row["channels"],
                self._short(row["producers"]),
                self._short(row["consumers"]),
                *(["-" if row["dead_channels"] is None else row["dead_channels"]] if dead else []),
                row["frozen_because"] or _freedom(row),
            )
            for row in groups
        ]
        header = ("Group", "Channels", "Producers", "Consumers", *(["Dead"] if dead else []))
        return Shown(
            title="Channel groups",
            summary=f"{self.title}: {self._totals()}",
            header=(*header, "Prunable"),
            rows=rows,
            lines=[*self._unknown_line(), self._totals()],
            document={
                **self._inputs(),
                "digest": self.network.document.digest(),
                "params": self.total.params,
                "macs": self.total.macs,
                "flops": self.total.flops,
                "weight_bytes": self.total.weight_bytes,
                "layers": self.layer_rows(),
                "groups": groups,
                "unknown_operators": self.unknown,
            },
        )

    @property
    def unknown(self) -> dict[str, int]:
        """How many nodes are of operators that are not known: they freeze what they read."""
        names = (node.operator for node in self.network.graph.nodes)
        return dict(Counter(name for name in names if name not in OPERATORS))

    def _unknown_line(self) -> list[str]:
        names = ", ".join(f"{count} {name}" for name, count in self.unknown.items())
        return [f"not known, so what it reads is frozen: {names}"] if names else []

    def _inputs(self) -> dict[str, Any]:
        """What the network reads: a shape without the number of images, or shapes by name."""
        shapes = {name: list(value.shape) for name, value in self.network.graph.inputs.items()}
        if len(shapes) > 1:
            return {"input_shapes": shapes}
        return {"input_shape": next(iter(shapes.values()))[1:]}

    def _totals(self) -> str:
        free, total = self.graph.prunable, self.total
        prunable = [group for group in free if group.part_size > 1]
        alone = len(free) - len(prunable)
        return (
            f"{amount(total.params)} params, {file_size(total.weight_bytes)}, "
            f"{amount(total.macs)} MACs ({amount(total.flops)} FLOPs); "
            f"{len(prunable)} prunable groups, "
            f"{sum(len(group.producers) > 1 for group in prunable)} of them coupled, "
            f"{len(self.graph.groups) - len(free)} frozen"
            + (f", {alone} of a single channel" if alone else "")
        )


def inspect(network: AnyModel) -> Inspection:
    """Layers, cost and channel groups of a network; of a .cfg alone without its weights."""
    path = Path(network) if isinstance(network, str | Path) else None
    if path is None or path.is_dir() or is_onnx(path):
        model = opened(network)
        title = model.document.title
    else:
        spec, title = read_cfg(path), str(network)
        document = DarknetDocument(spec=spec, title=title)
        model = Model(graph=lower(spec), parameters={}, document=document)
    graph = analyze(model.graph)
    dead = _dead_channels(graph, model.parameters) if model.parameters else None
    return Inspection(title=title, network=model, total=model.cost, graph=graph, dead=dead)


def _dead_channels(graph: DependencyGraph, parameters: Mapping[str, Tensor]) -> dict[int, int]:
    layers = layers_of(graph)
    return {
        group.id: int((bn_scale(group, layers, parameters) == 0).sum())
        for group in graph.prunable
        if all(layers[member.node].norm is not None for member in group.producers)
    }


def _freedom(row: dict[str, Any]) -> str:
    if row["channels"] == row["equal_parts"]:
        return "no other channel"
    return "yes" if row["equal_parts"] == 1 else f"yes, in {row['equal_parts']} equal parts"

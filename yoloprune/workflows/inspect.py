"""What a network is made of, what it costs, and which channels depend on each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from yoloprune.frontends.darknet.cost import Cost, cost
from yoloprune.frontends.darknet.document import darknet, layer_of
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, analyze
from yoloprune.pruning.layers import layers_of
from yoloprune.pruning.score.on_weights import bn_scale
from yoloprune.report.shown import Result, Shown
from yoloprune.report.table import amount, file_size
from yoloprune.workflows.models import opened


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Inspection(Result):
    """Layers, cost and channel groups; with weights, `dead` channels of each prunable group.

    Those are channels whose producers all have a batch-norm scale of 0, by group id.
    """

    title: str
    spec: NetworkSpec
    total: Cost
    graph: DependencyGraph
    dead: dict[int, int] | None

    def layer_rows(self) -> list[dict[str, Any]]:
        """A layer each: what it reads, gives and costs."""
        return [
            {
                "index": layer.index,
                "type": layer.section.name,
                "sources": list(layer.sources),
                "in_channels": row.in_channels,
                "out_shape": list(row.out_shape),
                "params": row.params,
                "macs": row.macs,
            }
            for layer, row in zip(self.spec.layers, self.total.per_layer, strict=True)
        ]

    def group_rows(self) -> list[dict[str, Any]]:
        """A channel group each."""
        return [self._group(group) for group in self.graph.groups]

    def _group(self, group: ChannelGroup) -> dict[str, Any]:
        row: dict[str, Any] = {
            "id": group.id,
            "channels": group.size,
            "producers": [layer_of(member.node) for member in group.producers],
            "consumers": [layer_of(member.node) for member in group.consumers],
            "equal_parts": group.equal_parts,
            "frozen_because": group.frozen_because,
        }
        return row if self.dead is None else row | {"dead_channels": self.dead.get(group.id)}

    def layers(self) -> Shown:
        """The layers as a table."""
        rows = [
            (
                row["index"],
                row["type"],
                " ".join(map(str, row["sources"])),
                "x".join(map(str, reversed(row["out_shape"]))),
                f"{row['params']:,}" if row["params"] else "",
                f"{row['macs'] / 1e6:,.1f}" if row["macs"] else "",
            )
            for row in self.layer_rows()
        ]
        header = ("Layer", "Type", "Reads", "Output", "Params", "MACs (M)")
        return Shown(title=self.title, summary=self._totals(), header=header, rows=rows)

    def shown(self) -> Shown:
        """The channel groups as a table; as JSON the layers too."""
        groups = self.group_rows()
        dead = self.dead is not None
        rows = [
            (
                row["id"],
                row["channels"],
                _short(row["producers"]),
                _short(row["consumers"]),
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
            lines=[self._totals()],
            document={
                "input_shape": list(self.spec.input_shape),
                "digest": self.spec.digest(),
                "params": self.total.params,
                "macs": self.total.macs,
                "flops": self.total.flops,
                "weight_bytes": self.total.weight_bytes,
                "layers": self.layer_rows(),
                "groups": groups,
            },
        )

    def _totals(self) -> str:
        prunable, total = self.graph.prunable, self.total
        return (
            f"{amount(total.params)} params, {file_size(total.weight_bytes)}, "
            f"{amount(total.macs)} MACs ({amount(total.flops)} FLOPs); "
            f"{len(prunable)} prunable groups, "
            f"{sum(len(group.producers) > 1 for group in prunable)} of them coupled, "
            f"{len(self.graph.groups) - len(prunable)} frozen"
        )


def inspect(network: Model | str | Path) -> Inspection:
    """Layers, cost and channel groups of a network; of a .cfg alone without its weights."""
    if isinstance(network, Model) or Path(network).is_dir():
        network = opened(network)
        spec, graph = darknet(network).spec, analyze(network.graph)
        title, dead = network.document.title, _dead_channels(graph, network.parameters)
    else:
        spec = read_cfg(Path(network))
        graph = analyze(lower(spec))
        title, dead = str(network), None
    return Inspection(title=title, spec=spec, total=cost(spec), graph=graph, dead=dead)


def _dead_channels(graph: DependencyGraph, parameters: Mapping[str, Tensor]) -> dict[int, int]:
    layers = layers_of(graph)
    return {
        group.id: int((bn_scale(group, layers, parameters) == 0).sum())
        for group in graph.prunable
        if all(layers[member.node].norm is not None for member in group.producers)
    }


def _freedom(row: dict[str, Any]) -> str:
    return "yes" if row["equal_parts"] == 1 else f"yes, in {row['equal_parts']} equal parts"


def _short(layers: list[int]) -> str:
    return " ".join(map(str, layers)) or "none"

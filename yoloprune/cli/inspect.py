"""`yoloprune inspect`: what a network is made of, and what depends on what."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yoloprune.cli.console import ConsoleReporter, Json, Quiet, output, print_json, print_table
from yoloprune.cli.networks import only_network
from yoloprune.darknet.cost import Cost, cost
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.weights import read_weights
from yoloprune.pruning.groups import ChannelGroup, DependencyGraph, analyse
from yoloprune.pruning.importance import bn_scale
from yoloprune.report.table import amount, file_size


def inspect(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="CFG [WEIGHTS]", help="Darknet .cfg, or pair, or a folder that holds one."
        ),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show layers, cost and channel groups; with weights, also each group's dead channels."""
    cfg, weights = (Path(words[0]), None) if _is_cfg_alone(words) else only_network(words)
    spec = read_cfg(cfg)
    total = cost(spec)
    graph = analyse(spec)
    dead = None
    if weights is not None:
        with ConsoleReporter(quiet=quiet).stage("reading weights"):
            dead = _dead_channels(weights, spec, graph)
    document = _document(spec, total, graph, dead)
    if json:
        print_json(document)
    else:
        _print(document, str(cfg))


def _is_cfg_alone(words: list[str]) -> bool:
    return len(words) == 1 and not Path(words[0]).is_dir()


def _dead_channels(weights: Path, spec: NetworkSpec, graph: DependencyGraph) -> dict[int, int]:
    """Channels of each prunable group whose producers all have a batch-norm scale of 0."""
    state = read_weights(weights, spec)
    return {
        group.id: int((bn_scale(group, state) == 0).sum())
        for group in graph.prunable
        if all(state[member.layer].scale is not None for member in group.producers)
    }


def _document(
    spec: NetworkSpec, total: Cost, graph: DependencyGraph, dead: dict[int, int] | None
) -> dict[str, Any]:
    layers = [
        {
            "index": layer.index,
            "type": layer.section.name,
            "sources": list(layer.sources),
            "in_channels": row.in_channels,
            "out_shape": list(row.out_shape),
            "params": row.params,
            "macs": row.macs,
        }
        for layer, row in zip(spec.layers, total.per_layer, strict=True)
    ]
    groups = [_group(group, dead) for group in graph.groups]
    return {
        "input_shape": list(spec.input_shape),
        "digest": spec.digest(),
        "params": total.params,
        "macs": total.macs,
        "flops": total.flops,
        "weight_bytes": total.weight_bytes,
        "layers": layers,
        "groups": groups,
    }


def _group(group: ChannelGroup, dead: dict[int, int] | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": group.id,
        "channels": group.size,
        "producers": [member.layer for member in group.producers],
        "consumers": [member.layer for member in group.consumers],
        "equal_parts": group.equal_parts,
        "frozen_because": group.frozen_because,
    }
    if dead is not None:
        row["dead_channels"] = dead.get(group.id)
    return row


def _print(document: dict[str, Any], title: str) -> None:
    layers = [
        (
            row["index"],
            row["type"],
            " ".join(map(str, row["sources"])),
            "x".join(map(str, reversed(row["out_shape"]))),
            f"{row['params']:,}" if row["params"] else "",
            f"{row['macs'] / 1e6:,.1f}" if row["macs"] else "",
        )
        for row in document["layers"]
    ]
    header = ("Layer", "Type", "Reads", "Output", "Params", "MACs (M)")
    print_table(title, header, layers)

    weights = any("dead_channels" in row for row in document["groups"])
    groups = [
        (
            row["id"],
            row["channels"],
            _short(row["producers"]),
            _short(row["consumers"]),
            *(["-" if row["dead_channels"] is None else row["dead_channels"]] if weights else []),
            row["frozen_because"] or _freedom(row),
        )
        for row in document["groups"]
    ]
    columns = (
        "Group",
        "Channels",
        "Producers",
        "Consumers",
        *(["Dead"] if weights else []),
        "Prunable",
    )
    print_table("Channel groups", columns, groups)
    prunable = [row for row in document["groups"] if row["frozen_because"] is None]
    output.print(
        f"{amount(document['params'])} params, {file_size(document['weight_bytes'])}, "
        f"{amount(document['macs'])} MACs ({amount(document['flops'])} FLOPs); "
        f"{len(prunable)} prunable groups, "
        f"{sum(len(row['producers']) > 1 for row in prunable)} of them coupled, "
        f"{len(document['groups']) - len(prunable)} frozen"
    )


def _freedom(row: dict[str, Any]) -> str:
    return "yes" if row["equal_parts"] == 1 else f"yes, in {row['equal_parts']} equal parts"


def _short(layers: list[int]) -> str:
    return " ".join(map(str, layers)) or "none"

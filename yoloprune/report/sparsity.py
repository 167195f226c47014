"""What weight pruning reports: how many weights and multiply-accumulates are left, and bytes."""

from typing import Any

from yoloprune.graph.cost import Cost, cost
from yoloprune.graph.model import Model
from yoloprune.graph.shapes import facts
from yoloprune.pruning.weights.masks import kernels
from yoloprune.report.table import amount, change, file_size

HEADER = ("Network", "Weights", "Size", "MACs")


def sparsity_report(
    network: Model, dense_bytes: int, packed_bytes: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The content of report.json: `dense`, `sparse`, `settings`, and `layers` by node.

    `weights` are those of the kernels; in `sparse` and in the layers' `nonzero` and `nonzero_macs`
    only what is not zero counts. `bytes` is the size of the dense and of the packed file.
    """
    dense = cost(network.graph, facts(network.graph).shapes)
    layers = _layers(network, dense)
    return {
        "dense": {
            "weights": sum(layer["weights"] for layer in layers.values()),
            "bytes": dense_bytes,
            "macs": dense.macs,
        },
        "sparse": {
            "weights": sum(layer["nonzero"] for layer in layers.values()),
            "bytes": packed_bytes,
            "macs": sum(layer["nonzero_macs"] for layer in layers.values()),
        },
        "settings": settings,
        "layers": layers,
    }


def sparsity_rows(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """Rows under `HEADER` of a report: dense, sparse, and the change."""
    dense, sparse = report["dense"], report["sparse"]
    return [
        *(
            (name, amount(row["weights"]), file_size(row["bytes"]), amount(row["macs"]))
            for name, row in (("Dense", dense), ("Sparse", sparse))
        ),
        ("Change", *(change(dense[key], sparse[key]) for key in ("weights", "bytes", "macs"))),
    ]


def _layers(network: Model, dense: Cost) -> dict[str, dict[str, Any]]:
    macs = {node.name: node.macs for node in dense.per_node}
    layers = {}
    for kernel in kernels(network.graph):
        values = network.parameters[kernel.name]
        weights, nonzero = values.numel(), int(values.count_nonzero())
        layers[kernel.node] = {
            "weights": weights,
            "nonzero": nonzero,
            "sparsity": 1 - nonzero / weights,
            "macs": macs[kernel.node],
            # Every weight is used as often as any other.
            "nonzero_macs": macs[kernel.node] // weights * nonzero,
        }
    return layers

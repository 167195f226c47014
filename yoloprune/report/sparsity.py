"""What weight pruning reports: how many weights and multiply-accumulates are left, and bytes."""

from typing import Any

from yoloprune.frontends.darknet.cost import Cost, cost
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import State
from yoloprune.report.table import amount, change, file_size

HEADER = ("Network", "Weights", "Size", "MACs")


def sparsity_report(
    spec: NetworkSpec, state: State, packed_bytes: int, settings: dict[str, Any]
) -> dict[str, Any]:
    """The content of report.json: `dense`, `sparse`, `settings`, and `layers` by index.

    `weights` are those of the kernels; in `sparse` and in the layers' `nonzero` and `nonzero_macs`
    only what is not zero counts. `bytes` is the size of the .weights and of the packed file.
    """
    dense = cost(spec)
    layers = _layers(spec, state, dense)
    return {
        "dense": {
            "weights": sum(layer["weights"] for layer in layers.values()),
            "bytes": dense.weight_bytes,
            "macs": dense.macs,
        },
        "sparse": {
            "weights": sum(layer["nonzero"] for layer in layers.values()),
            "bytes": packed_bytes,
            "macs": sum(layer["nonzero_macs"] for layer in layers.values()),
        },
        "settings": settings,
        "layers": {str(index): layer for index, layer in layers.items()},
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


def _layers(spec: NetworkSpec, state: State, dense: Cost) -> dict[int, dict[str, Any]]:
    layers = {}
    for conv in spec.convs:
        kernel = state[conv.index].kernel
        weights, nonzero = kernel.numel(), int(kernel.count_nonzero())
        macs = dense.per_layer[conv.index].macs
        layers[conv.index] = {
            "weights": weights,
            "nonzero": nonzero,
            "sparsity": 1 - nonzero / weights,
            "macs": macs,
            # Every weight is used once an output pixel.
            "nonzero_macs": macs // weights * nonzero,
        }
    return layers

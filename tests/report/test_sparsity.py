from dataclasses import replace

import torch

from tests.report import studies
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.report.sparsity import sparsity_report, sparsity_rows

SPEC = parse_cfg(
    "[net]\nheight=8\nwidth=8\nchannels=3\n"
    "[convolutional]\nfilters=4\nsize=1\nstride=1\nactivation=linear\n"
    "[convolutional]\nfilters=2\nsize=1\nstride=2\nactivation=linear\n"
)


def test_weights_and_what_they_cost_are_counted_by_layer() -> None:
    dense = studies.network(SPEC)
    first, second = torch.zeros(4, 3, 1, 1), torch.ones(2, 4, 1, 1)
    first[0] = 2.0
    second[1, :2] = 0.0
    kernels = {"layer_0.kernel": first, "layer_1.kernel": second}
    assert kernels.keys() <= dense.parameters.keys()
    network = replace(dense, parameters={**dense.parameters, **kernels})
    report = sparsity_report(network, 1000, 400, {"sparsity": 0.5})
    # 12 weights over 8 x 8 pixels, of which 3 are left, and 8 over 4 x 4, of which 6 are.
    assert report == {
        "dense": {"weights": 20, "bytes": 1000, "macs": 896},
        "sparse": {"weights": 9, "bytes": 400, "macs": 288},
        "settings": {"sparsity": 0.5},
        "layers": {
            "layer_0.conv": {
                "weights": 12, "nonzero": 3, "sparsity": 0.75, "macs": 768, "nonzero_macs": 192
            },
            "layer_1.conv": {
                "weights": 8, "nonzero": 6, "sparsity": 0.25, "macs": 128, "nonzero_macs": 96
            },
        },
    }  # fmt: skip
    assert sparsity_rows(report) == [
        ("Dense", "20", "1.0KB", "896"),
        ("Sparse", "9", "400B", "288"),
        ("Change", "-55%", "-60%", "-68%"),
    ]

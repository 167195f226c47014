"""What torch exports of classifiers that everyone knows is pruned exactly, nearly all of it.

A part of tests/benchmarks/onnx_matrix.py, which see, with networks of fewer channels.
"""

from pathlib import Path

import pytest
import torch

from tests.benchmarks.onnx_matrix import measured
from tests.classifiers import CLASSIFIERS, export


@pytest.mark.parametrize(
    ("name", "side", "thinned", "convolutions"),
    [
        ("alexnet", 224, 5, 5),
        ("efficientnet-b0", 64, 81, 81),
        ("mobilenet-v3-large", 64, 62, 62),
        ("squeezenet-1.0", 64, 25, 26),
    ],
)  # fmt: skip
def test_classifiers(name: str, side: int, thinned: int, convolutions: int, tmp_path: Path) -> None:
    with torch.device("meta"):
        whole = CLASSIFIERS[name].make()
    assert sum(array.numel() for array in whole.parameters()) == CLASSIFIERS[name].parameters
    export(name, tmp_path / "net.onnx", width=0.125, side=side)
    found = measured(tmp_path / "net.onnx")
    assert (found.thinned, found.convolutions) == (thinned, convolutions)
    assert found.macs < 0.8
    assert found.exact <= 1e-12
    assert found.runtime <= 5e-5 < found.change

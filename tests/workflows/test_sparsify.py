from pathlib import Path

import numpy as np
import onnx
import pytest

from yoloprune.errors import (
    UsageError,
)
from yoloprune.workflows.models import load
from yoloprune.workflows.sparsify import read_sparse, sparsify


def test_single_weights_of_a_file_are_zeroed(net: Path, tmp_path: Path) -> None:
    sparse = sparsify(net, 0.75, exclude=("heads",))
    sparse.save(tmp_path / "sparse")
    before, after = (
        {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
        for path in (net, tmp_path / "sparse" / "sparse.onnx")
    )
    kernels = ("w1", "w2", "w3")
    least = np.sort(np.abs(np.concatenate([before[name].ravel() for name in kernels])))
    limit = least[round(0.75 * len(least))]
    for name, array in before.items():
        keep = np.abs(array) >= limit if name in kernels else True
        assert np.array_equal(after[name], array * keep), name
    again, masks = read_sparse(tmp_path / "sparse")
    assert masks is not None and again.document.title == "sparse"
    # Of the dense file only the numbers changed.
    assert again.graph.digest() == load(net).graph.digest()
    with pytest.raises(UsageError, match="would replace the dense network"):
        sparsify(tmp_path / "sparse", 0.8).save(tmp_path / "sparse")

"""Files that other programs made."""

from pathlib import Path

import numpy as np
import onnx

from yoloprune.workflows.comparison import foreign
from yoloprune.workflows.models import load


def spoiling(dense: Path, share: float, multiple_of: int) -> onnx.ModelProto:
    """Other numbers in a network of the same shapes."""
    proto = onnx.load(dense)
    kernel = proto.graph.initializer[0]
    array = onnx.numpy_helper.to_array(kernel) * np.float32(1.5)
    kernel.CopyFrom(onnx.numpy_helper.from_array(array, kernel.name))
    return proto


def test_a_file_that_is_not_exact_says_so(net: Path, tmp_path: Path) -> None:
    (tmp_path / "dense.onnx").write_bytes(net.read_bytes())
    foreign._search(spoiling, tmp_path, 0.5, 1, tmp_path / "0.onnx")
    made = foreign.checked(load(net), tmp_path / "0.onnx")
    assert made.exact == "no" and made.remark.startswith("its file: ")
    assert "but it is not exact: outputs differ" in made.remark

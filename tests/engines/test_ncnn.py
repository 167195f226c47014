from pathlib import Path

import numpy as np
import pytest
import torch

from tests.engines.tiny import INSTALLED
from yoloprune.engines.table import run_in
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.builder import GraphBuilder


@pytest.mark.skipif("ncnn" not in INSTALLED, reason="ncnn is not installed")
def test_what_pnnx_misreads_is_refused_for_ncnn(tmp_path: Path) -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (1, 6, 4, 4))
    y = graph.node("chosen", "Gather", x, graph.constant("which", [4, 0, 5]), axis=1)
    built = graph.build({y: (1, 3, 4, 4)})
    (tmp_path / "a.onnx").write_bytes(onnx_model(built, {}).SerializeToString())
    with pytest.raises(GraphError, match=r"ncnn cannot run chosen: .* reads a Gather of several"):
        run_in(tmp_path / "a.onnx", "ncnn")


@pytest.mark.skipif("ncnn" not in INSTALLED, reason="ncnn is not installed")
def test_equal_parts_are_cut_where_onnx_cuts_them(tmp_path: Path) -> None:
    kernel = np.eye(6, dtype=np.float32).reshape(6, 6, 1, 1)
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (1, 6, 4, 4))
    x = graph.node("conv", "Conv", x, graph.parameter("kernel", (6, 6, 1, 1)))
    first, second = graph.split("parts", x, 1, 2)
    built = graph.build({graph.node("y", "Sub", first, second): (1, 3, 4, 4)})
    (tmp_path / "a.onnx").write_bytes(onnx_model(built, {"kernel": kernel}).SerializeToString())
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 6, 4, 4))).float()
    found = run_in(tmp_path / "a.onnx", "ncnn", threads=1)(images)["y"]
    torch.testing.assert_close(found, images[:, :3] - images[:, 3:])

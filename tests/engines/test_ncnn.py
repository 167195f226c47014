"""What pnnx, ncnn's converter, misreads is told it in other words, or refused."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import ArrayLike

from yoloprune.engines.ncnn import NCNN, spell_gathers
from yoloprune.engines.table import run_in
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.build import onnx_model
from yoloprune.graph.builder import GraphBuilder


def choosing(places: ArrayLike, shape: tuple[int, ...]) -> onnx.ModelProto:
    """A network that gives six channels as they are, and takes some of them."""
    graph = GraphBuilder(opset=17, dtype="float32")
    x = graph.input("x", (1, 6, 4, 4))
    # Where nothing convolves, pnnx does not know which axis holds the channels.
    same = graph.node("same", "Conv", x, graph.constant("kernel", np.eye(6)[..., None, None]))
    y = graph.node("chosen", "Gather", same, graph.constant("which", places), axis=1)
    return onnx_model(graph.build({y: shape}), {})


def test_chosen_channels_are_spelled_as_slices() -> None:
    places = [4, 0, 1, 2, 5, 5]
    model = choosing(places, (1, 6, 4, 4))
    spell_gathers(model)
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv", *["Slice"] * 4, "Concat"]
    images = np.random.default_rng(0).random((1, 6, 4, 4), dtype=np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"x": images})[0], images[:, places])


@pytest.mark.parametrize(
    ("places", "shape"), [([-1, 0], (1, 2, 4, 4)), ([[4, 0], [5, 1]], (1, 2, 2, 4, 4))]
)
def test_what_is_misread_is_refused(places: ArrayLike, shape: tuple[int, ...]) -> None:
    with pytest.raises(GraphError, match=r"ncnn cannot run chosen: .* reads a Gather of several"):
        spell_gathers(choosing(places, shape))


@pytest.mark.skipif(bool(NCNN.missing), reason="ncnn is not installed")
def test_ncnn_takes_the_chosen_channels(tmp_path: Path) -> None:
    model = choosing([4, 0, 5], (1, 3, 4, 4))
    (tmp_path / "a.onnx").write_bytes(model.SerializeToString())
    images = torch.rand(2, 6, 4, 4, generator=torch.Generator().manual_seed(0))
    (found,) = run_in(tmp_path / "a.onnx", "ncnn")(images).values()
    torch.testing.assert_close(found, images[:, [4, 0, 5]])


@pytest.mark.skipif(bool(NCNN.missing), reason="ncnn is not installed")
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

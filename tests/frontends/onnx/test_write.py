from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto

from tests.frontends.onnx.models import (
    loaded,
    node,
    slimmed,
    two_convs,
    weights,
)
from yoloprune.frontends.onnx import write
from yoloprune.frontends.onnx.read import read


def test_arrays_in_a_file_of_their_own(tmp_path: Path) -> None:
    # The second kernel alone is large, and nothing of the third convolution is cut.
    arrays = {"w2": weights(64, 8, 1, 1), "w3": weights(64, 3, 3, 3)}
    whole = [node("Conv", ["x", "w3"], ["z"], name="whole", pads=[1] * 4)]
    outputs = {"y": (1, 64, 8, 8), "z": (1, 64, 8, 8)}
    proto = two_convs([node("Relu", ["a"], ["b"]), *whole], arrays=arrays, outputs=outputs)
    network = loaded(
        proto, tmp_path, save_as_external_data=True, location="net.weights", size_threshold=0
    )
    assert network.document.source == (tmp_path / "net.onnx", tmp_path / "net.weights")
    slim, found, _ = slimmed(network)
    assert found.passed
    out = tmp_path / "out"
    files = slim.save(out / "slim.onnx")
    assert files == (out / "slim.onnx", out / "slim.onnx.data")
    assert set(files) == set(out.iterdir())
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "net.weights", "out"}
    again = read(out / "slim.onnx")
    assert again.graph.digest() == slim.graph.digest()
    assert all(torch.equal(again.parameters[name], t) for name, t in slim.parameters.items())
    # Over itself, while it is read.
    again.save(out / "slim.onnx")
    third = read(out / "slim.onnx")
    assert all(torch.equal(third.parameters[name], t) for name, t in slim.parameters.items())


def test_large_numbers_are_written_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "LARGEST", 1 << 9)
    monkeypatch.setattr(write, "SMALLEST_APART", 64)
    network = loaded(two_convs(dtype=TensorProto.FLOAT), tmp_path)
    slim, found, _ = slimmed(network)
    assert found.passed
    (tmp_path / "out").mkdir()
    written = slim.document.write(slim.parameters, tmp_path / "out" / "slim.onnx")
    assert [path.name for path in written] == ["slim.onnx", "slim.onnx.data"]
    assert onnx.load_model(written[0], load_external_data=False).graph.initializer[0].external_data
    again = read(written[0])
    assert again.graph.digest() == slim.graph.digest()
    assert all(torch.equal(again.parameters[name], t) for name, t in slim.parameters.items())

"""Files of other programs given as a network, written by those programs where they are here."""

import json
import os
import pickle
import struct
import threading
from pathlib import Path

import onnx
import pytest
import torch

from yoloprune import files
from yoloprune.errors import CfgError, WeightsError
from yoloprune.frontends.darknet.cfg import read_cfg_text
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg, write_cfg
from yoloprune.frontends.darknet.weights import read_weights, write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.weights.storage import write_packed

TINY = yolov3_tiny(classes=1, width=0.0625, size=(32, 32))


def torch_zip(path: Path) -> None:
    torch.save({"model": {"a": torch.zeros(3)}}, path)


def torch_legacy(path: Path) -> None:
    torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)


def torchscript(path: Path) -> None:
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), str(path))


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": [1.0]}))


def onnx_model(path: Path) -> None:
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [out])), path)


def safetensors(path: Path) -> None:
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def hdf5(path: Path) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90))


def tflite(path: Path) -> None:
    path.write_bytes(struct.pack("<I", 28) + b"TFL3" + bytes(90))


def tensorrt(path: Path) -> None:
    path.write_bytes(b"ftrt" + bytes(90))


def openvino(path: Path) -> None:
    path.write_text('<?xml version="1.0"?>\n<net name="Model0" version="11">\n</net>\n')


def ncnn(path: Path) -> None:
    path.write_text("7767517\n2 2\nInput data 0 1 data 0=4 1=4 2=3\n")


def packed(path: Path) -> None:
    write_packed(path, lower(TINY), parameters(random_state(TINY)))


MADE = {
    torch_zip: "a PyTorch checkpoint",
    torch_legacy: "a PyTorch checkpoint",
    torchscript: "a PyTorch checkpoint",
    pickled: "a Python pickle",
    onnx_model: "an ONNX model",
    safetensors: "safetensors",
    hdf5: "HDF5",
    tflite: "a TensorFlow Lite model",
    tensorrt: "a TensorRT engine",
    openvino: "an OpenVINO model",
    ncnn: "an ncnn model",
    packed: "`yoloprune expand`",
}


@pytest.mark.parametrize("make", MADE)
def test_what_it_is_shows_in_the_content(make, tmp_path: Path) -> None:
    path = tmp_path / "network.weights"
    make(path)
    with pytest.raises(
        CfgError, match=f"network.weights: not a darknet .cfg file, but .*{MADE[make]}"
    ):
        read_cfg_text(path)
    with pytest.raises(WeightsError, match=f"not a darknet .weights file, but .*{MADE[make]}"):
        read_weights(path, TINY)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("best.PT", "a PyTorch checkpoint"), ("yolo.engine", "TensorRT"), ("yolo.pb", "TensorFlow"),
     ("yolo.bin", "OpenVINO or ncnn"), ("yolo.caffemodel", "Caffe"), ("yolov8n.yaml", "YAML"),
     ("yolo.mlpackage", "Core ML")],
)  # fmt: skip
def test_or_else_in_the_suffix(name: str, kind: str, tmp_path: Path) -> None:
    # As Ultralytics begins an engine: with the length of a text, and that text.
    (tmp_path / name).write_bytes(struct.pack("<i", 8) + b'{"a":1 }' + bytes(90))
    with pytest.raises(CfgError, match=kind):
        read_cfg_text(tmp_path / name)
    with pytest.raises(WeightsError, match=kind):
        read_weights(tmp_path / name, TINY)


def test_a_folder_can_be_a_model_too(tmp_path: Path) -> None:
    (tmp_path / "yolo.mlpackage").mkdir()
    with pytest.raises(CfgError, match="Core ML"):
        read_cfg_text(tmp_path / "yolo.mlpackage")


def test_the_two_halves_in_the_wrong_order(tmp_path: Path) -> None:
    cfg, weights = tmp_path / "tiny.cfg", tmp_path / "tiny.weights"
    write_cfg(cfg, TINY)
    write_weights(weights, TINY, random_state(TINY))
    with pytest.raises(CfgError, match=r"tiny.weights: .* but .weights: the .cfg comes first"):
        read_cfg_text(weights)
    with pytest.raises(WeightsError, match=r"tiny.cfg: .* but a .cfg: it comes first"):
        read_weights(cfg, TINY)


@pytest.mark.parametrize("name", ["tiny.bin", "tiny.pt", "darknet53.conv.74", "tiny.xml", "tiny"])
def test_darknets_own_is_read_whatever_its_name(name: str, tmp_path: Path) -> None:
    path, state = tmp_path / name, random_state(TINY)
    write_weights(path, TINY, state)
    assert read_weights(path, TINY).keys() == state.keys()
    write_cfg(path, TINY)
    assert parse_cfg(read_cfg_text(path)).digest() == TINY.digest()


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CfgError, match="cannot read the cfg: No such file"):
        read_cfg_text(tmp_path / "best.pt")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "tiny.cfg"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("[net]\n",))
    writer.start()
    assert read_cfg_text(pipe) == "[net]\n"
    writer.join()


def test_a_pipe_that_gives_nothing_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    os.mkfifo(tmp_path / "tiny.cfg")
    with pytest.raises(CfgError, match="nothing comes out of this pipe"):
        read_cfg_text(tmp_path / "tiny.cfg")
    spec = parse_cfg("[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\n")
    os.mkfifo(tmp_path / "tiny.weights")
    with pytest.raises(WeightsError, match="a device or a pipe"):
        read_weights(tmp_path / "tiny.weights", spec)


def test_classes_beyond_all_measure_are_refused() -> None:
    text = "[net]\nwidth=8\nheight=8\nchannels=3\n[convolutional]\nfilters=60015\n[yolo]\n"
    with pytest.raises(CfgError, match="classes=20000 must be at most 10000"):
        parse_cfg(f"{text}classes=20000\nanchors=1,1, 2,2, 3,3\nmask=0,1,2\nnum=3\n")

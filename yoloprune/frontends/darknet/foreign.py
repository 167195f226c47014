"""Files of other programs given as a Darknet network: refused by what they are.

They are told by their content where it begins with a mark, and by their suffix otherwise. What
looks like Darknet's own is never refused here, whatever its name.
"""

import re
import struct
from pathlib import Path
from typing import Literal

from yoloprune.errors import CfgError, WeightsError

Part = Literal["cfg", "weights"]
"""Which half of a Darknet pair a file was given for."""

_HEAD_BYTES = 4096
_NETWORK_SECTION = re.compile(rb"^\s*\[net(work)?\]", re.MULTILINE)

_SAVE = "if it was made from a .cfg, the program that trained it can save it as .weights"
_BACK = "give the .cfg and .weights that it was made from"

_TORCH = f"a PyTorch checkpoint: {_SAVE}"
_PICKLE = f"a Python pickle, which is never opened: {_SAVE}"
_SAFETENSORS = f"weights without a network (safetensors): {_SAVE}"
_ONNX = f"an ONNX model, where a Darknet network is needed: {_BACK}"
_TENSORRT = f"a TensorRT engine, compiled for one GPU: {_BACK}"
_TFLITE = f"a TensorFlow Lite model: {_BACK}"
_TENSORFLOW = f"a TensorFlow model: {_BACK}"
_HDF5 = f"an HDF5 file, as Keras writes its models: {_BACK}"
_KERAS = f"a Keras model: {_BACK}"
_OPENVINO = f"an OpenVINO model: {_BACK}"
_NCNN = f"an ncnn model: {_BACK}"
_CAFFE = f"a Caffe model: {_BACK}"
_COREML = f"a Core ML model: {_BACK}"
_PADDLE = f"a PaddlePaddle model: {_BACK}"
_YAML = "a YAML file, in which other programs describe networks and data: give a Darknet .cfg"
_PACKED = "a packed file of zero-skipping weights: `yoloprune expand` makes .weights of it"

_BY_SUFFIX = {
    ".bin": f"the weights of an OpenVINO or ncnn model: {_BACK}",
    ".caffemodel": _CAFFE,
    ".ckpt": _TORCH,
    ".engine": _TENSORRT,
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".keras": _KERAS,
    ".mlmodel": _COREML,
    ".mlpackage": _COREML,
    ".onnx": _ONNX,
    ".param": _NCNN,
    ".pb": _TENSORFLOW,
    ".pdmodel": _PADDLE,
    ".pdparams": _PADDLE,
    ".pkl": _PICKLE,
    ".plan": _TENSORRT,
    ".prototxt": _CAFFE,
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".safetensors": _SAFETENSORS,
    ".tflite": _TFLITE,
    ".torchscript": _TORCH,
    ".trt": _TENSORRT,
    ".xml": _OPENVINO,
    ".yaml": _YAML,
    ".yml": _YAML,
}

# Where in the file, which bytes, and what they mean; the first that fits counts.
_BY_CONTENT = (
    (0, rb"YPSPARSE", _PACKED),
    (0, rb"PK\x03\x04(?s:.)*?/data\.pkl", _TORCH),
    (0, rb"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", _TORCH),  # torch.save before version 1.6
    (0, rb"\x80[\x02-\x05]", _PICKLE),
    (0, rb"\x89HDF\r\n\x1a\n", _HDF5),
    (4, rb"TFL3", _TFLITE),
    (0, rb"[fp]trt", _TENSORRT),
    (8, rb"\{\s*\"", _SAFETENSORS),
    (0, rb"7767517\s", _NCNN),
    (0, rb"(<\?xml[^>]*>\s*)?<net\s", _OPENVINO),
    # A ModelProto: its version, field 1, comes first; then a text, a number, a graph or an opset.
    (0, rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]", _ONNX),
)


def refuse_foreign(path: Path, part: Part) -> None:
    """Raise `CfgError` or `WeightsError` if this is a file of another kind, or the other half.

    What cannot be read is left to whoever reads it.
    """
    problem = foreign_kind(path, part)
    if problem is not None:
        kind = CfgError if part == "cfg" else WeightsError
        raise kind(f"{path}: not a darknet .{part} file, but {problem}")


def foreign_kind(path: Path, part: Part) -> str | None:
    """What a file is, and how to go on from there; None for what may be that part of a pair."""
    if path.is_dir():
        return _BY_SUFFIX.get(path.suffix.lower())
    if not path.is_file():
        return None  # A pipe can be read only once.
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return None
    if _NETWORK_SECTION.search(head):
        return None if part == "cfg" else "a .cfg: it comes first, its .weights second"
    for offset, mark, kind in _BY_CONTENT:
        if re.compile(mark).match(head, offset):
            return kind
    if _is_weights(head):
        return None if part == "weights" else ".weights: the .cfg comes first, its .weights second"
    return _BY_SUFFIX.get(path.suffix.lower())


def _is_weights(head: bytes) -> bool:
    """Whether a file begins with the version of a .weights file that any program has written."""
    if len(head) < 16:
        return False
    major, minor, revision = struct.unpack_from("<3i", head)
    return bool(major == 0 and 0 <= minor < 10 and 0 <= revision < 1000)

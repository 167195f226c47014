"""ONNX Runtime on the CPU."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.graph.model import Model

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

TITLE = "ONNX Runtime"


def load(model: Model, setup: Setup) -> Runner:
    """A model in ONNX Runtime."""
    return runner(session(onnx_bytes(model, setup.batch), setup.threads))


def read(path: Path, setup: Setup) -> Runner:
    """An ONNX file in ONNX Runtime; raises whatever ONNX Runtime raises."""
    return runner(session(str(path), setup.threads))


def session(file: str | bytes, threads: int) -> "InferenceSession":
    """A session of an ONNX file, or of its bytes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def runner(ready: "InferenceSession") -> Runner:
    """What a session computes of its one input."""
    (given,) = ready.get_inputs()

    def compute(images: Tensor) -> tuple[Tensor, ...]:
        outputs = ready.run(None, {given.name: images.cpu().numpy()})
        return tuple(torch.from_numpy(output) for output in outputs)

    names = tuple(output.name for output in ready.get_outputs())
    return Runner(title=TITLE, outputs=names, compute=compute)


ONNXRUNTIME = Engine(
    name="onnxruntime",
    title=TITLE,
    load=load,
    modules=("onnx", "onnxruntime"),
    install="pip install 'yoloprune[export]'",
    read=read,
    suffixes=(".onnx",),
    compared=True,
)

"""OpenVINO on the CPU."""

from pathlib import Path

import torch
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.graph.model import Model

TITLE = "OpenVINO"


def load(model: Model, setup: Setup) -> Runner:
    """A model in OpenVINO."""
    return _runner(onnx_bytes(model, setup.batch), setup)


def read(path: Path, setup: Setup) -> Runner:
    """An ONNX file, or one of OpenVINO's own, in OpenVINO; raises whatever OpenVINO raises."""
    return _runner(str(path), setup)


def _runner(file: str | bytes, setup: Setup) -> Runner:
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": setup.threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Some processors would compute in bfloat16 otherwise, as the other engines do not.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    network = core.read_model(file)
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    names = tuple(output.get_any_name() for output in network.outputs)

    def compute(images: Tensor) -> tuple[Tensor, ...]:
        found = request.infer([images.cpu().numpy()])
        # The request writes over what it gave before.
        return tuple(torch.from_numpy(found[number].copy()) for number in range(len(names)))

    return Runner(title=TITLE, outputs=names, compute=compute)


OPENVINO = Engine(
    name="openvino",
    title=TITLE,
    load=load,
    modules=("onnx", "openvino"),
    install="pip install 'yoloprune[openvino]'",
    read=read,
    suffixes=(".onnx", ".xml"),
    compared=True,
)

"""OpenCV's `dnn` module on the CPU."""

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from yoloprune.engines.engine import Engine, Runner, Setup
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.graph.model import Model

TITLE = "OpenCV"


def load(model: Model, setup: Setup) -> Runner:
    """A model in OpenCV, through ONNX."""
    network = cv2.dnn.readNetFromONNX(np.frombuffer(onnx_bytes(model, setup.batch), np.uint8))
    return _runner(network, {name: name for name in model.graph.outputs}, setup)


def read(path: Path, setup: Setup) -> Runner:
    """An ONNX file, or a .cfg and the .weights beside it, in OpenCV.

    Of a .cfg, what the heads read. OpenCV takes another epsilon for batch norms than darknet, which
    shows in the third digit. Raises `cv2.error` for what OpenCV cannot read.
    """
    if path.suffix.lower() == ".onnx":
        network = cv2.dnn.readNetFromONNX(str(path))
        names = network.getUnconnectedOutLayersNames()
        return _runner(network, {name: name for name in names}, setup)
    spec = read_cfg(path)
    network = cv2.dnn.readNetFromDarknet(str(path), str(path.with_suffix(".weights")))
    present = set(network.getLayerNames())
    layers = {raw_map(head): _layer(head.sources[0], present) for head in spec.heads}
    return _runner(network, layers, setup)


def _layer(index: int, present: set[str]) -> str:
    """OpenCV's name of the last layer that it makes of a section."""
    return next(name for kind in ("logistic", "conv") if (name := f"{kind}_{index}") in present)


def _runner(network: cv2.dnn.Net, layers: dict[str, str], setup: Setup) -> Runner:
    cv2.setNumThreads(setup.threads)
    wanted = list(layers.values())

    def compute(images: Tensor) -> tuple[Tensor, ...]:
        network.setInput(images.cpu().numpy())
        # OpenCV writes over what it gave before.
        return tuple(torch.from_numpy(np.array(output)) for output in network.forward(wanted))

    return Runner(title=TITLE, outputs=tuple(layers), compute=compute)


OPENCV = Engine(
    name="opencv",
    title=TITLE,
    load=load,
    modules=("onnx", "cv2"),
    install="pip install 'yoloprune[export]'",
    read=read,
    suffixes=(".cfg", ".onnx"),
)

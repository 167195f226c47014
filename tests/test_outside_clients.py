"""Law 7: OpenCV's importers and ONNX Runtime compute what we say, before and after surgery.

The masked dense pair and the slim pair are both written as files and run by OpenCV: whatever our
own model does, the two must agree.
"""

from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
import torch

from tests import architectures
from tests.onnx_reference import outputs_of
from tests.pruning.darknet import pruned_pair
from tests.random_networks import random_state
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import State
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.frontends.darknet.zoo import NETWORKS

BUILDERS = NETWORKS | architectures.ARCHITECTURES
# OpenCV's region layer is the head itself for YOLOv2: compared in tests/detection.
NAMES = [name for name in BUILDERS if name != "yolov2"]


def noise(spec: NetworkSpec) -> torch.Tensor:
    """An image of noise."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(1, *spec.input_shape, dtype=torch.float64, generator=generator)


def run_in_opencv(
    folder: Path, spec: NetworkSpec, state: State, images: torch.Tensor
) -> list[np.ndarray]:
    """Outputs of the layers that the heads read."""
    folder.mkdir()
    write_cfg(folder / "net.cfg", spec)
    write_weights(folder / "net.weights", spec, state)
    network = cv2.dnn.readNetFromDarknet(str(folder / "net.cfg"), str(folder / "net.weights"))
    network.setInput(images.float().numpy())
    present = set(network.getLayerNames())
    before = [head.sources[0] for head in spec.heads]
    kinds = ("logistic", "conv")
    return [
        network.forward(next(f"{kind}_{i}" for kind in kinds if f"{kind}_{i}" in present))
        for i in before
    ]


@pytest.mark.parametrize("name", NAMES)
def test_slim_files_compute_what_masked_dense_files_compute(name: str, tmp_path: Path) -> None:
    spec = BUILDERS[name](classes=2, width=0.125, size=(64, 64))
    state = random_state(spec, 5, torch.float32)
    images = noise(spec)
    pruned = pruned_pair(spec, state, 0.5)
    dense_maps = run_in_opencv(tmp_path / "masked", spec, pruned.masked, images)
    slim_maps = run_in_opencv(tmp_path / "slim", pruned.spec, pruned.state, images)
    for dense, slim in zip(dense_maps, slim_maps, strict=True):
        assert np.abs(dense - slim).max() <= 1e-3 * np.abs(dense).max()


@pytest.mark.parametrize("name", ["yolov2", "yolov3-tiny", "yolov4-tiny", "yolov7-tiny"])
def test_opencv_computes_our_onnx_files(name: str, tmp_path: Path) -> None:
    """For several images at once, though a file fixes no number of them."""
    spec = BUILDERS[name](classes=2, width=0.0625, size=(64, 96))
    state = random_state(spec, 5, torch.float32)
    images = noise(spec).float().repeat(2, 1, 1, 1)
    for decoded in (False, True):
        check = export_onnx(spec, state, tmp_path / "net.onnx", decoded=decoded)
        network = cv2.dnn.readNetFromONNX(str(tmp_path / "net.onnx"))
        network.setInput(images.numpy())
        expected = outputs_of(spec, state, images, decoded=decoded)
        found = network.forward(list(check.outputs))
        for ours, theirs in zip(expected, found, strict=True):
            assert np.abs(theirs - ours).max() <= 1e-4 * np.abs(ours).max()


def test_onnx_runtime_computes_the_slim_network(tmp_path: Path) -> None:
    spec = BUILDERS["yolov3"](classes=1, width=0.0625, size=(64, 64))
    state = random_state(spec, 5, torch.float32)
    images = noise(spec)
    pruned = pruned_pair(spec, state, 0.5)
    export_onnx(pruned.spec, pruned.state, tmp_path / "slim.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "slim.onnx"))
    slim_maps = session.run(None, {"images": images.float().numpy()})
    dense_maps = run_in_opencv(tmp_path / "masked", spec, pruned.masked, images)
    for dense, slim in zip(dense_maps, slim_maps, strict=True):
        assert np.abs(dense - slim).max() <= 1e-3 * np.abs(dense).max()

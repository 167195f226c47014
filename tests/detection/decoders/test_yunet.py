"""YuNet's outputs are read as OpenCV's own class for it reads them."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import torch

from tests.frontends.onnx.models import model, node, weights
from yoloprune.detection.nms import select_detections
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.models import load

HEIGHT, WIDTH = 64, 96
ENTRIES = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}


def untrained_yunet() -> onnx.ModelProto:
    """Its twelve outputs, each a convolution of the averages over its cells."""
    nodes, arrays, outputs = [], {}, {}
    for kind, entries in ENTRIES.items():
        for stride in (8, 16, 32):
            name, cells = f"{kind}_{stride}", (HEIGHT // stride) * (WIDTH // stride)
            arrays[f"w{name}"] = weights(entries, 3, 1, 1, seed=stride) / 64
            arrays[f"shape{name}"] = np.array([1, entries, cells])
            size = {"kernel_shape": [stride] * 2, "strides": [stride] * 2}
            nodes += [
                node("AveragePool", ["input"], [f"a{name}"], **size),
                node("Conv", [f"a{name}", f"w{name}"], [f"b{name}"]),
                node("Reshape", [f"b{name}", f"shape{name}"], [f"c{name}"]),
                node("Transpose", [f"c{name}"], [f"d{name}"], perm=[0, 2, 1]),
                node("Sigmoid" if kind in ("cls", "obj") else "Identity", [f"d{name}"], [name]),
            ]
            outputs[name] = (1, cells, entries)
    inputs = {"input": (1, 3, HEIGHT, WIDTH)}
    made = model(nodes, arrays, inputs=inputs, outputs=outputs, opset=11)
    del made.metadata_props[:]
    return made


def test_faces_are_those_that_opencv_finds(tmp_path: Path) -> None:
    onnx.save_model(untrained_yunet(), tmp_path / "yunet.onnx")
    threshold = 0.4
    # IoUs are never above 1: nothing is suppressed.
    theirs = cv2.FaceDetectorYN.create(
        str(tmp_path / "yunet.onnx"), "", (WIDTH, HEIGHT), threshold, 1.0, 5000
    )
    finder = detector(load(tmp_path / "yunet.onnx"))
    assert str(finder.reads) == f"BGR in [0, 255], {WIDTH}x{HEIGHT} by corner"
    photo = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    photo = photo.repeat(8, axis=0).repeat(8, axis=1)
    _, rows = theirs.detect(photo[:, :, ::-1].copy())
    rows = rows[np.argsort(-rows[:, 14], kind="stable")]
    fitted, _ = finder.reads.fit(photo)
    (found,) = select_detections(finder.predict(torch.from_numpy(fitted)[None]), threshold, 1.0)
    assert len(found.scores) == len(rows) > 10
    np.testing.assert_allclose(found.scores.numpy(), rows[:, 14], atol=1e-5)
    boxes = np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:4]])
    np.testing.assert_allclose(found.boxes_xyxy.numpy(), boxes, atol=1e-3)

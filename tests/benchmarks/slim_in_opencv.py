"""A pruned pair in outside programs: slim files against dense files with the same channels zeroed.

Prunes to a share of the MACs, writes slim and masked dense pairs, and runs both in OpenCV's Darknet
importer, and slim in ONNX Runtime.
Usage: python -m tests.benchmarks.slim_in_opencv CFG WEIGHTS [KEEP_MACS]
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from tests.pruning.darknet import pruned_pair
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.lower import IMAGES, lower
from yoloprune.frontends.darknet.parser import read_cfg, write_cfg
from yoloprune.frontends.darknet.weights import read_weights, write_weights
from yoloprune.pruning.verification import random_images


def opencv_heads(cfg: Path, weights: Path, images: np.ndarray) -> list[np.ndarray]:
    network = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    network.setInput(images)
    return [network.forward(f"conv_{head.sources[0]}") for head in read_cfg(cfg).heads]


def largest(found: list[np.ndarray], expected: list[np.ndarray]) -> float:
    pairs = zip(found, expected, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def main() -> None:
    cfg, weights = (Path(name) for name in sys.argv[1:3])
    share = float(sys.argv[3]) if len(sys.argv) > 3 else 0.5
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    pruned = pruned_pair(spec, state, share)
    images = random_images(lower(spec))[IMAGES].float().numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cfg(folder / "masked.cfg", spec)
        write_weights(folder / "masked.weights", spec, pruned.masked)
        write_cfg(folder / "slim.cfg", pruned.spec)
        write_weights(folder / "slim.weights", pruned.spec, pruned.state)
        export_onnx(pruned.spec, pruned.state, folder / "slim.onnx")
        export_onnx(spec, pruned.masked, folder / "masked.onnx")
        expected = opencv_heads(folder / "masked.cfg", folder / "masked.weights", images)
        slim = opencv_heads(folder / "slim.cfg", folder / "slim.weights", images)
        slim_onnx, masked_onnx = (
            onnxruntime.InferenceSession(str(folder / name)).run(None, {IMAGES: images})
            for name in ("slim.onnx", "masked.onnx")
        )
    print(f"{cfg.name}: {cost(pruned.spec).macs / cost(spec).macs:.4f} of MACs kept")
    pairs = {
        "slim against masked dense, both in OpenCV": (slim, expected),
        "slim against masked dense, both in ONNX Runtime": (slim_onnx, masked_onnx),
        "slim in ONNX Runtime against slim in OpenCV": (slim_onnx, slim),
    }
    for what, (found, reference) in pairs.items():
        print(f"  {what:50} {largest(found, reference):.3g}")


if __name__ == "__main__":
    main()

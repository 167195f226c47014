"""A pruned pair in outside programs: slim files against dense files with the same channels zeroed.

Prunes to a share of the MACs, writes slim and masked dense pairs, and runs both in OpenCV's Darknet
importer, and slim in ONNX Runtime.
Usage: python tests/benchmarks/slim_in_opencv.py CFG WEIGHTS [KEEP_MACS]
"""

import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

from yoloprune.cost import cost
from yoloprune.darknet.parser import read_cfg, write_cfg
from yoloprune.darknet.weights import read_weights, write_weights
from yoloprune.export.onnx import export_onnx
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.plan import Budget, Compensation
from yoloprune.pruning.pruner import prune
from yoloprune.pruning.verification import masked_state, random_images


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
    noise = random_images(spec)
    pruned = prune(
        spec,
        state,
        criterion="l2",
        scope=Scope.GLOBAL,
        budget=Budget(keep_macs=share),
        compensation=Compensation.NONE,
        images=noise,
    )
    images = noise.float().numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_cfg(folder / "masked.cfg", spec)
        masked = masked_state(spec, state, pruned.plan)
        write_weights(folder / "masked.weights", spec, masked)
        write_cfg(folder / "slim.cfg", pruned.spec)
        write_weights(folder / "slim.weights", pruned.spec, pruned.state)
        export_onnx(pruned.spec, pruned.state, folder / "slim.onnx")
        expected = opencv_heads(folder / "masked.cfg", folder / "masked.weights", images)
        slim = opencv_heads(folder / "slim.cfg", folder / "slim.weights", images)
        session = onnxruntime.InferenceSession(str(folder / "slim.onnx"))
        in_onnx_runtime = session.run(None, {"images": images})
    print(f"{cfg.name}: {cost(pruned.spec).macs / cost(spec).macs:.4f} of MACs kept")
    print(f"  slim in OpenCV against masked dense in OpenCV:        {largest(slim, expected):.3g}")
    error = largest(in_onnx_runtime, expected)
    print(f"  slim in ONNX Runtime against masked dense in OpenCV:  {error:.3g}")
    error = largest(in_onnx_runtime, slim)
    print(f"  slim in ONNX Runtime against slim in OpenCV:          {error:.3g}")


if __name__ == "__main__":
    main()

"""ONNX export that is not done before ONNX Runtime has computed the same."""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.state import State
from yoloprune.detection.decode import decode
from yoloprune.errors import VerificationError, YoloPruneError
from yoloprune.files import write_atomically
from yoloprune.model.network import Network

TOLERANCE = 1e-3
"""Largest relative error between float32 runtimes that sum in different orders and fuse layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxCheck:
    """Outputs of the written file and their largest relative error against torch."""

    outputs: dict[str, tuple[int, ...]]
    relative_error: float


class DecodedNetwork(nn.Module):
    """A network that gives boxes and scores instead of raw head maps."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> boxes (B, N, 4) xyxy in input pixels, scores (B, N, classes)."""
        predictions = decode(self.network.spec, self.network(images))
        return predictions.boxes, predictions.objectness[..., None] * predictions.classes


def export_onnx(
    spec: NetworkSpec, state: State, path: Path, *, decoded: bool = False, seed: int = 0
) -> OnnxCheck:
    """Write a network as an ONNX file for one image (1, C, H, W) in [0, 1], named `images`.

    Outputs are the raw maps of the heads (`head_<layer index>`), or with `decoded` the tensors
    `boxes` (1, N, 4), xyxy in input pixels, and `scores` (1, N, classes), objectness times class
    probability, before NMS. The file appears only after ONNX Runtime, run on seeded noise, agreed
    with torch; else `VerificationError`.
    """
    require_onnx()
    network = Network.from_state(spec, state)
    if decoded and not spec.heads:
        raise YoloPruneError("the network has no head to decode")
    module: nn.Module = DecodedNetwork(network).eval() if decoded else network
    names = [f"head_{head.index}" for head in spec.heads] or ["output"]
    if decoded:
        names = ["boxes", "scores"]
    images = _noise(spec, seed)
    with write_atomically(path) as temporary:
        with _quiet_exporter():
            torch.onnx.export(
                module,
                (images,),
                str(temporary),
                dynamo=True,
                external_data=False,
                verbose=False,
                input_names=["images"],
                output_names=names,
            )
        return _check(temporary, module, images)


def check_onnx(spec: NetworkSpec, state: State, path: Path, *, seed: int = 0) -> OnnxCheck:
    """Compare a file of raw head maps with torch; raises `VerificationError` if they differ."""
    _require_packages("onnxruntime")
    try:
        return _check(path, Network.from_state(spec, state), _noise(spec, seed))
    except YoloPruneError:
        raise
    except Exception as error:
        # onnxruntime has an exception of its own for everything that can be wrong with a file.
        reason = str(error).splitlines()[0]
        raise VerificationError(f"{path}: ONNX Runtime cannot run it: {reason}") from error


def require_onnx() -> None:
    """Raise `YoloPruneError` where the packages that `export_onnx` needs are missing."""
    _require_packages("onnx", "onnxscript", "onnxruntime")


def _noise(spec: NetworkSpec, seed: int) -> Tensor:
    return torch.rand(1, *spec.input_shape, generator=torch.Generator().manual_seed(seed))


def _check(path: Path, module: nn.Module, images: Tensor) -> OnnxCheck:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": images.numpy()})
    with torch.inference_mode():
        expected = module(images)
    wanted = [tuple(tensor.shape) for tensor in expected]
    if (shapes := [array.shape for array in found]) != wanted:
        raise VerificationError(f"{path}: its outputs are {shapes}, those of the network {wanted}")
    worst = 0.0
    for array, tensor in zip(found, expected, strict=True):
        error = (torch.from_numpy(array) - tensor).abs().max().item()
        worst = max(worst, error / max(tensor.abs().max().item(), 1e-12))
    if not worst <= TOLERANCE:
        raise VerificationError(
            f"ONNX Runtime differs from torch by {worst:.3g} relative (allowed {TOLERANCE:g})"
        )
    names = [output.name for output in session.get_outputs()]
    return OnnxCheck(outputs=dict(zip(names, shapes, strict=True)), relative_error=worst)


def _require_packages(*names: str) -> None:
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise YoloPruneError(
            f"ONNX export needs {', '.join(missing)}: pip install 'yoloprune[export]'"
        )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the exporter's own chatter (absent torchvision, its deprecations)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)

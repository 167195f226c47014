"""Weight masks as a JSON file, whose checksum covers the settings as well as the masks."""

import base64
import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from yoloprune.documents import read_document
from yoloprune.errors import PlanError
from yoloprune.files import write_json
from yoloprune.graph.graph import Graph
from yoloprune.pruning.weights.masks import MaskSettings, WeightMasks, check_masks, kernels

MOST_SETTINGS = 4 << 20
"""Bytes of a file beside the bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kernel:
    shape: tuple[int, ...]
    kept: int
    bits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _MaskFile:
    """Masks as JSON: `kept` is how many weights stay, `bits` one bit a weight in base64."""

    version: Literal[3]
    graph_digest: str
    settings: MaskSettings
    kernels: dict[str, _Kernel]
    sha256: str = ""

    def checksum(self) -> str:
        """SHA-256 over everything else in the file."""
        document = asdict(self)
        del document["sha256"]
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def write_masks(path: Path, masks: WeightMasks) -> None:
    """Write masks as JSON."""
    document = _MaskFile(
        version=3,
        graph_digest=masks.graph_digest,
        settings=masks.settings,
        kernels={
            name: _Kernel(
                shape=tuple(mask.shape),
                kept=int(mask.sum()),
                bits=base64.b64encode(_packed(mask)).decode(),
            )
            for name, mask in masks.kept.items()
        },
    )
    document = replace(document, sha256=document.checksum())
    write_json(path, asdict(document))


def read_masks(path: Path, graph: Graph) -> WeightMasks:
    """Read a network's masks; raises `PlanError` when they are damaged or of another network."""
    weights = sum(math.prod(graph.parameters[kernel.name].shape) for kernel in kernels(graph))
    # A bit a weight, and base64 makes four bytes of three.
    document = read_document(path, _MaskFile, fault=PlanError, at_most=MOST_SETTINGS + weights // 5)
    try:
        masks = WeightMasks(
            graph_digest=document.graph_digest,
            settings=document.settings,
            kept={name: _unpacked(kernel) for name, kernel in document.kernels.items()},
        )
        check_masks(graph, masks)
    except (PlanError, ValueError) as error:
        raise PlanError(f"{path}: {error}") from None
    if document.checksum() != document.sha256:
        raise PlanError(f"{path}: damaged: the checksum does not fit")
    return masks


def _packed(mask: Tensor) -> bytes:
    return np.packbits(mask.numpy()).tobytes()


def _unpacked(kernel: _Kernel) -> Tensor:
    bits = np.frombuffer(base64.b64decode(kernel.bits, validate=True), np.uint8)
    count = math.prod(kernel.shape)
    if min(kernel.shape, default=0) < 1 or len(bits) != -(-count // 8):
        raise ValueError(f"{len(bits)} bytes of bits for a kernel of {kernel.shape}")
    return torch.from_numpy(np.unpackbits(bits, count=count).astype(bool).reshape(kernel.shape))

"""Weight masks as a JSON file, whose checksum covers the settings as well as the masks."""

import base64
import binascii
import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from yoloprune.darknet.spec import NetworkSpec
from yoloprune.errors import PlanError
from yoloprune.files import write_text
from yoloprune.pruning.budget import Scope
from yoloprune.sparsity.masks import MaskSettings, Pattern, WeightMasks, check_masks

VERSION = 2


def write_masks(path: Path, masks: WeightMasks) -> None:
    """Write masks as JSON: `kept` is how many weights stay, `bits` one bit a weight in base64."""
    document = {
        "version": VERSION,
        "spec_digest": masks.spec_digest,
        "settings": asdict(masks.settings),
        "layers": {
            str(index): {
                "shape": list(mask.shape),
                "kept": int(mask.sum()),
                "bits": base64.b64encode(_packed(mask)).decode(),
            }
            for index, mask in masks.kept.items()
        },
    }
    write_text(path, json.dumps(document | {"sha256": _checksum(document)}, indent=1) + "\n")


def read_masks(path: Path, spec: NetworkSpec) -> WeightMasks:
    """Read a network's masks; raises `PlanError` when they are damaged or of another network."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"{path}: cannot read the masks: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PlanError(f"{path}: these are not masks: {error}") from error
    try:
        masks, checksum = _masks_from(document), document.pop("sha256")
        check_masks(spec, masks)
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        ArithmeticError,
        binascii.Error,
    ) as error:
        raise PlanError(f"{path}: these are not masks: {error!r}") from error
    if _checksum(document) != checksum:
        raise PlanError(f"{path}: damaged: the checksum does not fit")
    return masks


def _masks_from(document: Any) -> WeightMasks:
    if document["version"] != VERSION:
        raise PlanError(
            f"masks of version {document['version']}, not {VERSION}: make them again (`sparsify`)"
        )
    settings = document["settings"]
    return WeightMasks(
        spec_digest=str(document["spec_digest"]),
        settings=MaskSettings(
            sparsity=float(settings["sparsity"]),
            scope=Scope(settings["scope"]),
            pattern=Pattern(settings["pattern"]),
            exclude=tuple(map(str, settings["exclude"])),
        ),
        kept={int(index): _unpacked(layer) for index, layer in document["layers"].items()},
    )


def _checksum(document: dict[str, Any]) -> str:
    """SHA-256 over everything else in the file."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _packed(mask: Tensor) -> bytes:
    return np.packbits(mask.numpy()).tobytes()


def _unpacked(layer: Any) -> Tensor:
    shape = [int(side) for side in layer["shape"]]
    bits = np.frombuffer(base64.b64decode(layer["bits"], validate=True), np.uint8)
    count = math.prod(shape)
    if min(shape) < 1 or len(bits) != -(-count // 8):
        raise ValueError(f"{len(bits)} bytes of bits for a kernel of {shape}")
    return torch.from_numpy(np.unpackbits(bits, count=count).astype(bool).reshape(shape))

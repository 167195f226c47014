"""What a training run leaves behind: networks, log, curves, a picture of a batch."""

import json
import platform
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from yoloprune.data.images import in_channels, write_image
from yoloprune.data.loader import Batch
from yoloprune.documents import MOST_BYTES, fitted, parse_document
from yoloprune.errors import CheckpointError
from yoloprune.files import read_file, write_atomically, write_json, write_text
from yoloprune.frontends.darknet.document import darknet
from yoloprune.graph.model import Model
from yoloprune.training.config import TrainingConfig

CHECKPOINT, LOG = "last.pt", "log.jsonl"

CURVES_SECONDS = 10.0
"""Before curves are drawn anew, unless a run ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loss:
    box: float
    objectness: float
    classes: float
    distillation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _EpochLine:
    """A line of the log."""

    epoch: int
    learning_rate: float
    loss: _Loss
    zero_channels: float
    map50: float | None


def write_settings(run: Path, config: TrainingConfig, settings: dict[str, Any]) -> None:
    """config.json and environment.json."""
    write_json(run / "config.json", asdict(config) | settings)
    write_json(run / "environment.json", environment())


def environment() -> dict[str, Any]:
    """What results depend on beside settings and data: versions, processor, threads."""
    packages = ("yoloprune", "torch", "numpy", "opencv-python-headless", "albumentations")
    return {
        "python": platform.python_version(),
        "processor": _processor(),
        "cuda": torch.version.cuda,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in packages},
    }


def _processor() -> str:
    """The processor's name where Linux tells it, else its architecture."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def write_network(run: Path, name: str, network: Model, seen: int = 0) -> None:
    """`name`.weights and then `name`.cfg, each whole or not at all, of a Darknet network."""
    # A run's names are those of its images, and not written every epoch.
    document = replace(darknet(network), names=None, seen=seen)
    replace(network, document=document).save(run / f"{name}.cfg")


def write_log(run: Path, log: list[dict[str, Any]]) -> None:
    """log.jsonl, one line an epoch."""
    write_text(run / LOG, "".join(json.dumps(line) + "\n" for line in log))


def read_log(run: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl; raises `CheckpointError` if it is damaged."""
    path = run / LOG
    try:
        text = read_file(path, MOST_BYTES).decode()
        lines = [parse_document(line, dict[str, Any]) for line in text.splitlines()]
        check_log(lines)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read the log: {error.strerror}") from error
    except ValueError as error:
        raise CheckpointError(f"{path}: damaged, or of another version: {error}") from None
    return lines


def check_log(lines: list[dict[str, Any]]) -> None:
    """Raise `ValueError` unless each line says what a finished epoch says."""
    fitted(lines, list[_EpochLine])


def write_batch_picture(run: Path, batch: Batch, limit: int = 16) -> None:
    """batch.jpg: the first samples of a training batch with their boxes."""
    tiles = []
    for number in range(min(limit, len(batch.images))):
        pixels = np.ascontiguousarray(batch.images[number].permute(1, 2, 0).cpu().numpy())
        # In colors, for the boxes are green.
        image = in_channels(pixels, 3)
        for box in batch.boxes[batch.image == number].tolist():
            left, top, right, bottom = map(round, box)
            cv2.rectangle(image, (left, top), (right, bottom), (0, 255, 0), 2)
        tiles.append(image)
    columns = 4
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    write_image(run / "batch.jpg", np.vstack(rows))


def drawn_lately(run: Path) -> bool:
    """Whether curves.png is only seconds old: where epochs are short, drawing takes longer."""
    path = run / "curves.png"
    return path.exists() and time.time() - path.stat().st_mtime < CURVES_SECONDS


def write_curves(run: Path, log: list[dict[str, Any]], protocol: str) -> None:
    """curves.png: losses and mAP, measured by `protocol`, by epoch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5))
    FigureCanvasAgg(figure)
    # Fixed margins: a layout that is worked out draws everything twice.
    margins = {"left": 0.06, "right": 0.98, "bottom": 0.15, "top": 0.9, "wspace": 0.15}
    losses, accuracy = figure.subplots(1, 2, gridspec_kw=margins)
    epochs = [line["epoch"] for line in log]
    for name in ("box", "objectness", "classes", "distillation"):
        values = [line["loss"][name] for line in log]
        if any(values):
            losses.plot(epochs, values, label=name)
    losses.set(title="Loss", xlabel="epoch")
    losses.legend()
    evaluated = [line for line in log if line.get("map50") is not None]
    accuracy.plot([line["epoch"] for line in evaluated], [line["map50"] for line in evaluated])
    accuracy.set(title=f"mAP@0.5 ({protocol})", xlabel="epoch", ylim=(0, 1))
    for axes in (losses, accuracy):
        axes.grid(alpha=0.3)
    with write_atomically(run / "curves.png") as temporary:
        figure.savefig(temporary, dpi=120)

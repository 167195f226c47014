"""The log of a run for TensorBoard, where that is installed."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yoloprune.errors import MissingDependencyError


def tensorboard_log(run: Path, protocol: str) -> Callable[[dict[str, Any]], None]:
    """A function that adds an epoch's line of the log to `run`/tensorboard.

    The mAP, measured by `protocol`, has its name.

    Raises `MissingDependencyError` if TensorBoard is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise MissingDependencyError(
            "the TensorBoard log needs tensorboard: pip install 'yoloprune[tensorboard]'"
        )
    from torch.utils.tensorboard import SummaryWriter

    writers: list[SummaryWriter] = []

    def add(line: dict[str, Any]) -> None:
        if not writers:
            # Not before there is something to write: a run that is refused leaves nothing.
            writers.append(SummaryWriter(run / "tensorboard"))
        figures = {f"loss/{name}": value for name, value in line["loss"].items()}
        figures |= {name: line[name] for name in ("learning_rate", "zero_channels")}
        figures[f"map50/{protocol}"] = line["map50"]
        for name, value in figures.items():
            if value is not None:
                writers[0].add_scalar(name, value, line["epoch"])
        writers[0].flush()

    return add

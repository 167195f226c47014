"""Networks as a user names them: CFG WEIGHTS, NET.onnx, or a folder that a command wrote."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from yoloprune.errors import UsageError
from yoloprune.escapes import printable
from yoloprune.frontends.darknet.cfg import read_cfg_text
from yoloprune.graph.model import Model
from yoloprune.reporter import Reporter
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.models import NetworkFiles, is_alone, is_onnx, load, network_in


def only_network(words: Sequence[str]) -> NetworkFiles:
    """The files of the one network that these words name; raises what `first_network` raises."""
    files, rest = first_network(words)
    if rest:
        raise UsageError(
            f"{rest[0]}: one network is enough here: CFG WEIGHTS, NET.onnx, or a folder"
        )
    return files


def only_model(words: Sequence[str]) -> Model:
    """The one network that these words name; raises what `first_model` raises."""
    return load(*only_network(words))


def one_or_two_models(words: Sequence[str]) -> list[Model]:
    """The networks that these words name, two at most; raises what `first_model` raises."""
    first, rest = first_model(words)
    if not rest:
        return [first]
    second, more = first_model(rest)
    if more:
        raise UsageError(f"{more[0]}: two networks are enough here")
    return [first, second]


def first_model(words: Sequence[str]) -> tuple[Model, list[str]]:
    """The network that the first words name, and the other words.

    Raises `YoloPruneError` if they name none, or it cannot be read.
    """
    files, rest = first_network(words)
    return load(*files), rest


def first_network(words: Sequence[str]) -> tuple[NetworkFiles, list[str]]:
    """The files of the network that the first words name, and the other words.

    Raises `YoloPruneError` if they name none, or a file of another program.
    """
    if not words:
        raise UsageError("name a network: CFG WEIGHTS, NET.onnx, or a folder that holds one")
    path = Path(words[0])
    if path.is_dir():
        return network_in(path), list(words[1:])
    if is_onnx(path):
        return (path,), list(words[1:])
    if len(words) == 1 or Path(words[1]).is_dir():
        read_cfg_text(path)  # Says what the file is, if it is no cfg.
        raise UsageError(f"{path}: its .weights must follow it: give CFG WEIGHTS, or a folder")
    return (path, Path(words[1])), list(words[2:])


def network_and_folder(words: Sequence[str]) -> tuple[Model, Path]:
    """The dense network, and the pruned folder, that these words name."""
    files, rest = first_network(words)
    if len(rest) != 1:
        raise UsageError(
            f"give the dense network and one folder that `prune` wrote, not {len(rest)} folders"
        )
    return load(*files), Path(rest[0])


def dense_and_slim(words: Sequence[str]) -> tuple[Model, Model | Path]:
    """The dense network that these words name, and another network or a folder with a plan."""
    files, rest = first_network(words)
    if len(rest) > 1 or (rest and is_alone(Path(rest[0]))):
        return load(*files), only_model(rest)
    return network_and_folder(words)


def command_line() -> str:
    """What the user typed, for a report."""
    return printable(shlex.join(["yoloprune", *sys.argv[1:]]))


def count_or_warn(asked: int | None, reporter: Reporter, *, used: bool) -> int:
    """How many images to learn from; warns where a number is given and no image is looked at."""
    if asked is not None and not used:
        reporter.warn("--calibration-images is ignored: no images are used")
    return asked or PRUNING.calibration_images

"""Networks as a user names them: a .cfg and its .weights, or a folder that a command wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from yoloprune.darknet.cfg import read_cfg_text
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.data.names import write_names
from yoloprune.errors import PlanError, WeightsError
from yoloprune.graph.model import Model
from yoloprune.workflows.models import IN_FOLDERS, load, names_beside, network_in

NetworkFiles: TypeAlias = tuple[Path, Path]
"""A .cfg and its .weights."""

NetworkWords = Annotated[
    list[str],
    typer.Argument(
        metavar="CFG WEIGHTS", help="Darknet pair, or a folder that `prune`, `train`, ... wrote."
    ),
]

DenseAndPruned = Annotated[
    list[str],
    typer.Argument(
        metavar="CFG WEIGHTS DIR",
        help="Dense network (or its folder), and what `prune` made of it.",
    ),
]


def only_network(words: Sequence[str]) -> NetworkFiles:
    """The files of the one network that these words name; raises what `first_network` raises."""
    files, rest = first_network(words)
    if rest:
        raise PlanError(f"{rest[0]}: one network is enough here: CFG WEIGHTS, or a folder")
    return files


def only_model(words: Sequence[str]) -> Model:
    """The one network that these words name; raises what `first_model` raises."""
    return load(*only_network(words))


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
        raise PlanError("name a network: CFG WEIGHTS, or a folder that holds both")
    path = Path(words[0])
    if path.is_dir():
        return network_in(path), list(words[1:])
    if len(words) == 1 or Path(words[1]).is_dir():
        read_cfg_text(path)  # Says what the file is, if it is no cfg.
        raise WeightsError(f"{path}: its .weights must follow it: give CFG WEIGHTS, or a folder")
    return (path, Path(words[1])), list(words[2:])


def network_and_folder(words: Sequence[str]) -> tuple[NetworkFiles, Path]:
    """The files of the dense network, and the pruned folder, that these words name."""
    files, rest = first_network(words)
    if len(rest) != 1:
        raise PlanError(
            f"give the dense network and one folder that `prune` wrote, not {len(rest)} folders"
        )
    return files, Path(rest[0])


def holds_network(word: str) -> bool:
    """Whether a word begins a network: a .cfg file, or a folder that holds one."""
    path = Path(word)
    if path.is_dir():
        return any((path / f"{name}.cfg").exists() for name in IN_FOLDERS)
    return path.suffix.lower() == ".cfg" and path.is_file()


def keep_names(source: Path, spec: NetworkSpec, target: Path) -> None:
    """Write the class names that stand beside one cfg as the .names of another."""
    if names := names_beside(source, spec):
        write_names(target, names)

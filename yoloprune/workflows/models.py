"""Networks on disk: a Darknet pair, an ONNX file, or a folder that a command wrote."""

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from yoloprune.data.names import fitting_names
from yoloprune.errors import CfgError, GraphError, UsageError, WeightsError
from yoloprune.frontends.darknet.cfg import read_cfg_text
from yoloprune.frontends.darknet.document import DarknetDocument, model
from yoloprune.frontends.darknet.document import for_input_size as darknet_for_input_size
from yoloprune.frontends.darknet.foreign import refuse_foreign
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.weights import read_seen, read_weights
from yoloprune.frontends.onnx.read import read as read_onnx
from yoloprune.frontends.onnx.resized import for_input_size as onnx_for_input_size
from yoloprune.frontends.onnx.resized import image_size
from yoloprune.graph.model import Model

IN_FOLDERS = ("slim", "sparse", "best", "last")
"""Names of the networks in the folders of `prune`, of `sparsify`, and of runs."""

ONNX_IN_FOLDERS = ("slim.onnx", "sparse.onnx", "best.onnx")
"""ONNX networks in the folders of `prune`, of `sparsify`, and of runs."""

NetworkFiles: TypeAlias = tuple[Path, ...]
"""A .cfg and its .weights, or an .onnx alone."""


@runtime_checkable
class HoldsModel(Protocol):
    """What pruning, masking or training gave: it stands for the network that it ends with."""

    @property
    def model(self) -> Model:
        """That network."""


AnyModel: TypeAlias = Model | HoldsModel | str | Path
"""What is taken where a network is wanted: it, what a command made, or a path as of `load`."""


def load(path: str | Path, weights: str | Path | None = None) -> Model:
    """The network in a .cfg and its .weights, an .onnx, or a folder that pruning or training wrote.

    Without `weights` they are those beside the .cfg. Raises `CfgError`, `WeightsError` or, for an
    .onnx, `GraphError` if the files cannot be read, `UsageError` for a folder that holds no
    network, or several.
    """
    path = Path(path)
    if path.is_dir():
        if weights is not None:
            raise UsageError(f"{path} is a folder: {weights} does not go with it")
        return load(*network_in(path))
    if is_onnx(path):
        if weights is not None:
            raise UsageError(f"{path} holds its weights itself: {weights} does not go with it")
        try:
            return read_onnx(path, title(path))
        except OSError as error:
            raise GraphError(f"{path}: {error.strerror}") from error
    if weights is None:
        weights = path.with_suffix(".weights")
        if weights == path or not weights.exists():
            read_cfg_text(path)  # Says what the file is, if it is no cfg.
            raise WeightsError(f"{path}: {weights.name} is not beside it: name the .weights too")
    spec, weights = read_cfg(path), Path(weights)
    return model(
        spec,
        read_weights(weights, spec),
        title=title(path),
        names=names_beside(path, spec),
        seen=read_seen(weights, spec),
        source=(path, weights),
    )


def opened(network: AnyModel) -> Model:
    """A network that is read already, that of a cut, or the one that `load` reads from a path."""
    if isinstance(network, HoldsModel):
        return network.model
    return network if isinstance(network, Model) else load(network)


def sized(network: Model, height: int, width: int) -> Model:
    """The same network for images of another size, as it is in no file.

    Raises `CfgError` or `GraphError` where it cannot read them.
    """
    if (height, width) == image_size(network):
        return network
    if isinstance(network.document, DarknetDocument):
        network = darknet_for_input_size(network, height, width)
        return replace(network, document=network.document.unread())
    return onnx_for_input_size(network, height, width)


def sized_as(other: Model, network: Model) -> Model:
    """The network for images of the size that the other reads, where that one says it."""
    given, own = ([v.shape[2:] for v in each.graph.inputs.values()] for each in (other, network))
    if given == own or any(isinstance(size, str) for shape in given for size in shape):
        return network
    # What is no network for images, or cannot be for those, is found to be another one.
    with suppress(CfgError, GraphError):
        return sized(network, *image_size(other))
    return network


def is_onnx(path: Path) -> bool:
    """Whether a path's name says that it is an ONNX file."""
    return path.suffix.lower() == ".onnx" and not path.is_dir()


def holds_network(path: Path) -> bool:
    """Whether a path is that of a network: a .cfg or .onnx file, or a folder that holds one."""
    if path.is_dir():
        names = (*ONNX_IN_FOLDERS, *(f"{name}.cfg" for name in IN_FOLDERS))
        return any((path / name).exists() for name in names)
    return path.suffix.lower() in (".cfg", ".onnx") and path.is_file()


def is_alone(path: Path) -> bool:
    """Whether a path is that of a network without a plan."""
    return is_onnx(path) or (holds_network(path) and not (path / "plan.json").exists())


def save(network: AnyModel, path: str | Path) -> None:
    """Write a network in the format that it was read from: for Darknet, `path` is the .cfg.

    Raises `UsageError` for a path that says another format.
    """
    opened(network).save(path)


def network_in(folder: Path) -> NetworkFiles:
    """The files of the network in a folder that `prune`, `sparsify`, `train`, ... wrote.

    Beside a .cfg, an .onnx is its copy. Raises `UsageError` if it holds none or several.
    """
    found = [name for name in IN_FOLDERS if (folder / f"{name}.cfg").exists()]
    if "best" in found and "last" in found:
        found.remove("last")  # A run's last epoch, beside its best.
    if len(found) > 1:
        raise UsageError(
            f"{folder} holds {' and '.join(f'{name}.cfg' for name in found)}: give the .cfg and "
            "the .weights of the one you mean"
        )
    if found:
        return folder / f"{found[0]}.cfg", folder / f"{found[0]}.weights"
    for name in ONNX_IN_FOLDERS:
        if (folder / name).exists():
            return (folder / name,)
    refuse_foreign(folder, "cfg")
    looked_for = ", ".join([*(f"{name}.cfg" for name in IN_FOLDERS), *ONNX_IN_FOLDERS])
    raise UsageError(f"{folder}: no network in this folder (looked for {looked_for})")


def title(path: Path) -> str:
    """A short name of a network: its folder's, where the file's says nothing."""
    return path.resolve().parent.name if path.stem in IN_FOLDERS else path.stem


def names_beside(cfg: Path, spec: NetworkSpec) -> tuple[str, ...] | None:
    """The class names that stand beside a cfg, or None."""
    classes = {head.classes for head in spec.heads}
    return fitting_names(cfg.parent, classes.pop(), cfg.stem) if len(classes) == 1 else None

"""A Darknet network as a model, written back as a .cfg and its .weights."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from yoloprune.errors import UsageError
from yoloprune.files import file_sha256, write_text
from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.names import names_text
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.graph.edits import Edits
from yoloprune.graph.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class DarknetDocument:
    """The sections of a cfg, and what else stands in and beside the files of a network.

    `seen` is how many training images its weights have seen. `source` are the .cfg and .weights
    that it was read from, or None for one that was made.
    """

    spec: NetworkSpec
    title: str
    names: tuple[str, ...] | None = None
    seen: int = 0
    source: tuple[Path, Path] | None = None

    def applied(self, edits: Edits) -> "DarknetDocument":
        """The document of the network that edits leave; it was read from no file."""
        spec = applied(self.spec, edits)
        # No image was seen by what is left.
        return replace(self, spec=spec, title=f"{self.title}-slim", seen=0, source=None)

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> None:
        """Write `path`, a .cfg, the .weights beside it, and .names where the classes have names."""
        if path.suffix.lower() != ".cfg":
            raise UsageError(f"{path}: a Darknet network is written as a .cfg: name one")
        write_weights(path.with_suffix(".weights"), self.spec, state(parameters), seen=self.seen)
        if self.names is not None:
            write_text(path.with_suffix(".names"), names_text(self.names))
        write_cfg(path, self.spec)


def model(
    spec: NetworkSpec,
    arrays: State,
    *,
    title: str,
    names: tuple[str, ...] | None = None,
    seen: int = 0,
    source: tuple[Path, Path] | None = None,
) -> Model:
    """A network that is there already as a model; its arrays are shared, not copied."""
    document = DarknetDocument(spec=spec, title=title, names=names, seen=seen, source=source)
    return Model(graph=lower(spec), parameters=parameters(arrays), document=document)


def darknet(network: Model) -> DarknetDocument:
    """The document of a network that came through this door; raises `UsageError` for another."""
    if isinstance(network.document, DarknetDocument):
        return network.document
    raise UsageError(f"{network.document.title}: only Darknet networks can be worked on so")


def pair(network: Model) -> tuple[NetworkSpec, dict[int, ConvParameters]]:
    """The sections and the arrays of a network that came through this door."""
    return darknet(network).spec, state(network.parameters)


def state(parameters: Mapping[str, Tensor]) -> dict[int, ConvParameters]:
    """The arrays by layer index, as `parameters` names them; they are shared, not copied."""
    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parameters.items():
        layer, array = name.rsplit(".", 1)
        layers.setdefault(int(layer.removeprefix("layer_")), {})[array] = tensor
    return {index: ConvParameters(**arrays) for index, arrays in layers.items()}


def layer_of(node: str) -> int:
    """The index of the layer that a node belongs to."""
    return int(node.split(".")[0].removeprefix("layer_"))


def weights_sha256(network: Model) -> str:
    """SHA-256 of the .weights that a network was read from, or else of its arrays."""
    document = darknet(network)
    if document.source is not None:
        return file_sha256(document.source[1])
    digest = hashlib.sha256()
    for name, tensor in sorted(network.parameters.items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()

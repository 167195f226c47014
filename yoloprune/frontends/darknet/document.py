"""A Darknet network as a model, written back as a .cfg and its .weights."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from yoloprune.errors import UsageError
from yoloprune.files import write_text
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.names import names_text
from yoloprune.frontends.darknet.parser import write_cfg
from yoloprune.frontends.darknet.spec import WEIGHTS_HEADER_BYTES, NetworkSpec, with_input_size
from yoloprune.frontends.darknet.state import ConvParameters, State
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.graph.edits import Edits
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import LayerRow, Model


@dataclass(frozen=True, slots=True, kw_only=True)
class DarknetDocument:
    """The sections of a cfg, and what else stands in and beside the files of a network.

    `seen` is how many training images its weights have seen. `source` are the .cfg and .weights
    that it was read from, none for one that was made.
    """

    spec: NetworkSpec
    title: str
    names: tuple[str, ...] | None = None
    seen: int = 0
    source: tuple[Path, ...] = ()

    @property
    def suffix(self) -> str:
        """Of the cfg."""
        return ".cfg"

    @property
    def header_bytes(self) -> int:
        """Bytes before the numbers of a .weights file."""
        return WEIGHTS_HEADER_BYTES

    def digest(self) -> str:
        """The digest of the sections: heads mean something, too."""
        return self.spec.digest()

    def layer(self, node: str) -> int:
        """The number of the section that a node belongs to."""
        return layer_of(node)

    def layers(self, graph: Graph) -> tuple[LayerRow, ...]:
        """The sections behind the first."""
        return tuple(
            LayerRow(
                name=layer.index,
                type=layer.section.name,
                sources=layer.sources,
                in_channels=row.in_channels,
                shape=row.out_shape,
                params=row.params,
                macs=row.macs,
            )
            for layer, row in zip(self.spec.layers, cost(self.spec).per_layer, strict=True)
        )

    def applied(self, edits: Edits) -> "DarknetDocument":
        """The document of the network that edits leave; it was read from no file."""
        made = replace(self.unread(), spec=applied(self.spec, edits))
        if edits.task is None:
            return replace(made, title=f"{self.title}-slim")
        names = self.names and tuple(self.names[number] for number in edits.task.classes)
        return replace(made, names=names)

    def unread(self) -> "DarknetDocument":
        """The same document of other parameters, which have seen no image."""
        return replace(self, seen=0, source=())

    def write(self, parameters: Mapping[str, Tensor], path: Path) -> tuple[Path, ...]:
        """Write `path`, a .cfg, the .weights beside it, and .names where the classes have names."""
        if path.suffix.lower() != ".cfg":
            raise UsageError(f"{path}: a Darknet network is written as a .cfg: name one")
        weights, names = path.with_suffix(".weights"), path.with_suffix(".names")
        write_weights(weights, self.spec, state(parameters), seen=self.seen)
        if self.names is not None:
            write_text(names, names_text(self.names))
        write_cfg(path, self.spec)
        return (path, weights) if self.names is None else (path, names, weights)


def model(
    spec: NetworkSpec,
    arrays: State,
    *,
    title: str,
    names: tuple[str, ...] | None = None,
    seen: int = 0,
    source: tuple[Path, ...] = (),
) -> Model:
    """A network that is there already as a model; its arrays are shared, not copied."""
    document = DarknetDocument(spec=spec, title=title, names=names, seen=seen, source=source)
    return Model(graph=lower(spec), parameters=parameters(arrays), document=document)


def for_input_size(network: Model, height: int, width: int) -> Model:
    """The same Darknet network for another input size; its arrays are shared, not copied.

    Raises `CfgError` where it cannot read images of that size.
    """
    document = darknet(network)
    spec = with_input_size(document.spec, height, width)
    return replace(network, graph=lower(spec), document=replace(document, spec=spec))


def darknet(network: Model) -> DarknetDocument:
    """The document of a network that came through this door; raises `UsageError` for another."""
    if isinstance(network.document, DarknetDocument):
        return network.document
    raise UsageError(
        f"{network.document.title}: a Darknet network (.cfg and .weights) is needed for this: "
        "no other is trained or scored by labels here"
    )


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

"""How images become a network's input."""

import json
from dataclasses import dataclass

from yoloprune.data.images import Resize, darknet_resize, image_channels, letterbox, stretch
from yoloprune.errors import GraphError
from yoloprune.execution.stream import only_input
from yoloprune.frontends.darknet.document import DarknetDocument, darknet
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.graph.model import Model

COLORS = {1: "grey", 3: "RGB"}
"""What images of so many channels are read as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """What a network reads: images of so many channels, values in [0, 1], fitted to a size."""

    channels: int
    height: int
    width: int
    resize: Resize

    def __str__(self) -> str:
        """In words, for a report."""
        how = "letterboxed" if self.resize is letterbox else "stretched"
        return f"{COLORS[self.channels]} in [0, 1], {how} to {self.width}x{self.height}"


def image_input(network: Model) -> ImageInput:
    """What a network reads, as its document says it; of an ONNX file that says nothing, stretched.

    Raises `CfgError` or `GraphError` for a network that reads anything but images, RGB or grey.
    """
    if isinstance(network.document, DarknetDocument):
        spec = darknet(network).spec
        _, height, width = spec.input_shape
        return ImageInput(
            channels=image_channels(spec), height=height, width=width, resize=darknet_resize(spec)
        )
    graph = network.graph
    name = only_input(graph)
    value = graph.inputs[name]
    sizes = [graph.sizes.get(size, 1) if isinstance(size, str) else size for size in value.shape]
    if len(sizes) != 4 or sizes[1] not in COLORS or not value.dtype.startswith("float"):
        shape = ", ".join(map(str, value.shape))
        raise GraphError(
            f"its input {name} is {value.dtype} ({shape}): images are given to networks that read "
            "real numbers (batch, 1 or 3 channels, height, width)"
        )
    return ImageInput(channels=sizes[1], height=sizes[2], width=sizes[3], resize=_resize(network))


def _resize(network: Model) -> Resize:
    """What the metadata of a file that `export` wrote say, or else stretching."""
    assert isinstance(network.document, OnnxDocument)
    try:
        found = json.loads(network.document.metadata.get("input", "{}"))
    except ValueError:
        return stretch
    says = isinstance(found, dict) and found.get("resize") == "letterbox"
    return letterbox if says else stretch

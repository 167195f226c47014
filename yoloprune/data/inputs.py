"""What a network reads."""

from dataclasses import replace

from yoloprune.data.preprocess import (
    COLORS,
    PRESETS,
    ImageInput,
    darknet_input,
    stated_in,
)
from yoloprune.errors import GraphError
from yoloprune.execution.stream import only_input
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.graph.model import Model


def image_input(network: Model) -> ImageInput:
    """What a network reads, as its document says it; of an ONNX file that says nothing, plain.

    Raises `CfgError` or `GraphError` for a network that reads anything but images, RGB or gray.
    """
    document, graph = network.document, network.graph
    if isinstance(document, DarknetDocument):
        return darknet_input(document.spec)
    assert isinstance(document, OnnxDocument)
    name = only_input(graph)
    value = graph.inputs[name]
    sizes = [graph.sizes.get(size, 1) if isinstance(size, str) else size for size in value.shape]
    if len(sizes) != 4 or sizes[1] not in COLORS or not value.dtype.startswith("float"):
        shape = ", ".join(map(str, value.shape))
        raise GraphError(
            f"its input {name} is {value.dtype} ({shape}): images are given to networks that read "
            "real numbers (batch, 1 or 3 channels, height, width)"
        )
    how = stated_in(document.metadata) or PRESETS["plain"]
    return ImageInput(
        channels=sizes[1], height=sizes[2], width=sizes[3], preprocess=replace(how, size=None)
    )

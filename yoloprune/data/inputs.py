"""What a network reads, and what can be told from it about its outputs."""

from dataclasses import replace

from yoloprune.data.preprocess import (
    COLORS,
    PRESETS,
    ImageInput,
    Layout,
    Preprocess,
    darknet_input,
    stated,
    stated_in,
)
from yoloprune.detection.decoders.decoder import Surface
from yoloprune.detection.decoders.table import recognized
from yoloprune.errors import GraphError, UsageError
from yoloprune.execution.stream import only_input
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.onnx.document import OnnxDocument
from yoloprune.graph.model import Model
from yoloprune.graph.shapes import facts

_AXES: dict[Layout, tuple[int, int, int]] = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}
"""Where channels, height and width are."""


def image_input(network: Model, preprocess: str | None = None) -> ImageInput:
    """What a network reads: as stated, else as its document says, else as its family does.

    The family is that of the decoder that its outputs evidently want; of none, the image is plain:
    RGB in [0, 1], stretched. `preprocess` is in the words of `preprocess.stated`. Raises `CfgError`
    or `GraphError` for a network that reads anything but images, RGB or gray, `UsageError` for a
    statement that makes no sense, or that does not fit the network.
    """
    document = network.document
    if isinstance(document, DarknetDocument):
        if preprocess is not None:
            raise UsageError(f"{document.title}: a cfg says itself how images are preprocessed")
        return darknet_input(document.spec)
    asked = PRESETS["plain"] if preprocess is None else stated(preprocess, PRESETS["plain"])
    # A module says nothing of what it is given.
    said = stated_in(document.metadata) if isinstance(document, OnnxDocument) else None
    size = asked.size or (None if said is None else said.size)
    plain = _input(network, replace(asked, size=size))
    if asked.size not in (None, (plain.height, plain.width)):
        raise UsageError(
            f"{document.title}: it reads images of {plain.width}x{plain.height}, and no other size"
        )
    if said is None:
        family = recognized(surface(network, plain))
        said = asked if family is None else stated(family[0].preprocess, PRESETS["plain"])
    how = said if preprocess is None else stated(preprocess, said)
    found = _input(network, replace(how, size=size))
    for name in ("mean", "std"):
        if len(getattr(how, name)) not in (1, found.channels):
            raise UsageError(f"`preprocess`: {name} has three numbers, but the network reads gray")
    return found


def surface(network: Model, reads: ImageInput) -> Surface:
    """A network as decoders know it, given images as it reads them.

    Raises `GraphError` where it cannot read that size.
    """
    graph, document = network.graph, network.document
    shape = graph.inputs[only_input(graph)].shape
    _, *axes = _AXES[reads.preprocess.layout or "nchw"]
    sizes = dict(graph.sizes)
    for axis, side in zip(axes, (reads.height, reads.width), strict=True):
        if isinstance(name := shape[axis], str):
            sizes[name] = side
    try:
        shapes = facts(graph, {"batch": 1} | sizes).shapes
    except GraphError as error:
        raise GraphError(
            f"{document.title}: not for images of {reads.width}x{reads.height}: {error}"
        ) from error
    return Surface(
        size=(reads.height, reads.width),
        outputs={name: shapes[name] for name in graph.outputs},
        operators=frozenset(node.operator for node in graph.nodes),
        metadata=document.metadata if isinstance(document, OnnxDocument) else {},
        names=document.names,
    )


def _input(network: Model, how: Preprocess) -> ImageInput:
    """What a network reads, in the size of its own, or in that which is asked for."""
    graph = network.graph
    name = only_input(graph)
    value = graph.inputs[name]
    sizes = [graph.sizes.get(size, 1) if isinstance(size, str) else size for size in value.shape]
    layouts = [how.layout] if how.layout else list(_AXES)
    fitting = [
        layout for layout in layouts if len(sizes) == 4 and sizes[_AXES[layout][0]] in COLORS
    ]
    if not fitting or not value.dtype.startswith(("float", "uint8")):
        shape = ", ".join(map(str, value.shape))
        wanted = " or ".join(layout.upper() for layout in layouts)
        raise GraphError(
            f"its input {name} is {value.dtype} ({shape}): images are given to networks that read "
            f"real numbers, or bytes, of 1 or 3 channels, {wanted}"
        )
    channels, rows, columns = _AXES[fitting[0]]
    height, width = how.size or (sizes[rows], sizes[columns])
    return ImageInput(
        channels=sizes[channels],
        height=height if isinstance(value.shape[rows], str) else sizes[rows],
        width=width if isinstance(value.shape[columns], str) else sizes[columns],
        preprocess=replace(how, layout=fitting[0], size=None),
    )

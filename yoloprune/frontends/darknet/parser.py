"""Sections to `NetworkSpec` and back.

Every option that changes the arithmetic is either understood or refused by name; what only
concerns training (jitter, learning rates, loss weights) or what is done with the heads' output
(`nms_kind`) is kept and not interpreted. Defaults and the meaning of each option follow darknet's
`src/parser.c` (AlexeyAB's fork).
"""

from collections.abc import Callable
from pathlib import Path

from yoloprune.errors import CfgError
from yoloprune.files import write_text
from yoloprune.frontends.darknet.cfg import Section, format_sections, parse_sections, read_cfg_text
from yoloprune.frontends.darknet.options import ACTIVATIONS, Options
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import (
    INPUT,
    AnyLayer,
    AvgPool,
    Conv,
    Dropout,
    GaussianYolo,
    Head,
    MaxPool,
    NetworkSpec,
    Region,
    Reorg,
    Route,
    Sam,
    ScaleChannels,
    Shortcut,
    Upsample,
    Yolo,
)

_NOT_IMPLEMENTED = {
    "convolutional": (
        "xnor",
        "binary",
        "bin_output",
        "antialiasing",
        "share_index",
        "flipped",
        "coordconv",
        "sway",
        "rotate",
        "stretch",
        "stretch_sway",
        "deform",
    ),
    "maxpool": ("maxpool_depth", "antialiasing", "maxpool_zero_nonmax"),
    "reorg": ("reverse", "flatten", "extra"),
    "scale_channels": ("scale_wh",),
    "region": ("tree", "background"),
}
"""Options that change the arithmetic in ways this package does not compute (unless they are 0)."""

_ON_THEIR_OWN = ACTIVATIONS - {"swish", "mish", "hard_mish"}
"""Activations of [scale_channels] and [sam]; darknet has no others there, and says so."""


MAX_CLASSES = 10_000
"""YOLO9000 has 9,418; more are taken for damage."""


def read_cfg(path: Path) -> NetworkSpec:
    """Read a .cfg file; raises `CfgError` naming file, line and section when it cannot be used."""
    return parse_cfg(read_cfg_text(path), name=str(path))


def parse_cfg(text: str, name: str = "cfg") -> NetworkSpec:
    """Parse cfg text; `name` stands for the file in error messages."""
    return spec_from_sections(parse_sections(text, name), name)


def format_cfg(spec: NetworkSpec) -> str:
    """Cfg text of a spec: options as written, `filters` and `groups` as they are now."""
    net = Section(name="net", options=spec.net_options)
    return format_sections([net, *(layer.section for layer in spec.layers)])


def write_cfg(path: Path, spec: NetworkSpec) -> None:
    """Write a spec as a .cfg file, whole or not at all."""
    write_text(path, format_cfg(spec))


def spec_from_sections(sections: tuple[Section, ...], name: str = "cfg") -> NetworkSpec:
    """Give sections their meaning; the shapes of all layers are checked to fit together."""
    net = sections[0]
    if net.name not in ("net", "network"):
        raise CfgError(f"{name}:{net.line}: the first section must be [net], found [{net.name}]")
    if len(sections) == 1:
        raise CfgError(f"{name}: the network has no layers")
    options = Options(net, -1, name)
    if options.integer("time_steps", 1) > 1:
        raise options.error(
            "time_steps above 1 (recurrent networks) is not supported", "time_steps"
        )
    options.flag("letter_box")
    channels, height, width = (
        options.integer(key, least=1) for key in ("channels", "height", "width")
    )
    layers: list[AnyLayer] = []
    for index, section in enumerate(sections[1:]):
        read = _READERS.get(section.name)
        if read is None:
            raise CfgError(
                f"{name}:{section.line}: layer {index} [{section.name}] is not supported "
                f"(known: {', '.join(sorted(_READERS))})"
            )
        reader = Options(section, index, name)
        layer = read(reader)
        for source in layer.sources:
            if source != INPUT and isinstance(layers[source], Head):
                raise reader.error(f"reads {layers[source].title}: a head's output cannot be read")
        layers.append(layer)
    spec = NetworkSpec(
        input_shape=(channels, height, width), net_options=net.options, layers=tuple(layers)
    )
    if not spec.convs:
        raise CfgError(f"{name}: the network has no [convolutional] layer")
    layer_shapes(spec, name)
    return spec


def _conv(o: Options) -> Conv:
    o.refuse(_NOT_IMPLEMENTED["convolutional"])
    for key in ("dontload", "dontloadscales"):
        if o.flag(key):
            raise o.error(f"{key}={o.text(key)} tells darknet not to read its weights", key)
    size = o.integer("size", 1, least=1)
    stride = o.integer("stride", 1, least=1)
    filters = o.integer("filters", 1, least=1)
    groups = o.integer("groups", 1, least=1)
    if filters % groups:
        raise o.error(f"filters={filters} is not a multiple of groups={groups}", "groups")
    padding = size // 2 if o.flag("pad") else o.integer("padding", 0)
    dilation = 1 if size == 1 else o.integer("dilation", 1, least=1)
    if dilation > 1 and 2 * padding != size - 1:
        # darknet sizes this output without the dilation, and then writes past it.
        raise o.error(f"dilation={dilation} needs an odd size and padding=size//2", "dilation")
    return Conv(
        index=o.index,
        sources=(o.index - 1,),
        section=o.section,
        filters=filters,
        size=size,
        stride_x=o.integer("stride_x", stride, least=1),
        stride_y=o.integer("stride_y", stride, least=1),
        padding=padding * dilation,
        dilation=dilation,
        groups=groups,
        batch_normalize=o.flag("batch_normalize") or o.flag("cbn"),
        activation=o.activation("logistic"),
    )


def _shortcut(o: Options) -> Shortcut:
    if (kind := o.word("weights_type", "none")) != "none":
        raise o.error(f"weights_type={kind} (weighted shortcut) is not supported", "weights_type")
    return Shortcut(
        index=o.index,
        sources=(_previous(o), *(o.source("from", r) for r in o.integers("from"))),
        section=o.section,
        activation=o.activation("linear"),
    )


def _route(o: Options) -> Route:
    groups = o.integer("groups", 1, least=1)
    group_id = o.integer("group_id", 0)
    if group_id >= groups:
        raise o.error(f"group_id={group_id} must be below groups={groups}", "group_id")
    return Route(
        index=o.index,
        sources=tuple(o.source("layers", r) for r in o.integers("layers")),
        section=o.section,
        groups=groups,
        group_id=group_id,
    )


def _upsample(o: Options) -> Upsample:
    if o.real("scale", 1.0) != 1.0:
        raise o.error("option scale (upsample that multiplies) is not supported", "scale")
    stride = o.integer("stride", 2, least=1)
    return Upsample(index=o.index, sources=(o.index - 1,), section=o.section, stride=stride)


def _maxpool(o: Options) -> MaxPool:
    o.refuse(_NOT_IMPLEMENTED["maxpool"])
    stride = o.integer("stride", 1, least=1)
    size = o.integer("size", stride, least=1)
    padding = o.integer("padding", size - 1)
    if padding > 2 * (size - 1):
        raise o.error(f"padding={padding} puts whole windows of size={size} outside", "padding")
    return MaxPool(
        index=o.index,
        sources=(o.index - 1,),
        section=o.section,
        size=size,
        stride_x=o.integer("stride_x", stride, least=1),
        stride_y=o.integer("stride_y", stride, least=1),
        padding=padding,
    )


def _avgpool(o: Options) -> AvgPool:
    return AvgPool(index=o.index, sources=(o.index - 1,), section=o.section)


def _dropout(o: Options) -> Dropout:
    probability = o.real("probability", 0.2)
    if not 0 <= probability < 1:
        raise o.error(f"probability={probability} must be in [0, 1)", "probability")
    return Dropout(
        index=o.index, sources=(_previous(o),), section=o.section, probability=probability
    )


def _reorg(o: Options) -> Reorg:
    o.refuse(_NOT_IMPLEMENTED["reorg"])
    return Reorg(
        index=o.index,
        sources=(o.index - 1,),
        section=o.section,
        stride=o.integer("stride", 1, least=1),
        mixes_channels=o.section.name == "reorg",
    )


def _scale_channels(o: Options) -> ScaleChannels:
    o.refuse(_NOT_IMPLEMENTED["scale_channels"])
    return ScaleChannels(
        index=o.index,
        sources=(_previous(o), _single(o, "from")),
        section=o.section,
        activation=o.activation("linear", _ON_THEIR_OWN),
    )


def _sam(o: Options) -> Sam:
    return Sam(
        index=o.index,
        sources=(_previous(o), _single(o, "from")),
        section=o.section,
        activation=o.activation("linear", _ON_THEIR_OWN),
    )


def _yolo(o: Options) -> Yolo:
    _check_suppression(o)
    return Yolo(
        index=o.index,
        sources=(_previous(o),),
        section=o.section,
        classes=_classes(o),
        anchors=_chosen_anchors(o, _anchor_pairs(o)),
        scale_x_y=o.real("scale_x_y", 1.0),
        new_coords=o.flag("new_coords"),
    )


def _gaussian_yolo(o: Options) -> GaussianYolo:
    if (point := o.word("yolo_point", "center")) != "center":
        raise o.error(f"yolo_point={point} is not supported (only center)", "yolo_point")
    _check_suppression(o)
    anchors = _anchor_pairs(o)
    if len(anchors) > (num := o.integer("num", 1, least=1)):
        # darknet writes them all where it made room for `num`; in [yolo] it stops at `num`.
        raise o.error(f"has {len(anchors)} anchors but num={num}", "anchors")
    return GaussianYolo(
        index=o.index,
        sources=(_previous(o),),
        section=o.section,
        classes=_classes(o),
        anchors=_chosen_anchors(o, anchors),
        scale_x_y=o.real("scale_x_y", 1.0),
    )


def _region(o: Options) -> Region:
    o.refuse(_NOT_IMPLEMENTED["region"])
    if not o.flag("softmax"):
        raise o.error("only softmax=1 is supported", "softmax")
    if o.integer("coords", 4) != 4:
        raise o.error("only coords=4 is supported", "coords")
    anchors = _anchor_pairs(o)
    if len(anchors) != o.integer("num", 1):
        raise o.error(f"has {len(anchors)} anchors but num={o.text('num', '1')}", "anchors")
    return Region(
        index=o.index,
        sources=(_previous(o),),
        section=o.section,
        classes=_classes(o),
        anchors=anchors,
    )


def _check_suppression(o: Options) -> None:
    # Which `detection/nms.py` follows; it is no part of the arithmetic.
    o.word("nms_kind", "default")
    o.real("beta_nms", 0.6)


def _classes(o: Options) -> int:
    classes = o.integer("classes", 20, least=1)
    if classes > MAX_CLASSES:
        raise o.error(f"classes={classes} must be at most {MAX_CLASSES}", "classes")
    return classes


def _previous(o: Options) -> int:
    return o.source("layers", -1)


def _single(o: Options, key: str) -> int:
    references = o.integers(key)
    if len(references) != 1:
        raise o.error(f"{key} takes exactly one layer", key)
    return o.source(key, references[0])


def _anchor_pairs(o: Options) -> tuple[tuple[float, float], ...]:
    values = o.reals("anchors")
    if len(values) % 2 or not all(value >= 0 for value in values):
        raise o.error("anchors must be pairs of positive numbers, or of 0", "anchors")
    return tuple(zip(values[::2], values[1::2], strict=True))


def _chosen_anchors(
    o: Options, anchors: tuple[tuple[float, float], ...]
) -> tuple[tuple[float, float], ...]:
    """Those of a head's anchors that `mask` selects, or the first `num`."""
    num = o.integer("num", 1, least=1)
    mask = o.integers("mask") if o.has("mask") else list(range(num))
    for number in mask:
        # darknet makes room for `num` pairs, and reads whatever lies behind them.
        if not 0 <= number < num:
            raise o.error(f"mask {number} is beyond num={num}", "mask")
        if number >= len(anchors):
            raise o.error(f"anchor {number} is beyond the {len(anchors)} anchors", "anchors")
    return tuple(anchors[number] for number in mask)


_READERS: dict[str, Callable[[Options], AnyLayer]] = {
    "convolutional": _conv,
    "conv": _conv,
    "shortcut": _shortcut,
    "route": _route,
    "upsample": _upsample,
    "maxpool": _maxpool,
    "max": _maxpool,
    "avgpool": _avgpool,
    "avg": _avgpool,
    "dropout": _dropout,
    "reorg": _reorg,
    "reorg3d": _reorg,
    "scale_channels": _scale_channels,
    "sam": _sam,
    "yolo": _yolo,
    "Gaussian_yolo": _gaussian_yolo,
    "region": _region,
}

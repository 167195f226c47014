"""The network that a .cfg describes, as immutable data.

A `NetworkSpec` is the only description of a network in this package. Its layers refer to each
other by absolute index; everything else (channel ids, shapes, costs, the torch model) is derived by
walking the layers in order. A layer keeps its section as written, so that options without a meaning
here (anchors, jitter, learning rates, ...) survive a round trip untouched.
"""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from typing import ClassVar, TypeAlias

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.cfg import Option, Section
from yoloprune.frontends.darknet.options import before_comment

INPUT = -1
"""Source index of the network's input image."""

WEIGHTS_HEADER_BYTES = 20
"""Header of the .weights files that this package writes: version 0.2.5, 8 bytes of `seen`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: absolute index, absolute source indices, and its section as written."""

    index: int
    sources: tuple[int, ...]
    section: Section

    @property
    def title(self) -> str:
        """How messages call this layer."""
        return f"layer {self.index} [{self.section.name}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv(Layer):
    """Convolution with batch norm or bias, and an activation; `padding` is per side."""

    filters: int
    size: int
    stride_x: int
    stride_y: int
    padding: int
    dilation: int
    groups: int
    batch_normalize: bool
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shortcut(Layer):
    """Sum of all sources; the first is the previous layer and gives the width."""

    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Layer):
    """Concatenation of the sources; with `groups` only part `group_id` of each source."""

    groups: int
    group_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Upsample(Layer):
    """Nearest-neighbor upsampling."""

    stride: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaxPool(Layer):
    """Max pooling; `padding` is the total of both sides, floor half of it left and top."""

    size: int
    stride_x: int
    stride_y: int
    padding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AvgPool(Layer):
    """Global average pooling to 1x1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropout(Layer):
    """Dropout; the identity outside training."""

    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reorg(Layer):
    """Space to depth by `stride`.

    `[reorg3d]` moves every stride x stride block of a channel into stride^2 channels. The older
    `[reorg]` (YOLOv2) reads memory as if the image were stride^2 times larger and shallower, which
    mixes the stride^2 neighboring input channels of a block; `mixes_channels` tells them apart.
    """

    stride: int
    mixes_channels: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleChannels(Layer):
    """sources[1] times sources[0], where sources[0] is a 1x1 map with a factor per channel."""

    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sam(Layer):
    """Elementwise product of the two sources (spatial attention)."""

    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Head(Layer):
    """A detection head; `anchors` are (width, height) pairs, one per predicted box and cell."""

    box_entries: ClassVar[int] = 5

    classes: int
    anchors: tuple[tuple[float, float], ...]

    @property
    def channels(self) -> int:
        """Channels that the head reads: anchors x (box entries + classes)."""
        return len(self.anchors) * (self.box_entries + self.classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Yolo(Head):
    """YOLOv3-style head; anchors in input pixels (those that `mask` selects)."""

    scale_x_y: float
    new_coords: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianYolo(Head):
    """YOLOv3 head with an uncertainty beside each box coordinate; anchors in input pixels."""

    box_entries: ClassVar[int] = 9

    scale_x_y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Region(Head):
    """YOLOv2 head with softmax classes; anchors in units of its own cells."""


AnyHead: TypeAlias = Yolo | GaussianYolo | Region
"""Every kind of head that there is."""

AnyLayer: TypeAlias = (
    Conv
    | Shortcut
    | Route
    | Upsample
    | MaxPool
    | AvgPool
    | Dropout
    | Reorg
    | ScaleChannels
    | Sam
    | AnyHead
)
"""Every kind of layer that there is: a walk that has forgotten one ends in `assert_never`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A whole network: (channels, height, width) of the input, `[net]` options, layers in order."""

    input_shape: tuple[int, int, int]
    net_options: tuple[Option, ...]
    layers: tuple[AnyLayer, ...]

    @property
    def convs(self) -> tuple[Conv, ...]:
        """All convolutional layers in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Conv))

    @property
    def heads(self) -> tuple[AnyHead, ...]:
        """All detection heads in order."""
        return tuple(layer for layer in self.layers if isinstance(layer, Head))

    def net_option(self, key: str) -> str | None:
        """Text of a `[net]` option without the comment that may follow a number, or None."""
        return next((before_comment(o.value) for o in self.net_options if o.key == key), None)

    def digest(self) -> str:
        """SHA-256 over everything that changes the arithmetic, and nothing else."""
        description: list[object] = [self.input_shape]
        for layer in self.layers:
            typed = {f.name: getattr(layer, f.name) for f in fields(layer) if f.name != "section"}
            description.append([type(layer).__name__, typed])
        return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()


def class_count(spec: NetworkSpec) -> int:
    """How many classes the heads tell apart; raises `CfgError` if there is no common number."""
    counts = sorted({head.classes for head in spec.heads})
    if not counts:
        raise CfgError("the network has no detection head ([yolo], [region], ...)")
    if len(counts) > 1:
        raise CfgError(f"the heads have different numbers of classes ({counts}): cannot join them")
    return counts[0]


def with_option(options: tuple[Option, ...], key: str, value: str) -> tuple[Option, ...]:
    """Options with `key` set to `value`, in its place or, if it was absent, at the end."""
    if any(o.key == key for o in options):
        return tuple(replace(o, value=value) if o.key == key else o for o in options)
    return (*options, Option(key=key, value=value))


def resized(conv: Conv, *, filters: int, groups: int) -> Conv:
    """The same convolution with other numbers of filters and groups, its section following."""
    options = conv.section.options
    if filters != conv.filters:
        options = with_option(options, "filters", str(filters))
    if groups != conv.groups:
        options = with_option(options, "groups", str(groups))
    section = replace(conv.section, options=options)
    return replace(conv, filters=filters, groups=groups, section=section)


def with_input_size(spec: NetworkSpec, height: int, width: int) -> NetworkSpec:
    """The same network for another input size, its `[net]` options following."""
    options = with_option(spec.net_options, "height", str(height))
    options = with_option(options, "width", str(width))
    return replace(spec, input_shape=(spec.input_shape[0], height, width), net_options=options)

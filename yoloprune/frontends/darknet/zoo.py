"""YOLOv3 networks built by function: any number of classes, any width.

Sources: J. Redmon and A. Farhadi, "YOLOv3: An Incremental Improvement", 2018 (Darknet-53 and the
three heads; the tiny variant and the one with spatial pyramid pooling of K. He et al., 2014, are
from the darknet repository).
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from yoloprune.errors import UsageError
from yoloprune.frontends.darknet.cfg import Option, Section
from yoloprune.frontends.darknet.parser import spec_from_sections
from yoloprune.frontends.darknet.spec import NetworkSpec

Anchors: TypeAlias = Sequence[tuple[float, float]]

COCO_ANCHORS: Anchors = (
    (10, 13), (16, 30), (33, 23), (30, 61), (62, 45), (59, 119), (116, 90), (156, 198), (373, 326),
)  # fmt: skip
COCO_TINY_ANCHORS: Anchors = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))

STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
"""Filters and residual blocks of the stages of Darknet-53."""


class CfgBuilder:
    """Appends sections in order; method names are section names, `width` scales filter counts."""

    def __init__(self, size: tuple[int, int], width: float = 1.0) -> None:
        height, image_width = size
        self.width = width
        self.sections = [
            _section("net", batch=64, subdivisions=16, width=image_width, height=height, channels=3,
                     momentum=0.9, decay=0.0005, learning_rate=0.001, burn_in=1000,
                     max_batches=10000, policy="steps", steps="8000,9000", scales=".1,.1")
        ]  # fmt: skip

    @property
    def last(self) -> int:
        """Index of the layer appended last."""
        return len(self.sections) - 2

    def add(self, name: str, **options: object) -> int:
        """Append any section; returns its layer index."""
        self.sections.append(_section(name, **options))
        return self.last

    def conv(
        self, filters: int, size: int, stride: int = 1, *, activation: str = "leaky", **more: object
    ) -> int:
        """Convolution with batch norm, its filters scaled by the width."""
        scaled = max(1, round(filters * self.width))
        return self.add("convolutional", batch_normalize=1, filters=scaled, size=size,
                        stride=stride, pad=1, **more, activation=activation)  # fmt: skip

    def head(self, anchors: Anchors, mask: Sequence[int], classes: int, **more: object) -> int:
        """1x1 convolution with bias and the [yolo] head that reads it."""
        self.add("convolutional", size=1, stride=1, pad=1, filters=len(mask) * (5 + classes),
                 activation="linear")  # fmt: skip
        numbers = ", ".join(f"{w:g},{h:g}" for w, h in anchors)
        return self.add("yolo", mask=",".join(map(str, mask)), anchors=numbers, classes=classes,
                        num=len(anchors), jitter=".3", ignore_thresh=".7", truth_thresh=1,
                        random=1, **more)  # fmt: skip

    def route(self, *layers: int, **more: object) -> int:
        """Concatenation of absolute layer indices."""
        return self.add("route", layers=",".join(map(str, layers)), **more)

    def shortcut(self, source: int) -> int:
        """Sum of the previous layer and an absolute layer index."""
        return self.add("shortcut", **{"from": source - self.last - 1}, activation="linear")

    def spec(self) -> NetworkSpec:
        """The network built so far."""
        return spec_from_sections(tuple(self.sections), "zoo")


def yolov3(
    *,
    classes: int = 80,
    width: float = 1.0,
    anchors: Anchors = COCO_ANCHORS,
    size: tuple[int, int] = (416, 416),
) -> NetworkSpec:
    """YOLOv3 on Darknet-53; `size` is (height, width) of the input in pixels."""
    return _yolov3(classes, width, anchors, size, pyramid=False)


def yolov3_spp(
    *,
    classes: int = 80,
    width: float = 1.0,
    anchors: Anchors = COCO_ANCHORS,
    size: tuple[int, int] = (416, 416),
) -> NetworkSpec:
    """YOLOv3 with a spatial pyramid (max pools of 5, 9, 13) before the first head."""
    return _yolov3(classes, width, anchors, size, pyramid=True)


def yolov3_tiny(
    *,
    classes: int = 80,
    width: float = 1.0,
    anchors: Anchors = COCO_TINY_ANCHORS,
    size: tuple[int, int] = (416, 416),
) -> NetworkSpec:
    """YOLOv3-tiny: two heads, no shortcuts."""
    _check(classes, width, anchors, 6)
    net = CfgBuilder(size, width)
    for filters in (16, 32, 64, 128):
        net.conv(filters, 3)
        net.add("maxpool", size=2, stride=2)
    middle = net.conv(256, 3)
    net.add("maxpool", size=2, stride=2)
    net.conv(512, 3)
    net.add("maxpool", size=2, stride=1)
    net.conv(1024, 3)
    neck = net.conv(256, 1)
    net.conv(512, 3)
    net.head(anchors, (3, 4, 5), classes)
    net.route(neck)
    net.conv(128, 1)
    upsampled = net.add("upsample", stride=2)
    net.route(upsampled, middle)
    net.conv(256, 3)
    net.head(anchors, (0, 1, 2), classes)
    return net.spec()


NETWORKS: dict[str, Callable[..., NetworkSpec]] = {
    "yolov3": yolov3,
    "yolov3-spp": yolov3_spp,
    "yolov3-tiny": yolov3_tiny,
}
"""Builders by the names that the command line uses."""


def _yolov3(
    classes: int, width: float, anchors: Anchors, size: tuple[int, int], *, pyramid: bool
) -> NetworkSpec:
    _check(classes, width, anchors, 9)
    net = CfgBuilder(size, width)
    net.conv(32, 3)
    stages = []
    for filters, blocks in STAGES:
        last = net.conv(filters, 3, 2)
        for _ in range(blocks):
            net.conv(filters // 2, 1)
            net.conv(filters, 3)
            last = net.shortcut(last)
        stages.append(last)
    for head, filters in enumerate((512, 256, 128)):
        for step in range(2):
            net.conv(filters, 1)
            net.conv(2 * filters, 3)
            if pyramid and head == 0 and step == 0:
                _pyramid(net, net.conv(filters, 1))
        neck = net.conv(filters, 1)
        net.conv(2 * filters, 3)
        net.head(anchors, range(6 - 3 * head, 9 - 3 * head), classes)
        if head < 2:
            net.route(neck)
            net.conv(filters // 2, 1)
            upsampled = net.add("upsample", stride=2)
            net.route(upsampled, stages[3 - head])
    return net.spec()


def _pyramid(net: CfgBuilder, source: int) -> None:
    pools: list[int] = []
    for size in (5, 9, 13):
        if pools:
            net.route(source)
        pools.append(net.add("maxpool", size=size, stride=1))
    net.route(*reversed(pools), source)


def _check(classes: int, width: float, anchors: Anchors, count: int) -> None:
    if not (1 <= classes <= 10_000 and 0 < width <= 16):
        raise UsageError(f"classes={classes} must be in 1..10000 and width={width} in (0, 16]")
    if len(anchors) != count:
        raise UsageError(f"this network takes {count} anchors, found {len(anchors)}")


def _section(name: str, **options: object) -> Section:
    return Section(
        name=name, options=tuple(Option(key=k, value=str(v)) for k, v in options.items())
    )

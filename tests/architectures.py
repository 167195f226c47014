"""The networks that users bring beside the zoo's, built by function as darknet ships them.

Sources: J. Redmon and A. Farhadi, "YOLO9000: Better, Faster, Stronger", 2017 (YOLOv2);
A. Bochkovskiy, C.-Y. Wang and H.-Y. M. Liao, "YOLOv4", 2020, "Scaled-YOLOv4", 2021 (csp and tiny)
and "YOLOv7", 2022; layer by layer as the cfgs of darknet (AlexeyAB's fork) have them.
`test_zoo.py` holds each against published file sizes and operation counts.

Each builder takes `classes`, `width` (scales all filters but the heads') and `size`, the (height,
width) of the input.
"""

from collections.abc import Callable, Sequence

from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import COCO_ANCHORS, COCO_TINY_ANCHORS, Anchors, CfgBuilder

YOLOV4_ANCHORS: Anchors = (
    (12, 16), (19, 36), (40, 28), (36, 75), (76, 55), (72, 146), (142, 110), (192, 243), (459, 401),
)  # fmt: skip
YOLOV2_ANCHORS: Anchors = (
    (0.57273, 0.677385), (1.87446, 2.06253), (3.33843, 5.47434), (7.88282, 3.52778),
    (9.77052, 9.16828),
)  # fmt: skip

Size = tuple[int, int]
_NEW_COORDS = {"scale_x_y": "2.0", "new_coords": 1, "objectness_smooth": 1, "iou_loss": "ciou",
               "nms_kind": "diounms", "beta_nms": 0.6}  # fmt: skip


class _Builder(CfgBuilder):
    """A `CfgBuilder` with an activation of its own and the blocks that several networks share."""

    def __init__(self, size: Size, width: float, activation: str) -> None:
        super().__init__(size, width)
        self.activation = activation

    def conv(self, filters: int, size: int, stride: int = 1, **more: object) -> int:
        return super().conv(filters, size, stride, **({"activation": self.activation} | more))

    def head_of(
        self, activation: str, anchors: Anchors, mask: Sequence[int], classes: int, **more: object
    ) -> int:
        """A [yolo] head whose 1x1 convolution has an activation."""
        filters = len(mask) * (5 + classes)
        self.add("convolutional", size=1, stride=1, pad=1, filters=filters, activation=activation)
        numbers = ", ".join(f"{w:g}, {h:g}" for w, h in anchors)
        return self.add("yolo", mask=",".join(map(str, mask)), anchors=numbers, classes=classes,
                        num=len(anchors), **more)  # fmt: skip

    def pool(self) -> int:
        return self.add("maxpool", size=2, stride=2)

    def pyramid(self, *, widest_first: bool = True) -> int:
        """Max pools of 5, 9 and 13 beside the previous layer."""
        source = self.last
        maps = [source]
        for size in (5, 9, 13):
            if len(maps) > 1:
                self.route(source)
            maps.append(self.add("maxpool", stride=1, size=size))
        return self.route(*(reversed(maps) if widest_first else maps))

    def cross_stage(self, filters: int, width: int, inner: int, blocks: int) -> int:
        """A stage of CSPDarknet-53: half of the map skips the residual blocks."""
        entry = self.conv(filters, 3, 2)
        skipped = self.conv(width, 1)
        self.route(entry)
        last = self.conv(width, 1)
        for _ in range(blocks):
            self.conv(inner, 1)
            self.conv(width, 3)
            last = self.shortcut(last)
        self.route(self.conv(width, 1), skipped)
        return self.conv(filters, 1)

    def upsampled(self, filters: int, lateral: int) -> int:
        """The previous map reduced and doubled, behind the reduced lateral map."""
        self.conv(filters, 1)
        doubled = self.add("upsample", stride=2)
        self.route(lateral)
        return self.route(self.conv(filters, 1), doubled)


def yolov2(*, classes: int = 80, width: float = 1.0, size: Size = (608, 608)) -> NetworkSpec:
    """YOLOv2: a [reorg] passthrough and a [region] head."""
    net = _Builder(size, width, "leaky")
    for filters, pairs in ((32, 0), (64, 0), (128, 1), (256, 1), (512, 2), (1024, 2)):
        if filters > 32:
            net.pool()
        fine = net.conv(filters, 3)
        for _ in range(pairs):
            net.conv(filters // 2, 1)
            fine = net.conv(filters, 3)
        if filters == 512:
            passthrough = fine
    net.conv(1024, 3)
    coarse = net.conv(1024, 3)
    net.route(passthrough)
    net.conv(64, 1)
    reorganized = net.add("reorg", stride=2)
    net.route(reorganized, coarse)
    net.conv(1024, 3)
    net.add("convolutional", size=1, stride=1, pad=1, filters=5 * (5 + classes),
            activation="linear")  # fmt: skip
    net.add("region", anchors=", ".join(f"{w}, {h}" for w, h in YOLOV2_ANCHORS), bias_match=1,
            classes=classes, coords=4, num=5, softmax=1, jitter=".3", rescore=1, object_scale=5,
            noobject_scale=1, class_scale=1, coord_scale=1, absolute=1, thresh=".6",
            random=1)  # fmt: skip
    return net.spec()


def yolov4(*, classes: int = 80, width: float = 1.0, size: Size = (608, 608)) -> NetworkSpec:
    """YOLOv4: CSPDarknet-53 with mish, spatial pyramid, path aggregation, `scale_x_y`."""
    net = _Builder(size, width, "mish")
    net.conv(32, 3)
    net.cross_stage(64, 64, 32, 1)
    net.cross_stage(128, 64, 64, 2)
    fine = net.cross_stage(256, 128, 128, 8)
    middle = net.cross_stage(512, 256, 256, 8)
    net.cross_stage(1024, 512, 512, 4)

    net.activation = "leaky"

    def alternate(filters: int, count: int) -> int:
        for step in range(count):
            net.conv(filters * (1 + step % 2), 3 if step % 2 else 1)
        return net.last

    alternate(512, 3)
    net.pyramid()
    necks = [alternate(512, 3)]
    for filters, lateral in ((256, middle), (128, fine)):
        net.upsampled(filters, lateral)
        necks.append(alternate(filters, 5))
    last = necks.pop()
    for level, (filters, scale) in enumerate(((128, "1.2"), (256, "1.1"), (512, "1.05"))):
        if level:
            net.route(last)
            net.route(net.conv(filters, 3, 2), necks.pop())
            last = alternate(filters, 5)
        net.conv(2 * filters, 3)
        net.head(YOLOV4_ANCHORS, range(3 * level, 3 * level + 3), classes, scale_x_y=scale,
                 iou_loss="ciou", nms_kind="greedynms")  # fmt: skip
    return net.spec()


def yolov4_tiny(*, classes: int = 80, width: float = 1.0, size: Size = (416, 416)) -> NetworkSpec:
    """YOLOv4-tiny: stages that send half of their channels (a grouped route) through two convs."""
    net = _Builder(size, width, "leaky")
    net.conv(32, 3, 2)
    net.conv(64, 3, 2)
    for filters in (64, 128, 256):
        entry = net.conv(filters, 3)
        net.route(entry, groups=2, group_id=1)
        first = net.conv(filters // 2, 3)
        second = net.conv(filters // 2, 3)
        net.route(second, first)
        lateral = net.conv(filters, 1)
        net.route(entry, lateral)
        net.pool()
    net.conv(512, 3)
    neck = net.conv(256, 1)
    net.conv(512, 3)
    net.head(COCO_TINY_ANCHORS, (3, 4, 5), classes, scale_x_y="1.05")
    net.route(neck)
    net.conv(128, 1)
    doubled = net.add("upsample", stride=2)
    net.route(doubled, lateral)
    net.conv(256, 3)
    net.head(COCO_TINY_ANCHORS, (1, 2, 3), classes, scale_x_y="1.05")
    return net.spec()


def yolov4_csp(*, classes: int = 80, width: float = 1.0, size: Size = (640, 640)) -> NetworkSpec:
    """Scaled-YOLOv4's CSP model: the neck too is split, heads have `new_coords=1`."""
    net = _Builder(size, width, "mish")
    net.conv(32, 3)
    last = net.conv(64, 3, 2)
    net.conv(32, 1)
    net.conv(64, 3)
    net.shortcut(last)
    net.cross_stage(128, 64, 64, 2)
    fine = net.cross_stage(256, 128, 128, 8)
    middle = net.cross_stage(512, 256, 256, 8)
    last = net.cross_stage(1024, 512, 512, 4)

    skipped = net.conv(512, 1)
    net.route(last)
    for size_ in (1, 3, 1):
        net.conv(512, size_)
    net.pyramid()
    net.conv(512, 1)
    net.route(net.conv(512, 3), skipped)
    necks = [net.conv(512, 1)]

    def split(filters: int) -> int:
        entry = net.conv(filters, 1)
        skipped = net.conv(filters, 1)
        net.route(entry)
        for size_ in (1, 3, 1, 3):
            net.conv(filters, size_)
        net.route(net.last, skipped)
        return net.conv(filters, 1)

    for filters, lateral in ((256, middle), (128, fine)):
        net.upsampled(filters, lateral)
        necks.append(split(filters))
    last = necks.pop()
    for level, filters in enumerate((256, 512, 1024)):
        if level:
            net.route(last)
            net.route(net.conv(filters // 2, 3, 2), necks.pop())
            last = split(filters // 2)
        net.conv(filters, 3)
        net.head_of("logistic", YOLOV4_ANCHORS, range(3 * level, 3 * level + 3), classes,
                    **_NEW_COORDS)  # fmt: skip
    return net.spec()


def yolov7(*, classes: int = 80, width: float = 1.0, size: Size = (640, 640)) -> NetworkSpec:
    """YOLOv7 with its training branches merged, as darknet runs it."""
    net = _Builder(size, width, "swish")
    for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2)):
        net.conv(filters, 3, stride)

    def aggregate(split: int, inner: int, out: int, *, dense: bool) -> int:
        source = net.last
        branches = [net.conv(split, 1)]
        net.route(source)
        branches.append(net.conv(split, 1))
        chain = [net.conv(inner, 3) for _ in range(4)]
        branches += chain if dense else chain[1::2]
        net.route(*reversed(branches))
        return net.conv(out, 1)

    def halve(filters: int, *also: int) -> None:
        source = net.last
        net.pool()
        pooled = net.conv(filters, 1)
        net.route(source)
        net.conv(filters, 1)
        net.route(net.conv(filters, 3, 2), pooled, *also)

    aggregate(64, 64, 256, dense=False)
    halve(128)
    fine = aggregate(128, 128, 512, dense=False)
    halve(256)
    middle = aggregate(256, 256, 1024, dense=False)
    halve(512)
    last = aggregate(256, 256, 1024, dense=False)

    skipped = net.conv(512, 1)
    net.route(last)
    for size_ in (1, 3, 1):
        net.conv(512, size_)
    net.pyramid(widest_first=False)
    net.conv(512, 1)
    net.route(net.conv(512, 3), skipped)
    coarse_neck = net.conv(512, 1)
    net.upsampled(256, middle)
    middle_neck = aggregate(256, 128, 256, dense=True)
    net.upsampled(128, fine)
    outputs = [aggregate(128, 64, 128, dense=True)]
    for filters, neck in ((128, middle_neck), (256, coarse_neck)):
        halve(filters, neck)
        outputs.append(aggregate(2 * filters, filters, 2 * filters, dense=True))
    _heads(net, outputs, (256, 512, 1024), YOLOV4_ANCHORS, classes)
    return net.spec()


def yolov7_tiny(*, classes: int = 80, width: float = 1.0, size: Size = (416, 416)) -> NetworkSpec:
    """YOLOv7-tiny in darknet's form: leaky, every intermediate map is concatenated."""
    net = _Builder(size, width, "leaky")
    net.conv(32, 3, 2)
    net.conv(64, 3, 2)

    def aggregate(filters: int) -> int:
        source = net.last
        first = net.conv(filters, 1)
        net.route(source)
        chain = [net.conv(filters, 1), net.conv(filters, 3), net.conv(filters, 3)]
        net.route(first, *chain)
        return net.conv(2 * filters, 1)

    stages = [aggregate(32)]
    for filters in (64, 128, 256):
        net.pool()
        stages.append(aggregate(filters))

    skipped = net.conv(256, 1)
    net.route(stages[3])
    net.conv(256, 1)
    net.pyramid()
    net.route(skipped, net.conv(256, 1))
    coarse_neck = net.conv(256, 1)
    net.upsampled(128, stages[2])
    middle_neck = aggregate(64)
    net.upsampled(64, stages[1])
    outputs = [aggregate(32)]
    for filters, neck in ((128, middle_neck), (256, coarse_neck)):
        net.route(net.conv(filters, 3, 2), neck)
        outputs.append(aggregate(filters // 2))
    _heads(net, outputs, (128, 256, 512), COCO_ANCHORS, classes)
    return net.spec()


def _heads(
    net: _Builder, outputs: Sequence[int], widths: Sequence[int], anchors: Anchors, classes: int
) -> None:
    """One logistic head for each output, finest first."""
    for level, (output, filters) in enumerate(zip(outputs, widths, strict=True)):
        net.route(output)
        net.conv(filters, 3)
        net.head_of("logistic", anchors, range(3 * level, 3 * level + 3), classes,
                    **_NEW_COORDS)  # fmt: skip


ARCHITECTURES: dict[str, Callable[..., NetworkSpec]] = {
    "yolov2": yolov2,
    "yolov4": yolov4,
    "yolov4-tiny": yolov4_tiny,
    "yolov4-csp": yolov4_csp,
    "yolov7": yolov7,
    "yolov7-tiny": yolov7_tiny,
}
"""Builders by the name of the cfg that each stands for."""

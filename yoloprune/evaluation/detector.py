"""A network that finds boxes, wherever it computes.

B images of C channels and H x W pixels, N boxes an image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from yoloprune.data.images import Image
from yoloprune.data.preprocess import ImageInput, darknet_input
from yoloprune.detection.boxes import boxes_to_image, clip_boxes
from yoloprune.detection.decode import Detections, Predictions, decode
from yoloprune.detection.nms import PairwiseIou, darknet_overlap, select_detections
from yoloprune.detection.placement import Placement
from yoloprune.engines.engine import Runner
from yoloprune.engines.torch import runner
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.spec import NetworkSpec, class_count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Detector:
    """What finds boxes in images.

    Attributes:
        reads: how it is shown an image; a protocol may fit images in another way.
        classes: how many it tells apart.
        predict: inputs (B, C, H, W) float32, as it reads them, to every box, which lies on the CPU.
        overlap: what suppression holds against its threshold, for an image whose (width, height)
            in input pixels are given.
        batch_size: how many images at once are a good number.
        concurrent: whether several threads may call it at once, each computing for itself.
        on_gpu: whether it leaves the processor to others.
        decoder: what makes boxes of its outputs.
        why_dead: images, at least one, to what says that they do not reach it as it reads them.
    """

    reads: ImageInput
    classes: int
    predict: Callable[[Tensor], Predictions]
    overlap: Callable[[tuple[float, float]], PairwiseIou]
    batch_size: int = 2
    concurrent: bool = False
    on_gpu: bool = False
    decoder: str = "darknet"
    why_dead: Callable[[Sequence[Image]], str | None] = lambda images: None


def darknet_detector(spec: NetworkSpec, run: Runner) -> Detector:
    """A Darknet network in an engine, which gives its heads' raw maps.

    Raises `CfgError` if the network has no heads, or heads with different numbers of classes, or
    reads neither RGB nor gray.
    """
    reads = darknet_input(spec)

    def predict(images: Tensor) -> Predictions:
        with torch.no_grad():
            found = decode(spec, run.compute(images))
        return Predictions(
            boxes=found.boxes.cpu(),
            objectness=found.objectness.cpu(),
            classes=found.classes.cpu(),
        )

    return Detector(
        reads=reads,
        classes=class_count(spec),
        predict=predict,
        overlap=partial(darknet_overlap, spec),
        # More take memory and, on a CPU, save no time.
        batch_size=2 if run.device.type == "cpu" else 16,
        concurrent=run.concurrent,
        on_gpu=run.device.type != "cpu",
    )


def network_detector(spec: NetworkSpec, network: Network) -> Detector:
    """A Darknet network as it is now, in evaluation mode, where it lies.

    Raises `CfgError` as above.
    """
    return darknet_detector(spec, runner(network))


def detect_objects(
    detector: Detector,
    image: Image,
    *,
    threshold: float,
    iou_threshold: float,
    iou: PairwiseIou | None = None,
) -> Detections:
    """What a detector finds in one image, highest score first, in the image's own pixels.

    The image is RGB or what the detector reads. Scores are objectness x class and above
    `threshold`; suppression is per class, and by `iou` or else by the detector's own overlap.
    """
    fitted, placement = detector.reads.fit(image)
    if iou is None:
        extent = (placement.scale[0] * image.shape[1], placement.scale[1] * image.shape[0])
        iou = detector.overlap(extent)
    predictions = detector.predict(torch.from_numpy(fitted)[None])
    (found,) = select_detections(predictions, threshold, iou_threshold, iou=iou)
    return in_image(found, placement, image.shape[:2])


def in_image(detections: Detections, placement: Placement, size: tuple[int, ...]) -> Detections:
    """Detections in network input pixels, moved to image pixels and cut at the image's borders.

    `size` is the image's (height, width).
    """
    boxes = boxes_to_image(detections.boxes_xyxy, placement)
    return Detections(
        boxes_xyxy=clip_boxes(boxes, size[1], size[0]),
        scores=detections.scores,
        labels=detections.labels,
    )

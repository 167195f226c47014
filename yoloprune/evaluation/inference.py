"""Running a network on images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from yoloprune.data.images import Image, NetworkInput, Resize, image_channels, in_channels
from yoloprune.detection.boxes import boxes_to_image, clip_boxes
from yoloprune.detection.decode import Detections, Predictions, decode
from yoloprune.detection.nms import PairwiseIou, darknet_overlap, select_detections
from yoloprune.detection.placement import Placement
from yoloprune.model.network import Network


@contextmanager
def inference(network: Network) -> Iterator[None]:
    """Evaluation mode without gradients; the network's own mode comes back afterwards."""
    training = network.training
    if training:
        network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        if training:
            network.train()


def predict(network: Network, inputs: Sequence[NetworkInput]) -> Predictions:
    """Run a network on inputs (C, H, W) of its shape as one batch; predictions come to the CPU.

    Raises `CfgError` if the network has no usable heads.
    """
    images = torch.from_numpy(np.stack(inputs)).to(next(network.parameters()))
    with inference(network):
        decoded = decode(network.spec, network(images))
    return Predictions(
        boxes=decoded.boxes.cpu(),
        objectness=decoded.objectness.cpu(),
        classes=decoded.classes.cpu(),
    )


def detect_objects(
    network: Network,
    image: Image,
    resize: Resize,
    *,
    threshold: float,
    iou_threshold: float,
    iou: PairwiseIou | None = None,
) -> Detections:
    """What a network finds in one image, highest score first, in the image's own pixels.

    The image is RGB or what the network reads. Scores are objectness x class and above `threshold`;
    suppression is per class, and by `iou` or else as darknet does it for this network. Raises
    `CfgError` if the network reads neither RGB nor grey.
    """
    _, height, width = network.spec.input_shape
    fitted, placement = resize(in_channels(image, image_channels(network.spec)), height, width)
    if iou is None:
        extent = (placement.scale[0] * image.shape[1], placement.scale[1] * image.shape[0])
        iou = darknet_overlap(network.spec, extent)
    (found,) = select_detections(predict(network, [fitted]), threshold, iou_threshold, iou=iou)
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

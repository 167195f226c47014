"""Our detections against those of OpenCV's own Darknet importer, on a labeled data set.

    python tests/benchmarks/opencv_agreement.py CFG WEIGHTS DATA

Both stretch the image and suppress per class at IoU 0.45; both are scored by the same all-points
AP at IoU 0.5. OpenCV drops the scores of a [yolo] layer that are not above that section's `thresh`,
0.2 where it is not given; so the two are compared at that threshold, and at 0.005 with the option
set.

Heads are compared as raw maps where a linear convolution makes them (OpenCV has them under that
layer's name), once as they are and once with the epsilon that OpenCV's importer has in batch norms.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tests.networks import network_of
from yoloprune.data.dataset import Dataset
from yoloprune.data.images import Image, read_image
from yoloprune.data.preprocess import PRESETS, network_input
from yoloprune.data.read import read_dataset
from yoloprune.detection.boxes import box_iou
from yoloprune.detection.decode import Detections
from yoloprune.evaluation.average_precision import GroundTruth, average_precisions, rank
from yoloprune.evaluation.detector import detect_objects, network_detector
from yoloprune.evaluation.evaluator import ground_truth
from yoloprune.evaluation.protocols import NMS_THRESHOLD
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.parser import read_cfg, write_cfg
from yoloprune.frontends.darknet.spec import (
    Conv,
    Head,
    Layer,
    NetworkSpec,
    class_count,
    with_option,
)
from yoloprune.frontends.darknet.state import BATCH_NORM_EPSILON
from yoloprune.frontends.darknet.weights import read_weights

THRESHOLDS = (0.2, 0.005)
"""OpenCV's own, and the one that AP is computed at."""

OPENCV_BATCH_NORM_EPSILON = 1e-6


def opencv_network(spec: NetworkSpec, weights: Path, threshold: float) -> cv2.dnn.Net:
    """OpenCV's reading of a network, its heads giving scores above `threshold`."""
    layers = tuple(
        replace(
            layer,
            section=replace(
                layer.section,
                options=with_option(layer.section.options, "thresh", str(threshold)),
            ),
        )
        if isinstance(layer, Head)
        else layer
        for layer in spec.layers
    )
    with tempfile.TemporaryDirectory() as folder:
        cfg = Path(folder) / "opencv.cfg"
        write_cfg(cfg, replace(spec, layers=layers))
        return cv2.dnn.readNetFromDarknet(str(cfg), str(weights))


def with_epsilon(network: Network, epsilon: float) -> Network:
    """A copy of a network with another epsilon in its batch norms."""
    nodes = (
        replace(node, attributes={**node.attributes, "epsilon": epsilon})
        if node.operator == "BatchNormalization"
        else node
        for node in network.graph.nodes
    )
    return Network(replace(network.graph, nodes=tuple(nodes)), network.state())


def opencv_detections(
    image: Image, outputs: list[NDArray[np.float32]], threshold: float
) -> Detections:
    """Detections in image pixels from OpenCV's rows [cx cy w h objectness, scores...]."""
    rows = torch.from_numpy(np.concatenate([o.reshape(-1, o.shape[-1]) for o in outputs]))
    height, width = image.shape[:2]
    size = torch.tensor((width, height, width, height))
    middle, half = rows[:, :2], rows[:, 2:4] / 2
    boxes = torch.cat((middle - half, middle + half), dim=1) * size
    corners = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), dim=1)
    kept: list[tuple[int, int]] = []
    for label in range(rows.shape[1] - 5):
        scores = rows[:, 5 + label]
        candidates = (scores > threshold).nonzero()[:, 0]
        indices = cv2.dnn.NMSBoxes(
            corners[candidates].tolist(), scores[candidates].tolist(), threshold, NMS_THRESHOLD
        )
        kept += [(int(candidates[i]), label) for i in np.asarray(indices).ravel()]
    row, label = torch.tensor(kept, dtype=torch.int64).reshape(-1, 2).unbind(dim=1)
    return Detections(boxes_xyxy=boxes[row], scores=rows[row, 5 + label], labels=label)


def opencv_outputs(
    network: cv2.dnn.Net, image: Image, names: Sequence[str], spec: NetworkSpec
) -> list[NDArray[np.float32]]:
    """What OpenCV computes under these layer names for a stretched image."""
    _, height, width = spec.input_shape
    network.setInput(cv2.dnn.blobFromImage(image, 1 / 255, (width, height)))
    return [np.asarray(output, np.float32) for output in network.forward(list(names))]


def labeled_images(dataset: Dataset) -> Iterator[tuple[Image, GroundTruth]]:
    """Images with their objects in pixels."""
    for labeled in dataset.images:
        image = read_image(labeled.path)
        yield image, ground_truth(labeled, image.shape[:2])


def head_differences(
    spec: NetworkSpec, network: Network, theirs: cv2.dnn.Net, dataset: Dataset
) -> dict[str, float]:
    """Largest difference of raw head maps, relative to the map's largest value, by conv name."""
    names = {
        position: f"conv_{head.sources[0]}"
        for position, head in enumerate(spec.heads)
        if is_linear(spec.layers[head.sources[0]])
    }
    worst = dict.fromkeys(names.values(), 0.0)
    for image, _ in labeled_images(dataset):
        fitted, _ = network_input(image, *spec.input_shape[1:], PRESETS["plain"])
        with torch.no_grad():
            maps = network(torch.from_numpy(fitted[None]))
        expected = opencv_outputs(theirs, image, list(names.values()), spec)
        for (position, name), their in zip(names.items(), expected, strict=True):
            difference = np.abs(maps[position].numpy() - their).max() / np.abs(their).max()
            worst[name] = max(worst[name], float(difference))
    return worst


def is_linear(layer: Layer) -> bool:
    """Whether a layer is a convolution with a bias and nothing after it."""
    return isinstance(layer, Conv) and layer.activation == "linear" and not layer.batch_normalize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cfg", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()

    spec = read_cfg(options.cfg)
    network = network_of(spec, read_weights(options.weights, spec))
    detector = network_detector(spec, network)
    detector = replace(detector, reads=detector.reads.resized("stretch"))
    dataset = read_dataset(options.data, classes=class_count(spec), limit=options.limit)
    table = Table("", "yoloprune", "OpenCV", "difference")
    agreed = True
    for threshold in THRESHOLDS:
        theirs = opencv_network(spec, options.weights, threshold)
        ours_found, theirs_found, truths = [], [], []
        for image, truth in labeled_images(dataset):
            ours_found.append(
                detect_objects(
                    detector,
                    image,
                    threshold=threshold,
                    iou_threshold=NMS_THRESHOLD,
                    iou=box_iou,
                )
            )
            outputs = opencv_outputs(theirs, image, theirs.getUnconnectedOutLayersNames(), spec)
            theirs_found.append(opencv_detections(image, outputs, threshold))
            truths.append(truth)
        ours, their = (
            float(np.nanmean(average_precisions(rank(found, truths, len(dataset.names)))))
            for found in (ours_found, theirs_found)
        )
        agreed &= abs(ours - their) <= 0.005
        table.add_row(
            f"mAP@0.5, scores above {threshold}",
            f"{ours:.4f}",
            f"{their:.4f}",
            f"{ours - their:+.4f}",
        )
        counts = [sum(len(d.labels) for d in found) for found in (ours_found, theirs_found)]
        table.add_row("  detections", *map(str, counts), f"{counts[0] - counts[1]:+d}")
    for epsilon in (BATCH_NORM_EPSILON, OPENCV_BATCH_NORM_EPSILON):
        worst = head_differences(spec, with_epsilon(network, epsilon), theirs, dataset)
        for name, value in worst.items():
            table.add_row(f"{name}, epsilon {epsilon:g}, max relative", "", "", f"{value:.1e}")
    Console().print(table)
    sys.exit(not agreed)


if __name__ == "__main__":
    main()

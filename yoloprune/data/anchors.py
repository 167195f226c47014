"""Anchors: the typical shapes of a data set's boxes, found by k-means.

N: boxes. K: anchors. Shapes are (width, height) in pixels of the network's input. The distance of
two shapes is 1 - IoU with both at one place. Method: J. Redmon and A. Farhadi, "YOLO9000: Better,
Faster, Stronger", 2017, section 2.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.dataset import Dataset
from yoloprune.data.inspection import image_size
from yoloprune.errors import DatasetError
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import Head, NetworkSpec, Region

Shapes: TypeAlias = NDArray[np.float64]

GOOD_IOU = 0.5
"""A box counts as within reach of an anchor from this IoU on."""

_MOST_ROUNDS = 100
# More shapes move the result by less than the pixels that anchors are rounded to.
_MOST_SHAPES = 20_000
_MOST_IMAGES = 4_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorFit:
    """How well anchors fit: mean over the boxes of the best IoU, and the share from `GOOD_IOU`."""

    mean_iou: float
    recall: float


def shape_iou(shapes: Shapes, anchors: Shapes) -> NDArray[np.float64]:  # (N, 2), (K, 2) -> (N, K)
    """Intersection over union of every shape with every anchor, both at one place."""
    width = np.minimum(shapes[:, None, 0], anchors[:, 0])
    height = np.minimum(shapes[:, None, 1], anchors[:, 1])
    overlap = width * height
    areas = shapes.prod(axis=1)[:, None] + anchors.prod(axis=1)
    # A cfg's anchor may be 0 wide, and then fits nothing.
    return np.asarray(overlap / np.maximum(areas - overlap, np.finfo(float).tiny), np.float64)


def anchor_fit(shapes: Shapes, anchors: Shapes) -> AnchorFit:  # (N, 2), (K, 2)
    """How well anchors fit the boxes of a data set; raises `DatasetError` if there are no boxes."""
    if not len(shapes):
        raise DatasetError("there is no box to fit anchors to")
    # In parts, so that large data sets with many anchors fit into memory.
    parts = np.array_split(shapes, 1 + len(shapes) // 100_000)
    best = np.concatenate([shape_iou(part, anchors).max(axis=1) for part in parts])
    return AnchorFit(mean_iou=float(best.mean()), recall=float((best >= GOOD_IOU).mean()))


def different_shapes(shapes: Shapes) -> int:
    """How many of the shapes (N, 2) differ by more than rounding."""
    return len(np.unique(np.round(shapes, 3), axis=0))


def fit_anchors(shapes: Shapes, count: int, *, seed: int = 0, restarts: int = 10) -> Shapes:
    """Find the `count` anchors (K, 2) with the best mean IoU, by rising area.

    The best of several seeded k-means; of very many shapes (N, 2) a random sample is used. Raises
    `DatasetError` if there are fewer different shapes than anchors.
    """
    different = different_shapes(shapes)
    if not 1 <= count <= different:
        raise DatasetError(
            f"{count} anchors were asked for, but the boxes have {different} different shapes"
        )
    random = np.random.default_rng(seed)
    if len(shapes) > _MOST_SHAPES:
        shapes = random.choice(shapes, _MOST_SHAPES, replace=False)
    found = [_k_means(shapes, _spread(shapes, count, random)) for _ in range(restarts)]
    best = max(found, key=lambda anchors: anchor_fit(shapes, anchors).mean_iou)
    return best[np.argsort(best.prod(axis=1), kind="stable")]


def cfg_anchors(shapes: Shapes, count: int, *, seed: int = 0) -> Shapes:
    """Fitted anchors as a cfg has them: with one decimal, and none of size 0."""
    return np.maximum(np.round(fit_anchors(shapes, count, seed=seed), 1), 0.1)


def network_anchors(spec: NetworkSpec) -> Shapes:  # -> (K, 2)
    """The anchors of all heads in input pixels, each once; raises `DatasetError` without heads."""
    found: set[tuple[float, float]] = set()
    for head in spec.heads:
        scale = anchor_scale(spec, head)
        found.update((width * scale, height * scale) for width, height in head.anchors)
    if not found:
        raise DatasetError("the cfg has no heads with anchors")
    return np.array(sorted(found, key=lambda pair: pair[0] * pair[1]), np.float64)


def anchor_scale(spec: NetworkSpec, head: Head) -> float:
    """Input pixels for each unit of a head's anchors."""
    if not isinstance(head, Region):
        return 1.0
    return spec.input_shape[1] / layer_shapes(spec)[head.index][1]


def input_shapes(
    boxes: Iterable[NDArray[np.float64]],
    image_sizes: Iterable[tuple[int, int]],
    size: tuple[int, int],
    *,
    letterbox: bool,
) -> Shapes:  # -> (N, 2)
    """Shapes of all boxes in pixels of a network input of `size` (height, width).

    `boxes` (n, 4) of each image are relative corners, `image_sizes` its (height, width).
    With `letterbox` images keep their aspect ratio; otherwise they are stretched.
    """
    height, width = size
    shapes = [np.zeros((0, 2))]
    for own, (own_height, own_width) in zip(boxes, image_sizes, strict=True):
        scale = min(height / own_height, width / own_width)
        fitted = (own_width * scale, own_height * scale) if letterbox else (width, height)
        shapes.append((own[:, 2:] - own[:, :2]) * fitted)
    return np.concatenate(shapes)


def training_shapes(dataset: Dataset, size: tuple[int, int], *, seed: int = 0) -> Shapes:
    """Shapes (N, 2) of a data set's boxes as training shows them at an input of `size`.

    Images keep their aspect ratio. Of very many images a random sample is read. Raises
    `DatasetError` if one of them cannot be decoded.
    """
    images = [image for image in dataset.images if len(image.labels)]
    if len(images) > _MOST_IMAGES:
        chosen = np.random.default_rng(seed).choice(len(images), _MOST_IMAGES, replace=False)
        images = [images[index] for index in sorted(chosen.tolist())]
    sizes = (image_size(image.path.read_bytes(), image.path) for image in images)
    return input_shapes((image.boxes for image in images), sizes, size, letterbox=True)


def format_anchors(anchors: Sequence[Sequence[float]] | Shapes) -> str:
    """Anchors as a cfg has them: "10,13, 16,30, ..."."""
    return ", ".join(f"{width:g},{height:g}" for width, height in anchors)


def _spread(shapes: Shapes, count: int, random: np.random.Generator) -> Shapes:
    """First anchors: far from each other, as in k-means++ (D. Arthur, S. Vassilvitskii, 2007)."""
    chosen = [shapes[random.integers(len(shapes))]]
    while len(chosen) < count:
        distance = 1 - shape_iou(shapes, np.array(chosen)).max(axis=1)
        # Rounding leaves chosen shapes a distance of 1e-16 or so: they must not come again.
        weights = np.where(distance > 1e-9, distance, 0) ** 2
        chosen.append(shapes[random.choice(len(shapes), p=weights / weights.sum())])
    return np.array(chosen)


def _k_means(shapes: Shapes, anchors: Shapes) -> Shapes:
    """Assign and average until nothing changes; averages may worsen the IoU: the best are kept."""
    best, best_iou = anchors, -1.0
    assigned = np.full(len(shapes), -1)
    for _ in range(_MOST_ROUNDS):
        overlaps = shape_iou(shapes, anchors)
        if (mean_iou := float(overlaps.max(axis=1).mean())) > best_iou:
            best, best_iou = anchors, mean_iou
        nearest = overlaps.argmax(axis=1)
        if np.array_equal(nearest, assigned):
            break
        assigned = nearest
        members = np.bincount(nearest, minlength=len(anchors))[:, None]
        sums = np.stack(
            [np.bincount(nearest, shapes[:, side], len(anchors)) for side in (0, 1)], axis=1
        )
        anchors = np.where(members > 0, sums / np.maximum(members, 1), anchors)
    return best

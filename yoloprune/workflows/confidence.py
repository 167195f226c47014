"""Scores that keep their meaning after recovery: which outputs hold them, and what they show."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from yoloprune.data.inputs import surface
from yoloprune.data.preprocess import ImageInput
from yoloprune.detection.decoders.table import recognized
from yoloprune.detection.nms import SCORE_THRESHOLD, select_detections
from yoloprune.evaluation.coco import DETECTION_LIMIT
from yoloprune.evaluation.protocols import NMS_THRESHOLD
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.spec import AnyHead, Region
from yoloprune.graph.model import Model
from yoloprune.pruning.recover.confidence import with_confidences
from yoloprune.pruning.recover.score_rows import Scored
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.detectors import detector


def confident(
    cut: Cut, reads: ImageInput | None, images: Tensor, shown_on: Tensor
) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    """The slim parameters with which scores are distributed as the dense network's on `images`.

    And what the report says of it: the lines of the rows, and how much both networks find with a
    score that is shown, on the images `shown_on`. Nothing changes where no decoder is known, and
    where they would find as much as the dense network less nearly than before: then `kept` says so.
    """
    slim = cut.slim
    scored = scored_outputs(cut.dense, reads)
    if not scored:
        return dict(slim.parameters), {"lines": {}}
    found = with_confidences(cut.target, (slim.graph, slim.parameters), images, scored)
    parameters = {**slim.parameters, **{k: v.cpu() for k, v in found.arrays.items()}}
    after = replace(slim, parameters=parameters)
    whole = cut.dense if cut.shortened is None else cut.shortened.before
    counts = {
        name: shown(network, cut.dense, shown_on)
        for name, network in (("dense", whole), ("before", slim), ("after", after))
    }
    off = {name: abs(counts[name] - counts["dense"]) for name in ("before", "after")}
    kept = off["after"] <= off["before"]
    return parameters if kept else dict(slim.parameters), {
        "lines": {layer: [asdict(line) for line in own] for layer, own in found.lines.items()},
        "kept": kept,
        "threshold": SCORE_THRESHOLD,
        "images": len(shown_on),
        **counts,
    }


def shown(network: Model, read_as: Model, images: Tensor) -> int:
    """How many detections of a network, in all images (B, C, H, W), are shown to people."""
    made = detector(network, device=images.device, read_as=read_as)
    count = 0
    for chunk in torch.split(images, made.batch_size):
        found = select_detections(
            made.predict(chunk), SCORE_THRESHOLD, NMS_THRESHOLD, limit=DETECTION_LIMIT
        )
        count += sum(len(own.scores) for own in found)
    return count


def scored_outputs(network: Model, reads: ImageInput | None) -> dict[str, Scored]:
    """The outputs of a network that hold scores, by name; none where nothing tells which do."""
    document = network.document
    if isinstance(document, DarknetDocument):
        return {raw_map(head): _of_head(head) for head in document.spec.heads}
    if reads is None:
        return {}
    seen = surface(network, reads)
    if (family := recognized(seen)) is None:
        return {}
    read = family[1]
    found = {}
    for name, (axis, entry) in read.objectness.items():
        found[name] = Scored(axis=axis, objectness=(entry,))
    for name, (axis, first) in read.scores.items():
        classes = tuple(range(first, seen.outputs[name][axis]))
        found[name] = replace(found.get(name, Scored(axis=axis)), classes=classes)
    return found


def _of_head(head: AnyHead) -> Scored:
    each = head.box_entries + head.classes
    starts = [each * anchor + head.box_entries for anchor in range(len(head.anchors))]
    return Scored(
        axis=1,
        objectness=tuple(start - 1 for start in starts),
        classes=tuple(start + number for start in starts for number in range(head.classes)),
        shares=isinstance(head, Region),
    )

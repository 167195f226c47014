"""Every decoder finds the boxes of outputs that were made of them, and knows its own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.detection.decoders import formats
from tests.detection.decoders.families import (
    NAMES,
    OF_ONE_CLASS,
    TRUTH,
    found_in,
    names_of,
    outputs_of,
    surface_of,
    truth_of,
)
from tests.detection.decoders.formats import CLASSES, SIZE, Object
from yoloprune.data.preprocess import PRESETS, stated
from yoloprune.detection.decoders.decoder import Surface
from yoloprune.detection.decoders.table import DECODERS, decoding, recognized
from yoloprune.detection.nms import merge_detections, select_detections
from yoloprune.errors import UsageError

"""What else than shapes a network of the family shows."""


@pytest.mark.parametrize("name", DECODERS)
def test_planted_boxes_are_found(name: str) -> None:
    (found,) = found_in(name, outputs_of(name, truth_of(name)))
    expected = np.array(truth_of(name))
    np.testing.assert_allclose(found.boxes_xyxy.numpy(), expected[:, :4], atol=1e-3)
    np.testing.assert_allclose(found.scores.numpy(), expected[:, 5], rtol=1e-4)
    assert found.labels.tolist() == expected[:, 4].tolist()


@pytest.mark.parametrize("name", DECODERS)
def test_images_of_a_batch_are_apart(name: str) -> None:
    truth = truth_of(name)
    single = [outputs_of(name, truth[:1]), outputs_of(name, truth[1:])]
    both = {
        key: value if key == "priors" else np.concatenate([each[key] for each in single])
        for key, value in single[0].items()
    }
    first, second = found_in(name, both)
    np.testing.assert_allclose(first.boxes_xyxy[0].numpy(), truth[0][:4], atol=1e-3)
    np.testing.assert_allclose(second.boxes_xyxy[0].numpy(), truth[1][:4], atol=1e-3)
    assert len(first.labels) == len(second.labels) == 1


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("named", [True, False])
def test_a_family_is_known_by_its_outputs(name: str, named: bool) -> None:
    surface = surface_of(name, names=names_of(name) if named else None)
    found = recognized(surface)
    assert found is not None
    row, read = found
    assert row.name == name
    sure = [row.name for row in DECODERS.values() if row.read(surface) and row.evident(surface)]
    assert sure == [name]
    assert read.classes == (None if name == "end-to-end" and not named else len(names_of(name)))
    assert decoding(surface)[0].name == name


@pytest.mark.parametrize("name", DECODERS)
def test_the_classes_of_another_network_are_not_read(name: str) -> None:
    if name == "end-to-end" or name in OF_ONE_CLASS[:1]:
        # Their shapes say nothing of classes.
        return
    surface = surface_of(name, names=("a", "b", "c", "d", "e", "f", "g"))
    found = recognized(surface)
    assert found is None or found[0].name != name
    with pytest.raises(UsageError, match=f"`decoder` {name} reads .* of 7 classes"):
        decoding(surface, name)


@pytest.mark.parametrize("name", DECODERS)
def test_scores_stand_where_a_row_says(name: str) -> None:
    """Without the entries of other classes, the same network is read, and scores alike."""
    surface = surface_of(name, names=names_of(name))
    read = decoding(surface, name)[1]
    if not read.scores:
        assert read.beside or read.classes == 1
        return
    outputs = outputs_of(name, TRUTH)
    for output, (axis, before) in read.scores.items():
        assert outputs[output].shape[axis] == before + CLASSES
        kept = [*range(before), before + 2]
        outputs[output] = outputs[output].take(kept, axis=axis)
    cut = replace(surface, outputs={k: v.shape for k, v in outputs.items()}, names=("c",))
    found = recognized(cut)
    assert found is not None and found[0].name == name and found[1].classes == 1
    predictions = found[1].decode({k: torch.from_numpy(v) for k, v in outputs.items()})
    (left,) = select_detections(predictions, 0.2, 0.45)
    (box,) = [box for box in TRUTH if box[4] == 2]
    np.testing.assert_allclose(left.boxes_xyxy.numpy(), [box[:4]], atol=1e-3)
    np.testing.assert_allclose(left.scores.numpy(), [box[5]], rtol=1e-4)


@pytest.mark.parametrize("name", DECODERS)
def test_a_family_has_a_way_to_prepare_images(name: str) -> None:
    stated(DECODERS[name].preprocess, PRESETS["plain"])


@pytest.mark.parametrize("name", ["end-to-end", "rt-detr", "rt-detr-logits"])
def test_what_a_network_chose_is_not_suppressed_again(name: str) -> None:
    twice: list[Object] = [TRUTH[0], (*TRUTH[0][:5], 0.8)]
    (found,) = found_in(name, outputs_of(name, twice))
    assert found.scores.tolist() == pytest.approx([0.9, 0.8])
    surface = surface_of(name, names=NAMES)
    tensors = {key: torch.from_numpy(v) for key, v in outputs_of(name, twice).items()}
    (merged,) = merge_detections(decoding(surface, name)[1].decode(tensors), 0.2)
    assert merged.scores.tolist() == pytest.approx([0.9, 0.8])


def test_one_class_and_six_numbers_a_box_are_told_apart() -> None:
    """(1, N, 6) is YOLOX of one class, YOLOv5 of one, RT-DETR of two, or end to end."""
    cells, none = len(formats.ALL_CELLS), frozenset({"Conv"})
    base = Surface(size=SIZE, outputs={"y": (1, cells, 6)}, operators=none, metadata={})

    def known(boxes: int, *operators: str, names: tuple[str, ...] | None = None) -> str:
        surface = replace(
            base, outputs={"y": (1, boxes, 6)}, operators=none | {*operators}, names=names
        )
        found = recognized(surface)
        assert found is not None
        return found[0].name

    assert known(cells) == "yolox-raw"
    assert known(cells, "Exp") == "yolox"
    assert known(3 * cells) == "yolov5"
    assert known(300, "TopK") == "end-to-end"
    assert known(300, "TopK", names=NAMES) == "end-to-end"
    assert known(300, "TopK", "GridSample", names=("a", "b")) == "rt-detr"
    assert known(300, "TopK", "GridSample", names=NAMES) == "end-to-end"


@pytest.mark.parametrize(
    "outputs",
    [
        {"logits": (1, 1000)},
        {"mask": (1, 21, 64, 96)},
        {"features": (1, 64, 2, 3)},
        {"y": (1, 4 + CLASSES, 1234)},
        {"y": ()},
        {"boxes": (100, 4), "scores": (100,), "labels": (100,)},
        {"logits": (1, 100, 92), "pred_boxes": (1, 100, 4)},
        {"a": (1, 300, 1), "b": (1, 300, 4), "c": (1, 300)},
    ],
)
def test_what_no_decoder_knows_is_said(outputs: dict[str, tuple[int, ...]]) -> None:
    surface = Surface(size=SIZE, outputs=outputs, metadata={})
    assert recognized(surface) is None
    with pytest.raises(UsageError, match="no decoder is known to read its outputs, ") as raised:
        decoding(surface)
    assert all(f"{name} {shape}" in str(raised.value) for name, shape in outputs.items())
    for name in DECODERS:
        # Read or refused, never a crash.
        try:
            decoding(surface, name)
        except UsageError as error:
            assert f"`decoder` {name} reads " in str(error)


def test_a_decoder_that_is_not_evident_can_be_named() -> None:
    """A raw YOLOX whose backbone has an exponential, a YOLOv8 of other strides."""
    raw = replace(surface_of("yolox-raw"), operators=frozenset({"Exp"}))
    assert recognized(raw)[0].name == "yolox"  # type: ignore[index]
    assert decoding(raw, "yolox-raw")[1].classes == CLASSES
    odd = Surface(size=SIZE, outputs={"y": (1, 4 + CLASSES, 1234)}, metadata={})
    assert decoding(odd, "yolov8")[1].classes == CLASSES
    with pytest.raises(UsageError, match="`decoder` 'yolov9' is unknown"):
        decoding(odd, "yolov9")


@pytest.mark.parametrize("name", ["yolov5", "yolox", "fastestdet", "yunet"])
def test_objectness_stands_where_a_row_says(name: str) -> None:
    """Without it, nothing is found."""
    read = decoding(surface_of(name, names=names_of(name)), name)[1]
    outputs = {k: torch.from_numpy(v) for k, v in outputs_of(name, TRUTH).items()}
    assert float(read.decode(outputs).objectness.max()) > 0.5
    for output, (axis, entry) in read.objectness.items():
        outputs[output].select(axis, entry).zero_()
    found = read.decode(outputs)
    assert float((found.objectness[..., None] * found.classes).max()) == 0

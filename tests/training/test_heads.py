"""Heads that fit a data set: OpenCV runs the pair and finds what was taken over."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.networks import network_of
from yoloprune.data.anchors import network_anchors
from yoloprune.data.dataset import Dataset, LabeledImage, RawDataset, RawImage
from yoloprune.detection.decode import decode
from yoloprune.errors import CfgError, ClassesError, DatasetError
from yoloprune.frontends.darknet.document import darknet, model
from yoloprune.frontends.darknet.initialization import RARE_OBJECT, random_state, training_state
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg, write_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import State
from yoloprune.frontends.darknet.weights import check_state, write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.weights.masks import MaskSettings, apply_masks, magnitude_masks
from yoloprune.training.heads import (
    check_classes,
    data_classes,
    fit_heads,
    matching_classes,
    with_anchors,
    with_class_rows,
    with_classes,
    with_masks,
    with_sizes_kept,
)

SPEC = yolov3_tiny(classes=5, width=0.0625, size=(64, 64))
NETWORK = model(SPEC, random_state(SPEC), title="network")

NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
CONV = "\n[convolutional]\nfilters={}\nsize=1\nstride=32\nactivation=linear\n"
ALIKE = """
[net]
width=64
height=64
channels=3

[convolutional]
filters=14
size=1
stride=16
activation=linear

[yolo]
mask=1,2
anchors=10,10, 20,20, 30,30
classes=2
num=3
counters_per_class=30, 70
jitter=.3
"""


def opencv_maps(folder: Path, spec: NetworkSpec, state: State) -> list[np.ndarray]:
    """What the heads read, by OpenCV, of a seeded image: (A, E + C, h, w) each."""
    write_cfg(folder / "net.cfg", spec)
    write_weights(folder / "net.weights", spec, state)
    network = cv2.dnn.readNetFromDarknet(str(folder / "net.cfg"), str(folder / "net.weights"))
    network.setInput(np.random.default_rng(0).random((1, *spec.input_shape)).astype(np.float32))
    maps = network.forward([f"conv_{head.sources[0]}" for head in spec.heads])
    return [
        found[0].reshape(len(head.anchors), -1, *found.shape[2:])
        for head, found in zip(spec.heads, maps, strict=True)
    ]


def fitted(classes: int, matching: dict[int, int]) -> tuple[NetworkSpec, State, State]:
    state = random_state(SPEC)
    spec = with_classes(SPEC, classes)
    return spec, with_class_rows(SPEC, spec, state, matching), state


@pytest.mark.parametrize("classes", [1, 3, 9])
def test_opencv_finds_the_old_boxes_and_the_classes_that_match(
    classes: int, tmp_path: Path
) -> None:
    spec, state, before = fitted(classes, {0: 4})
    assert parse_cfg(format_cfg(spec)) == spec
    check_state(spec, state)
    old, new = opencv_maps(tmp_path, SPEC, before), opencv_maps(tmp_path, spec, state)
    for was, now in zip(old, new, strict=True):
        assert now.shape[1] == 5 + classes
        assert np.array_equal(was[:, :5], now[:, :5])
        assert np.array_equal(was[:, 5 + 4], now[:, 5 + 0])


def test_only_rows_of_classes_change_and_new_ones_start_as_in_training() -> None:
    spec, state, before = fitted(3, {1: 0})
    fresh = training_state(spec)
    heads = {head.sources[0] for head in SPEC.heads}
    assert {index for index in state if state[index] is not before[index]} == heads
    for index in heads:
        for name, tensor in state[index].items():
            rows = tensor.reshape(3, 8, -1)
            old = dict(before[index].items())[name].reshape(3, 10, -1)
            new = dict(fresh[index].items())[name].reshape(3, 8, -1)
            assert torch.equal(rows[:, :5], old[:, :5])
            assert torch.equal(rows[:, 5], new[:, 5]) and torch.equal(rows[:, 7], new[:, 7])
            assert torch.equal(rows[:, 6], old[:, 5])


def test_the_same_classes_are_the_identity() -> None:
    spec, state, before = fitted(5, {index: index for index in range(5)})
    assert spec == SPEC and all(state[index] is before[index] for index in before)


def test_other_options_stay_and_those_of_single_classes_go() -> None:
    spec = with_classes(parse_cfg(ALIKE), 3)
    text = format_cfg(spec)
    assert "classes=3" in text and "filters=16" in text and "jitter=.3" in text
    assert "counters_per_class" not in text
    assert parse_cfg(text) == spec


def test_classes_match_by_name_where_both_are_known_else_by_number() -> None:
    assert matching_classes(2, ("Car", "person"), 3, ("person ", "dog", "car")) == {0: 1, 2: 0}
    assert matching_classes(2, ("a", "b"), 2, ("c", "d")) == {}
    assert matching_classes(2, None, 2, ("c", "d")) == {0: 0, 1: 1}
    assert matching_classes(2, ("a", "b"), 2, None) == {0: 0, 1: 1}
    assert matching_classes(2, None, 3, ("a", "b", "c")) == {}


def test_anchors_take_the_place_of_those_of_the_same_rank() -> None:
    # As in yolov4-tiny: one anchor belongs to both heads, another to none.
    text = NET + "".join(
        f"{CONV.format(18)}\n[yolo]\nmask={mask}\nclasses=1\nnum=6\n"
        "anchors=10,14, 23,27, 37,58, 81,82, 135,169, 344,319\n"
        for mask in ("3,4,5", "1,2,3")
    )
    with_route = text.replace("\n[conv", "\n[route]\nlayers=0\n\n[conv").replace(
        "\n[route]\nlayers=0\n", CONV.format(4), 1
    )
    spec = parse_cfg(with_route.replace("stride=32", "stride=4"))
    new = np.array([[2, 2], [4, 4], [6, 6], [8, 8], [9.5, 9]])
    moved = with_anchors(spec, new)
    assert network_anchors(moved).tolist() == new.tolist()
    assert [head.anchors for head in moved.heads] == [
        ((6, 6), (8, 8), (9.5, 9)), ((2, 2), (4, 4), (6, 6))
    ]  # fmt: skip
    assert format_cfg(moved).count("anchors=10,14, 2,2, 4,4, 6,6, 8,8, 9.5,9\n") == 2
    assert parse_cfg(format_cfg(moved)) == moved


def test_anchors_of_a_region_are_in_cells() -> None:
    spec = parse_cfg(
        NET + CONV.format(12) + "\n[region]\nanchors=1,1, 2,2\nclasses=1\nnum=2\nsoftmax=1\n"
    )
    moved = with_anchors(spec, np.array([[16.0, 20.0], [48.0, 40.0]]))
    assert moved.heads[0].anchors == ((0.5, 0.625), (1.5, 1.25))
    assert parse_cfg(format_cfg(moved)) == moved


@pytest.mark.parametrize(
    ("between", "what"),
    [
        ("\n[dropout]\nprobability=.5\n", r"layer 2 \[yolo\] reads layer 1 \[dropout\]"),
        ("\n[route]\nlayers=0\n\n[route]\nlayers=0\n", r"\[yolo\] reads layer 2 \[route\]"),
    ],
)
def test_heads_without_a_convolution_of_their_own_are_refused(between: str, what: str) -> None:
    yolo = "\n[yolo]\nanchors=9,9\nclasses=1\nnum=1\n"
    with pytest.raises(CfgError, match=what):
        with_classes(parse_cfg(NET + CONV.format(6) + between + yolo), 2)


def test_convolutions_that_others_read_or_in_groups_are_refused() -> None:
    yolo = "\n[yolo]\nanchors=9,9\nclasses=1\nnum=1\n"
    other = "\n[route]\nlayers=-2\n" + CONV.format(6).replace("stride=32", "stride=1") + yolo
    with pytest.raises(CfgError, match=r"layer 0 \[convolutional\] is read by layer 1 .* layer 2"):
        with_classes(parse_cfg(NET + CONV.format(6) + yolo + other), 2)
    grouped = NET + CONV.format(6) + CONV.format(6).replace("=32", "=1\ngroups=2") + yolo
    with pytest.raises(CfgError, match="groups=2"):
        with_classes(parse_cfg(grouped), 2)
    with pytest.raises(CfgError, match="no detection head"):
        with_classes(parse_cfg(NET + CONV.format(6)), 2)
    # Nothing has to change before heads that have as many classes already.
    assert with_classes(parse_cfg(grouped), 1) == parse_cfg(grouped)


def test_masks_of_changed_convolutions_go_and_all_others_stay() -> None:
    spec, state, before = fitted(2, {})
    masks = magnitude_masks(lower(SPEC), parameters(before), MaskSettings(sparsity=0.5))
    new = with_masks(NETWORK, model(spec, state, title="fitted"), masks)
    assert set(masks.kept) - set(new.kept) == {
        f"layer_{head.sources[0]}.kernel" for head in SPEC.heads
    }
    apply_masks(lower(spec), parameters(state), new)


def images(folder: Path, boxes: np.ndarray, labels: np.ndarray) -> LabeledImage:
    path = folder / f"{len(list(folder.iterdir()))}.png"
    cv2.imwrite(str(path), np.zeros((40, 80, 3), np.uint8))
    return LabeledImage(path=path, boxes=boxes, labels=labels)


def test_anchors_are_fitted_to_boxes_as_training_shows_them(tmp_path: Path) -> None:
    """An image of 80x40 pixels fills a 64x64 input to 64x32: boxes keep their aspect ratio."""
    sides = np.array([8, 12, 16, 24, 30, 40])
    half = np.column_stack([sides / 80, sides / 2 / 40]) / 2
    boxes = np.column_stack([0.5 - half, 0.5 + half])
    image = images(tmp_path, boxes, np.zeros(6, np.int64))
    found = fit_heads(NETWORK, Dataset(images=(image,), names=("hand",)), size=(64, 64))
    spec = darknet(found.network).spec
    expected = np.column_stack([sides * 0.8, sides * 0.4])
    assert network_anchors(spec) == pytest.approx(expected, abs=0.051)
    assert found.after.mean_iou > 0.98 > found.before.mean_iou
    assert {head.classes for head in spec.heads} == {1} and found.matching == {}


def test_too_few_shapes_leave_the_anchors(tmp_path: Path) -> None:
    image = images(tmp_path, np.array([[0.25, 0.25, 0.75, 0.75]] * 3), np.zeros(3, np.int64))
    dataset = Dataset(images=(image,), names=("hand",))
    found = fit_heads(NETWORK, dataset, size=(64, 64))
    assert network_anchors(darknet(found.network).spec).tolist() == network_anchors(SPEC).tolist()
    assert found.after == found.before
    empty = Dataset(images=(), names=("hand",))
    with pytest.raises(DatasetError, match="no box"):
        fit_heads(NETWORK, empty, size=(64, 64))


def raw(names: tuple[str, ...] | None, *labels: int) -> RawDataset:
    image = RawImage(
        path=Path("a.png"), source=Path("a.txt"), boxes=np.full((len(labels), 4), 0.5),
        labels=np.array(labels, np.int64), places=tuple(f"a.txt:{n}" for n in range(len(labels))),
    )  # fmt: skip
    return RawDataset(path=Path("data"), names=names, splits={"train": (image,)})


def test_how_many_classes_a_data_set_has() -> None:
    assert data_classes(raw(("a", "b"), 0)) == 2
    assert data_classes(raw(None, 0, 6, 1)) == 7
    with pytest.raises(DatasetError, match="not known"):
        data_classes(raw(None))


def test_other_classes_are_refused() -> None:
    check_classes(SPEC, raw(("a", "b", "c", "d", "e"), 0))
    check_classes(SPEC, raw(None, 0, 4))
    with pytest.raises(ClassesError, match=r"data: its classes are 2 \(a, b\), the network's 5"):
        check_classes(SPEC, raw(("a", "b"), 0))
    with pytest.raises(ClassesError, match=r"a\.txt:1: class 5"):
        check_classes(SPEC, raw(None, 0, 5))


def test_a_head_behind_a_dropout_starts_without_a_convolution_of_its_own() -> None:
    text = NET + CONV.format(6) + "\n[dropout]\n\n[yolo]\nanchors=9,9\nclasses=1\nnum=1\n"
    state = training_state(parse_cfg(text))
    assert not (state[0].bias == RARE_OBJECT).any()


def test_boxes_stay_where_they_were_whatever_the_anchors(tmp_path: Path) -> None:
    state = random_state(SPEC)
    old = network_anchors(SPEC)
    moved = with_anchors(SPEC, np.sort(old * np.linspace(0.4, 1.9, len(old))[:, None], axis=0))
    assert not np.allclose(network_anchors(moved), old)
    images = torch.rand(2, *SPEC.input_shape)
    kept = with_sizes_kept(SPEC, moved, state)
    before, after = (
        decode(spec, network_of(spec, of)(images)).boxes
        for spec, of in ((SPEC, state), (moved, kept))
    )
    # Anchors are written with six digits.
    assert (after - before).abs().max() <= 1e-3 * before.abs().max()
    changed = decode(moved, network_of(moved, state)(images)).boxes
    assert (changed - before).abs().max() > 0.1 * before.abs().max()

import copy
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.color_detector import (
    BLUE_OBJECT,
    BRIGHT_OBJECT,
    CELL,
    CFG,
    FAINT_GREEN_OBJECT,
    GREEN_OBJECT,
    color_spec,
    color_state,
    paint,
    write_labels,
)
from tests.networks import network_of
from tests.reporters import Heard
from yoloprune.data.dataset import Dataset
from yoloprune.data.read import read_dataset
from yoloprune.detection.decode import Predictions
from yoloprune.errors import CfgError, ClassesError, DatasetError
from yoloprune.evaluation import streams
from yoloprune.evaluation.detector import Detector, network_detector
from yoloprune.evaluation.evaluator import Evaluation, evaluate
from yoloprune.evaluation.protocols import PROTOCOLS, coco
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import with_input_size

SQUARE = (32, 32)


@pytest.fixture
def detector() -> Detector:
    return network_detector(color_spec(), network_of(color_spec(), color_state()))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three green objects and two blue ones; a blue one is missed, a faint green one is wrong."""
    paint(tmp_path / "a.png", SQUARE, {(0, 0): GREEN_OBJECT, (2, 3): BLUE_OBJECT})
    write_labels(tmp_path / "a.txt", SQUARE, [(0, 0, 0), (2, 3, 1)])
    paint(tmp_path / "b.png", SQUARE, {(1, 1): GREEN_OBJECT, (3, 0): FAINT_GREEN_OBJECT})
    write_labels(tmp_path / "b.txt", SQUARE, [(1, 1, 0), (0, 3, 1)])
    paint(tmp_path / "c.png", SQUARE, {(2, 2): GREEN_OBJECT})
    write_labels(tmp_path / "c.txt", SQUARE, [(2, 2, 0)])
    return read_dataset(tmp_path, classes=2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_number_is_the_one_by_hand(
    detector: Detector, dataset: Dataset, protocol: str
) -> None:
    result = evaluate(detector, dataset, protocol)
    green, blue = result.per_class
    assert (green.label, green.name, green.objects) == (0, "class 0", 3)
    assert (blue.label, blue.name, blue.objects) == (1, "class 1", 2)
    # The wrong green detection ranks below the three right ones.
    assert green.ap50 == pytest.approx(1)
    # pycocotools has 51 of its 101 points at or below recall 1/2.
    expected = 0.5 if protocol == "case-study" else 51 / 101
    assert blue.ap50 == pytest.approx(expected)
    assert result.map50 == pytest.approx((1 + expected) / 2)
    # Four detections are right and certain, of five objects.
    assert (result.precision, result.recall) == (1, 4 / 5)
    if protocol == "case-study":
        assert (result.map50_95, blue.ap50_95) == (None, None)
    else:
        assert result.map50_95 == pytest.approx(result.map50)
        assert blue.ap50_95 == pytest.approx(blue.ap50)


def test_what_is_shown_counts_as_where_nothing_else_is_kept(
    detector: Detector, dataset: Dataset
) -> None:
    """Objects painted fainter and fainter: some are above the threshold."""

    def predict(images: torch.Tensor) -> Predictions:
        found = detector.predict(images)
        fainter = torch.linspace(0.1, 0.6, found.objectness.shape[1])
        return replace(found, objectness=found.objectness * fainter)

    faint = replace(detector, predict=predict)
    found = evaluate(faint, dataset)
    assert 0 < found.map50_shown < found.map50
    assert found.map50_shown == evaluate(faint, dataset, coco(threshold=0.25)).map50
    assert evaluate(detector, dataset).map50_shown == evaluate(detector, dataset).map50


@pytest.mark.parametrize(
    ("protocol", "option", "shapes"),
    [
        ("case-study", "", [(64, 64), (64, 128), (96, 48), (32, 32)]),
        ("coco", "letter_box=1", [(64, 64), (64, 128), (96, 48), (32, 32)]),
        ("coco", "", [(64, 64), (32, 32), (96, 96)]),
    ],
)
def test_boxes_are_found_in_images_of_any_shape(
    protocol: str, option: str, shapes: list[tuple[int, int]], tmp_path: Path
) -> None:
    for shape in shapes:
        # So that one cell of the image becomes one of the input.
        cell = max(shape) // 4
        name = f"{shape[0]}x{shape[1]}"
        paint(tmp_path / f"{name}.png", shape, {(1, 0): GREEN_OBJECT}, cell)
        write_labels(tmp_path / f"{name}.txt", shape, [(1, 0, 0)], cell)
    spec = color_spec(option)
    detector = network_detector(spec, network_of(spec, color_state()))
    result = evaluate(detector, read_dataset(tmp_path, classes=2), protocol)
    assert result.map50 == pytest.approx(1)


@pytest.mark.parametrize(
    ("protocol", "option"), [("case-study", ""), ("coco", "letter_box=1"), ("coco", "")]
)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [(32, 64), (64, 32), (32, 32)])
def test_networks_of_other_shapes_find_what_is_there(
    size: tuple[int, int], channels: int, protocol: str, option: str, tmp_path: Path
) -> None:
    height, width = size
    # Stretched, cells stay square in images of the network's own aspect alone.
    shapes = [(height * 2, width * 2), (height * 5, width * 5)]
    if protocol == "case-study" or option:
        shapes += [(64, 64), (64, 128), (128, 64)]
    for number, shape in enumerate(shapes):
        # So that one cell of the image becomes one of the input.
        cell = max(shape[0] // (height // CELL), shape[1] // (width // CELL))
        paint(tmp_path / f"{number}.png", shape, {(0, 1): BRIGHT_OBJECT}, cell)
        write_labels(tmp_path / f"{number}.txt", shape, [(0, 1, 0)], cell)
    spec = with_input_size(color_spec(option, channels), height, width)
    detector = network_detector(spec, network_of(spec, color_state(channels)))
    (row,) = evaluate(detector, read_dataset(tmp_path, classes=2), protocol).per_class
    assert (row.objects, row.ap50) == (len(shapes), pytest.approx(1))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_batch_size_changes_nothing(
    detector: Detector, dataset: Dataset, protocol: str
) -> None:
    results: list[Evaluation] = [
        evaluate(detector, dataset, protocol, batch_size=size) for size in (1, 2, 3, 50)
    ]
    assert results == [results[0]] * 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_number_of_cores_changes_nothing(
    detector: Detector, dataset: Dataset, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, threads = [], torch.get_num_threads()
    for cores in (1, 3):
        monkeypatch.setattr(streams, "available_cores", lambda cores=cores: cores)
        torch.set_num_threads(cores)
        results.append(evaluate(detector, dataset, protocol, batch_size=1))
    torch.set_num_threads(threads)
    assert results[0] == results[1]
    assert results[0].map50 > 0.7


def test_a_gpu_is_fed_and_judged_by_other_threads(detector: Detector, dataset: Dataset) -> None:
    threads: set[int] = set()

    def predict(images: torch.Tensor) -> Predictions:
        threads.add(threading.get_ident())
        return detector.predict(images)

    there = replace(detector, predict=predict, on_gpu=True)
    assert evaluate(there, dataset, batch_size=1) == evaluate(detector, dataset, batch_size=1)
    assert threads == {threading.get_ident()}


def test_the_score_threshold_decides_what_counts(detector: Detector, dataset: Dataset) -> None:
    # Objectness and class of a certain object are 1 / (1 + exp(-10)) each: 0.99991 together.
    assert evaluate(detector, dataset, coco(threshold=0.99992)).map50 == 0
    assert evaluate(detector, dataset, coco(threshold=0.9999)).map50 > 0.7


def test_the_images_are_tracked(detector: Detector, dataset: Dataset) -> None:
    seen: list[str] = []
    heard = Heard(on_item=lambda image: seen.append(image.path.name))
    evaluate(detector, dataset, "coco", reporter=heard)
    assert seen == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_as_it_is(dataset: Dataset, training: bool) -> None:
    cfg = CFG.format(option="", channels=3)
    spec = parse_cfg(cfg.replace("filters", "batch_normalize=1\nfilters", 1))
    network = network_of(spec, random_state(spec)).train(training)
    before = copy.deepcopy(network.state_dict())
    evaluate(network_detector(spec, network), dataset, "coco")
    assert network.training is training
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert any(node.operator == "BatchNormalization" for node in network.graph.nodes)
    after = network.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_cannot_be_evaluated_is_refused(
    detector: Detector, dataset: Dataset, protocol: str, tmp_path: Path
) -> None:
    single = Dataset(images=dataset.images, names=("hand",))
    with pytest.raises(ClassesError, match="the network has 2 classes, the data 1"):
        evaluate(detector, single, protocol)

    odd = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=2\n[convolutional]\nfilters=7\nactivation=linear\n"
        "[yolo]\nanchors=8,8\nnum=1\nclasses=2\n"
    )
    with pytest.raises(CfgError, match="reads 2 channels, but images are read with 3"):
        network_detector(odd, network_of(odd, random_state(odd)))

    (tmp_path / "b.png").write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"b\.png: not an image"):
        evaluate(detector, dataset, protocol)

    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("")
    with pytest.raises(DatasetError, match="none of the 3 images has an object"):
        evaluate(detector, read_dataset(tmp_path, classes=2), protocol)

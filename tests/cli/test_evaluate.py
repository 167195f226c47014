import json
from pathlib import Path

import pytest

from tests.cli.commands import refused, run
from tests.color_detector import (
    BLUE_OBJECT,
    GREEN_OBJECT,
    paint,
    write_labels,
)

SIZE = (32, 32)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    paint(root / "images/val/a.png", SIZE, {(0, 0): GREEN_OBJECT, (2, 3): BLUE_OBJECT})
    write_labels(root / "labels/val/a.txt", SIZE, [(0, 0, 0), (2, 3, 1)])
    paint(root / "images/val/b.png", SIZE, {(1, 1): GREEN_OBJECT})
    write_labels(root / "labels/val/b.txt", SIZE, [(1, 1, 0), (0, 3, 1)])
    paint(root / "images/train/c.png", SIZE, {})
    write_labels(root / "labels/train/c.txt", SIZE, [(2, 2, 1)])
    (root / "hands.names").write_text("left [hand]\nright hand\n")
    return root


def test_both_protocols_as_json(network: tuple[Path, Path], data: Path) -> None:
    result = run("evaluate", *network, "--data", data, "--protocol", "both", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["images"], report["objects"], report["unlabeled"]) == (2, 4, 0)
    case_study, coco = report["evaluations"]
    assert (case_study["protocol"], coco["protocol"]) == ("case-study", "coco")
    assert case_study["map50"] == pytest.approx(0.75)
    assert case_study["map50_95"] is None
    assert coco["map50"] == pytest.approx((1 + 51 / 101) / 2)
    assert coco["map50_95"] == pytest.approx(coco["map50"])
    assert (coco["precision"], coco["recall"]) == (1, 0.75)
    assert [entry["name"] for entry in coco["per_class"]] == ["left [hand]", "right hand"]


def test_a_table_for_people(network: tuple[Path, Path], data: Path) -> None:
    result = run("evaluate", *network, "--data", data)
    assert result.exit_code == 0, result.output
    for text in ("left [hand]", "1.0000", "0.5050", "coco", "2 images, 4 objects"):
        assert text in result.stdout
    assert "case-study" not in result.stdout


def test_quiet_is_one_line(network: tuple[Path, Path], data: Path) -> None:
    result = run("evaluate", *network, "--data", data, "--quiet", "--protocol", "both")
    first, second = result.stdout.strip().split("; ")
    assert first.startswith("case-study: mAP@0.5 0.7500, precision")
    assert second.startswith("coco: mAP@0.5 0.7525, mAP@0.5:0.95 0.7525, precision 1.0000")


@pytest.mark.parametrize("engine", ["onnxruntime", "opencv", "zero-skipping"])
def test_every_engine_measures_the_same(
    engine: str, network: tuple[Path, Path], data: Path
) -> None:
    command = ["evaluate", *network, "--data", data, "--protocol", "both", "--json"]
    expected = json.loads(run(*command, "--device", "cpu").stdout)
    found = json.loads(run(*command, "--engine", engine).stdout)
    assert (expected["engine"], found["engine"]) == ("torch", engine)
    assert found["evaluations"] == expected["evaluations"]


def test_what_cannot_compute_is_one_line(network: tuple[Path, Path], data: Path) -> None:
    command = ["evaluate", *network, "--data", data]
    assert "'magic' is not known: choose one of torch" in refused(*command, "--engine", "magic")
    assert "torch finds no such GPU" in refused(*command, "--device", "cuda:99")
    assert "'x' is not known: choose one of case-study" in refused(*command, "--protocol", "x")


def test_another_split_and_a_limit(network: tuple[Path, Path], data: Path) -> None:
    train = run("evaluate", *network, "--data", data, "--split", "train", "--json")
    assert json.loads(train.stdout)["evaluations"][0]["map50"] == 0
    first = run("evaluate", *network, "--data", data, "--limit", 1, "--json")
    assert json.loads(first.stdout)["images"] == 1


def test_thresholds_of_the_coco_protocol(network: tuple[Path, Path], data: Path) -> None:
    strict = run("evaluate", *network, "--data", data, "--threshold", 0.99999, "--json")
    assert json.loads(strict.stdout)["evaluations"][0]["map50"] == 0
    other = run("evaluate", *network, "--data", data, "--protocol", "case-study", "--nms", 0.3)
    assert other.exit_code == 2
    assert "belong to the coco protocol" in other.stderr


def test_images_without_label_file_are_mentioned(network: tuple[Path, Path], data: Path) -> None:
    (data / "labels/val/b.txt").unlink()
    result = run("evaluate", *network, "--data", data, "--json")
    assert result.exit_code == 0
    assert "1 images have no label file" in result.stderr
    assert json.loads(result.stdout)["unlabeled"] == 1


def test_bad_input_is_one_line(network: tuple[Path, Path], data: Path) -> None:
    assert "neither a folder" in refused("evaluate", *network, "--data", data / "gone")
    assert "has no split 'dev'" in refused("evaluate", *network, "--data", data, "--split", "dev")
    (data / "labels/val/b.txt").write_text("0 0.5 0.5\n")
    assert "b.txt:1: expected 5 columns" in refused("evaluate", *network, "--data", data)

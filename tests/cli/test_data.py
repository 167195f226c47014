import json
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import pytest

from tests.cli.commands import refused, run
from tests.data.originals import TRAINING, small_original, write_image
from tests.processes import outcome, program
from tests.training.painted import paint
from yoloprune.data.read import read_dataset
from yoloprune.frontends.darknet.parser import read_cfg

if TYPE_CHECKING:
    from cli.conftest import Pair

TOOL = Path(__file__).parents[2] / "tools" / "prepare_vgg_hand.py"
SPLITS = ("train", "val", "test")


def yolo_folder(root: Path, *labels: str) -> Path:
    for number, label in enumerate(labels):
        write_image(root / "images" / "train" / f"{number}.jpg")
        text = root / "labels" / "train" / f"{number}.txt"
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(label)
    return root


def rows(text: str) -> dict[str, list[str]]:
    """Cells of Markdown tables by their first cell."""
    lines = [line.strip("| \n").split("|") for line in text.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_vgg_hand_shows_found_beside_expected(tmp_path: Path) -> None:
    raw = small_original(tmp_path / "raw")
    (raw / TRAINING / "annotations" / "b.mat").write_bytes(b"broken")
    result = run("data", "vgg-hand", raw, "--out", tmp_path / "out")
    assert result.exit_code == 0
    table = rows(result.stdout)
    assert table["train images"] == ["2", "4807"]
    assert table["test images"] == ["1", "821"]
    assert table["hands"] == ["4", "13050"]
    warnings = result.stderr.splitlines()
    assert all(line.startswith("warning: ") for line in warnings)
    assert "b.mat: not a .mat file with hands, or damaged" in warnings[0]
    assert "differ from those of the full data set" in warnings[1]


def test_vgg_hand_json_and_archive(tmp_path: Path) -> None:
    small_original(tmp_path / "hand_dataset")
    with tarfile.open(tmp_path / "hand_dataset.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "hand_dataset", "hand_dataset")
    out = tmp_path / "out"
    # What a killed conversion left behind goes as well.
    left = [tmp_path / ".unpacked-0123abcd.tmp", tmp_path / ".out-0123abcd.tmp"]
    for path in left:
        path.mkdir()
        (path / "half").write_text("")
        os.utime(path, (0, 0))
    result = run("data", "vgg-hand", tmp_path / "hand_dataset.tar.gz", "--out", out, "--json")
    document = json.loads(result.stdout)
    assert document["images"] == {"train": 3, "test": 1}
    assert document["skipped"] == []
    assert len(list(tmp_path.iterdir())) == 3


def test_the_tool_is_the_command(tmp_path: Path) -> None:
    raw = small_original(tmp_path / "raw")
    found = outcome(program, TOOL, raw, "--out", tmp_path / "out")
    assert found.returncode == 0, found.stderr
    assert "| hands        |     4 |         13050 |" in found.stdout
    assert read_dataset(tmp_path / "out" / "hand.data", classes=1).object_count == 1


def test_vgg_hand_refuses(tmp_path: Path) -> None:
    raw = small_original(tmp_path / "raw")
    out = tmp_path / "out"
    assert "Missing argument 'SRC'" in refused("data", "vgg-hand", "--out", out)
    assert "no such file or folder" in refused("data", "vgg-hand", tmp_path / "x", "--out", out)
    assert "not a tar archive" in refused("data", "vgg-hand", TOOL, "--out", out)
    assert "not the original" in refused("data", "vgg-hand", raw / TRAINING, "--out", out)
    assert "not empty" in refused("data", "vgg-hand", raw, "--out", tmp_path)
    assert not out.exists()


def test_debug_shows_where_a_nested_command_failed(tmp_path: Path) -> None:
    result = run("--debug", "data", "check", tmp_path / "gone")
    assert "neither a folder" in str(result.exception)


def test_check_reports_and_exits_with_0(tmp_path: Path, pair: "Pair") -> None:
    root = yolo_folder(tmp_path / "set", "0 0.5 0.5 0.5 0.5\n" * 8, "", "0 0.5 0.5 0.1 0.1\nx\n")
    (root / "images" / "train" / "2.jpg").write_bytes(b"")
    result = run("data", "check", root)
    assert result.exit_code == 0
    assert rows(result.stdout)["train"] == ["3", "2", "1", "1"]
    assert "box twice: 7" in result.stdout
    assert "and 2 more (--json lists all)" in result.stdout
    assert "2.jpg: not an image that can be decoded" in result.stdout
    # 208 pixels of 416; COCO's nearest anchor is 156x198.
    assert rows(result.stdout)["128 to 256"] == ["1", "100.0%"]
    assert f"mean best IoU {156 * 198 / 208**2:.4f}" in result.stdout
    with_cfg = run("data", "check", root, "--cfg", pair.cfg)
    assert "at 64x64" in with_cfg.stdout and "dense.cfg anchors" in with_cfg.stdout
    document = json.loads(run("data", "check", root, "--json").stdout)
    assert document["splits"]["train"] == {"images": 3, "usable": 2, "objects": 1, "empty": 1}
    assert len([f for f in document["findings"] if f["fault"] == "box twice"]) == 7


def test_check_of_sound_data_and_of_data_without_boxes(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path / "set", "")
    result = run("data", "check", root)
    assert "nothing is wrong" in result.stdout and "no boxes" in result.stdout
    assert json.loads(run("data", "check", root, "--json").stdout)["anchors"] is None


def test_check_writes_a_clean_copy(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path / "set", "0 0.5 0.5 0.5 0.5\nx\n", "0 0.5 0.5 0.5 0.5\n")
    result = run("data", "check", root, "--fix", "--out", tmp_path / "clean")
    assert "clean: 1 image, cleaned" in result.stdout
    assert "nothing is wrong" in run("data", "check", tmp_path / "clean" / "set.data").stdout
    assert "x" in (root / "labels" / "train" / "0.txt").read_text()
    assert "not empty" in refused("data", "check", root, "--fix", "--out", root)
    assert "belong together" in refused("data", "check", root, "--fix")
    assert "belong together" in refused("data", "check", root, "--out", tmp_path / "x")


def test_split_writes_a_copy_that_trains_and_evaluates(tmp_path: Path, pair: "Pair") -> None:
    data = paint(tmp_path / "raw", train=20, test=0)
    (data / "painted.names").write_text("a\nb\n")
    first = data / "images" / "train" / "0.png"
    cv2.imwrite(str(first.with_name("copy.jpg")), cv2.imread(str(first)))
    (data / "images" / "train" / "broken.png").write_bytes(b"nothing")
    command = ("data", "split", data, "--val", 0.25, "--test", 0.25)
    result = run(*command, "--out", tmp_path / "out")
    assert result.exit_code == 0, (result.output, result.exception)
    found = {name: int(cells[0]) for name, cells in rows(result.stdout).items() if name in SPLITS}
    assert sum(found.values()) == 21 and found["val"] in (5, 6) and found["test"] in (5, 6)
    assert "near-duplicates, each on one side: 1 (2 images, at most 2 alike)" in result.stdout
    assert "faults" in result.stderr and "`yoloprune data check`" in result.stderr
    again = run(*command, "--out", tmp_path / "again", "--json")
    report = json.loads(again.stdout)
    assert {name: split["images"] for name, split in report["splits"].items()} == found
    assert report["near_duplicates"] == {"groups": 1, "images": 2, "largest": 2}
    names = [sorted(p.name for p in (tmp_path / out).rglob("*.*")) for out in ("out", "again")]
    assert names[0] == names[1] != []
    settings = ("--data", tmp_path / "out", "--epochs", 1, "--batch-size", 4, "--workers", 0)
    trained = run("train", pair.cfg, *settings, "--out", tmp_path / "run", "--quiet")
    assert trained.exit_code == 0, (trained.output, trained.exception)
    assert run("evaluate", pair.cfg, pair.weights, *settings[:2], "--split", "val").exit_code == 0


def test_split_refuses(tmp_path: Path) -> None:
    data = yolo_folder(tmp_path / "data", "0 0.5 0.5 0.2 0.2\n", "0 0.5 0.5 0.2 0.2\n")
    out = tmp_path / "out"
    assert refused("data", "split", data, "--out", out).endswith("split 'val' of 0.1")
    assert "add up to 1" in refused("data", "split", data, "--out", out, "--val", 1.5)
    assert "nowhere" in refused("data", "split", tmp_path / "nowhere", "--out", out)
    assert not out.exists()
    assert "not empty" in refused("data", "split", data, "--out", data)


def test_what_cannot_be_checked_is_one_line(tmp_path: Path) -> None:
    assert "neither a folder" in refused("data", "check", tmp_path / "gone")
    assert "no images found" in refused("data", "check", tmp_path)
    (tmp_path / "a.json").write_text("[")
    assert "a.json: not JSON" in refused("data", "check", tmp_path / "a.json")
    (tmp_path / "a.data").write_text("train")
    assert "a.data:1: expected key = value" in refused("data", "check", tmp_path / "a.data")
    assert "none.cfg" in refused("data", "check", tmp_path, "--cfg", tmp_path / "none.cfg")


def test_anchors_go_into_zoo(tmp_path: Path) -> None:
    labels = [f"0 0.5 0.5 {0.05 * n:.2f} {0.09 * n:.2f}\n" for n in range(1, 11)]
    root = yolo_folder(tmp_path / "set", *labels)
    result = run("data", "anchors", root, "--n", 6)
    table = rows(result.stdout)
    assert table["COCO's"][0] == "9" and table["fitted"][0] == "6"
    assert float(table["fitted"][1]) > float(table["COCO's"][1])
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("anchors = ")]
    out = tmp_path / "a.cfg"
    made = run("zoo", "yolov3-tiny", "--anchors", line.removeprefix("anchors = "), "--out", out)
    assert made.exit_code == 0
    again = run("data", "anchors", root, "--n", 6, "--cfg", out)
    assert rows(again.stdout)[str(out)][1:] == table["fitted"][1:]
    assert read_cfg(out).input_shape == (3, 416, 416)


def test_anchors_of_letterboxed_images(tmp_path: Path) -> None:
    # 100x90 pixels: at 100 pixels the whole image is 100x90, or 100x100 if stretched.
    root = yolo_folder(tmp_path / "set", "0 0.5 0.5 1 1\n")
    options = ["--n", 1, "--size", 100, "--json"]
    stretched = json.loads(run("data", "anchors", root, *options).stdout)
    assert stretched["anchors"] == [[100, 100]]
    assert stretched["after"] == {"mean_iou": 1, "recall": 1}
    kept = json.loads(run("data", "anchors", root, *options, "--letterbox").stdout)
    assert kept["anchors"] == [[100, 90]]


def test_anchors_refuses(tmp_path: Path) -> None:
    root = yolo_folder(tmp_path / "set", "0 0.5 0.5 1 1\n")
    assert "1 different shapes" in refused("data", "anchors", root, "--n", 2)
    assert "no split 'test'" in refused("data", "anchors", root, "--split", "test")
    assert "neither a folder" in refused("data", "anchors", tmp_path / "gone")


@pytest.mark.parametrize("command", [[], ["vgg-hand"], ["check"], ["anchors"]])
def test_every_command_has_help(command: list[str]) -> None:
    result = run("data", *command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.stdout

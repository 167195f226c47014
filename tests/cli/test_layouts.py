"""Layouts that tools write, through the commands that read data: all cells must pass."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.commands import refused, run
from tests.data.layouts import LAYOUTS, image, text

CFG = """[net]
width=32
height=32
channels=3
[convolutional]
filters=14
size=1
stride=8
activation=linear
[yolo]
anchors=8,8, 16,16
mask=0,1
num=2
classes=2
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("network")
    text(folder / "net.cfg", CFG)
    result = run("init", folder / "net.cfg", "--out", folder / "net.weights")
    assert result.exit_code == 0, result.output
    return folder / "net.cfg", folder / "net.weights"


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_command_reads_it(
    layout: Callable[[Path], Path], network: tuple[Path, Path], tmp_path: Path
) -> None:
    path = layout(tmp_path / "set")
    copy = tmp_path / "copy"
    checked = run("data", "check", path, "--fix", "--out", copy)
    assert checked.exit_code == 0, checked.output
    assert "no label file" not in checked.output
    for number, source in enumerate((path, copy)):
        evaluated = run("evaluate", *network, "--data", source, "--protocol", "coco")
        assert "2 images, 2 objects" in evaluated.output, (source, evaluated.output)
        trained = run("train", network[0], "--data", source, "--out", tmp_path / f"run{number}",
                      "--epochs", 1, "--batch-size", 2, "--workers", 0)  # fmt: skip
        assert trained.exit_code == 0, (source, trained.output, trained.exception)


def test_what_is_wrong_is_said_by_all(network: tuple[Path, Path], tmp_path: Path) -> None:
    root = tmp_path / "set"
    good = "0 0.5 0.5 0.5 0.5\n"
    for split in ("train", "val"):
        for name, label in {"a": good, "b": f"{good}0 0.9 0.5 0.5 0.5\n1 0.5 0.5 0 0\n", "c": None,
                            "d": good}.items():  # fmt: skip
            image(root / f"images/{split}/{split}{name}.jpg")
            if label is not None:
                text(root / f"labels/{split}/{split}{name}.txt", label)
    text(root / "d.names", "hand\nfoot\n")
    for command in (
        ("evaluate", *network, "--data", root),
        ("train", network[0], "--data", root, "--out", tmp_path / "run", "--epochs", 1,
         "--batch-size", 4, "--workers", 0),
    ):  # fmt: skip
        result = run(*command)
        assert result.exit_code == 0, result.output
        said = " ".join(result.stderr.split())
        assert "1 images have no label file and are taken to show no objects" in said
        assert "labels/val/valc.txt" in said
        assert "1 boxes leave the image and are clipped" in said
        assert "1 boxes without an area inside the image are ignored" in said
    text(root / "labels/val/vald.txt", "0 0.5 0.5\n")
    assert "vald.txt:1: expected 5 columns" in refused("evaluate", *network, "--data", root)
    allowed = run("evaluate", *network, "--data", root, "--allow-faulty")
    assert "3 images, 3 objects" in allowed.output
    assert "1 images are ignored: their annotation cannot be read" in allowed.stderr


def test_most_images_must_have_labels_unless_asked_for(
    network: tuple[Path, Path], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    for number in range(3):
        image(root / f"images/train/{number}.jpg")
    text(root / "labels/train/0.txt", "0 0.5 0.5 0.5 0.5\n")
    text(root / "d.names", "hand\nfoot\n")
    command = ("evaluate", *network, "--data", root, "--split", "train")
    assert "2 of the 3 images have no label file" in refused(*command)
    assert "3 images, 1 object" in run(*command, "--allow-faulty").output
    fix = ("data", "check", root, "--fix", "--out", tmp_path / "copy")
    assert "2 of the 3 images have no label file" in refused(*fix)
    assert run(*fix, "--allow-faulty").exit_code == 0
    (root / "labels/train/0.txt").unlink()
    assert "none of the 3 images has a label file" in refused("data", "check", root)

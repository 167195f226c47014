import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.cli.commands import refused, run
from tests.colour_detector import BLUE_OBJECT, GREEN_OBJECT, paint
from yoloprune.cli.detect import annotated_paths
from yoloprune.data.images import read_image
from yoloprune.errors import DatasetError

SIZE = (256, 256)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    paint(folder / "a.png", SIZE, {(1, 0): GREEN_OBJECT, (2, 3): BLUE_OBJECT}, cell=64)
    paint(folder / "b.webp", SIZE, {}, cell=64)
    return folder


def test_a_folder_is_drawn_and_listed(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    names = tmp_path / "hands.names"
    names.write_text("left\nright\n")
    out = tmp_path / "out"
    result = run("detect", *network, images, "--out", out, "--names", names, "--json", "--quiet")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((out / "detections.json").read_text())
    assert report["names"] == ["left", "right"]
    first, second = report["images"]
    assert (first["annotated"], second["annotated"]) == ("a.png", "b.jpg")
    assert (first["width"], first["height"], second["detections"]) == (256, 256, [])
    found = sorted(first["detections"], key=lambda entry: entry["class"])
    assert [entry["box"] for entry in found] == [[0, 64, 64, 128], [192, 128, 256, 192]]
    assert [entry["name"] for entry in found] == ["left", "right"]
    assert [entry["score"] for entry in found] == pytest.approx([0.999909] * 2)
    assert sorted(p.name for p in out.iterdir()) == ["a.png", "b.jpg", "detections.json"]
    drawn, original = read_image(out / "a.png"), read_image(images / "a.png")
    assert drawn.shape == original.shape
    assert not np.array_equal(drawn, original)


def test_a_table_for_people(network: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    result = run("detect", *network, images / "a.png", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "class 1" in result.stdout
    assert "1 images, 2 objects" in result.stdout


def test_the_threshold_decides(network: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    result = run("detect", *network, images, "--out", tmp_path / "out", "--threshold", 0.99999)
    assert result.exit_code == 0
    assert "2 images, 0 objects" in result.stdout


def test_a_second_run_leaves_the_pictures_of_the_first_alone(
    network: tuple[Path, Path], images: Path
) -> None:
    for _ in range(2):
        result = run("detect", *network, images, "--out", images / "drawn")
        assert "2 images" in result.stdout
    assert len(list((images / "drawn").iterdir())) == 3


def test_equal_names_in_different_folders_are_kept_apart(tmp_path: Path) -> None:
    images = [tmp_path / "x" / "a.jpg", tmp_path / "y" / "a.jpg", tmp_path / "y" / "z" / "b.png"]
    out = tmp_path / "out"
    assert annotated_paths(images, out) == [
        out / "x" / "a.jpg",
        out / "y" / "a.jpg",
        out / "y" / "z" / "b.png",
    ]
    same = [tmp_path / name for name in ("a.bmp", "a.jpg", "a.png", "a.webp")]
    assert annotated_paths(same, out) == [
        out / name for name in ("a.jpg", "a.jpg.jpg", "a.png", "a.jpg.jpg.jpg")
    ]


def test_an_image_is_never_replaced(
    network: tuple[Path, Path], images: Path, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match="choose another folder"):
        annotated_paths([tmp_path / "a.jpg"], tmp_path)
    before = (images / "a.png").read_bytes()
    assert "would replace" in refused("detect", *network, images, "--out", images)
    assert (images / "a.png").read_bytes() == before


def test_a_video_becomes_an_annotated_one(network: tuple[Path, Path], tmp_path: Path) -> None:
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, SIZE)
    for column in range(3):
        frame = np.zeros((*SIZE, 3), np.uint8)
        # OpenCV's order is blue, green, red.
        frame[64:128, column * 64 : (column + 1) * 64] = (0, 255, 255)
        writer.write(frame)
    writer.release()
    result = run("detect", *network, video, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    frames = json.loads(result.stdout)["frames"]
    assert [(entry["frame"], entry["seconds"]) for entry in frames] == [(0, 0), (1, 0.1), (2, 0.2)]
    for column, entry in enumerate(frames):
        (found,) = entry["detections"]
        assert found["box"] == [column * 64, 64, (column + 1) * 64, 128]
    written = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    count = 0
    while written.read()[0]:
        count += 1
    assert count == 3


def test_bad_input_is_one_line(network: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "no such file" in refused("detect", *network, tmp_path / "gone", "--out", out)
    assert "no such file" in refused("detect", *network, tmp_path / "gone.mp4", "--out", out)
    names = tmp_path / "one.names"
    names.write_text("hand\n")
    arguments = ("detect", *network, images, "--out", out)
    assert "1 names, but the network has 2 classes" in refused(*arguments, "--names", names)
    (images / "c.jpg").write_bytes(b"damaged")
    assert "c.jpg: not an image" in refused(*arguments)
    (tmp_path / "clip.mp4").write_bytes(b"damaged")
    message = refused("detect", *network, tmp_path / "clip.mp4", "--out", out)
    assert "no frame can be decoded" in message
    assert not (out / "clip.mp4").exists()

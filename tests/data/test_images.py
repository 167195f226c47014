from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yoloprune.darknet.parser import parse_cfg
from yoloprune.data.images import (
    Resize,
    darknet_resize,
    letterbox,
    list_images,
    pad_square,
    read_image,
    stretch,
    write_image,
)
from yoloprune.detection.boxes import boxes_to_image, boxes_to_network
from yoloprune.errors import DatasetError


def random_image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def save(path: Path, height: int = 6, width: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, random_image(height, width))
    return path


@pytest.mark.parametrize("size", [(320, 416), (64, 64), (50, 37), (7, 1)])
@pytest.mark.parametrize("shape", [(48, 61), (333, 250), (1, 5)])
def test_stretching_is_what_opencv_feeds_a_network(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    image = random_image(*shape)
    height, width = size
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    blob = cv2.dnn.blobFromImage(bgr, 1 / 255, (width, height), swapRB=True)
    fitted, _ = stretch(image, height, width)
    assert fitted.dtype == np.float32
    assert np.array_equal(fitted[None], blob)


def test_letterbox_keeps_the_aspect_ratio_and_centres_on_grey() -> None:
    image = np.full((100, 300, 3), 255, np.uint8)
    fitted, placement = letterbox(image, 64, 96)
    assert fitted.shape == (3, 64, 96)
    assert (fitted[:, 16:48] == 1).all()
    assert (fitted[:, :16] == 0.5).all()
    assert (fitted[:, 48:] == 0.5).all()
    assert placement.scale == (0.32, 0.32)
    assert placement.offset == (0, 16)


def test_letterbox_rounds_as_darknet_does() -> None:
    # darknet: new_w = 50 * 64 / 101 = 31, placed at (64 - 31) / 2 = 16.
    fitted, placement = letterbox(np.full((101, 50, 3), 255, np.uint8), 64, 64)
    inside = np.flatnonzero((fitted == 1).all(axis=(0, 1)))
    assert (inside[0], inside[-1]) == (16, 46)
    assert placement.scale == (31 / 50, 64 / 101)


def test_padding_to_a_square_is_black_and_centred() -> None:
    fitted, placement = pad_square(np.full((40, 80, 3), 255, np.uint8), 32, 32)
    assert set(np.unique(fitted)) == {0, 1}
    assert np.array_equal(np.flatnonzero(fitted[0, :, 0]), np.arange(8, 24))
    assert (placement.scale, placement.offset) == ((0.4, 0.4), (0, 8))


def test_padding_resizes_as_torch_does_by_nearest_neighbour() -> None:
    image = random_image(50, 70)
    square = np.pad(image, ((10, 10), (0, 0), (0, 0)))
    tensor = torch.from_numpy(square).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(tensor, size=(64, 64), mode="nearest")[0]
    fitted, _ = pad_square(image, 64, 64)
    assert np.array_equal(np.rint(fitted * 255), expected.numpy())


@pytest.mark.parametrize("resize", [stretch, letterbox, pad_square])
@pytest.mark.parametrize("shape", [(60, 120), (121, 60), (90, 90)])
def test_a_marked_spot_is_where_the_placement_says(resize: Resize, shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[20:40, 30:50] = 255
    fitted, placement = resize(image, 256, 320)
    rows, columns = np.nonzero(fitted[0] > 0.75)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = torch.tensor([[30.0, 20.0, 50.0, 40.0]])
    expected = boxes_to_network(box, placement)
    assert np.abs(np.array(seen) - expected.numpy()[0]).max() <= 2
    torch.testing.assert_close(boxes_to_image(expected, placement), box)


@pytest.mark.parametrize(
    ("option", "expected"),
    [("", stretch), ("letter_box=0", stretch), ("letter_box = 1", letterbox)],
)
def test_the_cfg_says_how_images_are_resized(option: str, expected: Resize) -> None:
    spec = parse_cfg(f"[net]\nheight=8\nwidth=8\nchannels=3\n{option}\n[convolutional]\n")
    assert darknet_resize(spec) is expected


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
def test_an_image_is_read_as_it_was_written(suffix: str, tmp_path: Path) -> None:
    image = random_image(12, 17)
    path = tmp_path / f"an image{suffix}"
    write_image(path, image)
    assert np.array_equal(read_image(path), image)
    assert list(tmp_path.iterdir()) == [path]


def test_a_grey_image_gets_three_channels(tmp_path: Path) -> None:
    grey = random_image(5, 6)[:, :, 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert np.array_equal(read_image(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_what_is_no_image_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"broken\.png: not an image"):
        read_image(path)


def test_a_missing_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.png: cannot read the image: No such file"):
        read_image(tmp_path / "gone.png")


def test_a_folder_lists_the_images_below_it(tmp_path: Path) -> None:
    expected = [save(tmp_path / "a.jpg"), save(tmp_path / "b" / "c.PNG")]
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    assert list_images(tmp_path) == tuple(expected)
    assert list_images(expected[0]) == (expected[0],)


def test_a_list_file_starts_from_here_or_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "here" / "a.png")
    save(tmp_path / "there" / "b.png")
    absolute = save(tmp_path / "c.png")
    names = tmp_path / "there" / "list.txt"
    names.write_text(f"a.png\n\nb.png\n{absolute}\na.png\n")
    monkeypatch.chdir(tmp_path / "here")
    assert list_images(names) == (Path("a.png"), tmp_path / "there" / "b.png", absolute)


def test_sources_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no images found"):
        list_images(tmp_path)
    with pytest.raises(DatasetError, match="no such file or folder"):
        list_images(tmp_path / "gone")
    listed = tmp_path / "list.txt"
    listed.write_text("\n\ngone.jpg\n")
    with pytest.raises(DatasetError, match=r"list\.txt:3: image gone\.jpg not found"):
        list_images(listed)
    listed.write_bytes(b"\x00\x81")
    with pytest.raises(DatasetError, match=r"list\.txt:1: not a list of images"):
        list_images(listed)
    other = tmp_path / "archive.zip"
    other.write_bytes(b"")
    with pytest.raises(DatasetError, match="neither an image"):
        list_images(other)

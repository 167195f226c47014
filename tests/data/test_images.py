from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from yoloprune.data.images import (
    Resize,
    darknet_resize,
    image_channels,
    in_channels,
    letterbox,
    list_images,
    pad_to_aspect,
    read_image,
    stretch,
    write_image,
)
from yoloprune.detection.boxes import boxes_to_image, boxes_to_network
from yoloprune.errors import CfgError, DatasetError
from yoloprune.frontends.darknet.parser import parse_cfg


def random_image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def save(path: Path, height: int = 6, width: int = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, random_image(height, width))
    return path


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [(320, 416), (64, 64), (50, 37), (7, 1)])
@pytest.mark.parametrize("shape", [(48, 61), (333, 250), (1, 5)])
def test_stretching_is_what_opencv_feeds_a_network(
    shape: tuple[int, int], size: tuple[int, int], channels: int
) -> None:
    image = random_image(*shape, channels)
    height, width = size
    blob = cv2.dnn.blobFromImage(image, 1 / 255, (width, height))
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
    fitted, placement = pad_to_aspect(np.full((40, 80, 3), 255, np.uint8), 32, 32)
    assert set(np.unique(fitted)) == {0, 1}
    assert np.array_equal(np.flatnonzero(fitted[0, :, 0]), np.arange(8, 24))
    assert (placement.scale, placement.offset) == ((0.4, 0.4), (0, 8))


@pytest.mark.parametrize(
    ("shape", "rows", "columns", "scale", "offset"),
    [
        # Padded to 90 x 60, to 90 x 60, not at all, and to 80 x 54, the 80 x 53.3 that hold it.
        ((40, 90), (6, 27), (0, 48), (48 / 90, 32 / 60), (0, 10 * 32 / 60)),
        ((60, 30), (0, 32), (16, 32), (48 / 90, 32 / 60), (16, 0)),
        ((50, 75), (0, 32), (0, 48), (0.64, 0.64), (0, 0)),
        ((40, 80), (5, 28), (0, 48), (0.6, 32 / 54), (0, 7 * 32 / 54)),
    ],
)
def test_padding_keeps_the_aspect_of_a_network_that_is_not_square(
    shape: tuple[int, int],
    rows: tuple[int, int],
    columns: tuple[int, int],
    scale: tuple[float, float],
    offset: tuple[float, float],
) -> None:
    fitted, placement = pad_to_aspect(np.full((*shape, 3), 255, np.uint8), 32, 48)
    inside = np.zeros((32, 48))
    inside[slice(*rows), slice(*columns)] = 1
    assert np.array_equal(fitted, [inside] * 3)
    assert placement.scale == pytest.approx(scale)
    assert placement.offset == pytest.approx(offset)


@pytest.mark.parametrize(
    ("size", "padding"),
    [
        ((64, 64), ((10, 10), (0, 0))),
        ((64, 96), ((0, 0), (2, 3))),
        ((96, 64), ((27, 28), (0, 0))),
    ],
)
def test_padding_resizes_as_torch_does_by_nearest_neighbour(
    size: tuple[int, int], padding: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    image = random_image(50, 70)
    padded = np.pad(image, (*padding, (0, 0)))
    tensor = torch.from_numpy(padded).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(tensor, size=size, mode="nearest")[0]
    fitted, _ = pad_to_aspect(image, *size)
    assert np.array_equal(np.rint(fitted * 255), expected.numpy())


@pytest.mark.parametrize("resize", [stretch, letterbox, pad_to_aspect])
def test_grey_is_fitted_as_each_of_three_equal_channels_is(resize: Resize) -> None:
    grey = random_image(40, 70, 1)
    fitted, placement = resize(grey, 64, 96)
    coloured, same_placement = resize(np.repeat(grey, 3, axis=2), 64, 96)
    assert np.array_equal(np.repeat(fitted, 3, axis=0), coloured)
    assert placement == same_placement


@pytest.mark.parametrize("resize", [stretch, letterbox, pad_to_aspect])
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


EXIF_ORIENTATION_6 = (
    b"\xff\xe1\x00\x22Exif\x00\x00MM\x00\x2a\x00\x00\x00\x08\x00\x01"
    b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
)


COLOURS = cv2.resize(random_image(4, 6), (60, 40))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tiff"])
@pytest.mark.parametrize(
    "image", [COLOURS, COLOURS[:, :, 0], np.dstack((COLOURS, COLOURS[:, :, 1]))]
)
def test_grey_is_what_opencv_and_so_darknet_reads(
    suffix: str, image: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / f"image{suffix}"
    assert cv2.imwrite(str(path), image)
    found = read_image(path, 1)
    assert found.shape == (40, 60, 1)
    assert np.array_equal(found[:, :, 0], cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def test_grey_of_16_bits_and_of_a_turned_photo(tmp_path: Path) -> None:
    deep, turned = tmp_path / "deep.png", tmp_path / "turned.jpg"
    cv2.imwrite(str(deep), COLOURS.astype(np.uint16) * 251)
    data = cv2.imencode(".jpg", COLOURS)[1].tobytes()
    turned.write_bytes(data[:2] + EXIF_ORIENTATION_6 + data[2:])
    assert read_image(turned, 1).shape == (60, 40, 1)
    for path in (deep, turned):
        expected = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(read_image(path, 1)[:, :, 0], expected)


def test_colours_become_grey_by_their_luma() -> None:
    colours = random_image(20, 30)
    grey = in_channels(colours, 1)
    assert grey.shape == (20, 30, 1)
    assert np.abs(grey[:, :, 0] - colours @ [0.299, 0.587, 0.114]).max() <= 1
    assert in_channels(colours, 3) is colours
    assert np.array_equal(in_channels(grey, 3), np.repeat(grey, 3, axis=2))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_networks_of_other_channels_read_no_images(channels: int) -> None:
    spec = parse_cfg(f"[net]\nheight=8\nwidth=8\nchannels={channels}\n[convolutional]\n")
    if channels in (1, 3):
        assert image_channels(spec) == channels
        return
    with pytest.raises(CfgError, match=f"reads {channels} channels, but images are read with 3"):
        image_channels(spec)


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
    with pytest.raises(DatasetError, match=r"list\.txt:1: .* names no image"):
        list_images(listed)
    listed.write_text("images/" * 20_000 + "a.png\n")
    with pytest.raises(DatasetError, match=r"list\.txt:1: .* names no image"):
        list_images(listed)
    other = tmp_path / "archive.zip"
    other.write_bytes(b"")
    with pytest.raises(DatasetError, match="neither an image"):
        list_images(other)

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from yoloprune.data.preprocess import (
    DARKNET_LETTERBOX,
    PRESETS,
    Preprocess,
    darknet_input,
    network_input,
    stated,
    stated_in,
)
from yoloprune.data.resizes import RESIZES
from yoloprune.detection.boxes import boxes_to_image, boxes_to_network, clip_boxes
from yoloprune.detection.placement import Placement
from yoloprune.errors import CfgError, UsageError
from yoloprune.frontends.darknet.parser import parse_cfg

PLAIN = PRESETS["plain"]
PADDED = replace(PLAIN, resize="pad-to-aspect")


def random_image(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [(320, 416), (64, 64), (50, 37), (7, 1)])
@pytest.mark.parametrize("shape", [(48, 61), (333, 250), (1, 5)])
def test_stretching_is_what_opencv_feeds_a_network(
    shape: tuple[int, int], size: tuple[int, int], channels: int
) -> None:
    image = random_image(*shape, channels)
    height, width = size
    blob = cv2.dnn.blobFromImage(image, 1 / 255, (width, height))
    fitted, _ = network_input(image, height, width, PLAIN)
    assert fitted.dtype == np.float32
    assert np.array_equal(fitted[None], blob)


def test_letterbox_keeps_the_aspect_ratio_and_centers_on_gray() -> None:
    image = np.full((100, 300, 3), 255, np.uint8)
    fitted, placement = network_input(image, 64, 96, DARKNET_LETTERBOX)
    assert fitted.shape == (3, 64, 96)
    assert (fitted[:, 16:48] == 1).all()
    assert (fitted[:, :16] == 0.5).all()
    assert (fitted[:, 48:] == 0.5).all()
    assert placement.scale == (0.32, 0.32)
    assert placement.offset == (0, 16)


def test_letterbox_rounds_as_darknet_does() -> None:
    # darknet: new_w = 50 * 64 / 101 = 31, placed at (64 - 31) / 2 = 16.
    fitted, placement = network_input(
        np.full((101, 50, 3), 255, np.uint8), 64, 64, DARKNET_LETTERBOX
    )
    inside = np.flatnonzero((fitted == 1).all(axis=(0, 1)))
    assert (inside[0], inside[-1]) == (16, 46)
    assert placement.scale == (31 / 50, 64 / 101)


def test_padding_to_a_square_is_black_and_centered() -> None:
    fitted, placement = network_input(np.full((40, 80, 3), 255, np.uint8), 32, 32, PADDED)
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
    fitted, placement = network_input(np.full((*shape, 3), 255, np.uint8), 32, 48, PADDED)
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
def test_padding_resizes_as_torch_does_by_nearest_neighbor(
    size: tuple[int, int], padding: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    image = random_image(50, 70)
    padded = np.pad(image, (*padding, (0, 0)))
    tensor = torch.from_numpy(padded).permute(2, 0, 1)[None].float()
    expected = torch.nn.functional.interpolate(tensor, size=size, mode="nearest")[0]
    fitted, _ = network_input(image, *size, PADDED)
    assert np.array_equal(np.rint(fitted * 255), expected.numpy())


@pytest.mark.parametrize("resize", RESIZES)
def test_gray_is_fitted_as_each_of_three_equal_channels_is(resize: str) -> None:
    how = replace(PLAIN, resize=resize)
    gray = random_image(40, 70, 1)
    fitted, placement = network_input(gray, 64, 96, how)
    colored, same_placement = network_input(np.repeat(gray, 3, axis=2), 64, 96, how)
    assert np.array_equal(np.repeat(fitted, 3, axis=0), colored)
    assert placement == same_placement


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", [(60, 120), (121, 60), (90, 90)])
def test_a_marked_spot_is_where_the_placement_says(resize: str, shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[20:40, 30:50] = 255
    fitted, placement = network_input(image, 256, 320, replace(PLAIN, resize=resize))
    rows, columns = np.nonzero(fitted[0] > 0.75)
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    box = torch.tensor([[30.0, 20.0, 50.0, 40.0]])
    expected = boxes_to_network(box, placement)
    # A crop may cut the spot.
    inside = clip_boxes(expected, 320, 256)
    assert np.abs(np.array(seen) - inside.numpy()[0]).max() <= 2
    torch.testing.assert_close(boxes_to_image(expected, placement), box)


@pytest.mark.parametrize(
    ("option", "expected"),
    [("", PLAIN), ("letter_box=0", PLAIN), ("letter_box = 1", DARKNET_LETTERBOX)],
)
def test_the_cfg_says_how_images_are_resized(option: str, expected: Preprocess) -> None:
    spec = parse_cfg(f"[net]\nheight=8\nwidth=8\nchannels=3\n{option}\n[convolutional]\n")
    assert darknet_input(spec).preprocess == expected


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_networks_of_other_channels_read_no_images(channels: int) -> None:
    spec = parse_cfg(f"[net]\nheight=8\nwidth=8\nchannels={channels}\n[convolutional]\n")
    if channels in (1, 3):
        assert darknet_input(spec).channels == channels
        return
    with pytest.raises(CfgError, match=f"reads {channels} channels, but images are read with 3"):
        darknet_input(spec)


def test_letterbox_is_that_of_ultralytics() -> None:
    # r = min(64 / 101, 64 / 50); round(50 r) = 32 columns, padded by (64 - 32) / 2 on each side.
    fitted, placement = network_input(
        np.full((101, 50, 3), 255, np.uint8), 64, 64, PRESETS["ultralytics"]
    )
    inside = np.flatnonzero((fitted == 1).all(axis=(0, 1)))
    assert (inside[0], inside[-1]) == (16, 47)
    assert (fitted[:, :, :16] == np.float32(114) * np.float32(1 / 255)).all()
    assert (placement.scale, placement.offset) == ((32 / 50, 64 / 101), (16, 0))


def test_yolox_puts_an_image_into_the_corner_as_bytes_in_the_order_of_opencv() -> None:
    # r = min(64 / 101, 96 / 50); int(50 r) = 31 columns.
    image = random_image(101, 50)
    fitted, placement = network_input(image, 64, 96, PRESETS["yolox"])
    expected = np.full((64, 96, 3), 114, np.float32)
    expected[:, :31] = cv2.resize(image[:, :, ::-1], (31, 64))
    assert np.array_equal(fitted, expected.transpose(2, 0, 1))
    assert placement == Placement(scale=(31 / 50, 64 / 101), offset=(0, 0))


def test_classifiers_see_the_middle_as_torchvision_cuts_it() -> None:
    # The shorter side to 256, the middle 224 x 224: of 512 x 640 pixels those 448 x 448.
    image = random_image(512, 640)
    fitted, placement = network_input(image, 224, 224, PRESETS["torchvision"])
    middle = cv2.resize(image[32:480, 96:544], (224, 224)).astype(np.float64) / 255
    expected = (middle - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(fitted, expected.transpose(2, 0, 1), atol=1e-6)
    assert placement == Placement(scale=(0.5, 0.5), offset=(-48, -16))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_its_formula(name: str) -> None:
    how = PRESETS[name]
    image = random_image(64, 64)
    fitted, _ = network_input(image, 64, 64, replace(how, resize="stretch"))
    seen = image[:, :, ::-1] if how.order == "bgr" else image
    expected = (seen.astype(np.float64) * how.scale - how.mean) / how.std
    np.testing.assert_allclose(fitted, expected.transpose(2, 0, 1), rtol=1e-5, atol=1e-6)
    channels_last, _ = network_input(image, 64, 64, replace(how, resize="stretch", layout="nhwc"))
    assert np.array_equal(channels_last, fitted.transpose(1, 2, 0))
    assert fitted.flags.c_contiguous
    assert channels_last.flags.c_contiguous


def test_what_is_filled_is_a_pixel_like_others() -> None:
    how = replace(PRESETS["torchvision"], resize="corner", fill=10.0, order="bgr")
    fitted, _ = network_input(np.full((8, 16, 3), 10, np.uint8), 16, 16, how)
    assert (fitted == fitted[:, :1, :1]).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yolox", PRESETS["yolox"]),
        ("yolox,fill=0", replace(PRESETS["yolox"], fill=0)),
        ("fill = 0", replace(PLAIN, fill=0)),
        ("order=BGR,scale=1", replace(PLAIN, order="bgr", scale=1)),
        ("scale=2/255,layout=nhwc", replace(PLAIN, scale=2 / 255, layout="nhwc")),
        ("mean=0.5,0.4,.3,std=1/4", replace(PLAIN, mean=(0.5, 0.4, 0.3), std=(0.25,))),
        ("plain, size=320x192", replace(PLAIN, size=(192, 320))),
        ("size=416,resize=crop", replace(PLAIN, size=(416, 416), resize="crop")),
    ],
)
def test_what_a_user_states(text: str, expected: Preprocess) -> None:
    assert stated(text, PLAIN) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yolo", "'yolo' is unknown"),
        ("", "'' is unknown"),
        ("yolox,0.5", "has no '0.5'"),
        ("color=bgr", "has no 'color'"),
        ("order=gbr", "order 'gbr' is unknown"),
        ("resize=fit", "resize 'fit' is unknown"),
        ("layout=hwc", "layout 'hwc' is unknown"),
        ("scale=0", "scale and std not 0"),
        ("scale=1/0", "scale '1/0': give numbers"),
        ("scale=1,2", "scale is one number, not 2"),
        ("scale=1e999", "numbers must be finite"),
        ("std=1,0,1", "scale and std not 0"),
        ("mean=1,2", "mean is one number, or three"),
        ("mean=a", "mean 'a': give numbers"),
        ("size=0x3", "size '0x3' is none"),
        ("size=3y", "size '3y' is none"),
        ("size=320x40000", "size '320x40000' is none"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        stated(text, PLAIN)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"names": "{0: 'a'}"}, None),
        ({"names": "{0: 'a'}", "stride": "32"}, PRESETS["ultralytics"]),
        (
            {"names": "{0: 'a'}", "stride": "32", "imgsz": "[480, 640]"},
            replace(PRESETS["ultralytics"], size=(480, 640)),
        ),
        ({"names": "{0: 'a'}", "stride": "32", "imgsz": "640"}, PRESETS["ultralytics"]),
        ({"names": "{0: 'a'}", "stride": "32", "imgsz": "[0, 640]"}, PRESETS["ultralytics"]),
        ({"input": '{"resize": "stretch"}'}, PLAIN),
        ({"input": '{"resize": "letterbox", "fill": 0.5}'}, DARKNET_LETTERBOX),
        ({"input": "[1"}, None),
        ({"input": '{"resize": "other"}'}, None),
    ],
)
def test_what_a_file_says(metadata: dict[str, str], expected: Preprocess | None) -> None:
    assert stated_in(metadata) == expected


def test_an_input_says_what_it_is() -> None:
    spec = parse_cfg("[net]\nheight=8\nwidth=16\nchannels=1\nletter_box=1\n[convolutional]\n")
    assert str(darknet_input(spec)) == "gray in [0, 1], 16x8 by darknet-letterbox"
    spec = parse_cfg("[net]\nheight=8\nwidth=16\nchannels=3\n[convolutional]\n")
    yolox = replace(darknet_input(spec), preprocess=PRESETS["yolox"])
    assert str(yolox) == "BGR in [0, 255], 16x8 by corner"

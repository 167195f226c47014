"""Augmented samples: the boxes lie where the pixels are, and a seed fixes everything."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest

from yoloprune.data import augment, recipes
from yoloprune.data.augment import Sample, augmented_sample, plain_sample

SHAPES = [
    ((120, 160), (416, 416)),
    ((160, 160), (416, 416)),
    ((64, 48), (96, 352)),
    ((100, 100), (100, 100)),
    ((416, 416), (160, 160)),
    ((333, 250), (96, 128)),
    ((500, 701), (64, 64)),
]
"""Shapes of images and sizes to fit them into: enlarged up to 3.4 times, reduced to a ninth."""

NO_OBJECTS = Sample(
    image=np.full((90, 120, 3), 7, np.uint8),
    boxes=np.zeros((0, 4), np.float32),
    labels=np.zeros(0, np.int64),
)


def painted(shape: tuple[int, int], box: tuple[int, int, int, int], label: int) -> Sample:
    """A purely red, green or blue rectangle (label 0, 1 or 2) on black."""
    left, top, right, bottom = box
    image = np.zeros((*shape, 3), np.uint8)
    image[top:bottom, left:right, label] = 255
    return Sample(
        image=image, boxes=np.array([box], np.float32), labels=np.array([label], np.int64)
    )


def somewhere(shape: tuple[int, int], seed: int) -> Sample:
    """A rectangle of at least an eighth of each side, anywhere in the image."""
    generator = np.random.default_rng(seed)
    height, width = shape
    w, h = generator.integers((width // 8, height // 8), (width // 2, height // 2)).tolist()
    x, y = generator.integers(0, (width - w + 1, height - h + 1)).tolist()
    return painted(shape, (x, y, x + w, y + h), seed % 3)


def central(shape: tuple[int, int], label: int) -> Sample:
    """A rectangle so far inside that no augmentation cuts it."""
    height, width = shape
    return painted(
        shape,
        (round(0.42 * width), round(0.42 * height), round(0.58 * width), round(0.58 * height)),
        label,
    )


def reach(profile: np.ndarray, start: int) -> float:
    """How far the color at `start` reaches: where it falls to half, between pixel centers."""
    half = profile[start] / 2
    dark = np.flatnonzero(profile[start:] < half)
    if not len(dark):
        return float(len(profile))
    i = start + int(dark[0])
    return float(i - 0.5 + (profile[i - 1] - half) / (profile[i - 1] - profile[i]))


def visible(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Edges (xyxy) of the colored rectangle around the center of the box `near`."""
    height, width = image.shape[:2]
    column, row = int(near[0::2].mean()), int(near[1::2].mean())
    # Neither black nor the gray around an image has a color.
    across, down = (np.ptp(line, axis=1).astype(float) for line in (image[row], image[:, column]))
    return np.array([
        width - reach(across[::-1], width - 1 - column),
        height - reach(down[::-1], height - 1 - row),
        reach(across, column),
        reach(down, row),
    ])  # fmt: skip


def errors_of(samples: Iterable[Sample]) -> np.ndarray:
    """Box edges minus visible edges, (N, 4); checks each label by the color in its box."""
    errors = []
    for sample in samples:
        for box, label in zip(sample.boxes, sample.labels, strict=True):
            error = box - visible(sample.image, box)
            # An edge in the last pixel has no dark beside it to be found by.
            height, width = sample.image.shape[:2]
            hidden = (box < 1) | (box > np.array([width, height] * 2) - 1)
            errors.append(np.where(hidden & (np.abs(error) < 1), 0, error))
            center = sample.image[int(box[1::2].mean()), int(box[0::2].mean())]
            assert label == center.argmax()
    return np.array(errors)


@pytest.fixture
def upright(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rectangles stay rectangles."""
    monkeypatch.setattr(recipes, "ROTATION", 0.0)
    monkeypatch.setattr(recipes, "SHEAR", 0.0)


@pytest.fixture
def colors_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "_recolored", lambda sample, seed: sample)


@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_boxes_of_plain_samples_lie_on_the_pixels(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    originals = [somewhere(shape, seed) for seed in range(20)]
    # Rectangles that touch the image's corners as well.
    originals += [painted(shape, (0, 0, 40, 30), 0), painted(shape, (8, 24, *shape[::-1]), 1)]
    samples = [plain_sample(sample, size) for sample in originals]
    assert all(sample.image.shape == (*size, 3) for sample in samples)
    errors = errors_of(samples)
    assert len(errors) == len(originals)
    # Coarse edges of reduced images are found to about a quarter of a pixel.
    assert np.abs(errors).max() < 0.3
    assert np.abs(errors.mean(axis=0)).max() < 0.1


@pytest.mark.usefixtures("colors_stay", "upright")
@pytest.mark.parametrize(("shape", "size"), SHAPES)
def test_boxes_of_scattered_samples_lie_on_the_pixels(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    samples = [
        augmented_sample(lambda i: somewhere(shape, i), seed, 1, size, 0.0, (seed,))
        for seed in range(40)
    ]
    errors = errors_of(samples)
    assert len(errors) > 25
    assert np.abs(errors).max() < 0.4
    assert np.abs(errors.mean(axis=0)).max() < 0.1
    boxes = np.concatenate([sample.boxes for sample in samples])
    assert (boxes >= 0).all() and (boxes <= [size[1], size[0]] * 2).all()
    # Some have been cut, or the test would not show that cutting is right.
    assert ((boxes == 0) | (boxes == [size[1], size[0]] * 2)).any()


@pytest.mark.usefixtures("colors_stay", "upright")
@pytest.mark.parametrize(("shape", "size"), SHAPES[:-1])
def test_boxes_of_mosaics_lie_on_the_pixels(shape: tuple[int, int], size: tuple[int, int]) -> None:
    samples = [
        augmented_sample(lambda i: central(shape, i), seed % 3, 3, size, 1.0, (seed,))
        for seed in range(15)
    ]
    assert all(len(sample.boxes) == 4 and sample.image.shape == (*size, 3) for sample in samples)
    errors = errors_of(samples)
    assert np.abs(errors).max() < 0.3
    assert np.abs(errors.mean(axis=0)).max() < 0.1


@pytest.mark.usefixtures("colors_stay")
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_boxes_of_rotated_samples_touch_what_is_round(mosaic: float) -> None:
    def fetch(index: int) -> Sample:
        sample = central((240, 320), index)
        left, top, right, bottom = sample.boxes[0]
        y, x = np.mgrid[:240, :320] + 0.5
        across = (x - (left + right) / 2) / ((right - left) / 2)
        down = (y - (top + bottom) / 2) / ((bottom - top) / 2)
        sample.image[across**2 + down**2 > 1] = 0
        return sample

    samples = [augmented_sample(fetch, n % 3, 3, (416, 416), mosaic, (n,)) for n in range(15)]
    for sample in samples:
        assert len(sample.boxes) == (4 if mosaic else 1)
        for box, label in zip(sample.boxes, sample.labels, strict=True):
            left, top = (box[:2] - 3).astype(int)
            right, bottom = (box[2:] + 4).astype(int)
            part = sample.image[top:bottom, left:right, label] > 127
            rows, columns = np.flatnonzero(part.any(axis=1)), np.flatnonzero(part.any(axis=0))
            seen = [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]
            # Pixels are whole, edges are not.
            assert np.abs(box - seen).max() < 1.5


# Larger rectangles alone: JPEG smears the colors of small ones too far to find their edges.
@pytest.mark.usefixtures("upright")
@pytest.mark.parametrize(
    ("shape", "size", "mosaic"), [(*SHAPES[0], 0.0), (*SHAPES[0], 1.0), (*SHAPES[4], 0.0)]
)
def test_boxes_lie_on_the_pixels_of_flipped_and_recolored_samples(
    shape: tuple[int, int], size: tuple[int, int], mosaic: float
) -> None:
    samples = [
        augmented_sample(lambda i: central(shape, i), seed % 3, 3, size, mosaic, (seed, 7))
        for seed in range(30)
    ]
    errors = errors_of(samples)
    assert len(errors) == (120 if mosaic else 30)
    assert np.abs(errors).max() < 0.7
    # Changed colors, blur and JPEG move the half of opposite edges, but not to the same side.
    centers = (errors[:, :2] + errors[:, 2:]) / 2
    assert np.abs(centers).max() < 0.5
    assert np.abs(centers.mean(axis=0)).max() < 0.05


def test_motion_blur_moves_nothing_to_one_side() -> None:
    (either,) = augment._blur().transforms
    (blur,) = (t for t in either.transforms if type(t).__name__ == "MotionBlur")
    image = np.zeros((21, 21, 3), np.uint8)
    image[10, 10] = 255
    blur.p = 1.0
    rows, columns = np.mgrid[:21, :21]
    for seed in range(50):
        blur.set_random_seed(seed)
        weight = blur(image=image)["image"][:, :, 0].astype(float)
        assert (weight * rows).sum() / weight.sum() == pytest.approx(10, abs=0.05)
        assert (weight * columns).sum() / weight.sum() == pytest.approx(10, abs=0.05)


@pytest.mark.parametrize("channels", [1, 3])
def test_colors_are_shifted_as_albumentations_does(channels: int) -> None:
    import albumentations

    image = np.random.default_rng(0).integers(0, 256, (64, 64, channels), dtype=np.uint8)
    image[:20] = image[:20, :, :1]
    for shifts in ((8.0, 0.0, 0.0), (-7.3, 20.4, -3.6), (0.0, -60.0, 45.0), (2.5, 59.6, 0.0)):
        own = shifts if channels == 3 else (0.0, 0.0, shifts[2])
        transform = albumentations.HueSaturationValue(
            **{
                f"{name}_shift_limit": (shift, shift)
                for name, shift in zip(("hue", "sat", "val"), own, strict=True)
            },
            p=1.0,
        )
        truth = transform(image=image)["image"]
        assert np.array_equal(augment.shifted(image, *own), truth)


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_gray_samples_lie_where_their_colors_would(mosaic: float) -> None:
    def fetch(channels: int) -> Callable[[int], Sample]:
        def made(index: int) -> Sample:
            sample = central((120, 160), index)
            return replace(sample, image=sample.image[:, :, index : index + 1].repeat(channels, 2))

        return made

    brighter = darker = 0
    for seed in range(25):
        gray, colored = (
            augmented_sample(fetch(c), seed % 3, 3, (96, 160), mosaic, (seed,)) for c in (1, 3)
        )
        assert gray.image.shape == (96, 160, 1)
        assert np.array_equal(gray.boxes, colored.boxes)
        assert np.array_equal(gray.labels, colored.labels)
        # What is gray has no hue and no saturation: only a JPEG's chroma makes a difference.
        assert np.abs(gray.image - colored.image.mean(axis=2, keepdims=True)).max() <= 4
        center = gray.boxes[0].reshape(2, 2).mean(axis=0).astype(int)
        value = int(gray.image[center[1], center[0], 0])
        brighter, darker = brighter + (gray.image.min() > 0), darker + (value < 250)
    assert brighter and darker


def test_boxes_are_clipped_and_slivers_dropped_with_their_labels() -> None:
    boxes = [
        (10, 10, 30, 40),  # whole
        (-30, 80, 10, 120),  # an eighth is left
        (-5, 80, 15, 120),  # three eighths are left
        (90, -5, 130, 20),  # a fifth is left
        (98.5, 20, 99.9, 60),  # thin
        (120, 20, 150, 60),  # outside
    ]
    original = Sample(
        image=np.zeros((100, 100, 3), np.uint8),
        boxes=np.array(boxes, np.float32),
        labels=np.arange(6, dtype=np.int64),
    )
    sample = plain_sample(original, (100, 100))
    assert sample.labels.tolist() == [0, 2, 3]
    assert sample.boxes.tolist() == [[10, 10, 30, 40], [0, 80, 15, 100], [90, 0, 100, 20]]


@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_images_without_objects(mosaic: float) -> None:
    for sample in (
        plain_sample(NO_OBJECTS, (64, 64)),
        augmented_sample(lambda i: NO_OBJECTS, 0, 1, (64, 64), mosaic, (0,)),
    ):
        assert sample.image.shape == (64, 64, 3)
        assert sample.boxes.shape == (0, 4) and sample.boxes.dtype == np.float32
        assert sample.labels.shape == (0,) and sample.labels.dtype == np.int64


def test_a_sample_is_a_function_of_its_seed() -> None:
    def make(seed: int) -> Sample:
        return augmented_sample(lambda i: somewhere((60, 80), i), 1, 9, (64, 64), 0.5, (3, seed))

    forwards = [make(seed) for seed in range(12)]
    backwards = [make(seed) for seed in reversed(range(12))][::-1]
    for a, b in zip(forwards, backwards, strict=True):
        assert np.array_equal(a.image, b.image)
        assert np.array_equal(a.boxes, b.boxes) and np.array_equal(a.labels, b.labels)
    assert len({sample.image.tobytes() for sample in forwards}) == 12

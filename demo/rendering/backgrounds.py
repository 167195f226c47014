"""Backgrounds: gradients, noise, weaves, stripes, tiles, lights and clutter.

Images are RGB float32 (height, width, 3) in [0, 1].
"""

from collections.abc import Callable

import cv2
import numpy as np

from demo.rendering.capsules import Color, Pixels, resized, softened, three_channels

Size = tuple[int, int]


def random_background(random: np.random.Generator, size: Size, skins: tuple[Color, ...]) -> Pixels:
    """A background of (height, width); every third is of colors close to skin."""
    base, other = (_color(random, skins) for _ in range(2))
    paint = _PAINTERS[random.integers(len(_PAINTERS))]
    image = paint(random, size, base, other)
    depth = np.float32(random.uniform(0.05, 0.35))
    image *= three_channels(1 + depth * (_cloud(random, size, 4) - np.float32(0.5)))
    if random.random() < 0.6:
        image = _cluttered(random, image, skins)
    if random.random() < 0.35:
        image = softened(image, random.uniform(1, 5))
    return np.clip(image, 0, 1).astype(np.float32)


def noise(random: np.random.Generator, size: Size, cells: int) -> Pixels:  # -> (h, w)
    """Smooth noise in [0, 1] with about `cells` hills along each side."""
    grid = random.random((cells + 1, cells + 1), np.float32)
    return np.clip(cv2.resize(grid, size[::-1], interpolation=cv2.INTER_CUBIC), 0, 1)


def _cloud(random: np.random.Generator, size: Size, octaves: int) -> Pixels:
    # Half the resolution is enough for what is smooth, and four times as fast.
    half = size[0] // 2, size[1] // 2
    total = np.zeros(half, np.float32)
    for octave in range(octaves):
        total += noise(random, half, 3 * 2**octave) / np.float32(2 ** (octave + 1))
    return resized(total / np.float32(1 - 0.5**octaves), size)


def _color(random: np.random.Generator, skins: tuple[Color, ...]) -> Color:
    if random.random() < 0.35:
        skin = np.array(skins[random.integers(len(skins))])
        red, green, blue = np.clip(
            skin * random.uniform(0.6, 1.15) + random.normal(0, 0.04, 3), 0, 1
        )
    else:
        # Mostly grayish: bright colors are rare in rooms and streets.
        gray = random.uniform(0.08, 0.95)
        red, green, blue = np.clip(gray + random.normal(0, 0.13, 3), 0, 1)
    return red, green, blue


def _blend(weight: Pixels, base: Color, other: Color) -> Pixels:
    channels = [
        np.float32(a) + np.float32(b - a) * weight for a, b in zip(base, other, strict=True)
    ]
    return np.asarray(cv2.merge(channels), np.float32)


def _ramp(random: np.random.Generator, size: Size) -> tuple[Pixels, Pixels]:
    """Coordinates in pixels along and across a random direction."""
    angle = random.uniform(0, np.pi)
    y, x = np.ogrid[: size[0], : size[1]]
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return (x * c + y * s).astype(np.float32), (y * c - x * s).astype(np.float32)


def _gradient(random: np.random.Generator, size: Size, base: Color, other: Color) -> Pixels:
    along, _ = _ramp(random, size)
    return _blend((along - along.min()) / np.ptp(along), base, other)


def _clouds(random: np.random.Generator, size: Size, base: Color, other: Color) -> Pixels:
    return _blend(_cloud(random, size, 5), base, other)


def _stripes(random: np.random.Generator, size: Size, base: Color, other: Color) -> Pixels:
    along, _ = _ramp(random, size)
    wavy = along + random.uniform(0, 30) * noise(random, size, 3)
    wave = np.sin(wavy * np.float32(2 * np.pi / random.uniform(8, 60)))
    return _blend(np.clip(wave * random.uniform(0.7, 6) + 0.5, 0, 1), base, other)


def _tiles(random: np.random.Generator, size: Size, base: Color, other: Color) -> Pixels:
    along, across = _ramp(random, size)
    width, height = random.uniform(18, 80, 2)
    row = np.floor(across / height)
    column = along / width + 0.5 * (row % 2) * random.integers(2)
    joint = np.minimum((across / height) % 1 * height, column % 1 * width) < random.uniform(1, 4)
    tone = np.sin(np.floor(column) * 12.9 + row * 78.2) * np.float32(random.uniform(0, 0.12))
    tiles = _blend(tone.astype(np.float32), base, (0.0, 0.0, 0.0))
    tiles[joint] = other
    return tiles


def _wood(random: np.random.Generator, size: Size, base: Color, other: Color) -> Pixels:
    along, across = _ramp(random, size)
    grain = across / random.uniform(4, 14) + 6 * noise(random, size, 3) + 0.01 * along
    return _blend(np.float32(0.5) + np.float32(0.5) * np.sin(grain), base, other)


def _lights(random: np.random.Generator, size: Size, base: Color, other: Color) -> Pixels:
    image = _blend(_cloud(random, size, 3), base, other)
    layer = image.copy()
    for _ in range(random.integers(8, 30)):
        center = [int(random.integers(side)) for side in size[::-1]]
        color = random.uniform(0.2, 1.0, 3).tolist()
        cv2.circle(layer, center, int(random.integers(4, 36)), color, cv2.FILLED, cv2.LINE_AA)
    return image + np.float32(0.55) * (layer - image)


_PAINTERS: tuple[Callable[[np.random.Generator, Size, Color, Color], Pixels], ...] = (
    _gradient, _clouds, _clouds, _stripes, _tiles, _wood, _lights,
)  # fmt: skip


def _cluttered(random: np.random.Generator, image: Pixels, skins: tuple[Color, ...]) -> Pixels:
    """Flat shapes and lines on top: furniture, signs, shadows."""
    height, width = image.shape[:2]
    image = np.ascontiguousarray(image)
    for _ in range(random.integers(2, 14)):
        color = _color(random, skins)
        x, y = random.uniform(0, width), random.uniform(0, height)
        reach = random.uniform(10, 0.4 * width)
        match random.integers(4):
            case 0:
                angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(3, 7)))
                radii = reach * random.uniform(0.4, 1, len(angles))
                points = np.stack((x + radii * np.cos(angles), y + radii * np.sin(angles)), axis=1)
                cv2.fillPoly(image, [points.round().astype(np.int32)], color, cv2.LINE_AA)
            case 1:
                axes = (int(reach / 2) + 1, int(reach * random.uniform(0.2, 0.6)) + 1)
                turn = random.uniform(0, 180)
                cv2.ellipse(image, (int(x), int(y)), axes, turn, 0, 360, color, cv2.FILLED,
                            cv2.LINE_AA)  # fmt: skip
            case 2:
                box = ((x, y), (reach, reach * random.uniform(0.1, 1.2)), random.uniform(0, 90))
                corners = cv2.boxPoints(box).round().astype(np.int32)
                cv2.fillPoly(image, [corners], color, cv2.LINE_AA)
            case _:
                angle = random.uniform(0, 2 * np.pi)
                end = int(x + 2 * reach * np.cos(angle)), int(y + 2 * reach * np.sin(angle))
                thick = int(random.integers(1, 10))
                cv2.line(image, (int(x), int(y)), end, color, thick, cv2.LINE_AA)
    return image

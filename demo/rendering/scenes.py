"""Whole scenes: a background, people and things, hands, and what a camera makes of them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from demo.rendering.backgrounds import noise, random_background
from demo.rendering.capsules import (
    Color,
    Pixels,
    Sprite,
    Vector,
    render,
    softened,
    three_channels,
)
from demo.rendering.distractors import draw_face, random_distractor, random_person
from demo.rendering.hands import HAND, Look, random_hand
from yoloprune.data.images import Image

LONG_SIDE = 320
"""Longer side of every image, pixels."""

_ASPECTS = ((3, 4), (3, 4), (2, 3), (9, 16), (1, 1), (4, 3), (3, 2))
_SKINS: tuple[Color, ...] = (
    (0.96, 0.82, 0.72), (0.92, 0.74, 0.61), (0.85, 0.64, 0.50), (0.73, 0.52, 0.37),
    (0.60, 0.41, 0.29), (0.44, 0.29, 0.20), (0.31, 0.20, 0.15),
)  # fmt: skip
_NEGATIVES = 0.1
_HANDS = (0.34, 0.42, 0.17, 0.07)
# Wrist to finger tip, pixels: median, spread of the logarithm, bounds.
_LENGTH, _LENGTH_SPREAD, _LENGTHS = 112, 0.28, (76, 200)
_VISIBLE = 0.7
"""Hands that show less than this share of themselves are not drawn: nobody could mark them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """An RGB image (H, W, 3) and the corners (N, 4, 2) of its hands, x and y in pixels from 0."""

    image: Image
    corners: NDArray[np.float64]


class _Stage:
    """The picture so far, and which hand each pixel shows."""

    def __init__(self, image: Pixels, light: Vector) -> None:
        self.image = image
        self.light = light
        self.size = image.shape[0], image.shape[1]
        self.owner = np.full(self.size, -1, np.int16)
        # Pixels of each hand: all that were drawn, and those that still show.
        self.areas: list[int] = []
        self.shown: list[int] = []

    def put(self, sprite: Sprite | None, hand: bool = False) -> bool:
        """Draw a sprite with its shadow, unless it would hide too much of an earlier hand."""
        if sprite is None:
            return False
        window = sprite.window
        covered = sprite.alpha > 0.5
        under = self.owner[window]
        hidden = np.bincount(under[covered & (under >= 0)], minlength=len(self.areas)).tolist()
        shown = [have - lost for have, lost in zip(self.shown, hidden, strict=True)]
        if any(have < _VISIBLE * area for have, area in zip(shown, self.areas, strict=True)):
            return False
        self.shown = shown
        self._shade(sprite)
        view = self.image[window]
        view += (sprite.color - view) * sprite.opacity
        under[covered] = -1
        if hand:
            mine = covered & (sprite.parts == HAND)
            under[mine] = len(self.areas)
            self.areas.append(int(mine.sum()))
            self.shown.append(self.areas[-1])
        return True

    def _shade(self, sprite: Sprite) -> None:
        """A soft shadow away from the light, cut to the sprite's surroundings."""
        reach = 3
        height, width = sprite.alpha.shape
        dx, dy = (round(-float(value) * reach) for value in self.light[:2])
        top, left = max(sprite.top + dy, 0), max(sprite.left + dx, 0)
        bottom = min(sprite.top + dy + height, self.size[0])
        right = min(sprite.left + dx + width, self.size[1])
        if bottom <= top or right <= left:
            return
        rows = slice(top - sprite.top - dy, bottom - sprite.top - dy)
        columns = slice(left - sprite.left - dx, right - sprite.left - dx)
        soft = cv2.blur(sprite.alpha[rows, columns], (9, 9))
        self.image[top:bottom, left:right] *= three_channels(1 - 0.35 * soft)


def random_scene(random: np.random.Generator) -> Scene:
    """A scene that depends on the generator's state only."""
    aspect = _ASPECTS[random.integers(len(_ASPECTS))]
    height, width = (round(LONG_SIDE * side / max(aspect)) for side in aspect)
    light = np.array((random.normal(0, 0.6), random.normal(-0.5, 0.5), random.uniform(0.5, 1.2)))
    stage = _Stage(random_background(random, (height, width), _SKINS), light)
    skin = _skin(random)
    cloth, trim = (_cloth(random) for _ in range(2))
    for _ in range(random.choice(3, p=(0.4, 0.45, 0.15))):
        _add_person(random, stage, skin, cloth)
    for _ in range(random.integers(0, 4)):
        reach = float(np.exp(random.uniform(np.log(30), np.log(140))))
        stage.put(random_distractor(random, _skin(random), light, stage.size, reach))
    corners = []
    if random.random() >= _NEGATIVES:
        for _ in range(1 + random.choice(len(_HANDS), p=_HANDS)):
            other = skin if random.random() < 0.7 else _skin(random)
            corners += _add_hand(random, stage, other, cloth, trim)
    for _ in range(random.choice(3, p=(0.65, 0.3, 0.05))):
        reach = float(np.exp(random.uniform(np.log(18), np.log(70))))
        stage.put(random_distractor(random, _skin(random), light, stage.size, reach))
    return Scene(
        image=_photographed(random, stage.image),
        corners=np.array(corners, np.float64).reshape(-1, 4, 2),
    )


def _add_hand(
    random: np.random.Generator, stage: _Stage, skin: Color, cloth: Color, trim: Color
) -> list[Vector]:
    """Draw one hand, and give its corners; none if no free place was found."""
    painted = random.random() < 0.15
    nail = random.uniform(0.1, 0.95, 3) if painted else np.array(skin) * 0.6 + (0.4, 0.34, 0.34)
    bare = random.random() < 0.45
    look = Look(
        skin=skin,
        nail=(float(nail[0]), float(nail[1]), float(nail[2])),
        sleeve=None if bare else cloth,
        stripe=trim if random.random() < 0.35 else None,
    )
    for _ in range(12):
        length = float(np.clip(_LENGTH * np.exp(random.normal(0, _LENGTH_SPREAD)), *_LENGTHS))
        height, width = stage.size
        x, y = random.uniform(0.06, 0.94) * width, random.uniform(0.06, 0.94) * height
        # Arms come rather from the outside, and rather from below.
        outwards = np.arctan2(width / 2 - x, y - height / 2 + 0.3 * height)
        hand = random_hand(random, look, (x, y), length, outwards + random.normal(0, 0.9))
        if _inside(hand.corners, stage.size) < 0.8 or _crowded(stage, hand.corners):
            continue
        if stage.put(render(hand.capsules, stage.light, stage.size), hand=True):
            return [hand.corners]
    return []


def _inside(corners: Vector, size: tuple[int, int]) -> float:
    """The share of the upright box around corners that lies in the image."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    extent = np.clip(high, 0, size[::-1]) - np.clip(low, 0, size[::-1])
    return float(extent.prod() / (high - low).prod())


def _crowded(stage: _Stage, corners: Vector) -> bool:
    """Whether other hands fill much of the upright box around corners."""
    (left, top), (right, bottom) = (
        np.clip(edge, 0, stage.size[::-1]).astype(int)
        for edge in (corners.min(axis=0), corners.max(axis=0))
    )
    return float((stage.owner[top : bottom + 1, left : right + 1] >= 0).mean()) > 0.08


def _add_person(random: np.random.Generator, stage: _Stage, skin: Color, cloth: Color) -> None:
    sprite, center, radius = random_person(random, skin, cloth, stage.light, stage.size)
    if stage.put(sprite) and random.random() < 0.85:
        draw_face(random, stage.image, center, radius, skin)


def _skin(random: np.random.Generator) -> Color:
    place = random.uniform(0, len(_SKINS) - 1)
    low, share = int(place), place % 1
    mixed = np.array(_SKINS[low]) * (1 - share) + np.array(_SKINS[low + 1]) * share
    red, green, blue = np.clip(mixed + random.normal(0, 0.02, 3), 0.05, 1)
    return float(red), float(green), float(blue)


def _cloth(random: np.random.Generator) -> Color:
    gray = random.uniform(0.05, 0.9)
    red, green, blue = np.clip(gray + random.normal(0, 0.2, 3), 0.02, 0.98)
    return float(red), float(green), float(blue)


def _photographed(random: np.random.Generator, image: Pixels) -> Image:
    """Uneven light, color cast, exposure, blur and noise, as 8-bit RGB."""
    height, width = image.shape[:2]
    cast = (1 + random.normal(0, 0.07, 3)).astype(np.float32)
    uneven = np.float32(0.75) + np.float32(0.5) * noise(random, (height, width), 2)
    lit = image * cv2.merge([uneven * share for share in cast])
    image = cv2.pow(np.clip(lit, 0, 1), np.exp(random.normal(0, 0.2)))
    image *= np.float32(random.uniform(0.65, 1.1))
    image += np.float32(random.uniform(0, 0.15))
    if random.random() < 0.06:
        image = three_channels(np.asarray(image.mean(axis=2), np.float32))
    blur = random.random()
    if blur < 0.3:
        image = softened(image, random.uniform(0.4, 1.6))
    elif blur < 0.38:
        image = np.asarray(cv2.filter2D(image, -1, _streak(random)), np.float32)
    strength = np.float32(abs(random.normal(0, 0.015)))
    image += three_channels(random.standard_normal((height, width), np.float32) * strength)
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255), np.uint8)


def _streak(random: np.random.Generator) -> Pixels:
    """The kernel of a camera that moved."""
    side = 2 * int(random.integers(1, 5)) + 1
    kernel = np.zeros((side, side), np.float32)
    angle = random.uniform(0, np.pi)
    reach = np.array((np.cos(angle), np.sin(angle))) * side / 2
    middle = side // 2
    low, high = (np.round(middle + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, low, high, 1.0, 1)
    return np.asarray(kernel / kernel.sum(), np.float32)

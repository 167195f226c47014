"""Shaded pictures of solids that are made of capsules: rods with round ends.

Coordinates are pixels: x to the right, y down, z towards the viewer. Colors are RGB in [0, 1].
Every pixel takes the capsule that is nearest to the viewer there, so that parts hide each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.float32]
Vector: TypeAlias = NDArray[np.float64]
Color: TypeAlias = tuple[float, float, float]

_AMBIENT = 0.42
_BAND = 48
_NAIL_EDGE = 0.72
_NAIL_START = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Capsule:
    """A rod from `start` to `end` (3,) with a radius at each end.

    `part` tells the pixels of parts apart afterwards. `crease` in [0, 1] darkens the joint at the
    start; `stripe` (pixels along the rod, or 0) alternates the color with `second`. With `nail`
    the side that faces `dorsal` (3,) bears a nail of that color near the end.
    """

    start: Vector
    end: Vector
    radii: tuple[float, float]
    color: Color
    part: int = 0
    crease: float = 0.0
    stripe: float = 0.0
    second: Color = (0.0, 0.0, 0.0)
    nail: Color | None = None
    dorsal: Vector | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sprite:
    """A picture (h, w, 3) with opacity (h, w) to be put at `left`, `top` of an image.

    `parts` (h, w) int16 holds the part of each pixel, -1 where there is nothing.
    """

    left: int
    top: int
    color: Pixels
    alpha: Pixels
    parts: NDArray[np.int16]

    @property
    def opacity(self) -> Pixels:
        """`alpha` for each color channel: (h, w, 3)."""
        return three_channels(self.alpha)

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the sprite covers."""
        height, width = self.alpha.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def render_coarsely(
    capsules: Sequence[Capsule], light: Vector, size: tuple[int, int], *, gloss: float = 0.12
) -> Sprite | None:
    """As `render`, at half the resolution: for large smooth things, at a quarter of the time."""
    halved = [
        replace(c, start=c.start / 2, end=c.end / 2, radii=(c.radii[0] / 2, c.radii[1] / 2))
        for c in capsules
    ]
    small = render(halved, light, (size[0] // 2, size[1] // 2), gloss=gloss)
    if small is None:
        return None
    height, width = small.alpha.shape
    return Sprite(
        left=2 * small.left,
        top=2 * small.top,
        color=resized(small.color, (2 * height, 2 * width)),
        alpha=resized(small.alpha, (2 * height, 2 * width)),
        parts=np.repeat(np.repeat(small.parts, 2, axis=0), 2, axis=1),
    )


def resized(image: Pixels, size: tuple[int, int]) -> Pixels:
    """An image at another (height, width), bilinearly."""
    return np.asarray(cv2.resize(image, size[::-1]), np.float32)


def softened(image: Pixels, sigma: float) -> Pixels:
    """An image blurred by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def three_channels(gray: Pixels) -> Pixels:  # (h, w) -> (h, w, 3)
    """A value for each pixel as one for each channel; NumPy's broadcasting is far slower here."""
    return np.asarray(cv2.merge((gray, gray, gray)), np.float32)


def render(
    capsules: Sequence[Capsule], light: Vector, size: tuple[int, int], *, gloss: float = 0.12
) -> Sprite | None:
    """Draw capsules under a light from direction `light` (3,), cut to an image of `size` (h, w).

    None if nothing lies inside the image.
    """
    boxes = np.array([_extent(capsule) for capsule in capsules])
    left, top = np.maximum(np.floor(boxes[:, :2].min(axis=0)).astype(int) - 1, 0)
    right, bottom = np.minimum(np.ceil(boxes[:, 2:].max(axis=0)).astype(int) + 2, size[::-1])
    if right - left < 2 or bottom - top < 2:
        return None
    canvas = _Canvas(int(left), int(top), int(bottom - top), int(right - left))
    for capsule in capsules:
        canvas.add(capsule)
    return canvas.shaded(light, gloss)


class _Canvas:
    """What is nearest so far at each pixel: depth, surface normal, color, part."""

    def __init__(self, left: int, top: int, height: int, width: int) -> None:
        self.left, self.top = left, top
        self.depth = np.full((height, width), -1e6, np.float32)
        self.normal = np.zeros((height, width, 3), np.float32)
        self.color = np.zeros((height, width, 3), np.float32)
        self.alpha = np.zeros((height, width), np.float32)
        self.parts = np.full((height, width), -1, np.int16)
        self.finest = np.float32(1e6)

    def add(self, capsule: Capsule) -> None:
        """Draw one capsule where it is nearer than all before, a band of rows after the other.

        The box around a long slanting rod is mostly empty; those around its bands are not.
        """
        reach = max(capsule.radii)
        (x0, y0), (x1, y1) = capsule.start[:2], capsule.end[:2]
        first = max(int(min(y0, y1) - reach) - 1, self.top)
        last = min(int(max(y0, y1) + reach) + 2, self.top + self.alpha.shape[0])
        for top in range(first, last, _BAND):
            bottom = min(top + _BAND, last)
            xs = [x0, x1]
            if abs(y1 - y0) > 1e-6:
                shares = ((edge - y0) / (y1 - y0) for edge in (top - reach, bottom + reach))
                xs = [x0 + (x1 - x0) * min(max(share, 0.0), 1.0) for share in shares]
            left = max(int(min(xs) - reach) - 1, self.left)
            right = min(int(max(xs) + reach) + 2, self.left + self.alpha.shape[1])
            if left < right:
                self._add_within(capsule, left, top, right, bottom)
        self.finest = min(self.finest, np.float32(reach))

    def _add_within(self, capsule: Capsule, left: int, top: int, right: int, bottom: int) -> None:
        start, end = capsule.start, capsule.end
        x = np.arange(left, right, dtype=np.float32)[None] - np.float32(start[0])
        y = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(start[1])
        along_x, along_y, along_z = (np.float32(v) for v in end - start)
        square = along_x * along_x + along_y * along_y + np.float32(1e-6)
        position = (x * along_x + y * along_y) / square  # (h, w): 0 at the start, 1 at the end
        share = np.maximum(np.minimum(position, 1), 0)
        near, far = (np.float32(radius) for radius in capsule.radii)
        radius = near + (far - near) * share
        off_x, off_y = x - share * along_x, y - share * along_y
        distance = off_x * off_x + off_y * off_y
        rows, columns = np.nonzero(distance < np.square(radius + np.float32(0.5)))
        if not len(rows):
            return
        # From here on only the P pixels that the rod covers.
        radius, distance = radius[rows, columns], distance[rows, columns]
        rise = np.sqrt(np.maximum(radius * radius - distance, 0))
        depth = np.float32(start[2]) + share[rows, columns] * along_z + rise
        place = (rows + (top - self.top)) * self.alpha.shape[1] + (columns + (left - self.left))
        cover = np.minimum(radius - np.sqrt(distance) + np.float32(0.5), 1)
        alpha = self.alpha.ravel()
        alpha[place] = np.maximum(alpha[place], cover)
        nearer = depth > self.depth.ravel()[place]
        rows, columns, place = rows[nearer], columns[nearer], place[nearer]
        scale = 1 / radius[nearer]
        normal = np.stack(
            (off_x[rows, columns] * scale, off_y[rows, columns] * scale, rise[nearer] * scale),
            axis=1,
        )  # (P, 3)
        self.depth.ravel()[place] = depth[nearer]
        self.normal.reshape(-1, 3)[place] = normal
        self.color.reshape(-1, 3)[place] = _surface(
            capsule, position[rows, columns], normal, float(np.sqrt(square))
        )
        self.parts.ravel()[place] = capsule.part

    def shaded(self, light: Vector, gloss: float) -> Sprite:
        """Light the surface; what lies behind a nearer neighbor is darker."""
        # Softer than the capsules themselves: neighbors such as the palm's grow together.
        fine = max(0.35 * float(self.finest), 0.3)
        normal = _smoothed(self.normal, fine)
        length = np.sqrt(np.einsum("ijk,ijk->ij", normal, normal)) + np.float32(1e-6)
        direction = (light / np.linalg.norm(light)).astype(np.float32)
        lit = np.einsum("ijk,k->ij", normal, direction) / length
        filled = self.alpha > 0
        depth = np.where(filled, self.depth, np.float32(0))
        share = _smoothed(filled.astype(np.float32), 2.5 * fine) + np.float32(1e-6)
        around = _smoothed(depth, 2.5 * fine) / share
        hollow = np.clip((around - depth) * np.float32(0.25 / fine), 0, 1)
        bright = np.float32(_AMBIENT) + np.float32(1 - _AMBIENT) * np.clip(
            np.float32(0.75) * lit + np.float32(0.25), 0, 1
        )
        bright *= 1 - np.float32(0.45) * hollow
        shine = np.float32(gloss) * cv2.pow(np.clip(lit, 0, 1), 24)
        color = self.color * three_channels(bright) + three_channels(shine)
        return Sprite(
            left=self.left,
            top=self.top,
            color=np.minimum(color, 1, out=color),
            alpha=self.alpha,
            parts=self.parts,
        )


def _smoothed(image: Pixels, sigma: float) -> Pixels:
    """Blur twice by a box: nearly as round as a Gaussian, at a cost that does not grow with it."""
    side = 2 * round(1.1 * sigma) + 1
    return np.asarray(cv2.blur(cv2.blur(image, (side, side)), (side, side)), np.float32)


def _extent(capsule: Capsule) -> tuple[float, float, float, float]:
    """Left, top, right, bottom around a capsule."""
    reach = max(capsule.radii)
    low = np.minimum(capsule.start[:2], capsule.end[:2]) - reach
    high = np.maximum(capsule.start[:2], capsule.end[:2]) + reach
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _surface(capsule: Capsule, position: Pixels, normal: Pixels, length: float) -> Pixels:
    """Color of P pixels before light falls on them: (P, 3), or (3,) where all are the same."""
    color = np.array(capsule.color, np.float32)
    if capsule.stripe > 0:
        second = np.array(capsule.second, np.float32)
        odd = (np.floor(position * length / capsule.stripe) % 2).astype(np.float32)
        color = color + (second - color) * odd[..., None]
    if capsule.crease > 0:
        width = 0.22 * capsule.radii[0] / max(length, 1e-3)
        fold = 1 - capsule.crease * np.exp(-np.square(position / width), dtype=np.float32)
        color = color * fold[..., None]
    if capsule.nail is not None and capsule.dorsal is not None:
        facing = normal @ capsule.dorsal.astype(np.float32)
        shown = np.clip((facing - _NAIL_EDGE) * 12, 0, 1) * (position > _NAIL_START)
        nail = np.array(capsule.nail, np.float32)
        color = color + (nail - color) * shown[..., None]
    return color

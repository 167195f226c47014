"""Things that are no hands but share something with them: skin, fingers, roundness, shading."""

from collections.abc import Callable

import cv2
import numpy as np

from demo.rendering.capsules import (
    Capsule,
    Color,
    Pixels,
    Sprite,
    Vector,
    render,
    render_coarsely,
)

Size = tuple[int, int]
Point = tuple[float, float]


def random_distractor(
    random: np.random.Generator, skin: Color, light: Vector, size: Size, reach: float
) -> Sprite | None:
    """One thing about `reach` pixels long somewhere in an image of `size` (height, width)."""
    center = random.uniform(0, size[1]), random.uniform(0, size[0])
    build = _BUILDERS[random.integers(len(_BUILDERS))]
    # A leaf in a skin's color would be a hand to anybody.
    alike = random.random() < 0.65 and build is not _leaf
    color = skin if alike else _any_color(random)
    return render(build(random, center, reach, color), light, size, gloss=random.uniform(0, 0.3))


def random_person(
    random: np.random.Generator, skin: Color, cloth: Color, light: Vector, size: Size
) -> tuple[Sprite | None, Point, float]:
    """Head and shoulders, with the center and the radius of the face."""
    radius = random.uniform(0.05, 0.17) * max(size)
    x, y = random.uniform(0.1, 0.9) * size[1], random.uniform(0.0, 0.6) * size[0]
    tilt = random.normal(0, 0.12)
    down = np.array((np.sin(tilt), np.cos(tilt), 0.0)) * radius
    side = np.array((np.cos(tilt), -np.sin(tilt), 0.0)) * radius
    head = np.array((x, y, 0.0))
    hair = _any_color(random, 0.02, 0.45)
    neck = head + 1.3 * down
    chest = head + 3.1 * down - np.array((0, 0, radius))
    capsules = [
        _rod(chest - 1.5 * side, chest + 1.5 * side, 1.3 * radius, 1.3 * radius, cloth),
        _rod(chest, chest + 6 * down, 2.3 * radius, 2.5 * radius, cloth),
        _rod(neck - 0.2 * down, neck + 0.8 * down, 0.5 * radius, 0.6 * radius, skin),
        _rod(head - 0.3 * down, head + 0.35 * down, 0.85 * radius, 0.68 * radius, skin),
    ]
    for outwards in (-side, side):
        shoulder = chest + 1.9 * outwards
        elbow = shoulder + 2.4 * down + random.uniform(0.2, 1.4) * outwards
        # The hand is behind the back.
        hip = shoulder + 4.2 * down - 0.5 * outwards - np.array((0, 0, 2.5 * radius))
        capsules.append(_rod(shoulder, elbow, 0.8 * radius, 0.6 * radius, cloth))
        capsules.append(_rod(elbow, hip, 0.5 * radius, 0.35 * radius, skin))
    if random.random() < 0.8:
        back = np.array((0, 0, 0.45 * radius))
        capsules.append(_rod(head - 0.45 * down - back, head - back + 0.1 * down, radius,
                             radius * random.uniform(0.85, 1.05), hair))  # fmt: skip
    return render_coarsely(capsules, light, size, gloss=0.05), (x, y), radius


def draw_face(
    random: np.random.Generator, image: Pixels, center: Point, radius: float, skin: Color
) -> None:
    """Eyes, brows, nose and mouth, drawn into the image."""
    x, y = center
    dark = tuple(0.25 * value for value in skin)
    lips = (0.75 * skin[0], 0.45 * skin[1], 0.45 * skin[2])
    line = max(1, round(0.07 * radius))

    def at(dx: float, dy: float) -> tuple[int, int]:
        return round(x + dx * radius), round(y + dy * radius)

    turn = random.uniform(-0.2, 0.2)
    for side in (-0.36, 0.36):
        eye = at(side + turn, -0.1)
        axes = max(1, round(0.15 * radius)), max(1, round(0.08 * radius))
        cv2.ellipse(image, eye, axes, 0, 0, 360, (0.92, 0.92, 0.9), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, eye, max(1, round(0.07 * radius)), dark, cv2.FILLED, cv2.LINE_AA)
        brow = at(side + turn - 0.17, -0.3), at(side + turn + 0.17, -0.31)
        cv2.line(image, *brow, dark, line, cv2.LINE_AA)
    cv2.line(image, at(turn, 0), at(1.3 * turn, 0.25), dark, max(1, line // 2), cv2.LINE_AA)
    width = max(1, round(random.uniform(0.18, 0.32) * radius))
    opening = max(1, round(random.uniform(0.03, 0.12) * radius))
    cv2.ellipse(image, at(turn, 0.52), (width, opening), 0, 0, 360, lips, cv2.FILLED, cv2.LINE_AA)


def _rod(start: Vector, end: Vector, near: float, far: float, color: Color) -> Capsule:
    return Capsule(start=start, end=end, radii=(near, far), color=color)


def _any_color(random: np.random.Generator, low: float = 0.05, high: float = 0.95) -> Color:
    red, green, blue = random.uniform(low, high, 3)
    return red, green, blue


def _arrow(random: np.random.Generator, length: float) -> Vector:
    angle = random.uniform(0, 2 * np.pi)
    return np.array((np.cos(angle), np.sin(angle), random.normal(0, 0.2))) * length


def _blob(random: np.random.Generator, center: Point, reach: float, color: Color) -> list[Capsule]:
    """A knee, an elbow, a shoulder: a few thick rods."""
    middle = np.array((*center, 0.0))
    near, far = random.uniform(0.12, 0.35, 2) * reach
    rods = [_rod(middle, middle + _arrow(random, 0.8 * reach), near, far, color)]
    if random.random() < 0.6:
        rods.append(_rod(middle, middle + _arrow(random, 0.8 * reach), near, far, color))
    return rods


def _arm(random: np.random.Generator, center: Point, reach: float, color: Color) -> list[Capsule]:
    """A bent arm, perhaps in a sleeve, whose hand is out of sight."""
    elbow = np.array((*center, 0.0))
    thick = random.uniform(0.13, 0.2) * reach
    upper, lower = (elbow + _arrow(random, random.uniform(1.0, 1.8) * reach) for _ in range(2))
    sleeve = _any_color(random) if random.random() < 0.5 else color
    end = elbow + random.uniform(0.3, 0.9) * (lower - elbow)
    return [
        _rod(elbow, upper, thick, 1.25 * thick, sleeve),
        _rod(elbow, lower, 0.95 * thick, 0.6 * thick, color),
        _rod(elbow, end, 1.1 * thick, thick, sleeve),
    ]


def _foot(random: np.random.Generator, center: Point, reach: float, color: Color) -> list[Capsule]:
    """A sole with five round toes, and a shin."""
    along = _arrow(random, 0.6 * reach)
    across = np.array((-along[1], along[0], 0.0)) * random.choice((-1, 1))
    heel = np.array((*center, 0.0))
    rods = [
        _rod(heel, heel + along, 0.13 * reach, 0.17 * reach, color),
        _rod(heel, heel - 1.5 * along + 0.6 * across, 0.12 * reach, 0.16 * reach, color),
    ]
    for toe in range(5):
        place = heel + along * (1.3 - 0.07 * toe**1.3) + across * (0.24 - 0.13 * toe)
        size = (0.075 - 0.009 * toe) * reach
        rods.append(_rod(place, place + 0.12 * along, size, size * 0.9, color))
    return rods


def _bundle(
    random: np.random.Generator, center: Point, reach: float, color: Color
) -> list[Capsule]:
    """Sausages, candles, carrots: side by side, without a palm."""
    along = _arrow(random, 0.8 * reach)
    across = np.array((-along[1], along[0], 0.0)) / 0.8
    rods = []
    for number in range(random.integers(2, 7)):
        start = np.array((*center, 0.0)) + across * (0.17 * number) + random.normal(0, 0.05) * along
        thick = random.uniform(0.05, 0.08) * reach
        end = start + along + random.normal(0, 0.06) * across * 3
        rods.append(_rod(start, end, thick, thick * random.uniform(0.4, 1), color))
    return rods


def _fork(random: np.random.Generator, center: Point, reach: float, color: Color) -> list[Capsule]:
    """A fork or rake: thin tines on a bar on a stem."""
    along = _arrow(random, 0.5 * reach)
    across = np.array((-along[1], along[0], 0.0))
    bar = np.array((*center, 0.0))
    thin = random.uniform(0.015, 0.035) * reach
    tines = int(random.integers(3, 7))
    offsets = np.linspace(-0.5, 0.5, tines)
    rods = [
        _rod(bar + across * o, bar + across * o + along, thin, 0.7 * thin, color) for o in offsets
    ]
    rods.append(_rod(bar - 0.5 * across, bar + 0.5 * across, 1.3 * thin, 1.3 * thin, color))
    rods.append(_rod(bar, bar - 2.5 * along, 1.4 * thin, 1.6 * thin, color))
    return rods


def _leaf(random: np.random.Generator, center: Point, reach: float, color: Color) -> list[Capsule]:
    """Blades that fan out from a stem, pointed: a hand's outline without a hand's parts."""
    along = _arrow(random, 0.6 * reach)
    across = np.array((-along[1], along[0], 0.0))
    root = np.array((*center, 0.0))
    rods = [_rod(root, root - 1.2 * along, 0.02 * reach, 0.02 * reach, color)]
    fan = random.uniform(0.4, 1.4)
    for angle in np.linspace(-fan, fan, int(random.integers(4, 10))):
        blade = np.cos(angle) * along + np.sin(angle) * across
        middle = root + 0.5 * blade
        rods.append(_rod(root, middle, 0.02 * reach, 0.07 * reach, color))
        rods.append(_rod(middle, root + blade, 0.07 * reach, 0.008 * reach, color))
    return rods


def _stick(random: np.random.Generator, center: Point, reach: float, color: Color) -> list[Capsule]:
    """A pole, perhaps forked."""
    along = _arrow(random, 2 * reach)
    root = np.array((*center, 0.0))
    thick = random.uniform(0.03, 0.12) * reach
    rods = [_rod(root - 0.5 * along, root + 0.5 * along, thick, thick, color)]
    for _ in range(random.integers(0, 3)):
        rods.append(_rod(root, root + _arrow(random, 0.7 * reach), 0.7 * thick, 0.4 * thick, color))
    return rods


_BUILDERS: tuple[Callable[[np.random.Generator, Point, float, Color], list[Capsule]], ...] = (
    _arm, _arm, _arm, _blob, _foot, _bundle, _fork, _leaf, _stick,
)  # fmt: skip

"""Articulated hands: a palm, four fingers of three joints, a thumb, and a forearm.

Built in units of a hand's length from the wrist to the tip of the middle finger: x towards the
thumb, y along the fingers, z out of the back of the hand; then turned in space, scaled and placed.
Proportions follow an adult's hand.
"""

from dataclasses import dataclass, replace

import numpy as np

from demo.rendering.capsules import Capsule, Color, Vector

HAND, FOREARM, SLEEVE, HELD = 0, 1, 2, 3
"""Parts of a hand's sprite; only `HAND` is inside its box."""

# Knuckle (x, y), lengths of the three bones, radius at the knuckle and at the tip.
_FINGERS = (
    ((0.150, 0.520), (0.215, 0.130, 0.095), 0.052, 0.037),
    ((0.050, 0.545), (0.235, 0.145, 0.100), 0.054, 0.038),
    ((-0.055, 0.525), (0.220, 0.135, 0.098), 0.050, 0.036),
    ((-0.150, 0.465), (0.165, 0.100, 0.085), 0.044, 0.031),
)
_THUMB_ROOT = (0.105, 0.110)
_THUMB = ((0.200, 0.070, 0.056), (0.150, 0.056, 0.050), (0.115, 0.050, 0.038))

# Bend of (knuckle, middle, last) joint in degrees, index to little finger, and of the thumb.
_STRAIGHT, _RELAXED, _CURLED = (4, 8, 5), (25, 35, 20), (75, 95, 60)
_POSES = (
    ((_STRAIGHT,) * 4, 0),
    ((_STRAIGHT,) * 4, 0),
    ((_RELAXED,) * 4, 20),
    ((_RELAXED,) * 4, 20),
    (((45, 50, 30),) * 4, 35),
    ((_CURLED,) * 4, 45),
    ((_CURLED,) * 4, -5),
    ((_STRAIGHT, _CURLED, _CURLED, _CURLED), 35),
    ((_STRAIGHT, _STRAIGHT, _CURLED, _CURLED), 40),
    ((_STRAIGHT, _CURLED, _CURLED, _STRAIGHT), 30),
    (((50, 55, 35), _RELAXED, _RELAXED, _STRAIGHT), 40),
)
_GRIP = (((60, 62, 35),) * 4, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Colors of a hand and what is worn above it; `sleeve` None is a bare arm."""

    skin: Color
    nail: Color
    sleeve: Color | None
    stripe: Color | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hand:
    """A hand in an image: its capsules, and the corners (4, 2) of the rectangle around it.

    The rectangle lies along the hand; its first two corners are at the wrist.
    """

    capsules: tuple[Capsule, ...]
    corners: Vector


def random_hand(
    random: np.random.Generator, look: Look, center: tuple[float, float], length: float, roll: float
) -> Hand:
    """A hand of random pose, side and turn: `length` pixels, `roll` radians from upwards."""
    grips = random.random() < 0.18
    bends, thumb = _GRIP if grips else _POSES[random.integers(len(_POSES))]
    capsules = _fingers(random, look, bends) + _thumb(random, look, thumb) + _palm(look)
    hand = len(capsules)
    if grips:
        capsules.append(_held_object(random))
    capsules += _forearm(random, look)
    # Either face towards the viewer, up to 40 degrees off; left hands are mirrored.
    yaw = random.choice((0.0, np.pi)) + random.normal(0, 0.4)
    pitch = np.clip(random.normal(0, 0.35), -0.9, 0.9)
    mirror = np.diag((random.choice((-1.0, 1.0)), 1.0, 1.0))
    # The picture's y points down.
    turn = np.diag((1.0, -1.0, 1.0)) @ _about_z(-roll) @ _about_x(pitch) @ _about_y(yaw) @ mirror
    middle = turn @ np.array((0.0, 0.45, 0.0)) * length
    offset = np.array((*center, 0.0)) - np.array((middle[0], middle[1], 0.0))
    placed = [_placed(capsule, turn, length, offset) for capsule in capsules]
    return Hand(capsules=tuple(placed), corners=_rectangle(placed[:hand], turn))


def _fingers(
    random: np.random.Generator, look: Look, bends: tuple[tuple[int, int, int], ...]
) -> list[Capsule]:
    capsules = []
    spread = random.uniform(0.0, 0.2)
    shared = random.normal(0, 5)
    for number, ((x, y), bones, thick, thin) in enumerate(_FINGERS):
        angle = (1.5 - number) * spread * 0.9 + random.normal(0, 0.03)
        plane = np.array((np.sin(angle), np.cos(angle), 0.0))
        start, bend = np.array((x, y, 0.0)), 0.0
        for bone, length in enumerate(bones):
            bend += np.radians(max(-5, bends[number][bone] + shared + random.normal(0, 6)))
            along = np.cos(bend) * plane - np.array((0.0, 0.0, np.sin(bend)))
            dorsal = np.sin(bend) * plane + np.array((0.0, 0.0, np.cos(bend)))
            end = start + along * length
            radii = [thick + (thin - thick) * step / 3 for step in (bone, bone + 1)]
            capsules.append(
                Capsule(
                    start=start,
                    end=end,
                    radii=(radii[0], radii[1]),
                    color=_flushed(look.skin, 0.25 * bone),
                    crease=0.0 if bone == 0 else 0.22,
                    nail=look.nail if bone == 2 else None,
                    dorsal=dorsal,
                )
            )
            start = end
    return capsules


def _thumb(random: np.random.Generator, look: Look, bend: float) -> list[Capsule]:
    capsules = []
    start = np.array((*_THUMB_ROOT, 0.0))
    angle, lift = np.radians(random.uniform(38, 62)), np.radians(random.uniform(5, 35))
    for bone, (length, near, far) in enumerate(_THUMB):
        along = np.array(
            (np.sin(angle) * np.cos(lift), np.cos(angle) * np.cos(lift), -np.sin(lift))
        )
        across = np.array((np.cos(angle), -np.sin(angle), 0.0))
        dorsal = 0.6 * across + 0.8 * np.cross(across, along)
        end = start + along * length
        capsules.append(
            Capsule(
                start=start,
                end=end,
                radii=(near, far),
                color=_flushed(look.skin, 0.2 * bone),
                crease=0.2 if bone == 2 else 0.0,
                nail=look.nail if bone == 2 else None,
                dorsal=dorsal / np.linalg.norm(dorsal),
            )
        )
        start = end
        angle -= np.radians(max(-12, bend + random.normal(0, 8)))
    return capsules


def _palm(look: Look) -> list[Capsule]:
    bones = [
        ((0.55 * x, 0.06), (x, y - 0.03), 0.070, thick + 0.012) for (x, y), _, thick, _ in _FINGERS
    ]
    bones += [
        ((0.075, 0.10), (0.125, 0.30), 0.085, 0.075),
        ((-0.085, 0.10), (-0.130, 0.33), 0.080, 0.065),
        ((0.000, 0.10), (0.000, 0.42), 0.080, 0.070),
        # Across, so that the bones grow together into one surface.
        ((0.120, 0.44), (-0.120, 0.40), 0.066, 0.060),
        ((0.100, 0.30), (-0.105, 0.28), 0.072, 0.070),
    ]
    return [
        Capsule(
            start=np.array((*start, 0.0)), end=np.array((*end, 0.0)), radii=(a, b), color=look.skin
        )
        for start, end, a, b in bones
    ]


def _forearm(random: np.random.Generator, look: Look) -> list[Capsule]:
    length = random.uniform(2.0, 4.5)
    lean = random.normal(0, 0.25)
    along = -np.array((np.sin(lean), np.cos(lean), random.normal(0, 0.15)))
    wrist = np.array((0.0, 0.05, -0.01))
    color = _flushed(look.skin, -0.15)
    bare = Capsule(start=wrist, end=wrist + along * length, radii=(0.112, 0.17), color=color,
                   part=FOREARM)  # fmt: skip
    if look.sleeve is None:
        return [bare]
    cuff = wrist + along * random.uniform(0.08, 0.8)
    width = random.uniform(0.15, 0.21)
    sleeve = Capsule(
        start=cuff,
        end=wrist + along * length,
        radii=(width, width + random.uniform(0.03, 0.1)),
        color=look.sleeve,
        part=SLEEVE,
        stripe=0.0 if look.stripe is None else random.uniform(0.06, 0.16),
        second=look.stripe or look.sleeve,
    )
    return [bare, sleeve]


def _held_object(random: np.random.Generator) -> Capsule:
    """A stick or a cup across the palm, under the fingers."""
    radius = random.uniform(0.045, 0.12)
    half = random.uniform(0.25, 0.8)
    middle = np.array((0.0, 0.50 + radius * 0.4, -0.075 - radius))
    across = np.array((1.0, random.normal(0, 0.2), 0.0)) * half
    red, green, blue = random.uniform(0.05, 0.95, 3)
    return Capsule(
        start=middle - across, end=middle + across, radii=(radius, radius),
        color=(red, green, blue), part=HELD,
    )  # fmt: skip


def _placed(capsule: Capsule, turn: Vector, length: float, offset: Vector) -> Capsule:
    near, far = capsule.radii
    return replace(
        capsule,
        start=turn @ capsule.start * length + offset,
        end=turn @ capsule.end * length + offset,
        radii=(near * length, far * length),
        stripe=capsule.stripe * length,
        dorsal=None if capsule.dorsal is None else turn @ capsule.dorsal,
    )


def _rectangle(capsules: list[Capsule], turn: Vector) -> Vector:  # -> (4, 2)
    """The tight rectangle around capsules whose sides run along and across the hand."""
    along = (turn @ np.array((0.0, 1.0, 0.0)))[:2]
    along = along / max(float(np.linalg.norm(along)), 1e-9)
    across = np.array((-along[1], along[0]))
    ends = np.array([point[:2] for c in capsules for point in (c.start, c.end)])
    reach = np.array([radius for c in capsules for radius in c.radii])
    low_u, high_u = (ends @ along - reach).min(), (ends @ along + reach).max()
    low_v, high_v = (ends @ across - reach).min(), (ends @ across + reach).max()
    return np.array(
        [
            u * along + v * across
            for u, v in ((low_u, low_v), (low_u, high_v), (high_u, high_v), (high_u, low_v))
        ]
    )


def _flushed(skin: Color, amount: float) -> Color:
    """Skin with more blood under it, as at the finger tips."""
    red, green, blue = skin
    return (
        min(1.0, red * (1 + 0.06 * amount)),
        green * (1 - 0.1 * amount),
        blue * (1 - 0.1 * amount),
    )


def _about_x(angle: float) -> Vector:
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((1, 0, 0), (0, c, -s), (0, s, c)))


def _about_y(angle: float) -> Vector:
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, 0, s), (0, 1, 0), (-s, 0, c)))


def _about_z(angle: float) -> Vector:
    c, s = np.cos(angle), np.sin(angle)
    return np.array(((c, -s, 0), (s, c, 0), (0, 0, 1)))

"""Where an image lies in what a network sees."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where an image lies in a network's input: input = image * scale + offset, pixels (x, y)."""

    scale: tuple[float, float]
    offset: tuple[float, float]

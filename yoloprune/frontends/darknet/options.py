"""Typed access to the options of one section.

Text becomes numbers here, or a `CfgError` that names file, line, layer and option. darknet reads
numbers by C's `atoi` and `atof`, which stop at a comment behind them; of a word the comment is a
part, and in a list its commas count. What programs would read differently is refused.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.cfg import BLANKS, Section

# fmt: off
ACTIVATIONS = frozenset({
    "elu", "gelu", "hard_mish", "hardtan", "leaky", "lhtan", "linear", "loggy", "logistic", "mish",
    "plse", "ramp", "relie", "relu", "relu6", "selu", "stair", "swish", "tanh",
})
# fmt: on
"""Activations that act on each value alone, as darknet names them."""

_Number = TypeVar("_Number", int, float)

_COMMENT = re.compile("[#;]")

MAX_CHANNELS = 1 << 16
"""Larger filter counts and image sizes are taken for damage, not for networks."""


def before_comment(text: str) -> str:
    """As much of a value as darknet reads of it where that is a number."""
    return _COMMENT.split(text, maxsplit=1)[0].rstrip()


class Options:
    """Typed access to one section's options; every failure names file, line and section."""

    def __init__(self, section: Section, index: int, name: str) -> None:
        self.section = section
        self.index = index
        self.name = name
        self._values: dict[str, str] = {}
        self._conflicts: dict[str, int] = {}
        for option in section.options:
            # darknet takes the first of two equal keys, OpenCV the last: only agreement is safe.
            if self._values.setdefault(option.key, option.value) != option.value:
                self._conflicts[option.key] = option.line

    def error(self, message: str, key: str | None = None) -> CfgError:
        """An error at the line of option `key`, or at the section's own line."""
        line = next((o.line for o in self.section.options if o.key == key), self.section.line)
        layer = f" layer {self.index}" if self.index >= 0 else ""
        return CfgError(f"{self.name}:{line}:{layer} [{self.section.name}] {message}")

    def has(self, key: str) -> bool:
        """Whether an option is there."""
        return key in self._values

    def text(self, key: str, default: str | None = None) -> str:
        """The value as written; an option without a default has to be there."""
        if key in self._conflicts:
            raise self.error(f"gives {key!r} twice with different values", key)
        value = self._values.get(key, default)
        if value is None:
            raise self.error(f"needs the option {key!r}")
        return value

    def word(self, key: str, default: str) -> str:
        """A value that darknet compares with names it knows: all of it counts."""
        value = self.text(key, default)
        if not value.isprintable() or _COMMENT.search(value):
            raise self.error(
                f"option {key}={value[:60]!r}: darknet takes all of that for the value: put "
                "comments on lines of their own, and take out blanks other than spaces and tabs",
                key,
            )
        return value

    def number(self, key: str, text: str, convert: Callable[[str], _Number]) -> _Number:
        """Convert part or all of an option's value; `key` is for the message."""
        digits = before_comment(text)
        try:
            # Python also takes 1_6, digits of other scripts and blanks that darknet stops at.
            if "_" in digits or not digits.isascii() or digits[:1].isspace():
                raise ValueError
            value = convert(digits)
        except ValueError:
            kind = "an integer" if convert is int else "a number"
            raise self.error(f"option {key}={text[:60]!r} is not {kind}", key) from None
        if not abs(value) < 1e9:
            raise self.error(f"option {key}={text[:60]!r} is out of range", key)
        return value

    def integer(self, key: str, default: int | None = None, *, least: int = 0) -> int:
        """A number from `least` to `MAX_CHANNELS`."""
        value = self.number(key, self.text(key, None if default is None else str(default)), int)
        if value < least:
            raise self.error(f"option {key}={value} must be at least {least}", key)
        if value > MAX_CHANNELS:
            raise self.error(f"option {key}={value} must be at most {MAX_CHANNELS}", key)
        return value

    def real(self, key: str, default: float) -> float:
        """A finite number."""
        return self.number(key, self.text(key, str(default)), float)

    def integers(self, key: str) -> list[int]:
        """Whole numbers between commas."""
        # A comma at the end is no slip to overlook: darknet reads layer 0 behind it.
        return [self.number(key, item, int) for item in self._items(key)]

    def reals(self, key: str) -> list[float]:
        """Finite numbers between commas, of which one at the end means nothing."""
        items = self._items(key)
        while len(items) > 1 and not items[-1]:
            items.pop()
        return [self.number(key, item, float) for item in items]

    def _items(self, key: str) -> list[str]:
        text = self.text(key)
        comment = _COMMENT.search(text)
        if comment is not None and "," in text[comment.start() :]:
            raise self.error(
                f"option {key}={text[:60]!r}: darknet counts the commas of the comment, too: put "
                "it on a line of its own",
                key,
            )
        return [item.strip(BLANKS) for item in text.split(",")]

    def flag(self, key: str) -> bool:
        """Whether an option is there and not 0."""
        return self.number(key, self.text(key, "0"), int) != 0

    def activation(self, default: str, allowed: frozenset[str] = ACTIVATIONS) -> str:
        """The name of an activation that this package computes."""
        value = self.word("activation", default)
        if value not in allowed:
            known = ", ".join(sorted(allowed))
            raise self.error(
                f"activation {value[:60]!r} is not supported (known: {known})", "activation"
            )
        return value

    def refuse(self, keys: tuple[str, ...]) -> None:
        """Raise if one of these options is in use."""
        for key in keys:
            # These two name a layer and a file; elsewhere 0 switches the feature off.
            if self.has(key) and (key in ("share_index", "tree") or self.flag(key)):
                raise self.error(
                    f"option {key}={self.text(key)[:60]} changes the arithmetic: not supported", key
                )

    def source(self, key: str, reference: int) -> int:
        """Absolute index of the earlier layer that a relative or absolute reference names."""
        absolute = self.index + reference if reference < 0 else reference
        if self.index == 0:
            raise self.error("is the first layer, but has to read an earlier one")
        if not 0 <= absolute < self.index:
            raise self.error(
                f"{key}={reference} points to layer {absolute}: "
                f"only earlier layers (0 to {self.index - 1}) can be read",
                key,
            )
        return absolute

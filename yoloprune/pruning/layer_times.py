"""How long convolutions take in an engine, by their shapes: a table that was measured.

What was not measured is estimated from measured ones that differ in their channel counts alone.
Engines compute in blocks of channels, so that a count that makes no multiple of 16, 8 or 4 may take
longer than a larger one that does: the estimate goes by layers whose counts are of the same kind.
"""

import csv
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from yoloprune.errors import PlanError
from yoloprune.files import read_file, write_text

BLOCK = 16
"""Channels of the largest block whose effect is told apart."""

SHORTEST, LONGEST = 1e-6, 1e7
"""Milliseconds between which everything is that was measured: a nanosecond, some hours."""

MOST, LARGEST = 2**31 - 1, 2**26
"""What no size or count of a layer exceeds, and bytes of a table that make sense."""

ROUNDS = 20
"""So often are factors found anew, each time with errors weighed by those before."""

EXACT = 0.01
"""The relative error from which on factors are told apart by it."""

NETWORK = "network"
"""What stands for a layer in the row of a whole network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution of one image, with the activation that engines compute with it.

    It reads `inputs` channels of `height` x `width`, padded by `pads` (all starts, then all ends).
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int
    height: int
    width: int
    inputs: int
    outputs: int
    activation: str = ""

    @property
    def depthwise(self) -> bool:
        """Whether each group reads a single channel."""
        return 1 < self.groups == self.inputs

    @property
    def form(self) -> "Layer":
        """What layers have in common that differ in their channel counts alone."""
        groups = 0 if self.depthwise else self.groups
        return replace(self, inputs=0, outputs=0, groups=groups)

    @property
    def room(self) -> tuple[int, int]:
        """Height and width of what it gives."""
        sides = (self.height, self.width)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]
        padded = [side + self.pads[n] + self.pads[n + 2] for n, side in enumerate(sides)]
        height, width = (
            (padded[n] - reach[n]) // self.strides[n] + 1 for n in range(len(self.strides))
        )
        return height, width

    @property
    def fills_blocks(self) -> bool:
        """Whether its counts of channels fill an engine's blocks."""
        return _kind(self) == (BLOCK, BLOCK)

    @property
    def macs(self) -> int:
        """Its multiply-accumulates."""
        each = self.outputs * self.inputs // self.groups
        return math.prod(self.room) * math.prod(self.kernel) * each

    @property
    def moved(self) -> int:
        """Numbers that it reads and writes."""
        kernel = math.prod(self.kernel) * self.outputs * self.inputs // self.groups
        images = self.inputs * self.height * self.width + self.outputs * math.prod(self.room)
        return images + kernel

    def __str__(self) -> str:
        """The layer in a few words."""
        kernel = "x".join(map(str, self.kernel))
        depthwise = "depthwise " if self.depthwise else ""
        return (
            f"{depthwise}{kernel} convolution, {self.inputs} to {self.outputs} channels at "
            f"{self.width}x{self.height}"
        )


Measure = Callable[[Collection[Layer]], Mapping[Layer, float]]
"""Times layers: milliseconds of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Milliseconds of layers and of the whole dense network, None where that is not known.

    `measure` times further layers, where that can be done; `source` says where they come from.
    """

    layers: dict[Layer, float]
    network: float | None = None
    measure: Measure | None = None
    source: str = ""
    _alike: dict[Layer, dict[Layer, float]] = field(default_factory=dict)
    _estimates: dict[Layer, dict[Layer, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._add(self.layers)

    def learn(self, layers: Iterable[Layer]) -> None:
        """Measure those that are not known, if that can be done."""
        new = [layer for layer in dict.fromkeys(layers) if layer not in self.layers]
        if new and self.measure is not None:
            self._add(self.measure(new))

    def ms(self, layer: Layer) -> float:
        """Milliseconds of a layer, as measured or estimated.

        Raises `PlanError` where nothing like it was measured.
        """
        known = self.layers.get(layer)
        if known is not None:
            return known
        estimates = self._estimates.setdefault(layer.form, {})
        if layer not in estimates:
            estimates[layer] = self._estimate(layer)
        return estimates[layer]

    def _add(self, layers: Mapping[Layer, float]) -> None:
        self.layers.update(layers)
        for layer, ms in layers.items():
            form = layer.form
            self._alike.setdefault(form, {})[layer] = ms
            self._estimates.pop(form, None)

    def _estimate(self, layer: Layer) -> float:
        alike = self._alike.get(layer.form)
        if alike is None:
            raise PlanError(f"the timings lack a {layer}: list and measure the layers again")
        kind = _kind(layer)
        same = {own: ms for own, ms in alike.items() if _kind(own) == kind}
        # Rather too slow than too fast: counts that fit blocks better say little.
        worse = {own: ms for own, ms in alike.items() if _no_better(_kind(own), kind)}
        return max(fitted_ms(same or worse or alike, layer), min(alike.values()) / 4)


def _kind(layer: Layer) -> tuple[int, int]:
    """How well the counts of channels fit blocks."""
    return math.gcd(layer.inputs, BLOCK), math.gcd(layer.outputs, BLOCK)


def _no_better(kind: tuple[int, int], than: tuple[int, int]) -> bool:
    return kind[0] <= than[0] and kind[1] <= than[1]


def fitted_ms(known: Mapping[Layer, float], layer: Layer) -> float:
    """What a layer takes if each time is a sum of a constant, of reading, writing and computing.

    The shares, none of them negative, are those that fit the known times best, relatively.
    """
    shares = nonnegative(
        np.array([_causes(own) for own in known], np.float64),
        np.array(list(known.values()), np.float64),
    )
    return float(_causes(layer) @ shares)


def _causes(layer: Layer) -> NDArray[np.float64]:
    return np.array([1, layer.inputs, layer.outputs, layer.inputs * layer.outputs], np.float64)


def nonnegative(
    causes: NDArray[np.float64],
    times: NDArray[np.float64],
    scale: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Factors >= 0 of few causes (a row a time) whose sum is nearest to the times.

    Errors count relatively to the times, or to a `scale` of each.
    """
    scale = times if scale is None else scale
    scaled, wanted, count = causes / scale[:, None], times / scale, causes.shape[1]
    best, found = math.inf, np.zeros(count)
    # Of so few causes every subset can be tried; the best without a negative factor is the answer.
    for number in range(1, min(count, len(times)) + 1):
        for chosen in map(list, combinations(range(count), number)):
            part, *_ = np.linalg.lstsq(scaled[:, chosen], wanted, rcond=None)
            error = float(((scaled[:, chosen] @ part - wanted) ** 2).sum())
            if part.min() >= 0 and error < best - 1e-12:
                best, found = error, np.zeros(count)
                found[chosen] = part
    return found


def usual_factors(causes: NDArray[np.float64], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors >= 0 of causes (a row a time) that explain most times, whatever the others are.

    A short layer is the difference of long runs, and now and then next to nothing: relatively to
    the time, and squared, it would outweigh all others. So errors are relative to the larger of
    both, and count as they are.
    """
    found, scale = np.zeros(causes.shape[1]), times + np.median(times)
    for _ in range(ROUNDS):
        found = nonnegative(causes, times, scale)
        told = causes @ found
        larger = np.maximum(times, told)
        scale = larger * np.sqrt(np.maximum(np.abs(told - times) / larger, EXACT))
    return found


_NUMBERS = ("groups", "height", "width", "inputs", "outputs")
_LISTS = {"kernel": 2, "strides": 2, "dilations": 2, "pads": 4}
COLUMNS = (*_LISTS, *_NUMBERS, "activation", "ms")


def write_timings(
    path: Path, layers: Mapping[Layer, float | None], network: float | None = None
) -> None:
    """Write layers as CSV, those without a time to be measured; a network's row is the last."""
    rows = [",".join(COLUMNS)]
    rows += [",".join(cells(layer, ms)) for layer, ms in layers.items()]
    if network is not None:
        rows.append(",".join((NETWORK, *[""] * (len(COLUMNS) - 2), _text(network))))
    write_text(path, "".join(f"{row}\n" for row in rows))


def cells(layer: Layer, ms: float | None) -> tuple[str, ...]:
    """A layer's row, without a time where there is none yet."""
    lists = ["x".join(map(str, getattr(layer, name))) for name in _LISTS]
    numbers = [str(getattr(layer, name)) for name in _NUMBERS]
    return (*lists, *numbers, layer.activation, _text(ms))


def _text(ms: float | None) -> str:
    return "" if ms is None else f"{ms:.6g}"


def read_timings(path: Path) -> Timings:
    """Read what `write_timings` wrote once all is measured.

    Raises `PlanError`, by line, for what is malformed or was not measured.
    """
    try:
        # Spreadsheets begin their files with a byte-order mark.
        lines = read_file(path, LARGEST).decode("utf-8-sig").splitlines()
        rows = list(csv.reader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PlanError(f"{path}: cannot be read: {error}") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise PlanError(f"{path}: no timings: its first line must be {','.join(COLUMNS)}")
    layers: dict[Layer, float] = {}
    network = None
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        try:
            if len(row) != len(COLUMNS):
                raise ValueError(f"{len(row)} columns, not {len(COLUMNS)}")
            if row[0] == NETWORK:
                network = _only(network, _ms(row[-1]))
            else:
                layer, ms = _layer(row)
                layers[layer] = _only(layers.get(layer), ms)
        except ValueError as error:
            raise PlanError(f"{path}, line {number}: {error}") from None
    if not layers:
        raise PlanError(f"{path}: names no layers: measure some")
    return Timings(layers=layers, network=network, source=str(path))


def _only(before: float | None, ms: float) -> float:
    """What something takes, whatever a line before said of it; raises `ValueError` if otherwise."""
    if before not in (None, ms):
        raise ValueError(f"it takes {ms:g} ms, and by a line before {before:g}: leave one")
    return ms


def _layer(row: list[str]) -> tuple[Layer, float]:
    cells = dict(zip(COLUMNS, row, strict=True))
    counts = {name: int(cells[name]) for name in _NUMBERS}
    lists = {name: tuple(map(int, cells[name].split("x"))) for name in _LISTS}
    wrong = [name for name, count in _LISTS.items() if len(lists[name]) != count]
    wrong += [name for name, count in counts.items() if not 1 <= count <= MOST]
    wrong += [n for n in ("kernel", "strides", "dilations") if n not in wrong and min(lists[n]) < 1]
    wrong += [
        n for n in _LISTS if n not in wrong and not -MOST <= min(lists[n]) <= max(lists[n]) <= MOST
    ]
    if wrong:
        raise ValueError(f"{wrong[0]} is {cells[wrong[0]]!r}, which no layer has")
    layer = Layer(**counts, **lists, activation=cells["activation"])  # type: ignore[arg-type]
    if layer.inputs % layer.groups or min(layer.room) < 1:
        raise ValueError(f"its {layer.groups} groups or its kernel do not fit a {layer}")
    return layer, _ms(cells["ms"])


def measurable(ms: float) -> bool:
    """Whether something may take so many milliseconds."""
    return SHORTEST < ms < LONGEST


def _ms(text: str) -> float:
    if not text:
        raise ValueError("it was not measured: run the list through the script first")
    ms = float(text)
    if not measurable(ms):
        raise ValueError(f"ms is {text}, which nothing takes")
    return ms

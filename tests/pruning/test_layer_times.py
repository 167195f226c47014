"""Times of layers: what is read, what is estimated, and what is refused."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yoloprune.errors import PlanError
from yoloprune.pruning.layer_times import (
    COLUMNS,
    Layer,
    Timings,
    nonnegative,
    read_timings,
    usual_factors,
    write_timings,
)

LAYER = Layer(
    kernel=(3, 3),
    strides=(2, 1),
    dilations=(1, 1),
    pads=(1, 0, 1, 0),
    groups=1,
    height=9,
    width=8,
    inputs=16,
    outputs=32,
    activation="Relu",
)


def of(inputs: int, outputs: int) -> Layer:
    return replace(LAYER, inputs=inputs, outputs=outputs)


def test_what_a_layer_costs_follows_from_its_shape() -> None:
    assert LAYER.room == (5, 6)
    assert LAYER.macs == 5 * 6 * 3 * 3 * 16 * 32
    assert LAYER.moved == 16 * 72 + 32 * 30 + 9 * 16 * 32
    depthwise = replace(LAYER, groups=16, outputs=16)
    assert depthwise.macs == 5 * 6 * 3 * 3 * 16
    narrower = replace(depthwise, groups=8, inputs=8, outputs=8)
    assert depthwise.form == narrower.form != LAYER.form


def test_a_table_survives_its_file(tmp_path: Path) -> None:
    layers = {of(16, 32): 0.5, replace(of(8, 8), groups=8, activation=""): 0.25}
    write_timings(tmp_path / "t.csv", layers, 3.5)
    found = read_timings(tmp_path / "t.csv")
    assert (found.layers, found.network) == (layers, 3.5)


def test_a_layer_that_was_not_measured_is_estimated_from_those_of_its_kind() -> None:
    def ms(inputs: int, outputs: int) -> float:
        slow = 1 if inputs % 16 == outputs % 16 == 0 else 3
        return slow * (0.1 + 0.01 * inputs + 0.02 * outputs + 0.003 * inputs * outputs)

    sizes = (16, 32, 64, 96)
    known = {of(a, b): ms(a, b) for a in sizes for b in sizes}
    known |= {of(a - 1, b - 1): ms(a - 1, b - 1) for a in sizes for b in sizes}
    timings = Timings(layers=known)
    assert timings.ms(of(48, 80)) == pytest.approx(ms(48, 80), rel=1e-6)
    assert timings.ms(of(47, 79)) == pytest.approx(ms(47, 79), rel=1e-6)
    # Nothing was measured of this kind, but of one that fits blocks no better.
    assert timings.ms(of(40, 72)) == pytest.approx(ms(40, 72), rel=1e-6)
    assert timings.ms(of(16, 16)) == known[of(16, 16)]
    with pytest.raises(PlanError, match="lack a 3x3 convolution, 16 to 32 channels at 9x9"):
        timings.ms(replace(LAYER, width=9))


def test_only_what_is_not_known_is_measured_and_only_once() -> None:
    asked: list[Layer] = []

    def measure(layers: object) -> dict[Layer, float]:
        asked.extend(layers)
        return dict.fromkeys(layers, 2.0)

    timings = Timings(layers={of(1, 1): 1.0}, measure=measure)
    for _ in range(2):
        timings.learn([of(1, 1), of(1, 2), of(1, 2)])
    assert asked == [of(1, 2)]
    assert timings.ms(of(1, 2)) == 2.0


def test_a_few_times_that_noise_made_do_not_tell_what_is_usual() -> None:
    generator = np.random.default_rng(0)
    causes = np.stack([np.ones(60), np.exp(generator.uniform(-3, 3, 60))], axis=1)
    times = causes @ [2.0, 3.0] * generator.uniform(0.9, 1.1, 60)
    times[:5], times[5:8] = 1e-4, 4 * times[5:8]
    assert usual_factors(causes, times) == pytest.approx([2, 3], rel=0.15)
    # Where errors count relatively to times, those five are all that counts.
    assert nonnegative(causes, times)[1] < 1e-3
    assert usual_factors(causes, 2 * causes[:, 0]) == pytest.approx([2, 0], abs=1e-9)


def test_no_cause_takes_time_back() -> None:
    causes = np.array([[1, 1], [1, 2], [1, 3]], np.float64)
    assert nonnegative(causes, np.array([3.0, 5.0, 7.0])) == pytest.approx([1, 2])
    # The line through these has a negative constant.
    constant, slope = nonnegative(causes, np.array([1.0, 3.0, 5.0]))
    assert constant == 0
    assert slope > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "its first line must be"),
        ("a,b\n", "its first line must be"),
        ("{header}\n", "names no layers"),
        ("{header}\n3x3,1x1,1x1\n", "line 2: 3 columns, not 11"),
        ("{header}\n{row}\n", "line 2: it was not measured"),
        ("{header}\n{row}1\n{row}1\n{row}2\n", "line 4: it takes 2 ms, and by a line before 1"),
        ("{header}\n{row}1\nnetwork,0.1\n", "line 3: 2 columns, not 11"),
        ("{header}\n{row}0\n", "line 2: ms is 0"),
        ("{header}\n{row}nan\n", "line 2: ms is nan"),
        ("{header}\n{row}1e-300\n", "line 2: ms is 1e-300"),
        ("{header}\n3x3,1x1,1x1,1x1x1x1,1,8,8,4,99999999999,,1\n", "outputs is '99999999999'"),
        ("{header}\n3x99999999999,1x1,1x1,1x1x1x1,1,8,8,4,4,,1\n", "kernel is"),
        ("{header}\n" + "8" * 200_000, "cannot be read: field larger"),
        ("{header}\n3,1x1,1x1,1x1x1x1,1,8,8,4,4,,1\n", "kernel is '3'"),
        ("{header}\n3x3,0x1,1x1,1x1x1x1,1,8,8,4,4,,1\n", "strides is '0x1'"),
        ("{header}\n3x3,1x1,1x1,1x1x1x1,1,8,8,4,-4,,1\n", "outputs is '-4'"),
        ("{header}\n3x3,1x1,1x1,1x1x1x1,3,8,8,4,4,,1\n", "do not fit"),
        ("{header}\n9x9,1x1,1x1,1x1x1x1,1,4,4,4,4,,1\n", "do not fit"),
    ],
)
def test_a_damaged_table_is_refused_by_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    row = "3x3,1x1,1x1,1x1x1x1,1,8,8,4,4,,"
    path.write_text(text.format(header=",".join(COLUMNS), row=row))
    with pytest.raises(PlanError, match=words) as caught:
        read_timings(path)
    assert str(path) in str(caught.value)


def test_a_table_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    write_timings(tmp_path / "t.csv", {LAYER: 0.5})
    (tmp_path / "t.csv").write_text((tmp_path / "t.csv").read_text(), encoding="utf-8-sig")
    assert read_timings(tmp_path / "t.csv").layers == {LAYER: 0.5}


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        read_timings(tmp_path / "no.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(PlanError, match="not a plain file"):
        read_timings(tmp_path / "pipe.csv")

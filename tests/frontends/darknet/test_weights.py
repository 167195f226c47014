"""Weights files: both headers, exact round trips, and damage named by layer and byte."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from tests.random_networks import network_specs, random_state
from yoloprune.errors import WeightsError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import WEIGHTS_HEADER_BYTES, NetworkSpec
from yoloprune.frontends.darknet.state import State
from yoloprune.frontends.darknet.weights import (
    check_state,
    parameter_shapes,
    read_header,
    read_weights,
    write_weights,
)
from yoloprune.frontends.darknet.zoo import yolov3_tiny

SPEC = parse_cfg(
    "[net]\nchannels=3\nheight=8\nwidth=8\n"
    "[convolutional]\nbatch_normalize=1\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
    "[maxpool]\nsize=2\nstride=2\n"
    "[convolutional]\nbatch_normalize=1\nfilters=6\nsize=1\ngroups=2\n"
    "[convolutional]\nfilters=5\nsize=1\n"
)
FIRST, SECOND, THIRD = 4 * 4 + 4 * 3 * 9, 6 * 4 + 6 * 2, 5 + 5 * 6
FLOATS = FIRST + SECOND + THIRD
LONG = struct.pack("<3iq", 0, 2, 5, 1234)
SHORT = struct.pack("<3ii", 0, 1, 0, 1234)


def numbered(count: int = FLOATS) -> bytes:
    return np.arange(count, dtype="<f4").tobytes()


def stored(folder: Path, data: bytes) -> Path:
    path = folder / "net.weights"
    path.write_bytes(data)
    return path


def bits(state: State) -> dict[tuple[int, str], bytes]:
    return {(i, n): t.numpy().tobytes() for i, p in state.items() for n, t in p.items()}


@pytest.mark.parametrize("header", [LONG, SHORT])
def test_tensors_lie_in_darknets_order(header, tmp_path):
    state = read_weights(stored(tmp_path, header + numbered()), SPEC)
    assert list(state) == [0, 2, 3]
    first, second, third = state.values()
    assert [name for name, _ in first.items()] == ["bias", "scale", "mean", "variance", "kernel"]
    assert [t.flatten()[0].item() for _, t in first.items()] == [0, 4, 8, 12, 16]
    assert first.kernel.shape == (4, 3, 3, 3)
    # Filters slowest, then input channels, rows, columns.
    assert first.kernel[1, 2, 0, 1].item() == 16 + 27 + 2 * 9 + 1
    assert [t.flatten()[0].item() - FIRST for _, t in second.items()] == [0, 6, 12, 18, 24]
    assert second.kernel.shape == (6, 2, 1, 1)
    assert [name for name, _ in third.items()] == ["bias", "kernel"]
    assert third.scale is third.mean is third.variance is None
    assert third.kernel[-1, -1].item() == FLOATS - 1
    assert all(t.dtype == torch.float32 for p in state.values() for _, t in p.items())


@pytest.mark.parametrize(
    ("version", "size"),
    [((0, 1, 0), 16), ((0, 2, 0), 20), ((0, 2, 5), 20), ((1, 0, 0), 20), ((0, 0, 0), 16),
     ((1001, 0, 0), 16), ((0, 1001, 0), 16)],
)  # fmt: skip
def test_version_decides_the_length_of_the_header(version, size):
    data = struct.pack("<3iq", *version, 77) + b"\0" * 8
    header = read_header(data, Path("x.weights"))
    assert (header.version, header.size, header.seen) == (version, size, 77)


def test_seen_may_pass_four_bytes():
    data = struct.pack("<3iq", 0, 2, 5, 2**40)
    assert read_header(data, Path("x")).seen == 2**40


@settings(max_examples=40)
@given(network_specs())
def test_random_networks_round_trip_bit_for_bit(tmp_path_factory, spec):
    path = tmp_path_factory.mktemp("weights") / "a.weights"
    state = random_state(spec, dtype=torch.float32)
    write_weights(path, spec, state, seen=42)
    assert bits(read_weights(path, spec)) == bits(state)
    again = path.with_name("b.weights")
    write_weights(again, spec, read_weights(path, spec), seen=42)
    assert again.read_bytes() == path.read_bytes()


def test_old_files_are_written_back_with_the_long_header(tmp_path):
    state = read_weights(stored(tmp_path, SHORT + numbered()), SPEC)
    path = tmp_path / "new.weights"
    write_weights(path, SPEC, state, seen=1234)
    assert path.read_bytes() == LONG + numbered()
    assert len(LONG) == WEIGHTS_HEADER_BYTES


FIVE_INT32 = struct.pack("<5i", 0, 0, 0, 1234, 0)
FIVE_INT64 = struct.pack("<5q", 0, 0, 0, 1234, 0)


@pytest.mark.parametrize(
    ("header", "version", "size"),
    [
        (FIVE_INT32, (0, 0, 0), 20),
        (FIVE_INT64, (0, 0, 0), 40),
        (struct.pack("<5q", 0, 2, 5, 1234, 0), (0, 2, 5), 40),
        (struct.pack("<3ii", 0, 0, 0, 1234), (0, 0, 0), 16),
        (SHORT, (0, 1, 0), 16),
        (LONG, (0, 2, 5), 20),
    ],
)
@pytest.mark.parametrize("floats", [FIRST, FIRST + SECOND, FLOATS])
def test_headers_are_told_apart_by_the_length_of_the_file(header, version, size, floats, tmp_path):
    data = header + numbered(floats)
    found = read_header(data, Path("x.weights"), {4 * FIRST, 4 * (FIRST + SECOND), 4 * FLOATS})
    assert (found.version, found.size, found.seen) == (version, size, 1234)
    state = read_weights(stored(tmp_path, data), SPEC, backbone=floats != FLOATS)
    plain = read_weights(stored(tmp_path, LONG + numbered(floats)), SPEC, backbone=True)
    assert bits(state) == bits(plain)


@pytest.mark.parametrize("header", [FIVE_INT32, FIVE_INT64])
def test_headers_of_five_are_written_back_as_darknets(header, tmp_path):
    state = read_weights(stored(tmp_path, header + numbered()), SPEC)
    write_weights(tmp_path / "new.weights", SPEC, state, seen=1234)
    assert (tmp_path / "new.weights").read_bytes() == LONG + numbered()


@pytest.mark.parametrize("floats", [FLOATS - 2, FLOATS + 1, FLOATS + 3])
def test_headers_of_five_before_other_weights_are_refused(floats, tmp_path):
    message = refused(tmp_path, FIVE_INT32 + numbered(floats))
    assert message.endswith("(with the header of 16 bytes that version 0.0.0 has)")


def test_a_trailer_does_not_make_a_header_of_five(tmp_path):
    # 20 bytes too many after darknet's own header: as long as with one of five int64.
    assert "20 bytes remain" in refused(tmp_path, LONG + numbered() + b"\0" * 20)


def test_of_a_huge_file_no_more_is_read_than_the_network_needs(tmp_path):
    path = stored(tmp_path, LONG + numbered())
    with path.open("rb+") as file:
        file.truncate(1 << 40)
    with pytest.raises(WeightsError, match=f"{(1 << 40) - 20 - 4 * FLOATS} bytes remain"):
        read_weights(path, SPEC)
    with pytest.raises(WeightsError, match="a device or a pipe, not a plain file"):
        read_weights(Path("/dev/zero"), SPEC)


def test_extreme_floats_survive(tmp_path):
    values = np.full(FLOATS, np.float32(1e-42))
    values[0], values[1], values[20] = np.finfo("f4").max, -0.0, np.finfo("f4").tiny
    path = stored(tmp_path, LONG + values.tobytes())
    write_weights(tmp_path / "b.weights", SPEC, read_weights(path, SPEC), seen=1234)
    assert (tmp_path / "b.weights").read_bytes() == path.read_bytes()


def test_double_precision_is_rounded_to_float32(tmp_path):
    state = random_state(SPEC, dtype=torch.float64)
    write_weights(tmp_path / "a.weights", SPEC, state)
    for index, parameters in read_weights(tmp_path / "a.weights", SPEC).items():
        assert torch.equal(parameters.kernel, state[index].kernel.float())


def test_state_does_not_share_memory_between_layers(tmp_path):
    state = read_weights(stored(tmp_path, LONG + numbered()), SPEC)
    before = state[2].kernel.clone()
    state[0].kernel.zero_()
    assert torch.equal(state[2].kernel, before)


def refused(folder: Path, data: bytes, *, backbone: bool = False) -> str:
    with pytest.raises(WeightsError) as caught:
        read_weights(stored(folder, data), SPEC, backbone=backbone)
    assert "net.weights" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("floats", "words"),
    [
        (0, "layer 0 [convolutional] needs its bias (4 floats) from byte 20"),
        (13, "layer 0 [convolutional] needs its variance (4 floats) from byte 68"),
        (FIRST - 1, f"layer 0 [convolutional] needs its kernel (108 floats) from byte {20 + 64}"),
        (FIRST, f"layer 2 [convolutional] needs its bias (6 floats) from byte {20 + 4 * FIRST}"),
        (FLOATS - 1, "layer 3 [convolutional] needs its kernel (30 floats)"),
    ],
)
def test_short_files_name_layer_and_byte(floats, words, tmp_path):
    message = refused(tmp_path, LONG + numbered(floats))
    assert f"the file ends at byte {20 + 4 * floats}" in message
    assert words in message


def test_files_cut_inside_a_float_are_short(tmp_path):
    assert "ends at byte" in refused(tmp_path, (LONG + numbered())[:-1])


@pytest.mark.parametrize("extra", [1, 4, 1000])
def test_long_files_say_how_much_remains(extra, tmp_path):
    message = refused(tmp_path, LONG + numbered() + b"\0" * extra)
    assert f"{extra} bytes remain after the last layer (byte {20 + 4 * FLOATS})" in message


def test_header_of_the_other_kind_does_not_pass(tmp_path):
    """Four bytes too many or too few are noticed, whichever way round."""
    refused(tmp_path, SHORT + b"\0" * 4 + numbered())
    refused(tmp_path, LONG[:16] + numbered())


@pytest.mark.parametrize("size", [0, 3, 15, 19])
def test_files_without_a_header_are_refused(size, tmp_path):
    message = refused(tmp_path, LONG[:size])
    assert f"only {size} bytes: not a darknet .weights file" in message


@pytest.mark.parametrize("data", [b"PK\x03\x04" + b"a" * 400, b"\x80\x02ccopy_reg" + b"x" * 400,
                                  b"[net]\nwidth=416\n" * 40])  # fmt: skip
def test_other_kinds_of_files_are_refused(data, tmp_path):
    assert "not a darknet .weights file" in refused(tmp_path, data)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("position", "words"),
    [(5, "layer 0 [convolutional]: scale[1]"), (FIRST + 24 + 7, "layer 2 [convolutional]: kernel")],
)
def test_non_finite_numbers_name_layer_and_byte(bad, position, words, tmp_path):
    values = np.arange(FLOATS, dtype="<f4")
    values[position] = bad
    message = refused(tmp_path, LONG + values.tobytes())
    assert words in message
    assert f"= {bad} at byte {20 + 4 * position}" in message


def test_negative_variance_is_refused_and_zero_is_not(tmp_path):
    values = np.arange(FLOATS, dtype="<f4")
    values[14] = 0.0
    read_weights(stored(tmp_path, LONG + values.tobytes()), SPEC)
    values[14] = -1e-3
    message = refused(tmp_path, LONG + values.tobytes())
    assert "variance[2] = -0.001" in message
    assert f"at byte {20 + 4 * 14}" in message


def test_weights_of_another_cfg_are_refused(tmp_path):
    one, two = (yolov3_tiny(classes=c, width=0.125) for c in (1, 2))
    path = tmp_path / "a.weights"
    write_weights(path, one, random_state(one, dtype=torch.float32))
    with pytest.raises(WeightsError, match="another cfg"):
        read_weights(path, two)
    with pytest.raises(WeightsError, match="another cfg"):
        read_weights(path, SPEC)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.weights: cannot read the weights: No such"):
        read_weights(tmp_path / "none.weights", SPEC)
    with pytest.raises(WeightsError, match="cannot read the weights: Is a directory"):
        read_weights(tmp_path, SPEC)


@pytest.mark.parametrize(("floats", "held"), [(FIRST, [0]), (FIRST + SECOND, [0, 2])])
def test_backbone_files_are_read_when_asked_for(floats, held, tmp_path):
    data = LONG + numbered(floats)
    assert list(read_weights(stored(tmp_path, data), SPEC, backbone=True)) == held
    assert "truncated" in refused(tmp_path, data)


@pytest.mark.parametrize("floats", [0, 7, FIRST - 1, FIRST + 3])
def test_backbone_files_end_with_a_whole_layer(floats, tmp_path):
    assert "ends at byte" in refused(tmp_path, LONG + numbered(floats), backbone=True)


def test_whole_files_pass_as_backbone_and_longer_ones_do_not(tmp_path):
    path = stored(tmp_path, LONG + numbered())
    assert list(read_weights(path, SPEC, backbone=True)) == [0, 2, 3]
    assert "bytes remain" in refused(tmp_path, LONG + numbered() + b"\0" * 4, backbone=True)


def test_parameter_shapes_allocate_nothing():
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n"
        + "[convolutional]\nbatch_normalize=1\nfilters=5000\nsize=8\nstride=8\npad=1\n" * 3
    )
    shapes = parameter_shapes(spec)
    assert shapes[2]["kernel"] == (5000, 5000, 8, 8)
    assert list(shapes[0]) == ["bias", "scale", "mean", "variance", "kernel"]


def test_huge_networks_do_not_make_a_small_file_allocate(tmp_path):
    spec = parse_cfg(
        "[net]\nchannels=3\nheight=8\nwidth=8\n" + "[convolutional]\nfilters=5000\nsize=8\npad=1\n"
    )
    with pytest.raises(WeightsError, match=r"needs its bias \(5000 floats\)"):
        read_weights(stored(tmp_path, LONG + numbered(8)), spec)


def good() -> dict:
    return random_state(SPEC, dtype=torch.float32)


def without_norm(state: dict) -> None:
    state[0] = replace(state[0], scale=None, mean=None, variance=None)


def with_wrong_kernel(state: dict) -> None:
    state[2] = replace(state[2], kernel=state[2].kernel.repeat(1, 2, 1, 1))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: state.pop(2), r"layers \[2\] differ"),
        (lambda state: state.update({1: state[0]}), r"layers \[1\] differ"),
        (without_norm, "layer 0: the cfg needs"),
        (with_wrong_kernel, r"layer 2: .*\(6, 2, 1, 1\).*\(6, 4, 1, 1\)"),
    ],
)
def test_state_that_does_not_fit_is_refused_before_anything_is_written(spoil, words, tmp_path):
    state = good()
    spoil(state)
    with pytest.raises(WeightsError, match=words):
        check_state(SPEC, state)
    with pytest.raises(WeightsError, match=words):
        write_weights(tmp_path / "a.weights", SPEC, state)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_failed_write_leaves_the_old_file_and_nothing_else(value, tmp_path):
    path = stored(tmp_path, b"old")
    state = random_state(SPEC, dtype=torch.float64)
    state[3].kernel[0, 0] = value
    with pytest.raises(WeightsError, match=r"layer 3 \[convolutional\] has NaN or inf in kernel"):
        write_weights(path, SPEC, state)
    assert [p.name for p in tmp_path.iterdir()] == ["net.weights"]
    assert path.read_bytes() == b"old"


def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_weights(tmp_path / "a.weights", SPEC, good())
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_on_writing(tmp_path):
    spec: NetworkSpec = SPEC
    write_weights(tmp_path / "deep" / "er" / "a.weights", spec, good())
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["a.weights"]

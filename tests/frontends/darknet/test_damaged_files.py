"""Damaged files see one of our errors or success, never another exception."""

import struct

import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.random_networks import random_state
from yoloprune.errors import CfgError, WeightsError
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg, read_cfg
from yoloprune.frontends.darknet.weights import parameter_shapes, read_weights, write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny

TINY = yolov3_tiny(classes=1, width=0.0625, size=(32, 32))
TEXT = format_cfg(TINY)
LINES = TEXT.splitlines()
JUNK = st.sampled_from(
    ["", "0", "-1", "1", "2", "3", "65536", "65537", "99999999999", "-99999999999", "1e9", "1e400",
     "nan", "inf", "-inf", "0x10", "1_0", "1.5", ".", "-", ",", ",,", "1,", "0,1,2,3,4,5,6,7,8,9",
     "leaky", "=", "[", "]", "\u0663", "\u00b2", "caf\u00e9", "\u2028", "\x0b", "\U0001f600",
     "-1,-1,-1", "9" * 5000, " ", "#", ";"]
)  # fmt: skip
KEYS = st.sampled_from(
    [*sorted({line.split("=")[0] for line in LINES if "=" in line}), "groups", "group_id",
     "dilation", "padding", "stride_x", "stride_y", "scale", "cbn", "time_steps", "from",
     "weights_type", "share_index", "new_coords", "scale_x_y"]
)  # fmt: skip
SECTIONS = st.sampled_from(
    ["net", "convolutional", "route", "shortcut", "maxpool", "avgpool", "upsample", "yolo",
     "region", "Gaussian_yolo", "reorg", "reorg3d", "scale_channels", "sam", "dropout", "lstm", ""]
)  # fmt: skip


@st.composite
def mutated_texts(draw: st.DrawFn) -> str:
    """The tiny network's text after one to four edits of whole lines."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(lines) - 1)))
        match draw(st.integers(0, 5)):
            case 0:
                del lines[at : at + draw(st.integers(1, 9))]
            case 1:
                lines.insert(at, lines[draw(st.integers(0, len(lines) - 1))] if lines else "")
            case 2 if lines and "=" in lines[at]:
                lines[at] = lines[at].split("=")[0] + "=" + draw(JUNK | st.text(max_size=8))
            case 3:
                lines.insert(at, f"{draw(KEYS)}={draw(JUNK)}")
            case 4:
                lines.insert(at, f"[{draw(SECTIONS)}]")
            case _:
                other = draw(st.integers(0, max(0, len(lines) - 1)))
                lines[at:at], lines[other:other] = lines[other : other + 3], []
    return "\n".join(lines)


@settings(max_examples=400)
@given(mutated_texts())
def test_mutated_cfg_text(text):
    try:
        spec = parse_cfg(text, "f.cfg")
    except CfgError as error:
        message = str(error)
        assert message.startswith("f.cfg:")
        assert "\n" not in message
        assert len(message) < 1000
        return
    # What passes is a network: it can be counted and written. Nothing of its size is allocated.
    assert parse_cfg(format_cfg(spec)) == spec
    assert cost(spec).weight_bytes > 20
    assert len(parameter_shapes(spec)) == len(spec.convs)


@settings(max_examples=150)
@given(st.data())
def test_cfg_files_with_flipped_bytes(tmp_path_factory, data):
    content = bytearray(TEXT.encode())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "flipped.cfg"
    path.write_bytes(content)
    try:
        read_cfg(path)
    except CfgError as error:
        assert str(error).startswith(str(path))


@settings(max_examples=100)
@given(st.binary(max_size=200))
@example(b"[net]\n[convolutional]")
def test_any_bytes_as_cfg(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.cfg"
    path.write_bytes(content)
    try:
        read_cfg(path)
    except CfgError as error:
        assert str(error).startswith(str(path))


@settings(max_examples=200)
@given(st.data())
def test_mutated_weights(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.weights"
    write_weights(path, TINY, random_state(TINY, dtype=torch.float32))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        # Half of the edits hit the header or the first layers.
        last = len(content) if data.draw(st.booleans()) else min(200, len(content))
        at = data.draw(st.integers(0, last))
        match data.draw(st.integers(0, 3)):
            case 0:
                content[at : at + 4] = struct.pack("<I", data.draw(st.integers(0, 2**32 - 1)))
            case 1:
                del content[at : at + data.draw(st.integers(1, 64))]
            case 2:
                content[at:at] = data.draw(st.binary(min_size=1, max_size=16))
            case _:
                del content[at:]
    path.write_bytes(content)
    for backbone in (False, True):
        try:
            state = read_weights(path, TINY, backbone=backbone)
        except WeightsError as error:
            assert str(error).startswith(str(path))
            continue
        for parameters in state.values():
            assert all(tensor.isfinite().all() for _, tensor in parameters.items())

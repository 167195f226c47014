"""What stands behind a value is read as darknet's C reads it, or refused by file and line."""

import ctypes
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from tests.networks import network_of
from tests.random_networks import random_state
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.cfg import Option, Section, parse_sections
from yoloprune.frontends.darknet.options import Options
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg
from yoloprune.frontends.darknet.weights import write_weights

C = ctypes.CDLL(None)
C.atof.restype = ctypes.c_double

NET = "[net]\nchannels=3\nheight=32\nwidth=32\n"
CONV = "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\n"
HEAD = "[yolo]\nmask=0,1\nanchors=8,8, 16,16\nclasses=1\nnum=2\n"
COMMENTED = """\
[net] \t
channels = 3   # color
height=32;
width=32 # 416, 608
letter_box=0 # 1

[ convolutional ]
batch normalize=0
batch_normalize = 1#
fil ters=8 # eight
size=3\t# 3x3
pad=1;2
stride=+2 ;;
policy=steps # kept
activation = leaky

[convolutional]
filters=12 # 2 * 6
size=1
activation=linear

[yolo]
mask=0,1 # all
anchors=8,8, 16,16 ; small
classes=1
num=2\u00a0
scale_x_y=1.05 # as in YOLOv4
jitter=.3 # .2, .1
"""
PLAIN = """\
[net]
channels=3
height=32
width=32
letter_box=0
[convolutional]
batch_normalize=1
filters=8
size=3
pad=1
stride=2
policy=steps # kept
activation=leaky
[convolutional]
filters=12
size=1
activation=linear
[yolo]
mask=0,1
anchors=8,8, 16,16
classes=1
num=2
scale_x_y=1.05
jitter=.3
"""


def stripped(value: str) -> bytes:
    """What darknet's `strip` leaves of a value."""
    return value.translate(str.maketrans("", "", " \t\r\n")).encode()


def darknets_list(value: str, read: ctypes._CFuncPtr) -> list[float]:  # type: ignore[name-defined]
    """darknet's loop: as many entries as there are commas, and one."""
    return [read(item) for item in stripped(value).split(b",")]


def option(value: str) -> Options:
    return Options(Section(name="a", options=(Option(key="k", value=value),)), 0, "f.cfg")


VALUES = st.text(st.sampled_from("0123456789+-.,e#; \t\u00a0\x0b_x"), max_size=9).map(
    lambda text: text.strip(" \t")
)


@example("32 # 8, 16")
@example("32\u00a0# 8")
@example("\u00a032")
@example("3 2")
@example("1_6")
@given(VALUES)
def test_an_integer_is_what_atoi_makes_of_it(value: str) -> None:
    try:
        found = option(value).number("k", value, int)
    except CfgError:
        return
    assert found == C.atoi(stripped(value))


@example("1.05 # note")
@example("1e3;")
@given(VALUES)
def test_a_number_is_what_atof_makes_of_it(value: str) -> None:
    try:
        found = option(value).real("k", 0.0)
    except CfgError:
        return
    assert found == C.atof(stripped(value))


@example("-1,-4 # 12, 13")
@example("-1,-4 # 12")
@example("0,1,2;3,4")
@example("-1,")
@given(VALUES)
def test_a_list_has_the_entries_that_darknet_counts(value: str) -> None:
    try:
        found = option(value).integers("k")
    except CfgError:
        return
    assert found == darknets_list(value, C.atoi)


@given(VALUES)
def test_anchors_are_those_that_darknet_reads(value: str) -> None:
    try:
        found = option(value).reals("k")
    except CfgError:
        return
    # Behind commas at the end darknet reads 0, for anchors that no mask may then select.
    theirs = darknets_list(value, C.atof)
    assert found == theirs[: len(found)]
    assert not any(theirs[len(found) :])


def test_numbers_are_read_up_to_the_comment() -> None:
    spec = parse_cfg(COMMENTED)
    assert spec.digest() == parse_cfg(PLAIN).digest()
    assert spec.net_option("letter_box") == "0"
    assert spec.net_option("width") == "32"


def test_what_is_written_reads_the_same() -> None:
    written = format_cfg(parse_cfg(COMMENTED))
    assert parse_cfg(written) == parse_cfg(COMMENTED)
    lines = written.splitlines()
    # darknet takes the first for a policy that it does not know: not for this program to mend.
    for line in ("policy=steps # kept", "filters=8 # eight", "stride=+2 ;;", "num=2\u00a0"):
        assert line in lines


def test_opencv_reads_the_same_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(COMMENTED)
    spec = parse_cfg(COMMENTED)
    state = random_state(spec, dtype=torch.float32)
    write_weights(tmp_path / "a.weights", spec, state)
    image = np.random.default_rng(0).random((1, 3, 32, 32), np.float32)
    theirs = cv2.dnn.readNetFromDarknet(str(tmp_path / "a.cfg"), str(tmp_path / "a.weights"))
    theirs.setInput(image)
    (ours,) = network_of(spec, state)(torch.from_numpy(image))
    np.testing.assert_allclose(theirs.forward("conv_1"), ours.detach(), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    "behind", [" # a note", "#", " ; relu", "\u00a0", "\x0b", "\u200b", "\u3000"]
)
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (CONV, "activation", "leaky"),
        (CONV + CONV + "[shortcut]\nfrom=-2\nactivation=linear\n", "activation", "linear"),
        (CONV + CONV + "[sam]\nfrom=-2\nactivation=linear\n", "activation", "linear"),
        (CONV + CONV + "[shortcut]\nfrom=-2\nweights_type=none\n", "weights_type", "none"),
        (CONV.replace("8", "14") + HEAD.replace("yolo", "Gaussian_yolo").replace("num", "nums")
         + "yolo_point=center\n", "yolo_point", "center"),
        (CONV.replace("8", "12") + HEAD + "nms_kind=greedynms\n", "nms_kind", "greedynms"),
    ],
)  # fmt: skip
def test_words_are_refused_with_what_stands_behind_them(
    section: str, key: str, value: str, behind: str
) -> None:
    start, _, end = (NET + section).rpartition(f"{key}={value}")
    text = f"{start}{key}={value}{behind}{end}"
    with pytest.raises(CfgError) as caught:
        parse_cfg(text, "f.cfg")
    message = str(caught.value)
    line = start.count("\n") + 1
    assert message.startswith(f"f.cfg:{line}: layer ")
    assert f"option {key}={value + behind.rstrip(' ')!r}: darknet takes all of that" in message
    assert message.isprintable()


def test_opencv_refuses_such_a_word(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(NET + CONV.replace("leaky", "leaky # a note"))
    with pytest.raises(cv2.error, match="leaky#anote"):
        cv2.dnn.readNetFromDarknet(str(tmp_path / "a.cfg"))


@pytest.mark.parametrize(
    ("section", "value"),
    [
        (CONV + "[route]\nlayers=-1,0 # 0, 1\n", "layers='-1,0 # 0, 1'"),
        (CONV + "[route]\nlayers=-1 # a, b\n", "layers='-1 # a, b'"),
        (CONV + CONV + "[shortcut]\nfrom=-2 ; 5, 6\n", "from='-2 ; 5, 6'"),
        (CONV + HEAD.replace("0,1", "0,1 # large, small"), "mask='0,1 # large, small'"),
        (CONV + HEAD.replace("16,16", "16,16 # 32,32"), "anchors='8,8, 16,16 # 32,32'"),
    ],
)
def test_commas_of_a_comment_are_entries_of_the_list(section: str, value: str) -> None:
    with pytest.raises(CfgError, match="darknet counts the commas of the comment") as caught:
        parse_cfg(NET + section, "f.cfg")
    assert f"option {value}: " in str(caught.value)


@pytest.mark.parametrize("line", ["\u00a0", "\x0b", "\u00a0# filters=3", "\t; x", " \t "])
def test_lines_that_say_nothing_to_anyone_say_nothing(line: str) -> None:
    assert parse_sections(f"[a]\n{line}\nx=1\n") == parse_sections("[a]\nx=1\n")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("filters\u00a0=3", r"darknet takes all of 'filters\\xa0' for an option's name"),
        ("\u00a0filters=3", r"darknet takes all of '\\xa0filters'"),
        ("\ufefffilters=3", r"darknet takes all of '\\ufefffilters'"),
        ("filters # eight = 8", r"darknet takes all of 'filters#eight'"),
        ("stride;pad=1", r"darknet takes all of 'stride;pad'"),
        ("\u00a0[convolutional]", r"expected 'key=value' or '\[section\]'"),
        ("[convolutional] # 3", r"malformed section header '\[convolutional\] # 3'"),
        ("[convolutional]\u00a0", "malformed section header"),
        ("[conv\x1b]", r"malformed section header '\[conv\\x1b\]'"),
    ],
)
def test_names_that_darknet_would_not_know_are_refused(line: str, words: str) -> None:
    with pytest.raises(CfgError, match=rf"f\.cfg:2: {words}"):
        parse_sections(f"[a]\n{line}\n", "f.cfg")


def test_blanks_within_names_mean_nothing() -> None:
    (section,) = parse_sections("[ net work ]\nbatch size\t= 1 2\n")
    assert section == Section(name="network", options=(Option(key="batchsize", value="1 2"),))


def test_a_carriage_return_within_a_line_is_a_blank() -> None:
    text = NET + CONV
    assert parse_cfg(text.replace("\n", "\r\r\n")) == parse_cfg(text)
    # Old Mac line ends among others join two lines to one, for darknet too.
    with pytest.raises(CfgError, match="activation 'leakyfilters=8' is not supported"):
        parse_cfg(NET + "[convolutional]\nactivation=leaky\rfilters=8\n")

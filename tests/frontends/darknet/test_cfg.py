"""Cfg text: sections, line numbers, comments, encodings."""

from pathlib import Path

import pytest

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet import cfg
from yoloprune.frontends.darknet.cfg import (
    Option,
    Section,
    format_sections,
    parse_sections,
    read_cfg_text,
)

TEXT = """# a comment
[net]
width = 416 # half of 832
  height=416

; another comment
[convolutional]
filters=  16
anchors = 10,14,  23,27
"""


def test_sections_and_options_keep_their_order_and_lines():
    net, conv = parse_sections(TEXT)
    assert (net.name, net.line, conv.name, conv.line) == ("net", 2, "convolutional", 7)
    assert [(o.key, o.value, o.line) for o in net.options] == [
        ("width", "416 # half of 832", 3),
        ("height", "416", 4),
    ]
    assert [(o.key, o.value, o.line) for o in conv.options] == [
        ("filters", "16", 8),
        ("anchors", "10,14,  23,27", 9),
    ]


def test_equality_ignores_line_numbers():
    assert Option(key="a", value="1", line=3) == Option(key="a", value="1", line=4)
    assert parse_sections(TEXT) == parse_sections("\n\n" + TEXT)


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n"])
def test_every_line_end_gives_the_same_sections(end):
    sections = parse_sections(TEXT.replace("\n", end))
    assert sections == parse_sections(TEXT)
    assert sections[1].line == 7


def test_written_text_reads_back():
    sections = parse_sections(TEXT)
    assert parse_sections(format_sections(sections)) == sections


def test_repeated_options_and_sections_are_all_kept():
    text = "[a]\nx=1\nx=2\n[a]\nx=1\n"
    assert [len(s.options) for s in parse_sections(text)] == [2, 1]
    assert parse_sections(format_sections(parse_sections(text))) == parse_sections(text)


def test_value_may_hold_an_equals_sign_and_be_empty():
    (section,) = parse_sections("[a]\nx=y=z\nempty=\n")
    assert section == Section(
        name="a", options=(Option(key="x", value="y=z"), Option(key="empty", value=""))
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[net\nwidth=1\n", r"f\.cfg:1: malformed section header"),
        ("[net]x\n", r"f\.cfg:1: malformed section header"),
        ("\n[ ]\n", r"f\.cfg:2: malformed section header"),
        ("[net]\nwidth\n", r"f\.cfg:2: expected 'key=value'"),
        ("[net]\n=5\n", r"f\.cfg:2: expected 'key=value'"),
        ("width=5\n[net]\n", r"f\.cfg:1: option 'width' stands before the first \[section\]"),
        ("# nothing\n\n", r"f\.cfg: no \[section\] found"),
    ],
)
def test_malformed_text_names_its_line(text, message):
    with pytest.raises(CfgError, match=message):
        parse_sections(text, "f.cfg")


def read(folder: Path, data: bytes) -> str:
    path = folder / "net.cfg"
    path.write_bytes(data)
    return read_cfg_text(path)


def test_byte_order_mark_is_dropped(tmp_path):
    assert parse_sections(read(tmp_path, b"\xef\xbb\xbf[net]\nwidth=1\n"))[0].name == "net"


def test_comments_in_old_encodings_do_not_break_the_line(tmp_path):
    # 0x85 is an ellipsis in Windows-1252 and a line end to str.splitlines.
    text = read(tmp_path, b"[net]\n# caf\xe9 and so on\x85 in\xa0Windows\nwidth=1\n")
    assert [o.key for o in parse_sections(text)[0].options] == ["width"]
    text = read(tmp_path, "[net]\n# \u2028\x0b\x0c\x1c\nwidth=1\n".encode())
    assert parse_sections(text)[0].options[0].line == 3


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n"])
def test_empty_file_is_refused(tmp_path, data):
    with pytest.raises(CfgError, match=r"net\.cfg: the cfg is empty"):
        read(tmp_path, data)


def test_binary_file_is_refused(tmp_path):
    with pytest.raises(CfgError, match="binary file, not a cfg"):
        read(tmp_path, b"\x00\x00\x00\x00\x02\x00\x00\x00" + bytes(range(256)))


def test_no_more_is_read_than_a_cfg_can_be(tmp_path, monkeypatch):
    monkeypatch.setattr(cfg, "MAX_BYTES", 1 << 20)
    assert read(tmp_path, b"[net]\n" + b"#" * ((1 << 20) - 6)).startswith("[net]")
    with pytest.raises(CfgError, match=r"net\.cfg: more than 1 MiB: not a cfg"):
        read(tmp_path, b"[net]\n" + b"#" * (1 << 20))
    with pytest.raises(CfgError, match="/dev/zero: more than 1 MiB"):
        read_cfg_text(Path("/dev/zero"))


def test_missing_file_and_folder_are_refused(tmp_path):
    with pytest.raises(CfgError, match=r"none\.cfg: cannot read the cfg: No such file"):
        read_cfg_text(tmp_path / "none.cfg")
    with pytest.raises(CfgError, match="cannot read the cfg: Is a directory"):
        read_cfg_text(tmp_path)

"""Darknet .cfg text as sections with line numbers, and back.

The grammar is darknet's (`read_cfg` in its `src/parser.c`, `strip` in `src/utils.c`): spaces and
tabs mean nothing, `[name]` opens a section, `key=value` lines follow, and a line that begins with
`#` or `;` is a comment. Behind a value there is no comment: it is a part of the value.
Nothing is interpreted here; `options.py` and `parser.py` give the options a meaning.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from yoloprune.errors import CfgError
from yoloprune.files import read_pipe
from yoloprune.frontends.darknet.foreign import refuse_foreign

BLANKS = " \t"
"""What darknet leaves out of a line, whose end may be CR LF; any other blank is a character."""

MAX_BYTES = 1 << 26
"""Larger files are not read: 100,000 layers take a fifth of this."""


_WITHOUT_BLANKS = str.maketrans("", "", BLANKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One `key=value` line; the value keeps its inner spelling, a comment behind it included."""

    key: str
    value: str
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One `[name]` section with its options in file order."""

    name: str
    options: tuple[Option, ...]
    line: int = field(default=0, compare=False)


def read_cfg_text(path: Path) -> str:
    """Read a .cfg file as text, or raise `CfgError` when it is missing, empty, huge or binary."""
    refuse_foreign(path, "cfg")
    try:
        if path.is_fifo():
            data = read_pipe(path, MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as error:
        # What is not there may have been meant to be a folder.
        what = "the cfg" if path.suffix or path.exists() else "a cfg or a folder"
        raise CfgError(f"{path}: cannot read {what}: {error.strerror}") from error
    if len(data) > MAX_BYTES:
        raise CfgError(f"{path}: more than {MAX_BYTES >> 20} MiB: not a cfg")
    if not data.strip():
        raise CfgError(f"{path}: the cfg is empty")
    if b"\0" in data:
        raise CfgError(f"{path}: this is a binary file, not a cfg")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Comments in old cfgs carry other encodings; latin-1 maps every byte and keeps them apart.
        return data.decode("latin-1")


def parse_sections(text: str, name: str = "cfg") -> tuple[Section, ...]:
    """Split cfg text into sections; `name` stands for the file in error messages."""
    sections: list[Section] = []
    header: tuple[str, int] | None = None
    options: list[Option] = []

    def close() -> None:
        if header is not None:
            sections.append(Section(name=header[0], line=header[1], options=tuple(options)))
        options.clear()

    for number, raw in enumerate(_lines(text), start=1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        where = f"{name}:{number}"
        key, separator, value = raw.partition("=")
        key = key.translate(_WITHOUT_BLANKS)
        if key.startswith("["):
            close()
            header = (_section_name(raw, where), number)
            continue
        if not separator or not key:
            raise CfgError(f"{where}: expected 'key=value' or '[section]', found {line[:60]!r}")
        if not key.isprintable() or "#" in key or ";" in key:
            raise CfgError(
                f"{where}: darknet takes all of {key[:60]!r} for an option's name: put comments on "
                "lines of their own, and take out blanks other than spaces and tabs"
            )
        if header is None:
            raise CfgError(f"{where}: option {key[:60]!r} stands before the first [section]")
        options.append(Option(key=key, value=value.strip(BLANKS), line=number))
    close()
    if not sections:
        raise CfgError(f"{name}: no [section] found")
    return tuple(sections)


def _lines(text: str) -> list[str]:
    """Lines without their ends; CR ends them only where there is no LF at all."""
    # Not str.splitlines: that also breaks a comment at 0x85, the ellipsis of Windows code pages.
    return text.replace("\r", "").split("\n") if "\n" in text else text.split("\r")


def _section_name(raw: str, where: str) -> str:
    line = raw.translate(_WITHOUT_BLANKS)
    if len(line) < 3 or not line.endswith("]") or not line.isprintable():
        raise CfgError(f"{where}: malformed section header {raw.strip(BLANKS)[:60]!r}")
    return line[1:-1]


def format_sections(sections: Iterable[Section]) -> str:
    """Write sections as cfg text, options as they were; lines that are comments are not kept."""
    blocks = (
        "\n".join([f"[{section.name}]", *(f"{o.key}={o.value}" for o in section.options)])
        for section in sections
    )
    return "\n\n".join(blocks) + "\n"

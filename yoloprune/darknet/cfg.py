"""Darknet .cfg text as sections with line numbers, and back.

The grammar is darknet's: `[name]` opens a section, `key=value` lines follow, blanks are free,
`#` and `;` start comments. Nothing is interpreted here; `spec.py` gives the options a meaning.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from yoloprune.darknet.foreign import refuse_foreign
from yoloprune.errors import CfgError

# Not str.splitlines: that also breaks a comment at 0x85, the ellipsis of Windows code pages.
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One `key=value` line; the value keeps its inner spelling."""

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
    """Read a .cfg file as text, or raise `CfgError` when it is missing, empty or binary."""
    refuse_foreign(path, "cfg")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CfgError(f"{path}: cannot read the cfg: {error.strerror}") from error
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

    for number, raw in enumerate(_LINE_END.split(text), start=1):
        line = raw.split("#", 1)[0].split(";", 1)[0].strip()
        if not line:
            continue
        if line.startswith("["):
            if not line.endswith("]") or not line[1:-1].strip():
                raise CfgError(f"{name}:{number}: malformed section header {line[:60]!r}")
            close()
            header = (line[1:-1].strip(), number)
            continue
        key, separator, value = (part.strip() for part in line.partition("="))
        if not separator or not key:
            raise CfgError(
                f"{name}:{number}: expected 'key=value' or '[section]', found {line[:60]!r}"
            )
        if header is None:
            raise CfgError(
                f"{name}:{number}: option {key[:60]!r} stands before the first [section]"
            )
        options.append(Option(key=key, value=value, line=number))
    close()
    if not sections:
        raise CfgError(f"{name}: no [section] found")
    return tuple(sections)


def format_sections(sections: Iterable[Section]) -> str:
    """Write sections as cfg text, options in their order and spelling; comments are not kept."""
    blocks = (
        "\n".join([f"[{section.name}]", *(f"{o.key}={o.value}" for o in section.options)])
        for section in sections
    )
    return "\n\n".join(blocks) + "\n"

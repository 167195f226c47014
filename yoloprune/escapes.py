"""Text from outside, made fit to be shown."""

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of controls, formatting (which can turn text around), lone surrogates, and
separators of lines and paragraphs."""


def printable(text: str, encoding: str = "utf-8") -> str:
    r"""Text on one line, whose other characters than visible ones are written as escapes.

    A file may be called anything: its name must neither start a new line nor steer a terminal, and
    what the encoding lacks must not stop the program. An escape is Python's, such as `\x1b`.
    """
    if not text.isprintable():
        text = "".join(map(_seen, text))
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _seen(char: str) -> str:
    if unicodedata.category(char) in _UNSEEN:
        return char.encode("unicode_escape").decode()
    return char

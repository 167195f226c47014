"""Files of class names, as they lie beside a cfg."""

from collections.abc import Sequence


def names_text(names: Sequence[str]) -> str:
    """A class a line, for a line is all that a name can be: its blanks become single spaces."""
    return "".join(f"{' '.join(name.split()) or '_'}\n" for name in names)

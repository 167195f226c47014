"""Matplotlib figures as SVG text whose colors follow the page, in light and dark.

Plots draw with the colors of `COLORS`; each is a placeholder that becomes a CSS variable of the
same name in the SVG, which the page sets for either scheme. Letters stay text in the page's font.
"""

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = (
    *("ink", "muted", "line", "paper", "before", "after", "removed"),
    *(f"series-{number}" for number in range(6)),
)

COLORS = {name: f"#0101{number:02x}" for number, name in enumerate(_NAMES, start=16)}
"""Placeholders by the name of the CSS variable that replaces them."""

NARROW = (328.0, 250.0)
"""Width and height in CSS pixels of a plot that a phone shows whole."""

POINT_SIZE = 9.5
"""Of the letters; a figure drawn at its own width shows one point as one CSS pixel."""

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": COLORS["line"],
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": COLORS["muted"],
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": COLORS["ink"],
    "axes.titlelocation": "left",
    "axes.titlesize": POINT_SIZE,
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": POINT_SIZE,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "hatch.color": COLORS["paper"],
    "legend.borderaxespad": 0.0,
    "legend.fontsize": POINT_SIZE,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.labelcolor": COLORS["ink"],
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "text.color": COLORS["ink"],
    "text.parse_math": False,
    "xtick.color": COLORS["line"],
    "xtick.labelcolor": COLORS["muted"],
    "ytick.color": COLORS["line"],
    "ytick.labelcolor": COLORS["muted"],
}


def render(
    name: str, description: str, size: tuple[float, float], draw: Callable[["Figure"], None]
) -> str:
    """Draw a figure and give its `<svg>` element.

    `name` is unique on the page and prefixes every id; `description` is read to those who cannot
    see it; `size` is (width, height) in CSS pixels. The same input gives the same text.
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), layout="constrained")
        draw(figure)
        unsigned = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=unsigned)
    return _themed(buffer.getvalue(), name, description, size[0])


def _themed(text: str, name: str, description: str, width: float) -> str:
    text = text[text.index("<svg") :].strip()
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace(
        "'DejaVu Sans', sans-serif", "var(--sans)"
    )
    for color, placeholder in COLORS.items():
        text = text.replace(placeholder, f"var(--{color})")
    view_box = re.search(r'viewBox="[^"]*"', text)
    assert view_box is not None
    opening = (
        f'<svg role="img" aria-label="{escape(description)}" style="--width: {width:g}px" '
        f"{view_box[0]}>"
    )
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)

from xml.etree import ElementTree

from matplotlib.figure import Figure

from yoloprune.report.svg import COLORS, render


def draw(figure: Figure) -> None:
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=COLORS["after"], label="a line")
    axes.legend()


def test_colors_are_variables_ids_are_the_figure_s_own_and_text_stays_the_same() -> None:
    text = render("plot", "a line & more", (328, 250), draw)
    assert text == render("plot", "a line & more", (328, 250), draw)
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == "a line & more" and root.get("style") == "--width: 328px"
    assert "var(--after)" in text and COLORS["after"] not in text
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert ids and all(own.startswith("plot-") for own in ids)
    assert "a line" in text and "var(--sans)" in text

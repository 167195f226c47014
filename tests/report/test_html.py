"""report.html: self-contained, escaped, complete; and the programs that it prints run."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report import studies
from yoloprune.report.html import REPORTS, report_html, write_report
from yoloprune.report.study import Check, Command, ExportedFiles, Measurement, Study

VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = [
    *("Accuracy against cost", "What was lost", "What was cut"),
    *("How it was measured", "Repeat it"),
]


@pytest.fixture(scope="module")
def filled() -> Study:
    return studies.filled_study()


@pytest.fixture(scope="module")
def text(filled: Study) -> str:
    """The page of the filled study."""
    return report_html(filled)


class Page(HTMLParser):
    """What a page has: tags, attributes, headings; asserts that every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.headings: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def test_every_section_is_there(filled: Study, text: str) -> None:
    assert Page(text).headings == SECTIONS
    assert text.count("<svg") == 10
    assert text.count("<img") == 2 * (len(filled.pair) + len(filled.examples))
    folded = re.findall(r"<summary>(.*?)</summary>", text)
    assert {"What was verified", "Run the exported files", "Latency in every engine"} <= {*folded}
    assert "Distillation, step by step" in folded


def test_the_first_screen_is_the_claim_the_table_and_a_pair_of_pictures(text: str) -> None:
    first = text[text.index("<header>") : text.index("</header>")]
    claim, table = first.index("with 95% confidence"), first.index("<table>")
    agree, differ = (first.index(name, table) for name in ("2 of 2 found", "1 of 2 found"))
    assert claim < table < first.index("Both see the same") < agree
    assert agree < first.index("Most was lost here") < differ
    assert first.count("<img") == 4
    assert "coco" not in first and first.count("mAP@0.5 (case-study)") == 1


def test_settings_are_in_words(text: str) -> None:
    dictionary = re.findall(r"<dt>(.*?)</dt>", text)
    assert "Budget: kept MACs" in dictionary
    assert not any("_" in key for key in dictionary)


def test_the_page_loads_nothing_and_runs_nothing(text: str) -> None:
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "srcset", "data", "poster", "xlink:href"):
            assert value.startswith(("#", "data:image/jpeg;base64,")), (tag, name, value)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    assert "default-src 'none'" in text


def test_links_lead_to_sections(text: str) -> None:
    attributes = Page(text).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {
        value.removeprefix("#") for tag, name, value in attributes if (tag, name) == ("a", "href")
    }
    assert len(links) == len(SECTIONS) and links <= set(ids)


def test_text_from_outside_stays_text(filled: Study) -> None:
    evil = "<script>alert(1)</script>\"'&"
    study = replace(
        filled,
        title=evil,
        dataset=replace(filled.dataset, name=evil, images={evil: 1}, classes=(evil,)),
        measurements=[
            *filled.measurements,
            replace(filled.measurements[0], name=evil, note=evil),
        ],
        training={evil: filled.training["Original"]},
        checks=[Check(statement=evil, basis=evil)],
        commands=[Command(stage=evil, line=evil)],
        settings={evil: evil},
        exported=ExportedFiles(cfg=evil, weights=evil, names=evil, onnx=evil),
    )
    text = report_html(study)
    page = Page(text)
    assert "script" not in page.tags
    assert text.count("&lt;script&gt;alert(1)") >= 12


def test_sections_without_data_are_left_out(filled: Study) -> None:
    bare = Study(
        title="Begun",
        dataset=filled.dataset,
        measurements=[Measurement(name="Original", params=1000)],
    )
    page = report_html(bare)
    assert Page(page).headings == []
    assert "<svg" not in page and "<img" not in page and "<details" not in page


def test_the_reports_are_written_and_the_same_each_time(filled: Study, tmp_path: Path) -> None:
    small = replace(filled, dense=None, slim=None, selection=None)
    write_report(tmp_path, small)
    first = {name: (tmp_path / name).read_bytes() for name in REPORTS}
    assert {path.name for path in tmp_path.iterdir()} == set(REPORTS)
    assert json.loads(first["report.json"])["rows"]
    write_report(tmp_path, small)
    assert first == {name: (tmp_path / name).read_bytes() for name in REPORTS}


def test_options_are_not_broken_at_a_hyphen(text: str) -> None:
    assert "<span>--keep-macs</span> 0.3" in text


def test_changes_have_a_minus_sign(text: str) -> None:
    cells = re.findall(r'<span class="change">\((.*?)\)</span>', text)
    assert cells and all(re.fullmatch(r"(&minus;|\+)[\d.]+%?", cell) for cell in cells)

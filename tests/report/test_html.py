"""report.html: self-contained, escaped, complete; and the programs that it prints run."""

import io
import json
import re
from contextlib import redirect_stdout
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.networks import network_of
from tests.random_networks import random_state
from tests.report import studies
from yoloprune.data.images import read_image, write_image
from yoloprune.data.preprocess import PRESETS, network_input
from yoloprune.detection.boxes import boxes_to_image
from yoloprune.detection.decode import decode
from yoloprune.detection.nms import select_detections
from yoloprune.exporters.onnx import export_onnx
from yoloprune.frontends.darknet.parser import parse_cfg, write_cfg
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.report.html import REPORTS, report_html, write_report
from yoloprune.report.study import Check, Command, ExportedFiles, Measurement, Study
from yoloprune.report.usage import snippets

STUDY = studies.filled_study()
PAGE = report_html(STUDY)
VOID = {"meta", "img", "br", "link", "input", "hr"}
SECTIONS = [
    *("Results", "Accuracy", "Latency", "Where the cost went", "What was cut"),
    *("On the same images", "What was verified", "Run the exported files", "Repeat it"),
]


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


def test_every_section_is_there() -> None:
    assert Page(PAGE).headings == SECTIONS
    assert PAGE.count("<svg") == 7
    assert PAGE.count("<img") == 3 * len(STUDY.examples)


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = Page(PAGE)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in page.attributes:
        assert not name.startswith("on")
        if name in ("src", "href", "srcset", "data", "poster", "xlink:href"):
            assert value.startswith(("#", "data:image/jpeg;base64,")), (tag, name, value)
    assert "@import" not in PAGE and not re.search(r"url\((?!#)", PAGE)
    assert "default-src 'none'" in PAGE


def test_links_lead_to_sections() -> None:
    attributes = Page(PAGE).attributes
    ids = [value for _, name, value in attributes if name == "id"]
    assert len(ids) == len(set(ids))
    links = {
        value.removeprefix("#") for tag, name, value in attributes if (tag, name) == ("a", "href")
    }
    assert len(links) == len(SECTIONS) and links <= set(ids)


def test_text_from_outside_stays_text() -> None:
    evil = "<script>alert(1)</script>\"'&"
    study = replace(
        STUDY,
        title=evil,
        dataset=replace(STUDY.dataset, name=evil, images={evil: 1}, classes=(evil,)),
        measurements=[
            *STUDY.measurements,
            replace(STUDY.measurements[0], name=evil, note=evil),
        ],
        training={evil: STUDY.training["Original"]},
        checks=[Check(statement=evil, basis=evil)],
        commands=[Command(stage=evil, line=evil)],
        settings={evil: evil},
        exported=ExportedFiles(cfg=evil, weights=evil, names=evil, onnx=evil),
    )
    text = report_html(study)
    page = Page(text)
    assert "script" not in page.tags
    assert text.count("&lt;script&gt;alert(1)") >= 12


def test_sections_without_data_are_left_out() -> None:
    bare = Study(
        title="Begun",
        dataset=STUDY.dataset,
        measurements=[Measurement(name="Original", params=1000)],
    )
    page = report_html(bare)
    assert Page(page).headings == ["Results"]
    assert "<svg" not in page and "<img" not in page and "tiles" not in page.split("</style>")[1]


def test_the_reports_are_written_and_the_same_each_time(tmp_path: Path) -> None:
    small = replace(STUDY, dense=None, slim=None, selection=None)
    write_report(tmp_path, small)
    first = {name: (tmp_path / name).read_bytes() for name in REPORTS}
    assert {path.name for path in tmp_path.iterdir()} == set(REPORTS)
    assert json.loads(first["report.json"])["rows"]
    write_report(tmp_path, small)
    assert first == {name: (tmp_path / name).read_bytes() for name in REPORTS}


def test_changes_have_a_minus_sign() -> None:
    cells = re.findall(r'<span class="change">\((.*?)\)</span>', PAGE)
    assert cells and all(re.fullmatch(r"(&minus;|\+)[\d.]+%?", cell) for cell in cells)


@pytest.mark.parametrize("channels", [3, 1])
def test_the_printed_programs_detect_what_we_detect(
    channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small boxes, for OpenCV cuts those that leave the photo before it suppresses, and a photo so
    # large that whole pixels change no overlap.
    spec = parse_cfg(
        f"[net]\nheight=64\nwidth=96\nchannels={channels}\n"
        "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=4\npad=1\n"
        "activation=leaky\n[convolutional]\nfilters=21\nsize=3\nstride=2\npad=1\n"
        "activation=linear\n[yolo]\nmask=0,1,2\nanchors=4,9, 6,7, 9,4\nnum=3\nclasses=2\n"
    )
    state = random_state(spec, 3, torch.float32)
    write_cfg(tmp_path / "slim.cfg", spec)
    write_weights(tmp_path / "slim.weights", spec, state)
    export_onnx(spec, state, tmp_path / "slim.onnx", decoded=True)
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
    write_image(tmp_path / "photo.png", noise.repeat(64, axis=0).repeat(64, axis=1))
    files = ExportedFiles(cfg="slim.cfg", weights="slim.weights", names="x", onnx="slim.onnx")
    page = report_html(replace(STUDY, slim=studies.network(spec), dense=None, exported=files))
    programs = [
        unescape(text).replace("photo.jpg", "photo.png")
        for text in re.findall(r"<code>(import .*?)</code>", page, re.DOTALL)
    ]
    assert len(programs) == len(snippets(studies.network(spec), files)) - 1 == 2

    photo = read_image(tmp_path / "photo.png", channels)
    fitted, placement = network_input(photo, 64, 96, PRESETS["plain"])
    with torch.inference_mode():
        maps = network_of(spec, state)(torch.from_numpy(fitted)[None])
    boxes = decode(spec, maps)
    # Both programs give a box its likeliest class alone.
    likeliest = boxes.classes * (boxes.classes == boxes.classes.amax(dim=2, keepdim=True))
    (found,) = select_detections(replace(boxes, classes=likeliest), 0.25, 0.45)
    corners = boxes_to_image(found.boxes_xyxy, placement)
    expected = torch.cat((found.labels[:, None], found.scores[:, None], corners), dim=1).numpy()
    # OpenCV shifts boxes that begin outside of the photo.
    inside = (expected[:, 2:4] >= 0).all(axis=1)
    assert inside.sum() > 20

    monkeypatch.chdir(tmp_path)
    for program in programs:
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(program, "report", "exec"), {})
        rows = np.array([line.split() for line in printed.getvalue().splitlines()], float)
        assert rows.shape == expected.shape
        # 8-bit resizing and whole pixels are the tolerance.
        apart = np.abs(rows[:, None] - expected[None, inside]) / (0.5, 0.02, 9, 9, 9, 9)
        assert (apart.max(axis=2).min(axis=0) < 1).all()

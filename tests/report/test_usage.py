"""How the exported files are run elsewhere: the programs that the report prints run."""

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace
from html import unescape
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
from yoloprune.frontends.onnx.read import read
from yoloprune.report.html import report_html
from yoloprune.report.study import ExportedFiles
from yoloprune.report.usage import snippets

STUDY = studies.filled_study()


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
    nameless, *_ = snippets(studies.network(spec), replace(files, names=None))
    assert nameless.code.startswith(f"seq 0 {spec.heads[0].classes - 1} > slim.names\nprintf ")
    assert "slim.names > slim.data" in nameless.code

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


def test_an_onnx_file_runs_as_the_dense_one_ran(net: Path) -> None:
    files = ExportedFiles(onnx="my slim.onnx", settings={"preprocess": "plain,order=bgr"})
    (snippet,) = snippets(read(net), files)
    assert (snippet.title, snippet.language) == ("yoloprune", "sh")
    assert snippet.code == (
        "yoloprune detect 'my slim.onnx' --preprocess plain,order=bgr photo.jpg --out found/\n"
    )

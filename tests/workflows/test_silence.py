"""Anchors and scales that find nothing: which they are, and what is left without them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from tests.architectures import yolov2
from tests.frontends.onnx.models import two_scales
from tests.workflows.test_task import exported, run
from yoloprune.detection.decode import decode
from yoloprune.errors import PlanError, UsageError, WeightsError
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.document import model as darknet_model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import outputs
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.silence import Silence


def silenced(dense: Model, gone: dict[int, tuple[int, ...]]) -> Model:
    """The network with anchors (by layer) of whose boxes none is an object."""
    for layer, anchors in gone.items():
        bias = dense.parameters[f"layer_{layer - 1}.bias"]
        for anchor in anchors:
            bias[7 * anchor + 4] = -20
    return dense


@pytest.mark.parametrize("mask", [True, False])
def test_anchors_and_scales_that_find_nothing_go(
    named: Model, photos: Path, mask: bool, tmp_path: Path
) -> None:
    coarse, fine = (head.index for head in darknet(named).spec.heads)
    gone = {coarse: (1,), fine: (0, 1, 2)} if mask else {coarse: (0, 1, 2), fine: (0, 2)}
    dense = silenced(named, gone)
    cut = prune(dense, silent_below=0.001, images=photos)
    (head,) = darknet(cut.slim).spec.heads
    (old,) = (head for head in darknet(dense).spec.heads if len(gone[head.index]) < 3)
    kept = [number for number in range(3) if number not in gone[old.index]]
    assert head.anchors == tuple(old.anchors[number] for number in kept) and head.classes == 2
    out = tmp_path / "slim"
    cut.save(out)
    slim = load(out)
    assert darknet(slim).spec.digest() == darknet(cut.slim).spec.digest()
    assert slim.document.names == ("hand", "foot")
    assert slim.cost.macs < dense.cost.macs
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1)).double()
    wanted, found = (
        decode(darknet(own).spec, outputs(own.graph, own.parameters, {"images": images}))
        for own in (dense, slim)
    )
    cells = [(64 // 32) ** 2, (64 // 16) ** 2]
    place = 0 if old.index == coarse else 1
    begin = 3 * cells[0] * place
    boxes = wanted.boxes[:, begin : begin + 3 * cells[place]].reshape(1, -1, 3, 4)
    torch.testing.assert_close(found.boxes.reshape(1, -1, len(kept), 4), boxes[:, :, kept])
    again = read_cut(out, dense)
    assert again.narrowed is not None and again.narrowed.proof.equal
    report = json.loads((out / "report.json").read_text())["task"]
    assert report["silence"]["images"] == 12 and report["names"] == []
    assert {int(k): len(v) for k, v in report["silence"]["scores"].items()} == {coarse: 3, fine: 3}
    text = (out / "report.md").read_text()
    assert "never above a score of 0.001 on 12 images, and removed: " in text
    path = out / "plan.json"
    plan = json.loads(path.read_text())
    plan["task"]["outputs"][f"head_{old.index}"]["kept"].pop()
    path.write_text(json.dumps(plan))
    with pytest.raises(PlanError, match="not those of its heads"):
        read_cut(out, dense)


@pytest.mark.parametrize("heard", [1, 2])
def test_rows_of_a_head_are_no_scales(photos: Path, heard: int) -> None:
    # The route joins as many channels as the head reads, and each half is an anchor's rows.
    convolution = "[convolutional]\nsize=3\npad=1\nactivation={}\nfilters={}\n"
    spec = parse_cfg(
        "[net]\nwidth=32\nheight=32\nchannels=3\n"
        + 2 * convolution.format("leaky", 7)
        + "[route]\nlayers=-1,-2\n"
        + convolution.format("linear", 14)
        + "[yolo]\nmask=0,1\nanchors=4,4,8,8\nclasses=2\nnum=2\n"
    )
    dense = darknet_model(spec, random_state(spec), title="net", names=("a", "b"))
    dense.parameters["layer_3.bias"][[4, 11]] = 5
    if heard == 1:
        dense.parameters["layer_3.bias"][11] = -50
    cut = prune(dense, silent_below=0.001, images=photos)
    (head,) = darknet(cut.slim).spec.heads
    assert head.anchors == ((4, 4), (8, 8))[:heard]
    assert darknet(cut.slim).spec.layers[2].sources == (1, 0)


def test_silence_counts_for_the_classes_that_are_kept(named: Model, photos: Path) -> None:
    coarse = darknet(named).spec.heads[0]
    bias = named.parameters[f"layer_{coarse.index - 1}.bias"]
    bias[5] = -20  # Hands, at the first anchor.
    cut = prune(named, classes=["hand"], silent_below=0.001, images=photos)
    assert [len(head.anchors) for head in darknet(cut.slim).spec.heads] == [2, 3]
    assert "anchor 0 of layer" in cut.shown().lines[0]
    both = prune(named, {"macs": 0.9}, silent_below=0.001, images=photos)
    assert [len(head.anchors) for head in darknet(both.slim).spec.heads] == [3, 3]
    assert any("removed: nothing" in line for line in both.shown().lines)


def test_an_old_head_loses_anchors_but_no_classes(photos: Path) -> None:
    spec = yolov2(classes=3, width=0.0625, size=(64, 64))
    state = random_state(spec)
    (head,) = spec.heads
    state[head.index - 1].bias[8 * 3 + 4] = -20
    cut = prune(darknet_model(spec, state, title="old"), silent_below=0.001, images=photos)
    (left,) = darknet(cut.slim).spec.heads
    assert left.anchors == head.anchors[:3] + head.anchors[4:] and left.classes == 3
    options = {option.key: option.value for option in left.section.options}
    assert options["num"] == "4" and len(options["anchors"].split(",")) == 8


@pytest.mark.parametrize(
    ("below", "images", "message"),
    [
        (0.5, False, "`images` must show what is to be found"),
        (1.0, True, r"silent_below=1 must be a score, in \[0, 1\)"),
        (0.999, True, r"no box scores above silent_below=0.999 on any of 12 images \(at most 0\."),
    ],
)
def test_silence_is_heard_on_images(
    named: Model, photos: Path, below: float, images: bool, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        prune(named, silent_below=below, images=photos if images else None)


def test_a_damaged_network_is_refused(named: Model, photos: Path) -> None:
    beyond = {name: torch.full_like(array, torch.nan) for name, array in named.parameters.items()}
    with pytest.raises(WeightsError, match="not finite"):
        prune(replace(named, parameters=beyond), silent_below=0.01, images=photos)


def test_a_scale_of_an_onnx_file_goes_with_its_head(tmp_path: Path, photos: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save_model(two_scales(), path)
    cut = prune(path, silent_below=0.01, images=photos)
    out = tmp_path / "slim"
    cut.save(out)
    images = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    found, wanted = run(out / "slim.onnx", images), run(path, images)
    np.testing.assert_allclose(found, wanted[:, :, 16:], rtol=1e-5, atol=1e-6)
    onnx.checker.check_model(onnx.load(out / "slim.onnx"), full_check=True)
    assert "head0" not in {node.name for node in load(out).graph.nodes}
    assert load(out).document.names == ("hand", "foot")
    assert "removed: scale 0 (at most " in cut.shown().lines[0]
    again = read_cut(out, path)
    assert again.narrowed is not None and again.narrowed.proof.equal


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["hand"]}, "cut it to its `classes` first"),
        ({"silent_below": 1.0}, "must be a score"),
        ({"silent_below": 0.999}, "nothing would be left"),
    ],
)
def test_scales_that_cannot_be_told_stay(
    tmp_path: Path, photos: Path, settings: dict[str, Any], message: str
) -> None:
    path = tmp_path / "net.onnx"
    onnx.save_model(two_scales(), path)
    with pytest.raises(UsageError, match=message):
        prune(path, images=photos, **({"silent_below": 0.01} | settings))


def test_boxes_of_one_scale_show_none(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(UsageError, match="which of its boxes are of which scale does not show"):
        prune(exported(tmp_path / "net.onnx"), silent_below=0.1, images=photos, decoder="yolov8")


def test_what_is_not_above_the_limit_is_silent_and_said_with_its_loudest() -> None:
    silence = Silence(below=0.25, images=12, scores={4: (0.25, 0.5), 7: (0.125, 0.0)})
    assert silence.heard == {4: (1,), 7: ()}
    assert str(silence) == (
        "never above a score of 0.25 on 12 images, and removed: anchor 0 of layer 4 "
        "(at most 0.25), layer 7 (at most 0.12)"
    )

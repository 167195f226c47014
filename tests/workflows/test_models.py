"""Networks are read from pairs and folders, and written back as they were."""

from pathlib import Path

import pytest

from tests.pairs import SPEC, STATE, write_pair
from yoloprune.errors import GraphError, UsageError, WeightsError, YoloPruneError
from yoloprune.frontends.darknet.document import darknet, state
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_seen, write_weights
from yoloprune.graph.model import Model
from yoloprune.workflows.models import load, save
from yoloprune.workflows.prune import prune


def source(model: Model) -> str:
    document = darknet(model)
    return document.source[0].name


def test_a_folder_stands_for_its_network(tmp_path: Path) -> None:
    for name in ("best", "last"):
        write_pair(tmp_path / "run", name)
    model = load(tmp_path / "run")
    assert source(model) == "best.cfg"
    assert model.document.title == "run"
    assert load(write_pair(tmp_path, "net")).document.title == "net"
    with pytest.raises(UsageError, match="is a folder"):
        load(tmp_path / "run", tmp_path / "net.weights")
    write_pair(tmp_path / "run", "slim")
    with pytest.raises(YoloPruneError, match=r"holds slim\.cfg and best\.cfg"):
        load(tmp_path / "run")
    with pytest.raises(YoloPruneError, match="no network in this folder"):
        load(tmp_path)
    with pytest.raises(YoloPruneError, match="cannot read a cfg or a folder"):
        load(tmp_path / "nowhere")


def test_a_cfg_alone_needs_its_weights_beside_it(tmp_path: Path) -> None:
    cfg = write_pair(tmp_path, "net")
    assert load(cfg).graph.digest() == load(cfg, cfg.with_suffix(".weights")).graph.digest()
    cfg.with_suffix(".weights").unlink()
    with pytest.raises(WeightsError, match=r"net\.weights is not beside it"):
        load(cfg)
    with pytest.raises(YoloPruneError, match="cannot read the cfg"):
        load(tmp_path / "gone.cfg")
    with pytest.raises(UsageError, match=r"model\.onnx: a Darknet network is written as a \.cfg"):
        load(write_pair(tmp_path, "net")).save(tmp_path / "model.onnx")


def test_a_slim_network_has_seen_no_images(tmp_path: Path) -> None:
    cfg = write_pair(tmp_path, "net")
    write_weights(cfg.with_suffix(".weights"), SPEC, state(load(cfg).parameters), seen=77)
    dense = load(cfg)
    prune(dense, {"macs": 0.6}).save(tmp_path / "slim")
    seen = [read_seen(path, spec) for path, spec in (
        (cfg.with_suffix(".weights"), SPEC),
        (tmp_path / "slim" / "slim.weights", read_cfg(tmp_path / "slim" / "slim.cfg")),
    )]  # fmt: skip
    assert seen == [77, 0]


def test_an_onnx_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"no\.onnx: No such file"):
        load(tmp_path / "no.onnx")


def test_what_is_read_is_written_back(tmp_path: Path) -> None:
    cfg = write_pair(tmp_path, "net")
    cfg.with_suffix(".names").write_text("left\nright\n")
    write_weights(cfg.with_suffix(".weights"), SPEC, STATE, seen=32_013_312)
    model = load(str(cfg), str(cfg.with_suffix(".weights")))
    assert model.document.names == ("left", "right")
    save(model, tmp_path / "new" / "copy.cfg")
    for kind in ("cfg", "weights", "names"):
        written = (tmp_path / "new" / f"copy.{kind}").read_bytes()
        assert written == cfg.with_suffix(f".{kind}").read_bytes()
    assert darknet(load(tmp_path / "new" / "copy.cfg")).spec == read_cfg(cfg)

import json
from pathlib import Path

import onnxruntime

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from yoloprune.exporters.interface import OnnxForm
from yoloprune.exporters.onnx import read_form


def test_export_writes_onnx_that_runs(pair: "Pair", tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    result = run("export", pair.cfg, pair.weights, "--onnx", out, "--decode")
    assert "ONNX Runtime = torch" in result.stdout
    names = [o.name for o in onnxruntime.InferenceSession(str(out)).get_outputs()]
    assert names == ["boxes", "scores"]


def test_export_in_one_line_and_as_json(pair: "Pair", tmp_path: Path) -> None:
    command = ["export", pair.cfg, pair.weights, "--out", tmp_path / "net.onnx"]
    (line,) = run(*command, "--quiet").stdout.splitlines()
    assert line.startswith(f"{tmp_path / 'net.onnx'}: ONNX Runtime = torch: relative error")
    document = json.loads(run(*command, "--json").stdout)
    assert document["outputs"].keys() == {"boxes", "scores"}
    assert "no export format has this suffix" in refused(*command[:-1], tmp_path / "net.pb")


def test_names_and_batch_of_export(pair: "Pair", tmp_path: Path) -> None:
    names, out = tmp_path / "a.names", tmp_path / "net.onnx"
    names.write_text("hand\nfist\n")
    result = run("export", pair.cfg, pair.weights, "--onnx", out, "--names", names, "--batch", 3)
    assert "images [3, 3, 64, 64] -> boxes [3, 60, 4], scores [3, 60, 2]" in result.stdout
    session = onnxruntime.InferenceSession(str(out))
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["names"]) == ["hand", "fist"]
    assert session.get_inputs()[0].shape == [3, 3, 64, 64]
    # Those beside the network go in unasked, and into what is pruned of it.
    names.rename(tmp_path / "dense.names")
    out.unlink()
    run("export", pair.cfg, pair.weights, "--onnx", out)
    pruning = ("prune", pair.cfg, pair.weights, "--keep-macs", 0.5, "--onnx", "--out")
    run(*pruning, tmp_path / "slim")
    for path in (out, tmp_path / "slim" / "slim.onnx"):
        assert read_form(path) == OnnxForm(decoded=True, names=("hand", "fist"))
    names.write_text("hand\n")
    export = ("export", pair.cfg, pair.weights, "--onnx", tmp_path / "no.onnx")
    assert "1 name, but the network has 2 classes" in refused(*export, "--names", names)
    assert "--batch" in refused(*export, "--batch", 0)
    assert not (tmp_path / "no.onnx").exists()

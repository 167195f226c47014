import json
from pathlib import Path

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair


def test_a_file_alone_is_verified_by_its_numbers(net: Path, tmp_path: Path) -> None:
    out = tmp_path / "slim"
    run("prune", net, "--keep-macs", 0.6, "--out", out)
    found = run("verify", net, out / "slim.onnx")
    assert "found by their numbers" in found.stdout and "slim = masked dense" in found.stdout
    # So is a folder whose plan is lost.
    (out / "plan.json").unlink()
    assert "found by their numbers" in run("verify", net, out).stdout
    assert "kept" in json.loads(run("verify", net, out, "--json").stdout)
    words = refused("verify", net, out, "--engine", "onnxruntime")
    assert "--engine and --device go with a folder" in words
    assert "gone.onnx: No such file" in refused("verify", net, tmp_path / "gone.onnx")


def test_a_darknet_pair_is_verified_against_its_slim_pair(pair: Pair, tmp_path: Path) -> None:
    run("prune", pair.cfg, pair.weights, "--keep-macs", 0.6, "--out", tmp_path / "slim")
    slim = tmp_path / "slim" / "slim.cfg", tmp_path / "slim" / "slim.weights"
    assert "found by their numbers" in run("verify", pair.cfg, pair.weights, *slim).stdout

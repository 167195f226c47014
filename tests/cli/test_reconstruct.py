"""`prune --reconstruct`, `reconstruct` and what `verify` says of their folders."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from tests.cli.commands import refused, run

if TYPE_CHECKING:
    from cli.conftest import Pair


def prune(pair: "Pair", out: Path, *options: object) -> str:
    result = run("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.7, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout + result.stderr


def recovery_of(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())["recovery"]


def test_a_folder_is_distilled_and_a_damaged_checkpoint_refused(
    pair: "Pair", photos: Path, tmp_path: Path
) -> None:
    prune(pair, tmp_path / "cut")
    words = ["reconstruct", pair.cfg, pair.weights, tmp_path / "cut", "--images", photos,
             "--calibration-images", 4, "--distill", 0.1]  # fmt: skip
    for more in (["--distill", "nan"], ["--distill", "inf"], ["--distill-steps", 3]):
        # Before anything is re-fitted.
        with patch("yoloprune.cli.reconstruct.recover", lambda *arguments, **named: 1 / 0):
            result = run(*words, *more)
        assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1, result.stderr
    assert "--distill or --distill-steps, not both" in result.stderr
    checkpoint = tmp_path / "cut" / "distill.pt"
    checkpoint.write_bytes(b"PK")
    before = (tmp_path / "cut" / "slim.weights").read_bytes()
    result = run(*words)
    assert result.exit_code == 2 and "damaged checkpoint" in result.stderr
    assert (tmp_path / "cut" / "slim.weights").read_bytes() == before
    checkpoint.unlink()
    with patch("yoloprune.workflows.distill._steps", lambda *arguments: 2):
        result = run(*words)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "distilled in 2 steps of 8 images" in result.stdout
    assert recovery_of(tmp_path / "cut")["distillation"]["curve"][-1][0] == 2
    assert not checkpoint.exists()


def test_both_ways_to_refit_give_the_same_network(
    pair: "Pair", photos: Path, tmp_path: Path
) -> None:
    said = prune(pair, tmp_path / "a", "--reconstruct", photos, "--calibration-images", 8)
    assert "of memory" in said and "too few to determine" in said
    assert "1 image could not be read" in said
    recovery = recovery_of(tmp_path / "a")
    assert (recovery["images"], recovery["skipped"]) == (8, 1)
    assert len({Path(name) for name in recovery["files"]} & set(photos.iterdir())) == 8
    assert recovery["heads"]["unseen"] and recovery["heads"]["images"] == 4
    assert len(recovery["heads"]["after"]) == 2
    assert all(fit["after"] <= fit["before"] for fit in recovery["layers"].values())
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["slim"]["verification"]["relative_error"] <= 1e-12

    said = prune(pair, tmp_path / "b", "--onnx", "--calibration-images", 3)
    assert "warning: --calibration-images is ignored" in said
    cut = (tmp_path / "b" / "slim.weights").read_bytes()
    result = run("reconstruct", pair.cfg, pair.weights, tmp_path / "b", "--images", photos,
                 "--calibration-images", 8)  # fmt: skip
    assert result.exit_code == 0, (result.output, result.exception)
    for name in ("slim.weights", "slim.cfg", "plan.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert recovery_of(tmp_path / "b") == recovery
    assert "was recovered before" not in result.stderr
    assert (tmp_path / "b" / "slim.weights").read_bytes() != cut
    text = (tmp_path / "a" / "report.md").read_text()
    assert text.count("## Recovery") == 1
    assert "Made by `yoloprune" in text.split("## Recovery")[1]

    said = run("verify", pair.cfg, pair.weights, tmp_path / "b").stdout
    assert "slim = masked dense" in said and "were recovered" in said
    assert "slim.onnx = slim.weights" in said and "verified" in said
    assert said.count("error at the outputs on") == 1
    # The recovered weights are measured again where there is something to measure on.
    said = run("verify", pair.cfg, pair.weights, tmp_path / "b", "--images", photos / "00.png")
    measured = said.stdout.split("on 1 image given here, relative to how much they vary: ")[
        1
    ].split(" recovered")[0]
    pruned, recovered = ([float(e) for e in p.split(", ")] for p in measured.split(" pruned, "))
    assert all(after < before for before, after in zip(pruned, recovered, strict=True))


def test_what_cannot_work_is_refused_and_changes_nothing(
    pair: "Pair", photos: Path, tmp_path: Path
) -> None:
    out, bad = tmp_path / "slim", tmp_path / "bad"
    bad.mkdir()
    (photos / "damaged.png").rename(bad / "damaged.png")
    (tmp_path / "empty.data").write_text("classes = 2\n")
    background = tmp_path / "background"
    background.mkdir()
    shutil.copy(min(photos.glob("*.png")), background / "a.png")
    (background / "a.txt").write_text("")
    base = ("prune", pair.cfg, pair.weights, "--out", out, "--keep-macs", 0.7)
    for options, words in (
        (("--reconstruct", photos, "--recalibrate", photos), "not both"),
        (("--reconstruct", tmp_path / "nowhere"), "no such file or folder"),
        (("--reconstruct", bad), "none of its 1 images can be read"),
        (("--reconstruct", tmp_path / "empty.data"), "naming a list of images"),
        (("--criterion", "reconstruction"), "needs images"),
        (("--criterion", "taylor", "--images", photos), "needs labels"),
        (("--criterion", "taylor", "--images", background), "none of the 1 images shows one"),
        # Said before anything is measured: it has no images to measure on either.
        (("--criterion", "taylor", "--images", photos, "--keep-macs", 1e-4), "smallest reachable"),
        (("--reconstruct", photos, "--calibration-images", 0), "--calibration-images"),
    ):
        assert words in refused(*base, *options)
        assert not out.exists()
    prune(pair, out)
    shutil.copy(pair.weights, tmp_path / "other.weights")
    run("init", out / "slim.cfg", "--seed", 5, "--out", out / "slim.weights")
    before = (out / "slim.weights").read_bytes()
    # Fine-tuned weights, say: they are not to be lost.
    message = refused("reconstruct", pair.cfg, pair.weights, out, "--images", photos)
    assert "slim against masked dense" in message
    message = refused("reconstruct", pair.cfg, pair.weights, bad, "--images", photos)
    assert "bad: it has no plan.json: name the folder that `prune` wrote" in message
    assert (out / "slim.weights").read_bytes() == before

"""Recovery without training, and the folders that say it happened."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.reporters import Heard
from yoloprune.errors import DatasetError, PlanError, VerificationError, YoloPruneError
from yoloprune.frontends.darknet.document import darknet
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.weights import write_weights
from yoloprune.graph.model import Model
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.recover import recover


def recovery_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())["recovery"]
    return found


def test_recovery_is_the_same_now_or_from_a_folder(
    dense: Model, photos: Path, tmp_path: Path
) -> None:
    heard = Heard()
    cut = prune(dense, {"macs": 0.7})
    cut.save(tmp_path / "cut")
    recovered = recover(cut, photos, calibration_images=8, reporter=heard)
    assert "of memory" in heard.lines[0]
    assert any("too few to determine" in warning for warning in heard.warnings)
    assert any("1 image could not be read" in warning for warning in heard.warnings)
    recovered.save(tmp_path / "a")
    entry = recovery_of(tmp_path / "a")
    assert (entry["images"], entry["skipped"]) == (8, 1)
    assert len({Path(name) for name in entry["files"]} & set(photos.iterdir())) == 8
    assert entry["heads"]["unseen"] and entry["heads"]["images"] == 4
    assert len(entry["heads"]["after"]) == 2
    assert all(fit["after"] <= fit["before"] for fit in entry["layers"].values())
    assert recovered.proof.exactness.passed

    later = recover(read_cut(tmp_path / "cut", dense), photos, calibration_images=8)
    later.save(tmp_path / "b")
    # Once more: from what the plan makes, not from what was recovered before.
    again = recover(read_cut(tmp_path / "b", dense), photos, calibration_images=8)
    again.save(tmp_path / "c")
    for name in ("slim.weights", "slim.cfg", "plan.json"):
        first, *others = ((tmp_path / run / name).read_bytes() for run in "abc")
        assert [first, first] == others
    assert recovery_of(tmp_path / "b") == recovery_of(tmp_path / "c") == entry
    cut_bytes = (tmp_path / "cut" / "slim.weights").read_bytes()
    assert (tmp_path / "a" / "slim.weights").read_bytes() != cut_bytes
    text = (tmp_path / "c" / "report.md").read_text()
    assert text.count("## Recovery") == 1


def test_images_that_are_not_held_are_read_again(
    dense: Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = prune(dense, {"macs": 0.7})
    whole = recover(cut, photos, calibration_images=10).slim
    monkeypatch.setattr("yoloprune.data.calibration.HELD_BYTES", 1)
    again = recover(cut, photos, calibration_images=10).slim
    assert again.sha256 == whole.sha256


def test_recovered_heads_are_nearer_to_the_dense_ones(
    dense: Model, photos: Path, tmp_path: Path
) -> None:
    cut = recover(prune(dense, {"macs": 0.7}), photos, calibration_images=8)
    assert cut.recovery is not None
    heads = cut.recovery["heads"]
    assert all(a < b for a, b in zip(heads["after"], heads["before"], strict=True))
    assert "error at the outputs on" in str(cut)


def test_recalibration_leaves_the_kernels(dense: Model, photos: Path) -> None:
    cut = prune(dense, {"macs": 0.7})
    recovered = recover(cut, photos, method="recalibrate", calibration_images=4)
    assert recovered.recovery is not None
    assert recovered.recovery["method"] == "recalibrate"
    assert recovered.recovery["layers"] == {}
    changed = {
        name.rsplit(".")[-1]
        for name, array in recovered.slim.parameters.items()
        if not array.equal(cut.slim.parameters[name])
    }
    assert changed and "kernel" not in changed


def test_a_list_and_a_data_file_name_the_images(dense: Model, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{photos / '00.png'}\n{photos / '01.png'}\n")
    (tmp_path / "some.data").write_text("train = list.txt\n")
    cut = prune(dense, {"macs": 0.7})
    for name in ("list.txt", "some.data"):
        recovery = recover(cut, tmp_path / name, method="recalibrate").recovery
        assert recovery is not None
        assert recovery["images"] == 2 and not recovery["heads"]["unseen"]


def test_what_cannot_be_learned_from_is_named(dense: Model, photos: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    bad.mkdir()
    shutil.copy(photos / "damaged.png", bad)
    background = tmp_path / "background"
    background.mkdir()
    shutil.copy(photos / "00.png", background / "a.png")
    (background / "a.txt").write_text("")
    cut = prune(dense, {"macs": 0.7})
    with pytest.raises(DatasetError, match="none of its 1 images can be read"):
        recover(cut, bad)
    with pytest.raises(YoloPruneError, match="no such file or folder"):
        recover(cut, tmp_path / "nowhere")
    with pytest.raises(YoloPruneError, match="`method` 'magic' is unknown"):
        recover(cut, photos, method="magic")
    for images, words in ((photos, "needs labels"), (background, "none of the 1 images shows one")):
        with pytest.raises(DatasetError, match=words):
            prune(dense, {"macs": 0.7}, criterion="taylor", images=images)
    # Said before anything is measured: it has no labels to measure by either.
    with pytest.raises(PlanError, match="smallest reachable"):
        prune(dense, {"macs": 1e-4}, criterion="taylor", images=photos)


def test_a_recovered_folder_belongs_to_one_set_of_dense_weights(
    dense: Model, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "slim"
    recover(prune(dense, {"macs": 0.7}), photos, method="recalibrate", calibration_images=2).save(
        out
    )
    spec = darknet(dense).spec
    write_weights(tmp_path / "other.weights", spec, random_state(spec, seed=5))
    other = load(tmp_path / "dense.cfg", tmp_path / "other.weights")
    with pytest.raises(PlanError, match="not the dense weights"):
        read_cut(out, other)
    # The report for people is not needed.
    (out / "report.md").unlink()
    cut = read_cut(out, dense)
    assert cut.recovery is not None
    write_weights(
        out / "slim.weights", darknet(cut.slim).spec, random_state(darknet(cut.slim).spec)
    )
    with pytest.raises(VerificationError, match="not the weights"):
        read_cut(out, dense)
    for damaged in ("[1]", '{"recovery": 1}', '{"recovery": {"heads": []}}', '{"recovery": {}}'):
        (out / "report.json").write_text(damaged)
        with pytest.raises(YoloPruneError, match=r"report\.json: damaged"):
            read_cut(out, dense)

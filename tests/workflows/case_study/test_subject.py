import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from yoloprune.errors import RunError
from yoloprune.workflows.case_study.settings import PRESETS
from yoloprune.workflows.case_study.subject import (
    SUBJECT,
    Subject,
    check_same,
    read_subject,
    write_subject,
)

MINE = Subject(preset="cpu", settings=replace(PRESETS["cpu"], seed=7), data=Path("data"))


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_subject(tmp_path) is None
    subject = replace(MINE, dense=(Path("a.cfg"), Path("a.weights")), train_split="mine")
    write_subject(tmp_path, subject)
    assert read_subject(tmp_path) == subject


def test_settings_that_an_earlier_version_did_not_know_are_the_presets(tmp_path: Path) -> None:
    write_subject(tmp_path, MINE)
    document = json.loads((tmp_path / SUBJECT).read_text())
    assert document["settings"].pop("learning_rate") == asdict(PRESETS["cpu"])["learning_rate"]
    (tmp_path / SUBJECT).write_text(json.dumps(document))
    assert read_subject(tmp_path) == MINE


def test_a_run_of_a_version_that_did_not_refit_goes_on_without(tmp_path: Path) -> None:
    write_subject(tmp_path, MINE)
    document = json.loads((tmp_path / SUBJECT).read_text())
    assert document["settings"].pop("refit") and document["settings"].pop("distill_steps")
    (tmp_path / SUBJECT).write_text(json.dumps(document))
    found = read_subject(tmp_path)
    assert found is not None and not found.settings.refit


def test_another_subject_is_refused_by_its_name_and_other_settings_are_not() -> None:
    check_same(Path("run"), MINE, replace(MINE, settings=PRESETS["demo"]))
    with pytest.raises(RunError, match="started with another data, fit_heads: choose"):
        check_same(Path("run"), MINE, replace(MINE, data=Path("other"), fit_heads=True))

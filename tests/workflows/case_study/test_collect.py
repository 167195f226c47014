from dataclasses import replace
from pathlib import Path

import pytest

from tests.workflows.case_study.tiny import TINY
from yoloprune.errors import RunError
from yoloprune.workflows.case_study.collect import _notes, read_study
from yoloprune.workflows.case_study.subject import Subject, write_subject


def test_a_study_is_read_once_its_data_is_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not the folder of a case study: it has no study\.json"):
        read_study(tmp_path)
    write_subject(tmp_path, Subject(preset="demo", settings=TINY, data=Path("data")))
    with pytest.raises(RunError, match="the data stage is not finished"):
        read_study(tmp_path)


def test_the_control_of_random_channels_is_cut_as_often() -> None:
    steps = replace(TINY, keep_macs=0.5, step=0.25, step_epochs=1, controls=("random",))
    for settings, often in ((TINY, False), (steps, True)):
        notes = _notes(Subject(preset="demo", settings=settings, data=Path("data")), 4)
        assert ("in as many cuts" in notes["Random"]) == often
        assert ("in 2 cuts of at most 0.25" in notes["Pruned"]) == often

from pathlib import Path

import pytest

from tests.workflows.case_study.tiny import TINY
from yoloprune.errors import RunError
from yoloprune.workflows.case_study.collect import read_study
from yoloprune.workflows.case_study.subject import Subject, write_subject


def test_a_study_is_read_once_its_data_is_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not the folder of a case study: it has no study\.json"):
        read_study(tmp_path)
    write_subject(tmp_path, Subject(preset="demo", settings=TINY, data=Path("data")))
    with pytest.raises(RunError, match="the data stage is not finished"):
        read_study(tmp_path)

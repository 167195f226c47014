"""What a run is a study of: `study.json`, written first and read by every later command."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from yoloprune.documents import fitted, read_document
from yoloprune.errors import RunError, YoloPruneError
from yoloprune.files import write_json
from yoloprune.workflows.case_study.settings import PRESETS, StudySettings

SUBJECT = "study.json"

EARLIER = {"refit": False, "distill_steps": 0}
"""What versions did that knew no such settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The preset and the settings that became of it, and where the study starts from.

    `dense` is None where it is trained; `backbone` and `transfer`, another network's pair, where
    training starts from random weights. With `fit_heads` the dense network gets heads for the data
    and is trained. `train_split` and `val_split` are the splits to train on and to choose by: None
    for the usual one, and for images held out of the former. With `allow_faulty`, images whose
    annotation cannot be read are left out.
    """

    preset: str
    settings: StudySettings
    data: Path
    dense: tuple[Path, Path] | None = None
    backbone: Path | None = None
    transfer: tuple[Path, Path] | None = None
    fit_heads: bool = False
    train_split: str | None = None
    val_split: str | None = None
    allow_faulty: bool = False

    @property
    def counts_epochs(self) -> bool:
        """Whether something is trained for `epochs`: the original, or a control from nothing."""
        from_nothing = {"scratch", "uniform", "half"} & {*self.settings.controls}
        return self.dense is None or self.fit_heads or bool(from_nothing)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """What of a subject may be of a version that knew fewer settings."""

    preset: str
    settings: dict[str, Any]


def read_subject(run: Path) -> Subject | None:
    """What a run is a study of, or None where no study was begun; raises `RunError` if damaged."""
    path = run / SUBJECT
    if not path.exists():
        return None
    document = read_document(path, dict[str, Any], fault=RunError)
    try:
        begun = fitted(document, _Begun)
        # A run of an earlier version goes on with what its preset says of later settings.
        preset = asdict(PRESETS[begun.preset]) if begun.preset in PRESETS else {}
        preset |= EARLIER
        return fitted(document | {"settings": preset | begun.settings}, Subject)
    except (ValueError, YoloPruneError) as error:
        raise RunError(f"{path}: damaged, or of another version: {error}") from None


def write_subject(run: Path, subject: Subject) -> None:
    """Write study.json."""
    write_json(run / SUBJECT, asdict(subject))


def check_same(run: Path, was: Subject, now: Subject) -> None:
    """Raise `RunError` if a run is asked to go on with another subject than it was begun with.

    Settings are not compared here: each stage knows those that it was made with.
    """
    names = [field.name for field in fields(Subject) if field.name != "settings"]
    changed = [name for name in names if getattr(was, name) != getattr(now, name)]
    if changed:
        raise RunError(
            f"{run / SUBJECT}: this run was started with another {', '.join(changed)}: "
            "choose another folder"
        )

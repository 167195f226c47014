"""What a run is a study of: `study.json`, written first and read by every later command."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from yoloprune.case_study.settings import PRESETS, StudySettings
from yoloprune.errors import PlanError
from yoloprune.files import read_json, write_text

SUBJECT = "study.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The preset and the settings that became of it, and where the study starts from.

    `data` is None where it is rendered, `dense` where it is trained from nothing, `backbone` where
    training starts from random weights. With `fit_heads` the dense network gets heads for the data
    and is trained. `train_split` and `val_split` are the splits to train on and to choose by: None
    for the usual one, and for images held out of the former. With `allow_faulty`, images whose
    annotation cannot be read are left out.
    """

    preset: str
    settings: StudySettings
    data: Path | None = None
    dense: tuple[Path, Path] | None = None
    backbone: Path | None = None
    fit_heads: bool = False
    train_split: str | None = None
    val_split: str | None = None
    allow_faulty: bool = False


def read_subject(run: Path) -> Subject | None:
    """What a run is a study of, or None where no study was begun; raises `PlanError` if damaged."""
    path = run / SUBJECT
    if not path.exists():
        return None
    document = read_json(path)
    try:
        stored = document["settings"]
        known = {field.name for field in fields(StudySettings)}
        lists = {name: tuple(value) for name, value in stored.items() if isinstance(value, list)}
        # A run of an earlier version goes on with what its preset says of later settings.
        settings = {**asdict(PRESETS[document["preset"]]), **stored, **lists}
        return Subject(
            preset=document["preset"],
            settings=StudySettings(**{k: v for k, v in settings.items() if k in known}),
            data=_path(document["data"]),
            dense=None if document["dense"] is None else (
                Path(document["dense"][0]), Path(document["dense"][1])
            ),
            backbone=_path(document["backbone"]),
            fit_heads=document.get("fit_heads", False),
            train_split=document.get("train_split"),
            val_split=document.get("val_split"),
            allow_faulty=document.get("allow_faulty", False),
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise PlanError(f"{path}: damaged, or not of a case study") from error


def write_subject(run: Path, subject: Subject) -> None:
    """Write study.json."""
    document = asdict(subject)
    text = json.dumps(document, indent=1, default=str) + "\n"
    write_text(run / SUBJECT, text)


def check_same(run: Path, was: Subject, now: Subject) -> None:
    """Raise `PlanError` if a run is asked to go on with another subject than it was begun with.

    Settings are not compared here: each stage knows those that it was made with.
    """
    names = [field.name for field in fields(Subject) if field.name != "settings"]
    changed = [name for name in names if getattr(was, name) != getattr(now, name)]
    if changed:
        raise PlanError(
            f"{run / SUBJECT}: this run was started with another {', '.join(changed)}: "
            "choose another --out"
        )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)

"""Stages with a manifest each: finished ones are skipped, a stopped one is resumed.

This is the one way in which a run of several steps is resumed. A stage works in a folder of its
own. Before it begins it writes down what it is made from, the hashes of its inputs and its
settings; so what a stopped attempt left is used only by the same attempt. Its manifest is written
last, with the hashes of what was made: a stage whose manifest stands is finished, and a file that
is no longer what it was is noticed.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from yoloprune.documents import read_document
from yoloprune.errors import RunError
from yoloprune.files import file_sha256, write_json
from yoloprune.training.distributed import World
from yoloprune.training.run_folder import environment

MANIFEST, ATTEMPT = "manifest.json", "attempt.json"

Kind = Literal["making", "training", "measuring"]
"""How a stage is worked on, and what becomes of what it was made from something else.

`making`: by the first process; half of another attempt is thrown away, a finished one refused.
`training`: by all processes together; takes too long to throw anything away, so that is refused.
`measuring`: by the first process; made anew whenever what it was made from has changed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a run, in a folder of its own: the one of its name in the run's.

    `needs` are the stages that it reads from, `settings` what else decides its outcome; `work`
    fills the stage's folder, going on from whatever a stopped attempt left there; `outputs` are the
    files, relative to the folder, that later stages and the report read.
    """

    name: str
    needs: tuple[str, ...]
    settings: Mapping[str, Any]
    outputs: tuple[str, ...]
    work: Callable[[Path], None]
    kind: Kind = "making"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What a stage is made from: by stage, the hashes of the files it reads; and its settings."""

    stage: str
    inputs: dict[str, dict[str, str]]
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Attempt):
    """What a finished stage has made: hashes by file name, where, and in how many seconds.

    The seconds are those of the last attempt alone, where the stage was stopped before.
    """

    environment: dict[str, Any]
    outputs: dict[str, str]
    seconds: float


def read_manifest(folder: Path) -> Manifest | None:
    """A stage's manifest, or None if the stage is not finished."""
    if not (folder / MANIFEST).exists():
        return None
    return read_document(folder / MANIFEST, Manifest, fault=RunError)


def _intact(folder: Path) -> bool:
    """Whether a stage is finished; raises `RunError` if a file is not what the stage made."""
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    for name, sha256 in manifest.outputs.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != sha256:
            raise RunError(
                f"{path} is not the file that was made here: put it back, or delete {folder} and "
                "the folders of later stages"
            )
    return True


def finished_stages(run: Path, names: Iterable[str]) -> frozenset[str]:
    """Those of these stages that are finished; raises `RunError` if a file has changed since."""
    return frozenset(name for name in names if _intact(run / name))


def is_finished(stage: Stage, run: Path) -> bool:
    """Whether a stage needs no more work.

    Raises `RunError` if it was made with other settings, from other inputs, or its files have
    changed since; a measuring stage then needs work again.
    """
    folder = run / stage.name
    manifest = read_manifest(folder)
    if manifest is None:
        return False
    try:
        _compare(manifest, _attempt(stage, run), folder)
        return _intact(folder)
    except RunError:
        if stage.kind == "measuring":
            return False
        raise


def run_stage(stage: Stage, run: Path, here: World) -> None:
    """Do a stage's work and write its manifest; raises `RunError` if an input is missing."""
    folder = run / stage.name
    start = time.monotonic()
    attempt = here.on_first(lambda: _claim(stage, run))
    if stage.kind == "training":
        stage.work(folder)
    else:
        here.on_first(lambda: stage.work(folder))
    here.on_first(lambda: _finish(stage, folder, attempt, time.monotonic() - start))


def _claim(stage: Stage, run: Path) -> Attempt:
    """Make the folder this attempt's, without what another one left there."""
    folder, attempt = run / stage.name, _attempt(stage, run)
    # A kill may leave a hidden temporary and nothing else.
    if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        _make_room(stage, folder, attempt)
    write_json(folder / ATTEMPT, asdict(attempt))
    return attempt


def _make_room(stage: Stage, folder: Path, attempt: Attempt) -> None:
    begun = folder / ATTEMPT
    if not begun.exists():
        if read_manifest(folder) is None:
            raise RunError(f"{folder} is not a folder of this run: choose another folder")
    elif not (folder / MANIFEST).exists():
        try:
            _compare(read_document(begun, Attempt, fault=RunError), attempt, folder)
            return
        except RunError:
            if stage.kind == "training":
                raise
    shutil.rmtree(folder)


def _finish(stage: Stage, folder: Path, attempt: Attempt, seconds: float) -> None:
    manifest = Manifest(
        **asdict(attempt),
        environment=environment(),
        outputs=_hashes(folder, stage.outputs),
        seconds=round(seconds, 1),
    )
    write_json(folder / MANIFEST, asdict(manifest))


def _hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in names}


def _attempt(stage: Stage, run: Path) -> Attempt:
    """What a stage would be made from now, as JSON has it."""
    inputs = {}
    for name in stage.needs:
        manifest = read_manifest(run / name)
        if manifest is None:
            raise RunError(f"stage {stage.name} needs {name}, which is not finished in {run}")
        inputs[name] = manifest.outputs
    settings = json.loads(json.dumps(dict(stage.settings)))
    return Attempt(stage=stage.name, inputs=inputs, settings=settings)


def _compare(was: Attempt, now: Attempt, folder: Path) -> None:
    # A setting that the run's version did not have yet had no effect on it.
    changed = [key for key, value in was.settings.items() if value != now.settings.get(key)]
    if changed:
        raise RunError(
            f"{folder} was made with other settings ({', '.join(sorted(changed))}): "
            "choose another folder, or delete that one and those of later stages"
        )
    if was.inputs != now.inputs:
        raise RunError(
            f"{folder} was made from files that have changed since: delete that folder "
            "and those of later stages to make them anew"
        )

"""Stages with a manifest each: finished ones are skipped, a stopped one is resumed.

This is the one way in which a run of several steps is resumed. A stage works in a folder of its
own. Before it begins it writes down what it is made from, the hashes of its inputs and its
settings; so what a stopped attempt left is used only by the same attempt. Its manifest is written
last, with the hashes of what was made: a stage whose manifest stands is finished, and a file that
is no longer what it was is noticed.
"""

import json
import math
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
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
    """What a stage is made from: by stage, the hashes of the files it reads; and its settings.

    The seconds are those that were worked on it: in an attempt, before it was stopped last.
    """

    stage: str
    inputs: dict[str, dict[str, str]]
    settings: dict[str, Any]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.seconds < math.inf:
            raise ValueError(f"no stage takes {self.seconds:g} seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Attempt):
    """What a finished stage has made: hashes by file name, and where."""

    environment: dict[str, Any]
    outputs: dict[str, str]


def read_manifest(folder: Path) -> Manifest | None:
    """A stage's manifest, or None if the stage is not finished."""
    if not (folder / MANIFEST).exists():
        return None
    return read_document(folder / MANIFEST, Manifest, fault=RunError)


def _intact(folder: Path) -> Manifest | None:
    """A finished stage's manifest; raises `RunError` if a file is not what the stage made."""
    manifest = read_manifest(folder)
    if manifest is None:
        return None
    for name, sha256 in manifest.outputs.items():
        path = folder / name
        if not path.is_file() or file_sha256(path) != sha256:
            raise RunError(
                f"{path} is not the file that was made here: put it back, or delete {folder} and "
                "the folders of later stages"
            )
    return manifest


def finished_stages(
    run: Path, names: Iterable[str], measuring: Set[str] = frozenset()
) -> frozenset[str]:
    """Those of these stages that are finished.

    What those that are `measuring` have found of other files than there are now is as good as not
    there. Raises `RunError` if a file has changed since, or what another stage was made from.
    """
    found = set()
    for name in (*names, *measuring):
        manifest = _intact(run / name)
        if manifest is None:
            continue
        made = {need: read_manifest(run / need) for need in manifest.inputs}
        if {need: own.outputs for need, own in made.items() if own is not None} == manifest.inputs:
            found.add(name)
        elif name not in measuring:
            raise _outdated(run / name)
    return frozenset(found)


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
        if manifest.inputs.keys() != {*stage.needs}:
            raise RunError(
                f"{folder} was made from other stages ({', '.join(manifest.inputs) or 'none'}): "
                "choose another folder, or delete that one and those of later stages"
            )
        _compare(manifest, _attempt(stage, run), folder)
        return _intact(folder) is not None
    except RunError:
        if stage.kind == "measuring":
            return False
        raise


def check_resumable(stage: Stage, run: Path) -> None:
    """Raise `RunError` if what a stage has made, or a training begun, is not what is asked for now.

    What may be thrown away is no reason: half of what is not trained, and measurements.
    """
    begun = run / stage.name / ATTEMPT
    if not is_finished(stage, run) and stage.kind == "training" and begun.exists():
        was = read_document(begun, Attempt, fault=RunError)
        _compare_settings(was, _plain(stage.settings), begun.parent)


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
        attempt = replace(attempt, seconds=_make_room(stage, folder, attempt))
    write_json(folder / ATTEMPT, asdict(attempt))
    return attempt


def _make_room(stage: Stage, folder: Path, attempt: Attempt) -> float:
    """Remove what another attempt left; returns the seconds that went into what is gone on with."""
    begun = folder / ATTEMPT
    if not begun.exists():
        if read_manifest(folder) is None:
            raise RunError(f"{folder} is not a folder of this run: choose another folder")
    elif not (folder / MANIFEST).exists():
        try:
            was = read_document(begun, Attempt, fault=RunError)
            _compare(was, attempt, folder)
            return was.seconds + _worked(folder)
        except RunError:
            if stage.kind == "training":
                raise
    shutil.rmtree(folder)
    return 0.0


def _worked(folder: Path) -> float:
    """Seconds between an attempt's beginning and the last file that it left."""
    begun = (folder / ATTEMPT).stat().st_mtime
    return max(path.stat().st_mtime for path in folder.iterdir() if path.is_file()) - begun


def _finish(stage: Stage, folder: Path, attempt: Attempt, seconds: float) -> None:
    manifest = Manifest(
        **asdict(attempt) | {"seconds": round(attempt.seconds + seconds, 1)},
        environment=environment(),
        outputs=_hashes(folder, stage.outputs),
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
    return Attempt(stage=stage.name, inputs=inputs, settings=_plain(stage.settings))


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as JSON has them."""
    found: dict[str, Any] = json.loads(json.dumps(dict(settings)))
    return found


def _compare(was: Attempt, now: Attempt, folder: Path) -> None:
    _compare_settings(was, now.settings, folder)
    if was.inputs != now.inputs:
        raise _outdated(folder)


def _compare_settings(was: Attempt, now: Mapping[str, Any], folder: Path) -> None:
    # A setting that the run's version did not have yet had no effect on it.
    changed = [key for key, value in was.settings.items() if value != now.get(key)]
    if changed:
        raise RunError(
            f"{folder} was made with other settings ({', '.join(sorted(changed))}): "
            "choose another folder, or delete that one and those of later stages"
        )


def _outdated(folder: Path) -> RunError:
    return RunError(
        f"{folder} was made from files that have changed since: delete that folder "
        "and those of later stages to make them anew"
    )

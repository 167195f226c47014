"""Stages with a manifest each: finished ones are skipped, a stopped one goes on.

A stage works in a folder of its own. Its manifest is written last and says what it was made from:
the hashes of its inputs, the settings, the environment, and the hashes of what it made. So a stage
whose manifest stands is finished, and one whose inputs have changed since is noticed.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoloprune.errors import PlanError
from yoloprune.files import file_sha256, write_text
from yoloprune.training.distributed import World
from yoloprune.training.run_folder import environment

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a study.

    `needs` are the stages that it reads from, `settings` what else decides its outcome; `work`
    fills the stage's folder, going on from whatever a stopped attempt left there; `outputs` are the
    files, relative to the folder, that later stages and the report read. A `collective` stage is
    worked on by all processes together, the others by the first one alone.
    """

    name: str
    needs: tuple[str, ...]
    settings: Mapping[str, Any]
    outputs: tuple[str, ...]
    work: Callable[[Path], None]
    collective: bool = False


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """A stage's manifest, or None if the stage is not finished."""
    try:
        document = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise PlanError(f"{folder / MANIFEST}: damaged ({error}): delete the folder") from error
    return dict(document)


def is_finished(stage: Stage, run: Path) -> bool:
    """Whether a stage needs no more work.

    Raises `PlanError` if it was finished with other settings, or its inputs have changed since.
    """
    manifest = read_manifest(run / stage.name)
    if manifest is None:
        return False
    was, now = manifest["settings"], json.loads(json.dumps(stage.settings))
    if was != now:
        changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
        raise PlanError(
            f"{run / stage.name} was made with other settings ({', '.join(sorted(changed))}): "
            "choose another --out, or delete that folder and those of later stages"
        )
    if manifest["inputs"] != _inputs(stage, run):
        raise PlanError(
            f"{run / stage.name} was made from files that have changed since: delete that folder "
            "and those of later stages to make them anew"
        )
    return True


def run_stage(stage: Stage, run: Path, here: World) -> None:
    """Do a stage's work and write its manifest; raises `PlanError` if an input is missing."""
    inputs = _inputs(stage, run)
    folder = run / stage.name
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    if stage.collective:
        stage.work(folder)
    else:
        here.on_first(lambda: stage.work(folder))
    here.on_first(lambda: _write_manifest(stage, folder, inputs, time.monotonic() - start))


def _write_manifest(
    stage: Stage, folder: Path, inputs: dict[str, dict[str, str]], seconds: float
) -> None:
    document = {
        "stage": stage.name,
        "inputs": inputs,
        "settings": dict(stage.settings),
        "environment": environment(),
        "outputs": hashes(folder, stage.outputs),
        # Of the last attempt alone, where the stage was stopped before.
        "seconds": round(seconds, 1),
    }
    write_text(folder / MANIFEST, json.dumps(document, indent=1) + "\n")


def hashes(folder: Path, names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of files in a folder."""
    return {name: file_sha256(folder / name) for name in names}


def _inputs(stage: Stage, run: Path) -> dict[str, dict[str, str]]:
    found = {}
    for name in stage.needs:
        manifest = read_manifest(run / name)
        if manifest is None:
            raise PlanError(f"stage {stage.name} needs {name}, which is not finished in {run}")
        found[name] = dict(manifest["outputs"])
    return found

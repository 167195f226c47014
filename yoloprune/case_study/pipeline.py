"""The stages of a study in their order, and running them."""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yoloprune.case_study.data import SUMMARY, prepare_data
from yoloprune.case_study.measurements import (
    evaluation_file,
    make_benchmark,
    make_evaluations,
    make_export,
)
from yoloprune.case_study.networks import Workshop
from yoloprune.case_study.settings import StudySettings
from yoloprune.case_study.stages import Stage, is_finished, read_manifest, run_stage
from yoloprune.errors import PlanError
from yoloprune.files import write_text
from yoloprune.report.study import FINE_TUNED, ORIGINAL, PRUNED
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World

TRAINED = ("best.cfg", "best.weights")
CUT = ("slim.cfg", "slim.weights")

SETTINGS = "study.json"
"""File of a run that says what it is a study of; what `read_study` begins with."""


def rows(settings: StudySettings) -> dict[str, tuple[str, str]]:
    """Rows of the table: the stage and the file name of each network."""
    controls = {name.capitalize(): (name, "best") for name in settings.controls}
    return {
        ORIGINAL: ("dense", "best"),
        PRUNED: ("pruned", "slim"),
        FINE_TUNED: ("finetuned", "best"),
        **controls,
    }


def stages(workshop: Workshop, data: Path | None) -> list[Stage]:
    """All stages, in an order in which each finds what it needs."""
    run, settings = workshop.run, workshop.settings
    networks = rows(settings)
    cut = {
        "keep_macs": settings.keep_macs,
        "criterion": settings.criterion,
        "compensation": workshop.compensation.value,
        "seed": settings.seed,
    }

    def stage(
        name: str,
        needs: tuple[str, ...],
        outputs: tuple[str, ...],
        work: Callable[[Path], None],
        decided: Mapping[str, Any] | None = None,
    ) -> Stage:
        return Stage(name=name, needs=needs, settings=decided or {}, outputs=outputs, work=work)

    def training(
        name: str,
        needs: tuple[str, ...],
        work: Callable[[Path], None],
        config: TrainingConfig,
        more: Mapping[str, Any] | None = None,
        outputs: tuple[str, ...] = TRAINED,
    ) -> Stage:
        decided = config.decisive() | {"hold_out": settings.hold_out} | dict(more or {})
        return Stage(
            name=name,
            needs=("data", *needs),
            settings=decided,
            outputs=outputs,
            work=work,
            collective=True,
        )

    found = [
        stage(
            "data",
            (),
            (SUMMARY,),
            lambda folder: prepare_data(folder, data, settings),
            {
                "image_size": settings.image_size,
                "hold_out": settings.hold_out,
                "seed": settings.seed,
                "rendered": settings.rendered if data is None else None,
            },
        ),
        training("dense", (), workshop.make_dense, settings.training(), {"width": settings.width}),
    ]
    if settings.sparsity:
        config = settings.sparse_training()
        found.append(training("sparse", ("dense",), workshop.make_sparse, config))
    finetuning = settings.finetuning()
    found += [
        stage("pruned", (workshop.source,), (*CUT, "plan.json"), workshop.make_pruned, cut),
        training("finetuned", ("dense", "pruned"), workshop.make_finetuned, finetuning),
    ]
    controls = {
        "scratch": training("scratch", ("pruned",), workshop.make_scratch, settings.training()),
        "uniform": training(
            "uniform",
            ("dense",),
            workshop.make_uniform,
            settings.training(),
            {"keep_macs": settings.keep_macs},
        ),
        "random": training(
            "random",
            tuple(dict.fromkeys(("dense", workshop.source))),
            workshop.make_random,
            finetuning,
            cut | {"criterion": "random"},
            (*TRAINED, *CUT),
        ),
    }
    found += [controls[name] for name in settings.controls]
    made = tuple(dict.fromkeys(stage for stage, _ in networks.values()))
    found += [
        stage(
            "evaluated",
            ("data", *made),
            tuple(evaluation_file(row) for row in networks),
            lambda folder: make_evaluations(run, folder, networks),
        ),
        stage(
            "exported",
            ("data", "dense", "pruned", "finetuned"),
            (*CUT, "slim.names", "slim.onnx", "checks.json"),
            lambda folder: make_export(run, folder),
        ),
        stage(
            "benchmark",
            made,
            ("latency.json",),
            lambda folder: make_benchmark(run, folder, networks),
        ),
    ]
    return found


def begin(workshop: Workshop, preset: str, data: Path | None) -> None:
    """Write down what the run is a study of; raises `PlanError` if it is one of something else."""
    path = workshop.run / SETTINGS
    asked = {
        "preset": preset,
        "data": None if data is None else str(data),
        "dense": None if workshop.dense is None else [str(path) for path in workshop.dense],
        "backbone": None if workshop.backbone is None else str(workshop.backbone),
        "settings": json.loads(json.dumps(asdict(workshop.settings))),
    }
    # Before its data is prepared a run is a study of nothing yet: what was wrong can be put right.
    if path.exists() and read_manifest(workshop.run / "data") is not None:
        was = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in asked if key != "settings" and was.get(key) != asked[key]]
        if changed:
            raise PlanError(
                f"{path}: this run was started with another {', '.join(changed)}: "
                "choose another --out"
            )
    # Controls may be added later; each stage checks the settings that it was made with itself.
    write_text(path, json.dumps(asked, indent=1) + "\n")


def run_stages(
    todo: list[Stage], run: Path, here: World, shown: Callable[[str], AbstractContextManager[None]]
) -> None:
    """Do what is not finished yet, in order.

    `shown` is entered with the name of a stage while it is worked on.
    """
    for stage in todo:
        if is_finished(stage, run):
            continue
        with shown(stage.name):
            run_stage(stage, run, here)

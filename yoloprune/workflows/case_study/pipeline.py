"""The stages of a study in their order, and running them."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from yoloprune.files import file_sha256
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.report.study import DISTILLED, FINE_TUNED, ORIGINAL, PRUNED, REFITTED
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.run_folder import LOG
from yoloprune.workflows.case_study.chain import Chain, outcome_chain, random_chain
from yoloprune.workflows.case_study.data import SUMMARY, TRAINING, prepare_data
from yoloprune.workflows.case_study.measurements import (
    EVALUATED,
    evaluation_file,
    make_benchmark,
    make_evaluations,
    make_export,
)
from yoloprune.workflows.case_study.networks import INT8, SCORES, Workshop
from yoloprune.workflows.case_study.settings import Control, StudySettings
from yoloprune.workflows.case_study.subject import Subject, check_same, read_subject, write_subject
from yoloprune.workflows.stages import Stage, check_resumable, is_finished, read_manifest, run_stage

TRAINED = ("best.cfg", "best.weights")
RECOVERED = ("slim.cfg", "slim.weights", "plan.json")
"""Without its report, which names images, or the network that was cut, by where they are."""

CUT = (*RECOVERED, "report.json")

CONTROL_ROWS: dict[Control, str] = {
    "scratch": "Scratch",
    "uniform": "Uniform",
    "random": "Random",
    "half": "Half width",
    "longer": "Original, longer",
    "smaller": "Smaller input",
    "int8": "int8",
}
"""Names of the controls' rows."""


def rows(settings: StudySettings) -> dict[str, tuple[str, str]]:
    """Rows of the table: the stage and the file of each network."""
    controls = {
        CONTROL_ROWS[name]: (name, INT8 if name == "int8" else TRAINED[0])
        for name in settings.controls
    }
    return {
        ORIGINAL: ("dense", TRAINED[0]),
        PRUNED: ("pruned", CUT[0]),
        **({REFITTED: ("refitted", CUT[0])} if settings.refit else {}),
        **({DISTILLED: ("distilled", CUT[0])} if settings.distill_steps else {}),
        FINE_TUNED: ("finetuned", TRAINED[0]),
        **controls,
    }


def stages(workshop: Workshop) -> list[Stage]:
    """All stages, in an order in which each finds what it needs."""
    return [
        _data(workshop.subject),
        *_making(workshop),
        *_controls(workshop),
        *_measuring(workshop.run, workshop.subject.settings, workshop.device),
    ]


def _data(subject: Subject) -> Stage:
    settings = subject.settings
    return Stage(
        name="data",
        needs=(),
        outputs=(SUMMARY, TRAINING),
        work=lambda folder: prepare_data(folder, subject),
        settings={
            "image_size": settings.image_size,
            "hold_out": settings.hold_out,
            "seed": settings.seed,
        },
    )


def _making(workshop: Workshop) -> list[Stage]:
    """The stages between the data and the fine-tuned network."""
    settings = workshop.subject.settings
    found = [_dense(workshop)]
    if settings.sparsity:
        found.append(
            _training(
                settings, "sparse", ("dense",), workshop.make_sparse, settings.sparse_training()
            )
        )
    found += _slimming(workshop, outcome_chain(settings), "finetuned")
    return found


def _slimming(workshop: Workshop, chain: Chain, name: str) -> list[Stage]:
    """The stages of a chain and its fine-tuning, which has this name."""
    settings, found = workshop.subject.settings, []
    measured = chain.criterion in MEASURED_CRITERIA
    for step in chain.steps:
        found += [
            Stage(
                name=step.cut,
                needs=tuple(dict.fromkeys(("data", "dense", step.source))),
                settings={
                    "share": step.share,
                    **_choosing(settings, chain),
                    "refit": settings.refit,
                    **_looks(settings),
                },
                outputs=RECOVERED,
                work=partial(workshop.make_step, chain=chain, step=step),
            ),
            _training(
                settings,
                step.trained,
                ("dense", step.cut),
                partial(workshop.train_step, step=step),
                settings.step_training(step.number),
            ),
        ]
    found.append(
        Stage(
            name=chain.pruned,
            needs=("data", chain.source) if measured else (chain.source,),
            settings={
                **_choosing(settings, chain),
                "compensation": settings.compensation.value,
                **(_looks(settings) if measured else {}),
            },
            outputs=(*CUT, SCORES),
            work=partial(workshop.make_pruned, chain=chain),
        )
    )
    if chain.refitted is not None:
        work = partial(workshop.make_refitted, chain=chain)
        looks = _looks(settings)
        found.append(_recovery(settings, chain, chain.refitted, chain.pruned, work, **looks))
    if chain.distilled is not None and chain.refitted is not None:
        work = partial(workshop.make_distilled, chain=chain)
        steps = settings.distill_steps
        found.append(_recovery(settings, chain, chain.distilled, chain.refitted, work, steps=steps))
    work = partial(workshop.make_finetuned, chain=chain)
    found.append(_training(settings, name, ("dense", chain.recovered), work, settings.finetuning()))
    return found


def _recovery(
    settings: StudySettings,
    chain: Chain,
    name: str,
    before: str,
    work: Callable[[Path], None],
    **more: Any,
) -> Stage:
    return Stage(
        name=name,
        needs=("data", chain.source, before),
        settings={"seed": settings.seed, **more},
        outputs=RECOVERED,
        work=work,
    )


def _choosing(settings: StudySettings, chain: Chain) -> dict[str, Any]:
    """What decides which channels go."""
    return {
        "keep_macs": settings.keep_macs,
        "criterion": chain.criterion,
        "seed": settings.seed,
        **_rounding(settings),
    }


def _dense(workshop: Workshop) -> Stage:
    subject = workshop.subject
    given = None if subject.dense is None else [file_sha256(path) for path in subject.dense]
    if subject.fit_heads:
        return _training(
            subject.settings,
            "dense",
            (),
            workshop.make_fitted,
            subject.settings.training(),
            dense=given,
        )
    if given is not None:
        return Stage(
            name="dense",
            needs=("data",),
            settings={"dense": given},
            outputs=TRAINED,
            work=workshop.take_dense,
        )
    return _training(
        subject.settings,
        "dense",
        (),
        workshop.make_dense,
        subject.settings.training(),
        width=subject.settings.width,
        backbone=None if subject.backbone is None else file_sha256(subject.backbone),
        transfer=subject.transfer and [file_sha256(path) for path in subject.transfer],
    )


def _controls(workshop: Workshop) -> list[Stage]:
    settings = workshop.subject.settings
    whole, more = settings.control_training(), settings.longer_training()
    dense = ("dense",)
    training = partial(_training, settings)
    known = {
        "scratch": [training("scratch", ("pruned",), workshop.make_scratch, whole)],
        "uniform": [
            _narrow(
                "uniform-pruned",
                workshop.make_uniform_pruned,
                keep_macs=settings.keep_macs,
                **_rounding(settings),
            ),
            training("uniform", ("uniform-pruned",), workshop.make_uniform, whole),
        ],
        "random": _slimming(workshop, random_chain(settings), "random"),
        "half": [
            _narrow("half-pruned", workshop.make_half_pruned),
            training("half", ("half-pruned",), workshop.make_half, whole),
        ],
        "longer": [training("longer", dense, workshop.make_longer, more)],
        "smaller": [
            Stage(
                name="smaller-input",
                needs=("dense", "pruned"),
                settings={},
                outputs=TRAINED,
                work=workshop.make_smaller_input,
            ),
            training("smaller", ("smaller-input",), workshop.make_smaller, more),
        ],
        "int8": [
            Stage(
                name="int8",
                needs=("data", "dense"),
                settings={"hold_out": settings.hold_out, "seed": settings.seed},
                outputs=(INT8,),
                work=workshop.make_int8,
            )
        ],
    }
    return [stage for name in settings.controls for stage in known[name]]


def _training(
    settings: StudySettings,
    name: str,
    needs: tuple[str, ...],
    work: Callable[[Path], None],
    config: TrainingConfig,
    **more: Any,
) -> Stage:
    return Stage(
        name=name,
        needs=("data", *needs),
        settings=config.decisive() | {"hold_out": settings.hold_out} | more,
        outputs=(*TRAINED, LOG),
        work=work,
        kind="training",
    )


def _narrow(name: str, work: Callable[[Path], None], **chosen: Any) -> Stage:
    return Stage(name=name, needs=("dense",), settings=chosen, outputs=CUT, work=work)


def _rounding(settings: StudySettings) -> dict[str, int]:
    return {} if settings.multiple_of is None else {"multiple_of": settings.multiple_of}


def _looks(settings: StudySettings) -> dict[str, Any]:
    """What decides which images are looked at."""
    return {"calibration_images": settings.calibration_images, "hold_out": settings.hold_out}


def _measuring(run: Path, settings: StudySettings, device: torch.device) -> list[Stage]:
    networks, chain = rows(settings), outcome_chain(settings)
    made = tuple(stage for stage, _ in networks.values())

    def measuring(
        name: str,
        needs: tuple[str, ...],
        outputs: tuple[str, ...],
        work: Callable[[Path], None],
        **chosen: Any,
    ) -> Stage:
        return Stage(
            name=name, needs=needs, settings=chosen, outputs=outputs, work=work, kind="measuring"
        )

    return [
        measuring(
            EVALUATED,
            ("data", *made),
            tuple(evaluation_file(row) for row in networks),
            lambda folder: make_evaluations(run, folder, networks, device),
        ),
        measuring(
            "benchmark",
            made,
            ("latency.json",),
            lambda folder: make_benchmark(run, folder, networks),
        ),
        measuring(
            "exported",
            ("data", "dense", *chain.cuts, "finetuned"),
            ("slim.cfg", "slim.weights", "slim.names", "slim.onnx", "checks.json"),
            lambda folder: make_export(run, folder, chain.cuts, decoded=settings.decoded),
            decoded=settings.decoded,
        ),
    ]


def begin(run: Path, subject: Subject, todo: list[Stage]) -> None:
    """Write down what the run is a study of.

    Raises `RunError`, and leaves the run as it was, if it is one of something else or a stage was
    made, or a training begun, otherwise than it is asked for now.
    """
    was = read_subject(run)
    # Before its data is prepared a run is a study of nothing yet: what was wrong can be put right.
    if was is not None and read_manifest(run / "data") is not None:
        check_same(run, was, subject)
        for stage in todo:
            check_resumable(stage, run)
    if (latest := read_subject(run)) is not None:
        # Another process may have added controls in the meantime.
        controls = dict.fromkeys((*latest.settings.controls, *subject.settings.controls))
        settings = replace(subject.settings, controls=tuple(controls))
        subject = replace(subject, settings=settings)
    write_subject(run, subject)


def run_stages(
    todo: list[Stage],
    run: Path,
    here: World,
    shown: Callable[[Stage], AbstractContextManager[None]],
) -> None:
    """Do what is not finished yet, in order.

    `shown` is entered with a stage while it is worked on.
    """
    for stage in todo:
        if is_finished(stage, run):
            continue
        # Others may work on other stages of the same run.
        with shown(stage), here.locked(run / stage.name):
            run_stage(stage, run, here)

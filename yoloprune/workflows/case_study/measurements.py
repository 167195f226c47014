"""The stages that measure and hand out: evaluate, export, time."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from yoloprune.documents import read_document
from yoloprune.engines.agreement import TOLERANCE, largest_difference
from yoloprune.engines.benchmark import Latency, benchmark
from yoloprune.engines.onnxruntime import ONNXRUNTIME
from yoloprune.engines.table import run_in
from yoloprune.errors import RunError, VerificationError
from yoloprune.evaluation.average_precision import PrecisionRecall
from yoloprune.evaluation.details import Details
from yoloprune.evaluation.evaluator import Evaluation, evaluate
from yoloprune.evaluation.protocols import PROTOCOLS
from yoloprune.exporters.interface import OnnxForm
from yoloprune.exporters.onnx import ONNX
from yoloprune.files import write_json, write_text
from yoloprune.frontends.darknet.document import DarknetDocument, darknet
from yoloprune.graph.model import Model
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prove import Exactness
from yoloprune.pruning.torch_pruning_check import cross_check
from yoloprune.report.study import Accuracy, Check
from yoloprune.training.run_folder import write_network
from yoloprune.workflows.case_study.data import read_study_data
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.models import load
from yoloprune.workflows.timing import cpu_threads

EVALUATED = "evaluated"
"""The stage whose folder has the evaluations."""

LATENCIES = Path("benchmark", "latency.json")
"""What `make_benchmark` writes, in the study's folder."""

RUNS, WARMUP, THREADS = 30, 3, 1
"""Timed runs of each network, those before them, and threads of a CPU."""

OPENCV_TOLERANCE = 5e-3
"""OpenCV's batch-norm epsilon, 1e-6 instead of darknet's 1e-5, shows in the third digit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Curve:
    precision: tuple[float, ...]
    recall: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.precision) != len(self.recall):
            raise RunError("a curve has as many recalls as precisions")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Details:
    objects: tuple[int, ...]
    hits: tuple[int, ...]
    false_alarms: tuple[int, ...]
    draws: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.objects) == len(self.hits) == len(self.false_alarms):
            raise RunError("each image has its objects, hits and false alarms")
        if not any(map(math.isfinite, self.draws)):
            raise RunError("no draw of the test images has a mAP")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """What the report reads of an evaluation; an earlier version wrote no details."""

    map50: float
    map50_95: float | None
    curve: _Curve
    details: _Details | None = None

    def __post_init__(self) -> None:
        for value in (self.map50, 0.0 if self.map50_95 is None else self.map50_95):
            if not 0 <= value <= 1:
                raise RunError(f"a mAP is a number from 0 to 1, not {value:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Latencies by row and engine, on so many threads of a CPU."""

    threads: int
    latency: dict[str, dict[str, Latency]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slim:
    verification: Exactness


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    """What is read of the report.json that pruning wrote."""

    slim: _Slim


def make_evaluations(
    run: Path, folder: Path, networks: dict[str, tuple[str, str]], device: torch.device
) -> None:
    """Evaluate networks, (stage, file) by row, on the test images; one JSON file a row.

    Rows that a stopped attempt has finished are not evaluated again.
    """
    test = read_study_data(run).test()
    for row, (stage, name) in networks.items():
        path = folder / evaluation_file(row)
        if path.exists():
            continue
        network = load(run / stage / name)
        # An int8 file is for ONNX Runtime alone.
        judged = (
            detector(network, device=device)
            if _is_darknet(network)
            else detector(network, engine=ONNXRUNTIME.name, device="cpu")
        )
        found = {
            protocol: _figures(evaluate(judged, test, protocol, detailed=True))
            for protocol in PROTOCOLS
        }
        write_json(path, found)


def evaluation_file(row: str) -> str:
    """Name of the file with a row's evaluations."""
    return f"{row.lower().replace(', ', '-').replace(' ', '-')}.json"


def read_accuracy(path: Path) -> dict[str, Accuracy]:
    """Evaluations of one row by protocol."""
    document = read_document(path, dict[str, _Figures], fault=RunError)
    if missing := PROTOCOLS.keys() - document.keys():
        raise RunError(f"{path}: damaged: it lacks the protocol {min(missing)}")
    found: dict[str, Accuracy] = {}
    for protocol, figures in document.items():
        curve = PrecisionRecall(
            precision=np.array(figures.curve.precision), recall=np.array(figures.curve.recall)
        )
        found[protocol] = Accuracy(
            map50=figures.map50,
            map50_95=figures.map50_95,
            # The report shows the case study's curve alone: the protocols are not to be mixed.
            curve=curve if protocol == "case-study" else None,
            details=None if figures.details is None else _read_details(figures.details),
        )
    return found


def make_export(run: Path, folder: Path, cuts: Sequence[str], *, decoded: bool = True) -> None:
    """Write the outcome as slim.cfg, .weights, .names and .onnx, checked in other engines.

    `cuts` are the stages that removed channels, `decoded` is that of `OnnxForm`.
    """
    network = load(run / "finetuned" / "best.cfg")
    write_network(folder, "slim", network)
    names = read_study_data(run).names
    write_text(folder / "slim.names", "".join(f"{name}\n" for name in names))
    onnx = ONNX.write(network, folder / "slim.onnx", OnnxForm(decoded=decoded, names=names))
    checks = [
        _exactness_check(run, cuts),
        Check(
            statement="slim.onnx in ONNX Runtime gives what torch gives",
            relative_error=onnx.relative_error,
            allowed=TOLERANCE,
            basis="float32, seeded noise",
        ),
        _opencv_check(network, folder),
        _group_check(load(run / "dense" / "best.cfg")),
    ]
    document = [asdict(check) for check in checks]
    write_json(folder / "checks.json", document)


def make_benchmark(run: Path, folder: Path, networks: dict[str, tuple[str, str]]) -> None:
    """Time networks, (stage, file) by row, against each other in every installed engine.

    Rows of one architecture, such as the pruned and the fine-tuned network, share one measurement.
    An int8 file is for ONNX Runtime alone. CPUs compute on one thread: how several share a network
    of a few milliseconds changes from run to run.
    """
    found = {row: load(run / stage / name) for row, (stage, name) in networks.items()}
    different = {
        network.document.digest(): network for network in found.values() if _is_darknet(network)
    }
    timed, places = list(different.values()), list(different)
    latency = {}
    with cpu_threads(THREADS):
        results = benchmark(timed, runs=RUNS, warmup=WARMUP)
        for row, network in found.items():
            if _is_darknet(network):
                place, own = places.index(network.document.digest()), results
            else:
                # Beside the original, as the others were.
                engines = [ONNXRUNTIME.name]
                pair = [timed[0], network]
                place, own = 1, benchmark(pair, engines=engines, runs=RUNS, warmup=WARMUP)
            latency[row] = {result.engine: asdict(result.latencies[place]) for result in own}
    write_json(folder / LATENCIES.name, {"threads": THREADS, "latency": latency})


def read_latencies(path: Path) -> Latencies:
    """What `make_benchmark` found."""
    return read_document(path, Latencies, fault=RunError)


def _is_darknet(network: Model) -> bool:
    return isinstance(network.document, DarknetDocument)


def _figures(evaluation: Evaluation) -> dict[str, Any]:
    assert evaluation.details is not None
    return asdict(evaluation) | {
        "curve": {
            "precision": evaluation.curve.precision.tolist(),
            "recall": evaluation.curve.recall.tolist(),
        },
        "details": {name: array.tolist() for name, array in asdict(evaluation.details).items()},
    }


def _read_details(found: _Details) -> Details:
    return Details(
        objects=np.array(found.objects, np.int64),
        hits=np.array(found.hits, np.int64),
        false_alarms=np.array(found.false_alarms, np.int64),
        draws=np.array(found.draws),
    )


def _exactness_check(run: Path, cuts: Sequence[str]) -> Check:
    """What each cut proved when it was made: the largest error of several."""
    found = [
        read_document(run / cut / "report.json", _Report, fault=RunError).slim.verification
        for cut in cuts
    ]
    worst = max(found, key=lambda own: own.relative_error)
    statement = "The pruned network equals the dense one with the removed channels silenced"
    if len(cuts) > 1:
        statement = (
            f"Each of {len(cuts)} cuts equals the network before it with the removed channels "
            "silenced"
        )
    return Check(
        statement=statement,
        relative_error=worst.relative_error,
        allowed=worst.tolerance,
        basis="float64, seeded noise",
    )


def _opencv_check(network: Model, folder: Path) -> Check:
    error, problem = None, ""
    try:
        error = _opencv_error(network, folder)
    except cv2.error as failure:
        problem = f"OpenCV cannot run it: {str(failure).splitlines()[0]}"
    if error is not None and not error <= OPENCV_TOLERANCE:
        problem = "OpenCV computes something else"
    return Check(
        statement="slim.cfg and slim.weights in OpenCV give what torch gives",
        relative_error=error,
        allowed=OPENCV_TOLERANCE,
        basis="float32, seeded noise; OpenCV has another batch-norm epsilon",
        problem=problem,
    )


def _group_check(network: Model) -> Check:
    try:
        groups = cross_check(analyze(network.graph))
    except VerificationError as failure:
        return Check(
            statement="The channel groups agree with Torch-Pruning's trace",
            basis="the original network",
            problem=str(failure),
        )
    different = len(groups.only_ours) + len(groups.only_traced)
    return Check(
        statement=f"{len(groups.agreed)} channel groups agree with Torch-Pruning's trace",
        basis="the original network",
        problem=f"{different} groups differ" if different else "",
    )


def _opencv_error(network: Model, folder: Path) -> float:
    """Largest difference of OpenCV's head maps from ours, relative to the largest value."""
    shape = darknet(network).spec.input_shape
    images = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
    ours = run_in(network, device="cpu")(images)
    return largest_difference(run_in(folder / "slim.cfg", "opencv")(images), ours)

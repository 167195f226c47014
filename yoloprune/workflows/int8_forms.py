"""int8 forms of a network, from the fastest on to those that leave more in float."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch

from yoloprune.data.dataset import Dataset
from yoloprune.engines.benchmark import alternating_times, timer
from yoloprune.engines.engine import Runner
from yoloprune.engines.onnxruntime import ONNXRUNTIME, runner, session
from yoloprune.engines.side_by_side import SLOWER
from yoloprune.errors import GraphError
from yoloprune.evaluation.decoded import Reading, decoded_detector
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.graph.model import Model
from yoloprune.quantization.leaky import leaky_as_sums
from yoloprune.quantization.nodes import (
    beginning,
    contractions,
    decoding,
    ending,
    heads,
    undecoded,
    with_activation,
)
from yoloprune.quantization.qdq import quantized
from yoloprune.quantization.ranges import METHODS, Image, ranges
from yoloprune.quantization.sensitivity import Outputs, sensitivities
from yoloprune.reporter import Reporter

if TYPE_CHECKING:
    import onnx

BEGINNINGS = (0, 1, 2, 4, 7, 10)
"""First convolutions that are tried in float: where channels are few, int8 is no faster."""

ENDINGS = (4, 8, 16)
"""Last convolutions that are tried in float: one border costs less time than many."""

RUNS = 15
"""Alternating runs of each network that is timed."""


Writing: TypeAlias = "Callable[[onnx.ModelProto], onnx.ModelProto]"
"""How an int8 model is written otherwise, computing the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A network that was tried: how many contractions are int8, its mAP@0.5, and milliseconds."""

    name: str
    int8: int
    map50: float
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A network in float, and what its int8 forms are made and judged with."""

    model: "onnx.ModelProto"
    origin: Model
    read: Reading
    calibration: list[Image]
    outputs: Outputs
    dataset: Dataset
    threads: int

    def runner(self, model: "onnx.ModelProto") -> Runner:
        """A form of the network in ONNX Runtime."""
        return runner(session(model.SerializeToString(), self.threads))

    def map50(self, model: "onnx.ModelProto") -> float:
        """The mAP@0.5 of a form of the network."""
        found = decoded_detector(self.origin, self.runner(model), self.read)
        return evaluate(found, self.dataset, "coco").map50

    def ms(self, models: Sequence["onnx.ModelProto"]) -> list[float]:
        """Milliseconds of forms of the network, alternating run by run."""
        image = torch.from_numpy(self.calibration[0])
        timers = {
            str(number): timer(self.runner(model), image, self.threads)
            for number, model in enumerate(models)
        }
        found = alternating_times(timers, ONNXRUNTIME.title, runs=RUNS, warmup=2)
        return [statistics.median(series) for series in found.values()]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """A form of the network, the method of its ranges, and the nodes that it leaves in float."""

    stage: Stage
    model: "onnx.ModelProto"
    method: str
    in_float: frozenset[str]


def forms_of(trial: Trial, max_loss: float, reporter: Reporter) -> list[Form]:
    """Forms of the network, float first, until one loses little enough.

    Warns of a network that finds nothing. Raises `GraphError` for one with nothing that int8 makes
    faster.
    """
    model = trial.model
    dense = Stage(name="float", int8=0, map50=trial.map50(model), ms=trial.ms([model])[0])
    if dense.map50 == 0:
        reporter.warn(
            "what int8 loses cannot be told: the float network finds nothing of what it is judged "
            "by (mAP@0.5 0)"
        )
    every = frozenset(node.name for node in model.graph.node)
    forms = [Form(stage=dense, model=model, method="", in_float=every)]
    names = frozenset(contractions(model))
    if not names:
        raise GraphError("it has no convolution and no matrix product, which int8 makes faster")

    def attempt(name: str, method: str, in_float: frozenset[str]) -> bool:
        """Whether a network with these nodes in float loses little enough, if it is int8 at all."""
        if not names - in_float:
            return False
        with reporter.stage(f"trying {name}"):
            form = written(quantized(model, calibrated[method], in_float))
            dense_ms, ms = trial.ms([model, form])
            stage = Stage(
                name=name,
                int8=len(names - in_float),
                map50=trial.map50(form),
                # Of the time of float in the first row, so that rows compare.
                ms=dense.ms * ms / dense_ms,
            )
        forms.append(Form(stage=stage, model=form, method=method, in_float=in_float))
        return fits(stage, dense, max_loss)

    calibrated = _calibrated(trial, reporter)
    first, *others = calibrated
    written = _fastest_writing(trial, quantized(model, calibrated[first], decoding(model)))
    attempt("all but decoding", first, decoding(model))
    kept = decoding(model) | heads(model)
    attempt("... and heads in float", first, kept)
    start = _fastest_beginning(trial, calibrated[first], kept, reporter)
    if start:
        kept |= beginning(model, start)
        attempt(f"... and the first {start} in float", first, kept)
    if any(fits(form.stage, dense, max_loss) for form in forms[1:]):
        return forms
    for method in others:
        if attempt(f"... the same, ranges by {method}", method, kept):
            return forms
    best = max(forms[1:], key=lambda form: form.stage.map50).method
    for count in ENDINGS:
        ended = kept | ending(model, count)
        if attempt(f"... and the last {count} in float", best, ended):
            return forms
    left = [name for name in contractions(model) if name not in kept]
    with reporter.stage("measuring how much each convolution matters"):
        errors = sensitivities(model, calibrated[best], left, trial.outputs)
    order = sorted(left, key=lambda name: -errors[name])
    count = 2
    while count < len(order):
        more = frozenset[str]().union(*(with_activation(model, name) for name in order[:count]))
        if attempt(f"... and the {count} most sensitive in float", best, kept | more):
            return forms
        count *= 2
    return forms


def fits(stage: Stage, dense: Stage, max_loss: float) -> bool:
    """Whether a network loses no more than that."""
    return dense.map50 - stage.map50 <= max_loss


def _calibrated(trial: Trial, reporter: Reporter) -> dict[str, Any]:
    """Ranges by each method, that first whose int8 network is nearest to float on other images."""
    tried = {}
    in_float = decoding(trial.model) | heads(trial.model)
    calibrated = undecoded(trial.model)
    for method in reporter.track(list(METHODS), "calibrating"):
        found = ranges(calibrated, trial.calibration, method)
        tried[method] = trial.outputs.error(quantized(trial.model, found, in_float)), found
    return {name: tried[name][1] for name in sorted(tried, key=lambda name: tried[name][0])}


def _fastest_writing(trial: Trial, form: "onnx.ModelProto") -> Writing:
    """How leaky ReLUs are written in int8: as they are, or as sums, where that is faster."""
    sums = leaky_as_sums(form)
    if len(sums.graph.node) == len(form.graph.node):
        return lambda model: model
    as_it_is, as_sums = trial.ms([form, sums])
    return leaky_as_sums if as_sums < SLOWER * as_it_is else lambda model: model


def _fastest_beginning(trial: Trial, found: Any, kept: frozenset[str], reporter: Reporter) -> int:
    """How many of the first contractions are left in float for the sake of speed."""
    most = len(contractions(trial.model))
    counts = [count for count in BEGINNINGS if count < most]
    with reporter.stage("timing beginnings in float"):
        forms = [quantized(trial.model, found, kept | beginning(trial.model, n)) for n in counts]
        times = trial.ms(forms)
    return counts[int(np.argmin(times))]

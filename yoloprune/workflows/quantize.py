"""An int8 network for ONNX Runtime, with as much left in float as accuracy wants."""

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from yoloprune.counting import counted
from yoloprune.data.calibration import fitted_images, warn_of_skipped
from yoloprune.data.dataset import Dataset
from yoloprune.data.read import dataset_images, read_dataset
from yoloprune.engines.onnx_bytes import onnx_bytes
from yoloprune.engines.onnxruntime import ONNXRUNTIME, runner, session
from yoloprune.engines.side_by_side import SLOWER
from yoloprune.errors import DatasetError, UsageError, VerificationError
from yoloprune.evaluation.decoded import Reading, decoded_detector, reading
from yoloprune.evaluation.own_detections import own_detections
from yoloprune.execution.stream import only_input
from yoloprune.exporters.interface import form_of
from yoloprune.exporters.onnx import ONNX
from yoloprune.files import refuse_folder, write_atomically
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.graph.model import Model
from yoloprune.pruning.prove import dense_outputs
from yoloprune.quantization.equalize import equalized
from yoloprune.quantization.nodes import contractions
from yoloprune.quantization.prepare import prepared
from yoloprune.quantization.sensitivity import Outputs
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.defaults import QUANTIZATION
from yoloprune.workflows.int8_forms import Stage, Trial, fits, forms_of
from yoloprune.workflows.models import AnyModel, load, opened
from yoloprune.workflows.overlap import without

QUANTIZED = ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv")
"""Operators that networks have which are quantized."""

JUDGED, COMPARED = 64, 8
"""Unlabeled images that networks are judged on, and those of them on which outputs are compared."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Quantized(Result):
    """An int8 network, the stages on the way to it, float first, and which of them it is.

    `judged_by` says what mAP@0.5 is against; `in_float` are the contractions that are not int8.
    """

    path: Path
    title: str
    stages: tuple[Stage, ...]
    chosen: int
    method: str
    calibrated: int
    judged: int
    judged_by: str
    max_loss: float
    threads: int
    in_float: tuple[str, ...]

    @property
    def share(self) -> float:
        """The part of float's time that it takes."""
        return self.stages[self.chosen].ms / self.stages[0].ms

    @property
    def loss(self) -> float:
        """How much mAP@0.5 float has more."""
        return self.stages[0].map50 - self.stages[self.chosen].map50

    def shown(self) -> Shown:
        """A row a stage; where int8 is no faster, that first."""
        dense, found = self.stages[0], self.stages[self.chosen]
        slower = [] if self.share < SLOWER else ["not faster than float on this processor"]
        gain = (
            f"{found.ms:.2f} ms of {dense.ms:.2f} ({self.share:.2f}), mAP@0.5 {found.map50:.4f} of "
            f"{dense.map50:.4f}"
        )
        total = len(self.in_float) + found.int8
        return Shown(
            title=(
                f"int8 of {self.title}: {counted(self.judged, 'image')}, {self.judged_by}; "
                f"ONNX Runtime, {counted(self.threads, 'thread')}"
                + "".join(f": {each}" for each in slower)
            ),
            summary="; ".join([*slower, f"{self.path}: {gain}"]),
            header=("Stage", "int8", "mAP@0.5", "ms", "of float", ""),
            rows=[
                (
                    stage.name,
                    f"{stage.int8} of {total}",
                    f"{stage.map50:.4f}",
                    f"{stage.ms:.2f}",
                    f"{stage.ms / dense.ms:.2f}",
                    "written" if number == self.chosen else "",
                )
                for number, stage in enumerate(self.stages)
            ],
            lines=[
                *(f"{each}: keep the float network, or try another engine" for each in slower),
                f"{self.path}: {gain}",
                f"ranges by {self.method} on {counted(self.calibrated, 'image')}, none of which "
                "it was judged on",
            ],
            document=self.document(),
        )

    def document(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return {
            "file": str(self.path),
            "method": self.method,
            "calibration_images": self.calibrated,
            "judged_images": self.judged,
            "judged_by": self.judged_by,
            "max_loss": self.max_loss,
            "engine": f"{ONNXRUNTIME.title} {ONNXRUNTIME.version}",
            "threads": self.threads,
            "stages": [asdict(stage) for stage in self.stages],
            "chosen": self.chosen,
            "loss": self.loss,
            "share": self.share,
            "in_float": list(self.in_float),
        }


def quantize(
    network: AnyModel,
    images: str | Path,
    path: str | Path,
    *,
    data: Dataset | str | Path | None = None,
    split: str | None = None,
    limit: int | None = None,
    max_loss: float = QUANTIZATION.max_loss,
    calibration_images: int = QUANTIZATION.calibration_images,
    seed: int = QUANTIZATION.seed,
    threads: int = QUANTIZATION.threads,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter = SILENT,
) -> Quantized:
    """Write a network in int8, the fastest that loses at most `max_loss` of mAP@0.5 (coco).

    Ranges are those of `calibration_images` of the `images` (a folder, list or .data file), chosen
    by the `seed`. It is judged by the labeled images of `data` (of a path, those of `split`, the
    first `limit` count), or without these by what the float network finds in further `images`; no
    image is both.
    Decoding stays in float, then the heads, the first convolutions where that is faster, and the
    most sensitive ones, as many as needed. A Darknet network is written with boxes and scores, as
    `export` does. `preprocess` and `decoder` are those of `detector`. Raises `UsageError` for
    settings that make no sense, `DatasetError` for too few images, `WeightsError` for outputs that
    are not finite, `GraphError` for a network that ONNX Runtime cannot make int8,
    `VerificationError`, and writes nothing, where none loses so little, `MissingDependencyError`
    without ONNX Runtime.
    """
    path = Path(path)
    if not 0 <= max_loss < 1:
        raise UsageError(f"`max_loss` {max_loss:g} must be in [0, 1)")
    if calibration_images < 1:
        raise UsageError(f"`calibration_images` {calibration_images} must be at least 1")
    if path.suffix.lower() != ".onnx":
        raise UsageError(f"{path}: an int8 network is written as an .onnx: name one")
    refuse_folder(path)
    ONNXRUNTIME.require()
    network = opened(network)
    if any(node.operator in QUANTIZED for node in network.graph.nodes):
        raise UsageError(
            f"{network.document.title}: has layers in int8 already: give the network in float that "
            "it was made of"
        )
    if path.resolve() in {source.resolve() for source in network.document.source}:
        raise UsageError(f"{path}: the network was read from this file: choose another")
    model = _as_onnx(network)
    read = reading(model, preprocess, decoder)
    trial = _trial(
        model,
        read,
        Path(images),
        labeled=data
        if data is None or isinstance(data, Dataset)
        else read_dataset(
            Path(data), classes=read.classes, known=network.document.names, split=split, limit=limit
        ),
        count=calibration_images,
        seed=seed,
        threads=threads,
        reporter=reporter,
    )
    forms = forms_of(trial, max_loss, reporter)
    dense, *others = forms
    fitting = [form for form in others if fits(form.stage, dense.stage, max_loss)]
    if not fitting:
        best = max(others, key=lambda form: form.stage.map50).stage
        raise VerificationError(
            f"no int8 network is within `max_loss` {max_loss:g}: the best, {best.name}, has "
            f"mAP@0.5 {best.map50:.4f} of {dense.stage.map50:.4f}"
        )
    chosen = min(fitting, key=lambda form: form.stage.ms)
    found = Quantized(
        path=path,
        title=network.document.title,
        stages=tuple(form.stage for form in forms),
        chosen=forms.index(chosen),
        method=chosen.method,
        calibrated=len(trial.calibration),
        judged=len(trial.dataset.images),
        judged_by="against labels" if data is not None else "against what float finds",
        max_loss=max_loss,
        threads=threads,
        in_float=tuple(name for name in contractions(trial.model) if name in chosen.in_float),
    )
    written = chosen.model
    entry = written.metadata_props.add()
    entry.key, entry.value = "int8", json.dumps(found.document())
    with write_atomically(path) as temporary:
        temporary.write_bytes(written.SerializeToString())
    return found


def _as_onnx(network: Model) -> Model:
    """A network as the model of its ONNX file: of a Darknet one, that which `export` writes."""
    if not isinstance(network.document, DarknetDocument):
        return network
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "float.onnx")
        ONNX.write(network, file, form_of(network))
        made = load(file)
        document = replace(made.document, title=network.document.title)  # type: ignore[type-var]
        return replace(made, document=document)


def _trial(
    model: Model,
    read: Reading,
    source: Path,
    *,
    labeled: Dataset | None,
    count: int,
    seed: int,
    threads: int,
    reporter: Reporter,
) -> Trial:
    import onnx

    measured = () if labeled is None else [image.path for image in labeled.images]
    paths = without(source, dataset_images(source), measured, reporter)
    order = np.random.default_rng(seed).permutation(len(paths)).tolist()
    shuffled = [paths[number] for number in order]
    # Some are left to be judged on, where nothing else is.
    most = count if labeled is not None else min(count, len(paths) // 2)
    if most < 1:
        raise DatasetError(
            f"{source}: one image is not enough: it cannot be learned from and judged"
        )
    proto = prepared(onnx.load_from_string(onnx_bytes(model)))
    batch, samples, skipped = fitted_images(read.reads, source, shuffled, most + COMPARED)
    warn_of_skipped(skipped, reporter)
    kind = onnx.helper.tensor_dtype_to_np_dtype(proto.graph.input[0].type.tensor_type.elem_type)
    inputs = [image[None].astype(kind) for image in batch.numpy()]
    dense_outputs(model.graph, model.parameters, {only_input(model.graph): batch[:1]})
    calibration, compared = inputs[:most], inputs[most:] or inputs[:1]
    used = {path for path, _, _ in samples[:most]}
    dataset = labeled
    if dataset is None:
        rest = [path for path in shuffled if path not in used][:JUDGED]
        detector = decoded_detector(
            model, runner(session(proto.SerializeToString(), threads)), read
        )
        with reporter.stage("finding what float finds"):
            dataset = own_detections(detector, rest, model.document.names)
    proto = equalized(proto, calibration)
    return Trial(
        model=proto,
        origin=model,
        read=read,
        calibration=calibration,
        outputs=Outputs(proto, compared),
        dataset=dataset,
        threads=threads,
    )

"""`yoloprune evaluate`: mean average precision on a labeled data set."""

from typing import Annotated, Any

import typer

from yoloprune.cli.console import ConsoleReporter, output, print_json, print_table
from yoloprune.cli.engine_options import DecoderName, Device, EngineName, PreprocessText
from yoloprune.cli.networks import only_network
from yoloprune.cli.options import AllowFaulty, AnyNetwork, DataPath, Json, Quiet
from yoloprune.counting import counted
from yoloprune.data.dataset import Dataset
from yoloprune.data.read import read_dataset
from yoloprune.devices import AUTO
from yoloprune.engines.table import DEFAULT_ENGINE
from yoloprune.errors import UsageError
from yoloprune.evaluation.evaluator import SHOWN, Evaluation, decimal
from yoloprune.evaluation.protocols import (
    DEFAULT_PROTOCOL,
    NMS_THRESHOLD,
    PROTOCOLS,
    SCORE_THRESHOLD,
    coco,
    protocol_named,
)
from yoloprune.workflows.detectors import detector, tell_if_dead
from yoloprune.workflows.evaluate import evaluate as evaluate_on
from yoloprune.workflows.models import load
from yoloprune.workflows.overlap import tell_if_learned_from
from yoloprune.workflows.training_data import tell_remarks

BOTH = "both"
_SUMMARIES = "; ".join(f"{name}: {row.summary}" for name, row in PROTOCOLS.items())


def evaluate(
    words: AnyNetwork,
    data: DataPath,
    protocol: Annotated[
        str,
        typer.Option(
            metavar="|".join((*PROTOCOLS, BOTH)),
            help=f"{_SUMMARIES}.",
            autocompletion=lambda: [*PROTOCOLS, BOTH],
        ),
    ] = DEFAULT_PROTOCOL,
    split: Annotated[
        str | None,
        typer.Option(help="Split to evaluate on.", show_default="test, val or valid, as found"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="coco: scores above this count.", show_default="0.005"),
    ] = None,
    nms: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="coco: NMS IoU threshold.", show_default="0.45"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on the first N images only.")
    ] = None,
    engine: EngineName = DEFAULT_ENGINE,
    device: Device = AUTO,
    preprocess: PreprocessText = None,
    decoder: DecoderName = None,
    allow_faulty: AllowFaulty = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure mAP, precision and recall of a network on labeled images."""
    rows = dict(PROTOCOLS) if protocol == BOTH else {protocol: protocol_named(protocol)}
    asked = coco(
        SCORE_THRESHOLD if threshold is None else threshold, NMS_THRESHOLD if nms is None else nms
    )
    if asked.name in rows:
        rows[asked.name] = asked
    elif threshold is not None or nms is not None:
        raise UsageError(f"--threshold and --nms belong to the {asked.name} protocol")
    reporter = ConsoleReporter(quiet=quiet)
    files = only_network(words)
    network = load(*files)
    found = detector(network, engine=engine, device=device, preprocess=preprocess, decoder=decoder)
    dataset = read_dataset(
        data,
        classes=found.classes,
        known=network.document.names,
        split=split,
        limit=limit,
        allow_faulty=allow_faulty,
    )
    tell_remarks(data, dataset, reporter)
    paths = [image.path for image in dataset.images]
    tell_if_dead(found, paths, reporter)
    tell_if_learned_from(network, paths, reporter)
    evaluations = [
        evaluate_on(found, dataset, protocol=row, reporter=reporter) for row in rows.values()
    ]
    if as_json:
        kinds = ("cfg", "weights") if len(files) > 1 else ("onnx",)
        named = dict(zip(kinds, map(str, files), strict=True)) | {"data": str(data)}
        how = {
            "engine": engine,
            "preprocess": found.reads.document(),
            "decoder": found.decoder,
        }
        print_json(named | how | _document(dataset, evaluations))
    elif quiet:
        output.print("; ".join(evaluation.shown().summary for evaluation in evaluations))
    else:
        _print(dataset, evaluations)
        if len(files) == 1:
            output.print(f"read as {found.reads}; decoder {found.decoder}")


def _document(dataset: Dataset, evaluations: list[Evaluation]) -> dict[str, Any]:
    return {
        "split": dataset.split,
        "images": len(dataset.images),
        "unlabeled": dataset.unlabeled,
        "remarks": {remark.fault.value: remark.count for remark in dataset.remarks},
        "objects": dataset.object_count,
        "evaluations": [evaluation.shown().document for evaluation in evaluations],
    }


def _print(dataset: Dataset, evaluations: list[Evaluation]) -> None:
    for shown in (evaluation.shown() for evaluation in evaluations):
        if len(dataset.names) > 1:
            print_table(shown.title, shown.header, shown.rows)
    summary = [
        (e.protocol, *map(decimal, (e.map50, e.map50_shown, e.map50_95, e.precision, e.recall)))
        for e in evaluations
    ]
    title = (
        f"{counted(len(dataset.images), 'image')}, {counted(dataset.object_count, 'object')} of "
        f"split {dataset.split} (precision and recall where F1 is highest)"
    )
    print_table(
        title, ("protocol", "mAP@0.5", SHOWN, "mAP@0.5:0.95", "precision", "recall"), summary
    )

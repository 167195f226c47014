"""`yoloprune evaluate`: mean average precision on a labelled data set."""

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from yoloprune.cli.console import (
    ConsoleReporter,
    print_json,
    print_table,
)
from yoloprune.cli.networks import only_network
from yoloprune.cli.options import AllowFaulty, Json, NetworkWords, Quiet
from yoloprune.evaluation.evaluator import DEFAULT_PROTOCOL

if TYPE_CHECKING:
    from yoloprune.data.dataset import Dataset
    from yoloprune.evaluation.evaluator import Evaluation


class Protocols(StrEnum):
    """Values of --protocol."""

    CASE_STUDY = "case-study"
    COCO = "coco"
    BOTH = "both"


_DEFAULT = Protocols(DEFAULT_PROTOCOL)


def evaluate(
    words: NetworkWords,
    data: Annotated[Path, typer.Option(help="Folder, data.yaml, .data or COCO .json.")],
    protocol: Annotated[
        Protocols,
        typer.Option(help="coco: pycocotools, original pixels. case-study: all-points AP."),
    ] = _DEFAULT,
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
        typer.Option(min=0, max=1, help="coco: IoU that suppression allows.", show_default="0.45"),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Evaluate on the first N images only.")
    ] = None,
    allow_faulty: AllowFaulty = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure mAP, precision and recall of a network on labelled images."""
    if protocol == Protocols.CASE_STUDY and (threshold is not None or nms is not None):
        raise typer.BadParameter("--threshold and --nms belong to the coco protocol")
    from yoloprune.darknet.parser import read_cfg
    from yoloprune.darknet.spec import class_count
    from yoloprune.darknet.weights import read_weights
    from yoloprune.data.read import read_dataset
    from yoloprune.evaluation.evaluator import (
        NMS_THRESHOLD,
        SCORE_THRESHOLD,
        evaluate_case_study,
        evaluate_coco,
    )
    from yoloprune.model.network import Network
    from yoloprune.workflows.training_data import tell_remarks

    cfg, weights = only_network(words)
    spec = read_cfg(cfg)
    network = Network.from_state(spec, read_weights(weights, spec))
    reporter = ConsoleReporter(quiet=quiet)
    dataset = read_dataset(
        data,
        classes=class_count(spec),
        split=split,
        limit=limit,
        allow_faulty=allow_faulty,
    )
    tell_remarks(data, dataset, reporter)
    evaluations = []
    if protocol != Protocols.COCO:
        evaluations.append(evaluate_case_study(network, dataset, reporter=reporter))
    if protocol != Protocols.CASE_STUDY:
        evaluations.append(
            evaluate_coco(
                network,
                dataset,
                threshold=SCORE_THRESHOLD if threshold is None else threshold,
                iou_threshold=NMS_THRESHOLD if nms is None else nms,
                reporter=reporter,
            )
        )
    if as_json:
        print_json(_report(cfg, weights, data, dataset, evaluations))
    else:
        _print(dataset, evaluations)


def _report(
    cfg: Path, weights: Path, data: Path, dataset: "Dataset", evaluations: "list[Evaluation]"
) -> dict[str, object]:
    return {
        "cfg": str(cfg),
        "weights": str(weights),
        "data": str(data),
        "split": dataset.split,
        "images": len(dataset.images),
        "unlabelled": dataset.unlabelled,
        "remarks": {remark.fault.value: remark.count for remark in dataset.remarks},
        "objects": dataset.object_count,
        "evaluations": [_figures(evaluation) for evaluation in evaluations],
    }


def _figures(evaluation: "Evaluation") -> dict[str, object]:
    figures = dataclasses.asdict(evaluation)
    del figures["curve"]
    return figures


def _print(dataset: "Dataset", evaluations: "list[Evaluation]") -> None:
    for evaluation in evaluations:
        if len(dataset.names) > 1:
            rows = [
                (row.name, row.objects, _number(row.ap50), _number(row.ap50_95))
                for row in evaluation.per_class
            ]
            header = ("class", "objects", "AP@0.5", "AP@0.5:0.95")
            print_table(f"Classes ({evaluation.protocol})", header, rows)
    summary = [
        (e.protocol, _number(e.map50), _number(e.map50_95), _number(e.precision), _number(e.recall))
        for e in evaluations
    ]
    title = (
        f"{len(dataset.images)} images, {dataset.object_count} objects of split {dataset.split} "
        "(precision and recall where F1 is highest)"
    )
    print_table(title, ("protocol", "mAP@0.5", "mAP@0.5:0.95", "precision", "recall"), summary)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"

"""A filled study of a small network, made without training anything."""

import numpy as np
import torch

from tests.pruning.darknet import arrays
from yoloprune.detection.decode import Detections
from yoloprune.engines.benchmark import Latency
from yoloprune.evaluation.average_precision import GroundTruth
from yoloprune.evaluation.details import Details
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.darknet.lower import lower
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.score.on_weights import l2, score
from yoloprune.pruning.solve import normalized, solve
from yoloprune.report.study import (
    Accuracy,
    Check,
    Command,
    DatasetSummary,
    Example,
    ExportedFiles,
    Measurement,
    PrecisionRecall,
    Selection,
    Study,
    TrainingLog,
)


def network(spec: NetworkSpec) -> Model:
    """A Darknet network of random weights."""
    document = DarknetDocument(spec=spec, title="net")
    return Model(graph=lower(spec), parameters=arrays(spec, 1), document=document)


NETWORK = network(yolov3(classes=1, width=0.0625, size=(64, 64)))


def filled_study(dense: Model = NETWORK) -> Study:
    """A study with something in every section."""
    graph = analyze(dense.graph)
    scores = normalized(score(graph, dense.parameters, l2))
    plan = solve(graph, scores, Budget(limits={"macs": 0.3}), criterion="l2")
    slim = dense.edited(cut(graph, plan))
    networks = {"Original": dense, "Pruned": slim, "Fine-tuned": slim, "Scratch": slim}
    strength = {"Original": 0.77, "Pruned": 0.21, "Fine-tuned": 0.76, "Scratch": 0.70}
    notes = {"Scratch": "the slim architecture, trained from random weights."}
    return Study(
        title="Hands at a third of the cost",
        dataset=DatasetSummary(
            name="VGG Hand",
            images={"training": 4807, "test": 821},
            objects={"training": 11019, "test": 2031},
            classes=("hand",),
        ),
        measurements=[
            measurement(name, networks[name], strength[name], notes.get(name, ""))
            for name in networks
        ],
        dense=dense,
        slim=slim,
        selection=Selection(plan=plan, scores=scores),
        training={
            "Original": TrainingLog(lines=log(30, 0.77)),
            "Fine-tuned": TrainingLog(lines=log(12, 0.76), follows="Original"),
            "Scratch": TrainingLog(lines=log(30, 0.7)),
        },
        distillation=[(0, 1.0), (30, 0.9), (60, 0.85)],
        pair=[example(0, slim_finds=2), example(1)],
        examples=[example(seed) for seed in range(2)],
        chosen="In 2 of 821 test images the slim network finds fewer objects.",
        checks=[
            Check(
                statement="slim = masked dense",
                relative_error=3.2e-15,
                allowed=1e-12,
                basis="float64, 4 images of noise",
            ),
            Check(statement="49 groups agree with Torch-Pruning's trace"),
        ],
        commands=[
            Command(stage="the original", line="yoloprune train net.cfg --seed 0", seed=0),
            Command(stage="prune", line="yoloprune prune net.cfg net.weights --keep-macs 0.3"),
        ],
        settings={"epochs": 30, "budget": {"keep_macs": 0.3, "keep_params": None}},
        environment={"python": "3.11.2", "packages": {"torch": "2.13.0"}},
        threads=1,
        exported=ExportedFiles(
            cfg="slim.cfg", weights="slim.weights", names="hand.names", onnx="slim.onnx"
        ),
    )


def measurement(name: str, model: Model, strength: float, note: str) -> Measurement:
    total = model.cost
    milliseconds = 2.0 + 13.0 * total.macs / NETWORK.cost.macs
    return Measurement(
        name=name,
        params=total.params,
        macs=total.macs,
        weight_bytes=total.weight_bytes,
        latency={
            "torch eager": Latency(median=milliseconds, p95=1.3 * milliseconds, runs=50),
            "ONNX Runtime": Latency(median=milliseconds / 2, p95=milliseconds / 1.7, runs=50),
        },
        accuracy={
            "case-study": Accuracy(map50=strength, curve=curve(strength), details=drawn(strength)),
            "coco": Accuracy(
                map50=strength - 0.02, map50_95=strength / 2, details=drawn(strength - 0.02)
            ),
        },
        note=note,
    )


def drawn(strength: float) -> Details:
    """Draws of a mean average precision that scatter by 0.02, those of all networks alike."""
    counts = np.ones(5, np.int64)
    shared = np.random.default_rng(0).normal(0, 0.02, 400)
    own = np.random.default_rng(round(1000 * strength)).normal(0, 0.005, 400)
    return Details(
        objects=counts, hits=counts, false_alarms=0 * counts, draws=strength + shared + own
    )


def curve(strength: float) -> PrecisionRecall:
    """Precision falls as recall comes near a limit."""
    recall = np.linspace(0.001, min(1.0, 1.08 * strength), 400)
    return PrecisionRecall(precision=1 - 0.9 * (recall / recall[-1]) ** 6, recall=recall)


def log(epochs: int, best: float) -> list[dict[str, object]]:
    """The lines of a log.jsonl; every third epoch was evaluated."""
    return [
        {
            "epoch": epoch,
            "loss": {"box": 1 / epoch, "objectness": 2 / epoch, "classes": 0.0},
            "map50": best * (1 - 0.5**epoch) if epoch % 3 == 0 else None,
        }
        for epoch in range(1, epochs + 1)
    ]


def example(seed: int, slim_finds: int = 1) -> Example:
    """An image of noise, two objects, of which the slim network finds the last or both."""
    generator = np.random.default_rng(seed)
    boxes = torch.tensor([[10.0, 20.0, 60.0, 80.0], [70.0, 30.0, 140.0, 95.0]])
    return Example(
        image=generator.integers(0, 256, (120, 160, 3), np.uint8),
        truth=GroundTruth(boxes_xyxy=boxes, labels=torch.zeros(2, dtype=torch.int64)),
        dense=detections(boxes + 2),
        slim=detections(boxes[2 - slim_finds :] - 3),
        name=f"{seed}.jpg",
    )


def detections(boxes: torch.Tensor) -> Detections:
    return Detections(
        boxes_xyxy=boxes,
        scores=torch.linspace(0.9, 0.6, len(boxes)),
        labels=torch.zeros(len(boxes), dtype=torch.int64),
    )

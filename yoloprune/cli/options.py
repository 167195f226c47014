"""Options and arguments that several commands take; without torch, for `data` has some of them."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.workflows.defaults import PRUNING

LARGEST_SEED = 2**63 - 1

CfgPath = Annotated[Path, typer.Argument(metavar="CFG", help="Darknet .cfg file.")]
NetworkWords = Annotated[
    list[str],
    typer.Argument(
        metavar="CFG WEIGHTS", help="Darknet pair, or a folder that `prune`, `train`, ... wrote."
    ),
]
AnyNetwork = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK",
        help="CFG WEIGHTS, NET.onnx, or a folder that `prune`, `train`, ... wrote.",
    ),
]
DenseAndPruned = Annotated[
    list[str],
    typer.Argument(
        metavar="NETWORK DIR",
        help="Dense network (CFG WEIGHTS, NET.onnx, or a folder), and what `prune` made of it.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print the result in one line.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Random seed.")]
DataPath = Annotated[Path, typer.Option("--data", help="Folder, data.yaml, .data or COCO .json.")]
AllowFaulty = Annotated[
    bool,
    typer.Option(
        "--allow-faulty",
        help="Leave out images with unreadable annotations; accept that most have none.",
    ),
]


def _multiple(text: str) -> int | None:
    """A whole number from 1, or None where it is to be found."""
    if text == "auto":
        return None
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text!r} is neither a whole number from 1 nor auto")
    return int(text)


MultipleOf = Annotated[
    int | None,
    typer.Option(
        "--multiple-of",
        "--round-to",
        parser=_multiple,
        metavar="N|auto",
        help="Round kept channels up to multiples of this.",
        show_default="auto: what the engines that are installed compute fastest, as measured; "
        "finer where the budget needs it",
    ),
]
CalibrationImages = Annotated[
    int | None,
    typer.Option(
        "--calibration-images",
        min=1,
        help="How many images to learn from.",
        show_default=str(PRUNING.calibration_images),
    ),
]
Exclude = Annotated[
    str, typer.Option("--exclude", help="Layers to keep dense, comma-separated: first,heads.")
]

RunPath = Annotated[Path, typer.Option("--out", help="Run folder: checkpoint, networks, log.")]
TrainSplit = Annotated[
    str | None,
    typer.Option("--train-split", metavar="NAME", help="Split to train on.", show_default="train"),
]
ValSplit = Annotated[
    str | None,
    typer.Option(
        "--val-split",
        metavar="NAME",
        help="Split to choose the best epoch by.",
        show_default="val or test, as found",
    ),
]
HoldOut = Annotated[
    float,
    typer.Option(
        "--hold-out",
        help="Fraction of the training images to choose the best epoch by; 0: the evaluation "
        "split.",
    ),
]
ProtocolName = Annotated[
    str,
    typer.Option("--protocol", help="Whose mAP@0.5 chooses the best epoch: coco or case-study."),
]
FitHeads = Annotated[
    bool,
    typer.Option(
        "--fit-heads", help="Make heads for the classes of the data, and fit anchors to its boxes."
    ),
]
Epochs = Annotated[int, typer.Option("--epochs", min=1, help="Passes over the training images.")]
EvaluateEvery = Annotated[
    int, typer.Option("--evaluate-every", min=1, help="Epochs between evaluations.")
]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Images per optimizer step.")]
Accumulate = Annotated[
    int, typer.Option("--accumulate", min=1, help="Micro-batches per step, over all processes.")
]
ImageSize = Annotated[
    str | None,
    typer.Option(
        "--image-size",
        metavar="SIDE|WxH",
        help="Input size, pixels: 416, or width x height such as 320x192.",
        show_default="the cfg's own",
    ),
]
LearningRate = Annotated[float, typer.Option("--learning-rate", help="Peak learning rate.")]
Precision = Annotated[
    str,
    typer.Option(
        "--precision", help="Precision of the forward pass: float32, bfloat16 or float16."
    ),
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the model with torch.compile.")]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", help="Log for TensorBoard too.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that load images.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume from the run's checkpoint.")]

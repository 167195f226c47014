"""Training and fine-tuning: a network and labeled images to a run folder."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from yoloprune.arguments import check_types
from yoloprune.counting import counted
from yoloprune.data.dataset import Dataset
from yoloprune.devices import AUTO
from yoloprune.errors import RunError, UsageError
from yoloprune.frontends.darknet.document import darknet, for_input_size, model, pair
from yoloprune.frontends.darknet.initialization import training_state, transferred_state
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import NetworkSpec, class_count
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.graph.model import Model
from yoloprune.pruning.weights.masks import WeightMasks
from yoloprune.report.shown import Result, Shown
from yoloprune.reporter import SILENT, Reporter
from yoloprune.training.config import FINETUNE, TRAIN, TrainingConfig
from yoloprune.training.distributed import World, world
from yoloprune.training.engine import train as train_model
from yoloprune.training.heads import FittedHeads, with_masks
from yoloprune.training.heads import fit_heads as heads_for
from yoloprune.training.loss import trainable_heads
from yoloprune.workflows.models import AnyModel, load, names_beside, opened, title
from yoloprune.workflows.schedule import SCHEDULE
from yoloprune.workflows.sparsify import Sparse, keep_masks, read_sparse
from yoloprune.workflows.training_data import TrainingSource, training_data, training_source


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Trained(Result):
    """A finished run: its best network, its log (an entry an epoch), its folder."""

    model: Model
    log: tuple[Mapping[str, Any], ...]
    folder: Path
    config: TrainingConfig
    training: Dataset
    validation: Dataset
    held_out: bool

    @property
    def map50(self) -> float:
        """The best mAP@0.5, by the protocol of `config`, on the validation images."""
        return max((line["map50"] or 0.0) for line in self.log)

    def shown(self) -> Shown:
        """Epochs and accuracy."""
        protocol, training, validation = self.config.protocol, self.training, self.validation
        judged = "held out of them" if self.held_out else f"of split {validation.split}"
        summary = (
            f"{self.folder}: {counted(len(self.log), 'epoch')}, best mAP@0.5 ({protocol}) "
            f"{self.map50:.4f}; "
            f"{counted(len(training.images), 'training image')} of split {training.split}, "
            f"{len(validation.images)} to judge by {judged}"
        )
        return Shown(
            title="Training",
            summary=summary,
            lines=[summary],
            document={
                "out": str(self.folder),
                "protocol": protocol,
                "map50": self.map50,
                "training": {"split": training.split, "images": len(training.images)},
                "validation": {
                    "split": "held out" if self.held_out else validation.split,
                    "images": len(validation.images),
                },
                "log": list(self.log),
            },
        )


def initial_model(
    cfg: str | Path,
    *,
    weights: str | Path | None = None,
    backbone: str | Path | None = None,
    transfer: Model | None = None,
    seed: int = TRAIN.seed,
    reporter: Reporter = SILENT,
) -> Model:
    """A network to train: with `weights`, or with random ones but for what is given.

    `backbone` is a file of the first layers' weights; of `transfer`, another network, those are
    taken whose shapes agree. Raises `UsageError` if more than one is given.
    """
    if sum(start is not None for start in (weights, backbone, transfer)) > 1:
        raise UsageError("give only one of `weights`, `backbone` and `transfer`")
    cfg = Path(cfg)
    if weights is not None:
        return load(cfg, weights)
    spec = read_cfg(cfg)
    names = names_beside(cfg, spec)
    state = training_state(spec, seed=seed)
    if backbone is not None:
        state |= read_weights(Path(backbone), spec, backbone=True)
    elif transfer is not None:
        state, taken = transferred_state(spec, *pair(transfer), seed=seed)
        names = transfer.document.names or names
        if names is not None and len(names) != class_count(spec):
            names = None
        reporter.say(f"{taken} of {len(state)} convolutions start from {transfer.document.title}")
    return model(spec, state, title=title(cfg), names=names)


def train(
    network: AnyModel,
    data: TrainingSource | str | Path,
    out: str | Path,
    *,
    fit_heads: bool = False,
    tensorboard: bool = False,
    resume: bool = False,
    device: str = AUTO,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Trained:
    """Train a network with YOLO heads; the run goes into the folder `out`.

    `settings` are those of `TrainingConfig`; the input size is the network's own unless it is one
    of them. With `fit_heads` the heads are made for the classes of the data and anchors fitted to
    its boxes. A run that was stopped (`InterruptedRunError`) or killed ends with the same weights
    when it is called again with `resume`. Raises `UsageError` for settings that make no sense, and
    what `training.engine.train` raises.
    """
    return _run(
        opened(network),
        training_source(data),
        Path(out),
        recipe(TRAIN, opened(network), settings),
        fit_heads=fit_heads,
        tensorboard=tensorboard,
        resume=resume,
        device=device,
        reporter=reporter,
    )


def finetune(
    network: AnyModel,
    data: TrainingSource | str | Path,
    out: str | Path,
    *,
    teacher: AnyModel | None = None,
    fit_heads: bool = False,
    tensorboard: bool = False,
    resume: bool = False,
    device: str = AUTO,
    reporter: Reporter = SILENT,
    **settings: Any,
) -> Trained:
    """Train a network further, gently; see `train`.

    With a `teacher`, the dense network, it learns from what that one finds too. The zeros of what
    `sparsify` made, or of its folder, stay zero.
    """
    student, masks = _student(network)
    return _run(
        student,
        training_source(data),
        Path(out),
        recipe(FINETUNE, student, settings),
        fit_heads=fit_heads,
        teacher=None if teacher is None else opened(teacher),
        masks=masks,
        tensorboard=tensorboard,
        resume=resume,
        device=device,
        reporter=reporter,
    )


def recipe(base: TrainingConfig, network: Model, settings: Mapping[str, Any]) -> TrainingConfig:
    """Settings with some changed, at the network's own input size unless that is among them.

    Raises `UsageError` for a setting that there is not, or that makes no sense.
    """
    known = {field.name for field in fields(TrainingConfig)}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise UsageError(
            f"training setting {unknown[0]!r} is unknown (known: {', '.join(sorted(known))})"
        )
    check_types(TrainingConfig, settings)
    _, height, width = darknet(network).spec.input_shape
    own = height if height == width else (height, width)
    return replace(base, **{"image_size": own, **settings})


def _student(network: AnyModel) -> tuple[Model, WeightMasks | None]:
    """The network to fine-tune, and the masks that it keeps."""
    if isinstance(network, Sparse):
        return network.model, network.masks
    if isinstance(network, str | Path) and Path(network).is_dir():
        return read_sparse(network)
    return opened(network), None


def _run(
    network: Model,
    source: TrainingSource,
    out: Path,
    config: TrainingConfig,
    *,
    fit_heads: bool,
    tensorboard: bool,
    resume: bool,
    device: str,
    reporter: Reporter,
    teacher: Model | None = None,
    masks: WeightMasks | None = None,
) -> Trained:
    if (out / SCHEDULE).exists():
        raise RunError(f"{out} holds a run of iterate: choose another folder")
    told = ""
    training, validation = training_data(network, source, fit=fit_heads, reporter=reporter)
    with world(device) as here:
        if fit_heads:
            fitted = heads_for(network, training, size=config.input_size, seed=config.seed)
            told = _fit_text(network, fitted)
            masks = None if masks is None else with_masks(network, fitted.network, masks)
            network = fitted.network
        taught_by = None if teacher is None else _teacher(teacher, network, config.input_size)
        if told and here.is_first:
            reporter.say(told)
        log = train_model(
            network,
            training=training,
            validation=validation,
            config=config,
            run=out,
            world=here,
            teacher=taught_by,
            masks=masks,
            tensorboard=tensorboard,
            resume=resume,
            reporter=reporter,
        )
        _keep_masks(out, masks, here)
        return Trained(
            model=load(out / "best.cfg"),
            log=tuple(log),
            folder=out,
            config=config,
            training=training,
            validation=validation,
            held_out=bool(source.hold_out),
        )


def _keep_masks(out: Path, masks: WeightMasks | None, here: World) -> None:
    if masks is not None:
        kept = masks
        here.on_first(lambda: keep_masks(out, kept))


def _fit_text(before: Model, fitted: FittedHeads) -> str:
    """What became of the heads of a network."""
    was, now = (class_count(darknet(each).spec) for each in (before, fitted.network))
    anchors = f"mean best IoU {fitted.before.mean_iou:.3f}"
    if fitted.after != fitted.before:
        anchors += f", fitted {fitted.after.mean_iou:.3f}"
    return (
        f"heads: {counted(was, 'class')} before, {now} now, {len(fitted.matching)} of them taken "
        "over; "
        f"anchors: {anchors}"
    )


def _teacher(dense: Model, student: Model, size: tuple[int, int]) -> Model:
    """The dense network at the run's input size; raises `UsageError` if it cannot teach."""
    teacher, taught = (for_input_size(each, *size) for each in (dense, student))
    spec, other = darknet(teacher).spec, darknet(taught).spec
    name = dense.document.title
    if spec.input_shape != other.input_shape:
        raise UsageError(
            f"{name}: the teacher reads {spec.input_shape[0]} channels, the student "
            f"{other.input_shape[0]}"
        )
    if _heads(spec) != _heads(other):
        raise UsageError(
            f"{name}: the teacher's heads differ from the student's (anchors, classes or grids)"
        )
    return teacher


def _heads(spec: NetworkSpec) -> list[object]:
    """What the values of each head's map mean."""
    shapes = layer_shapes(spec)
    return [
        (shapes[head.index], head.anchors, head.classes, head.scale_x_y, head.new_coords)
        for head in trainable_heads(spec)
    ]

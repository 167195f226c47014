"""The stages that make networks: train, sparsify, prune, fine-tune, and the controls."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from yoloprune.data.calibration import Calibration, choose_calibration
from yoloprune.data.dataset import Dataset
from yoloprune.data.inputs import image_input
from yoloprune.data.names import write_names
from yoloprune.engines.benchmark import alternating_times, latency_of, sample_image, timer
from yoloprune.engines.table import run_in
from yoloprune.errors import VerificationError
from yoloprune.files import write_folder, write_json
from yoloprune.frontends.darknet.document import darknet, for_input_size, model, pair
from yoloprune.frontends.darknet.initialization import training_state, transferred_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.graph.model import Model
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.score.on_weights import MEASURED_CRITERIA
from yoloprune.reporter import SILENT
from yoloprune.training.config import TrainingConfig
from yoloprune.training.heads import fit_heads
from yoloprune.training.run_folder import CHECKPOINT, write_network
from yoloprune.workflows.case_study.chain import Chain, Step, share_left, stage_macs
from yoloprune.workflows.case_study.data import TRAINING, StudyData, read_study_data
from yoloprune.workflows.case_study.settings import StudySettings
from yoloprune.workflows.case_study.subject import Subject
from yoloprune.workflows.cut import write_cut
from yoloprune.workflows.defaults import PRUNING
from yoloprune.workflows.distill import distill, fitted_on
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.quantize import quantize
from yoloprune.workflows.recover import recover
from yoloprune.workflows.rounding import rounded
from yoloprune.workflows.steps import ChannelSteps

SCORES = "scores.json"
"""What the channels of a pruned network were ranked by: by group, a number a channel."""

INT8 = "best.onnx"
"""The int8 network."""

INT8_LOSS, ANY_LOSS = 0.01, 0.99
"""How much mAP int8 may lose on the validation images, and where none loses so little."""

DISTILLING = "distill.pt"
"""The checkpoint of a distillation that is not done."""

HALF = 0.25
"""Fraction of the MACs that a network has with about half of the channels everywhere."""

STEP = 32
"""Sides of a YOLOv3's input are multiples of it."""

TIMED, WARMUP = 10, 2
"""Runs of each input size, and those before them."""


class Trainer(Protocol):
    """Trains a network into a run folder, going on from the checkpoint that is there, if any."""

    def __call__(
        self,
        network: Model,
        *,
        training: Dataset,
        validation: Dataset,
        config: TrainingConfig,
        run: Path,
        teacher: Model | None,
        resume: bool,
    ) -> None:
        """Train; raises whatever stops a run."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workshop:
    """What the stages that make networks have in common; each method fills a stage's folder."""

    run: Path
    subject: Subject
    train: Trainer
    device: torch.device

    def take_dense(self, folder: Path) -> None:
        """Take over the dense network that was given."""
        assert self.subject.dense is not None
        write_names(folder / "best.names", read_study_data(self.run).names)
        write_network(folder, "best", load(*self.subject.dense))

    def make_fitted(self, folder: Path) -> None:
        """Train the dense network that was given, with heads that fit the data."""
        assert self.subject.dense is not None
        data = read_study_data(self.run)
        fitted = fit_heads(
            load(*self.subject.dense),
            data.training(self.settings.hold_out)[0],
            size=self.settings.training().input_size,
            seed=self.settings.seed,
        )
        self._fit(folder, data, fitted.network, self.settings.training())

    def make_dense(self, folder: Path) -> None:
        """Train the dense network."""
        data = read_study_data(self.run)
        spec = yolov3(
            classes=len(data.names),
            width=self.settings.width,
            size=self.settings.training().input_size,
            anchors=data.anchors,
        )
        state = training_state(spec, seed=self.settings.seed)
        if self.subject.backbone is not None:
            state |= read_weights(self.subject.backbone, spec, backbone=True)
        elif self.subject.transfer is not None:
            source = pair(load(*self.subject.transfer))
            state, _ = transferred_state(spec, *source, seed=self.settings.seed)
        dense = model(spec, state, title="dense")
        self._fit(folder, data, dense, self.settings.training())

    def make_sparse(self, folder: Path) -> None:
        """Train the dense network further with the group lasso."""
        data = read_study_data(self.run)
        self._fit(folder, data, self._network("dense"), self.settings.sparse_training())

    def make_step(self, folder: Path, chain: Chain, step: Step) -> None:
        """Remove a part of the channels, proven, and re-fit what is left if that is asked for."""
        settings, network = self.settings, self._network(step.source)
        seed = settings.seed + step.number
        looks = settings.refit or chain.criterion in MEASURED_CRITERIA
        left = share_left(self.run, step.source, settings.keep_macs)
        rounding = rounded(
            network.graph,
            {"macs": left},
            PRUNING.min_channels,
            settings.multiple_of,
            PRUNING.max_layer_cut,
            Compensation.NONE,
            SILENT,
        )
        steps = ChannelSteps(
            dense_macs=stage_macs(self.run, "dense"),
            criterion=chain.criterion,
            scope=PRUNING.scope,
            multiple_of=rounding.multiple_of,
            seed=settings.seed,
            calibration=self._calibration(network, seed=seed) if looks else None,
            reconstruct=settings.refit,
            device=self.device,
        )
        # What cannot be reached in the end is not begun.
        steps.check(network, left)
        with write_folder(folder) as temporary:
            steps.write(temporary, network, step.share, step.number, SILENT)

    def train_step(self, folder: Path, step: Step) -> None:
        """Fine-tune what a step left, with the dense network as teacher."""
        config = self.settings.step_training(step.number)
        self._finetune(folder, self._network(step.cut, "slim"), config)

    def make_pruned(self, folder: Path, chain: Chain) -> None:
        """Remove the lowest-scoring channels to the budget, proven."""
        network, method = self._network(chain.source), self.settings.compensation
        measured = chain.criterion in MEASURED_CRITERIA
        found = prune(
            network,
            {"macs": share_left(self.run, chain.source, self.settings.keep_macs)},
            criterion=chain.criterion,
            compensation=method,
            calibration=self._calibration(network) if measured else None,
            multiple_of=self.settings.multiple_of,
            seed=self.settings.seed,
            device=self.device,
        )
        settings = {"criterion": chain.criterion, "compensation": method.value}
        with write_folder(folder) as temporary:
            write_cut(temporary, replace(found, settings=settings))
            scores = {str(group): own.tolist() for group, own in found.scores.items()}
            write_json(temporary / SCORES, scores)

    def make_refitted(self, folder: Path, chain: Chain) -> None:
        """Re-fit the pruned network to what was cut, by training images without their labels."""
        whole = self._network(chain.source)
        cut = read_cut(self.run / chain.pruned, whole, device=self.device)
        seed, spares = self.settings.seed, bool(self.settings.distill_steps)
        seen = self._calibration(whole, spares=spares)
        found = recover(cut, seen, seed=seed, device=self.device)
        with write_folder(folder) as temporary:
            write_cut(temporary, found)

    def make_distilled(self, folder: Path, chain: Chain) -> None:
        """Train the re-fitted network to give what the one that was cut gives, without labels."""
        assert chain.refitted is not None
        whole, settings = self._network(chain.source), self.settings
        checkpoint = folder / DISTILLING
        found = distill(
            read_cut(self.run / chain.refitted, whole, device=self.device),
            self.run / "data" / TRAINING,
            steps=settings.distill_steps,
            seed=settings.seed,
            device=self.device,
            checkpoint=checkpoint,
        )
        with write_folder(folder) as temporary:
            write_cut(temporary, found)
        checkpoint.unlink(missing_ok=True)

    def make_finetuned(self, folder: Path, chain: Chain) -> None:
        """Fine-tune the outcome so far, with the dense network as teacher."""
        self._finetune(folder, self._network(chain.recovered, "slim"), self.settings.finetuning())

    def make_scratch(self, folder: Path) -> None:
        """Train the slim architecture from random weights."""
        self._from_nothing(folder, self._network("pruned", "slim"))

    def make_uniform_pruned(self, folder: Path) -> None:
        """Keep the same share of every group, at the same MACs and rounded as the pruned one is."""
        self._narrow(folder, self.settings.keep_macs, self.settings.multiple_of)

    def make_uniform(self, folder: Path) -> None:
        """Train what has the same share of every group from random weights."""
        self._from_nothing(folder, self._network("uniform-pruned", "slim"))

    def make_half_pruned(self, folder: Path) -> None:
        """Keep about half of every group's channels: a quarter of the MACs."""
        self._narrow(folder, HALF, 1)

    def make_half(self, folder: Path) -> None:
        """Train a network of about half of every group's channels from random weights."""
        self._from_nothing(folder, self._network("half-pruned", "slim"))

    def make_longer(self, folder: Path) -> None:
        """Train the dense network for as many epochs more as the outcome."""
        self._fit(
            folder,
            read_study_data(self.run),
            self._network("dense"),
            self.settings.longer_training(),
        )

    def make_smaller_input(self, folder: Path) -> None:
        """Give the dense network the largest input with which it is no slower than the slim one.

        Both are timed in ONNX Runtime, on one thread of the CPU; the smallest input that there is
        where all are slower.
        """
        dense, slim = self._network("dense"), self._network("pruned", "slim")
        smaller = {side: for_input_size(dense, *size) for side, size in self._sizes().items()}
        networks = {"slim": slim, **smaller}
        timers = {}
        for name, network in networks.items():
            runner = run_in(network, "onnxruntime", device="cpu", threads=1, batch=1)
            timers[name] = timer(runner, sample_image(network), 1)
        times = alternating_times(timers, "inputs", runs=TIMED, warmup=WARMUP)
        medians = {name: latency_of(series).median for name, series in times.items()}
        fast = [side for side in smaller if medians[side] <= medians["slim"]]
        write_json(folder / "times.json", medians)
        write_network(folder, "best", smaller[fast[0] if fast else [*smaller][-1]])

    def make_smaller(self, folder: Path) -> None:
        """Fine-tune the dense network to the smaller input."""
        network = self._network("smaller-input")
        _, height, width = darknet(network).spec.input_shape
        config = replace(self.settings.longer_training(), image_size=(height, width))
        self._fit(folder, read_study_data(self.run), network, config)

    def make_int8(self, folder: Path) -> None:
        """Make the dense network int8: the fastest that loses little on the validation images."""
        validation = read_study_data(self.run).training(self.settings.hold_out)[1]
        make = partial(
            quantize,
            self._network("dense"),
            self.run / "data" / TRAINING,
            folder / INT8,
            data=validation,
            seed=self.settings.seed,
        )
        try:
            make(max_loss=INT8_LOSS)
        except VerificationError:
            make(max_loss=ANY_LOSS)

    @property
    def settings(self) -> StudySettings:
        """Of the study."""
        return self.subject.settings

    def _narrow(self, folder: Path, share: float, multiple_of: int | None) -> None:
        """Keep this share of the MACs and the same share of every group's channels."""
        found = prune(
            self._network("dense"),
            {"macs": share},
            # Its weights will be random, so that only how many channels there are matters.
            criterion="l2",
            scope=Scope.LAYER,
            multiple_of=multiple_of,
            device=self.device,
        )
        with write_folder(folder) as temporary:
            write_cut(temporary, found)

    def _sizes(self) -> dict[str, tuple[int, int]]:
        """Sizes of smaller inputs by name, the largest first."""
        height, width = self.settings.training().input_size
        found = {}
        for side in range(height - height % STEP or STEP, 0, -STEP):
            other = max(STEP, round(width * side / height / STEP) * STEP)
            if side < height:
                found[f"{side}x{other}"] = side, other
        return found or {f"{height}x{width}": (height, width)}

    def _calibration(
        self, network: Model, *, seed: int | None = None, spares: bool = False
    ) -> Calibration:
        """Training images, without their labels; with `spares` some are left for distillation.

        They are chosen by the `seed`, the study's where none is given.
        """
        data, settings = read_study_data(self.run), self.settings
        paths = [image.path for image in data.training(settings.hold_out)[0].images]
        reads = image_input(network)
        count, seed = settings.calibration_images, settings.seed if seed is None else seed
        if spares:
            count = fitted_on(len(paths), count)
        return choose_calibration(network, reads, data.path, paths, count, seed)

    def _network(self, stage: str, name: str = "best") -> Model:
        return load(self.run / stage / f"{name}.cfg")

    def _finetune(self, folder: Path, network: Model, config: TrainingConfig) -> None:
        data, teacher = read_study_data(self.run), self._network("dense")
        self._fit(folder, data, network, config, teacher)

    def _from_nothing(self, folder: Path, network: Model) -> None:
        state = training_state(darknet(network).spec, seed=self.settings.seed)
        fresh = replace(network, parameters=parameters(state))
        self._fit(folder, read_study_data(self.run), fresh, self.settings.control_training())

    def _fit(
        self,
        folder: Path,
        data: StudyData,
        network: Model,
        config: TrainingConfig,
        teacher: Model | None = None,
    ) -> None:
        training, validation = data.training(self.settings.hold_out)
        self.train(
            network,
            training=training,
            validation=validation,
            config=config,
            run=folder,
            teacher=teacher,
            resume=(folder / CHECKPOINT).exists(),
        )

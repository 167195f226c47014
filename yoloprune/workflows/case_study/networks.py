"""The stages that make networks: train, sparsify, prune, fine-tune, and the controls."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from yoloprune.data.dataset import Dataset
from yoloprune.data.names import write_names
from yoloprune.files import write_folder
from yoloprune.frontends.darknet.document import darknet, model
from yoloprune.frontends.darknet.initialization import training_state
from yoloprune.frontends.darknet.lower import parameters
from yoloprune.frontends.darknet.weights import read_weights
from yoloprune.frontends.darknet.zoo import yolov3
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.prune import rankable_scores
from yoloprune.pruning.solve import solve
from yoloprune.training.config import TrainingConfig
from yoloprune.training.heads import fit_heads
from yoloprune.training.run_folder import CHECKPOINT, write_network
from yoloprune.workflows.case_study.data import StudyData, read_study_data
from yoloprune.workflows.case_study.settings import StudySettings
from yoloprune.workflows.case_study.subject import Subject
from yoloprune.workflows.cut import write_cut
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune


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
        dense = model(spec, state, title="dense")
        self._fit(folder, data, dense, self.settings.training())

    def make_sparse(self, folder: Path) -> None:
        """Train the dense network further with the group lasso."""
        data = read_study_data(self.run)
        self._fit(folder, data, self._network("dense"), self.settings.sparse_training())

    def make_pruned(self, folder: Path) -> None:
        """Remove the lowest-scoring channels, proven."""
        self._prune(folder, self._network(self.source), self.settings.criterion)

    def make_finetuned(self, folder: Path) -> None:
        """Fine-tune the pruned network, with the dense one as teacher."""
        self._finetune(folder, self._network("pruned", "slim"))

    def make_scratch(self, folder: Path) -> None:
        """Train the slim architecture from random weights."""
        self._from_nothing(folder, self._network("pruned", "slim"))

    def make_uniform(self, folder: Path) -> None:
        """Train a network that keeps the same share of every group, at the same MACs."""
        dense = self._network("dense")
        graph = analyze(dense.graph)
        scores = rankable_scores(graph, dense.parameters, "l2", Scope.LAYER)
        budget = Budget(limits={"macs": self.settings.keep_macs})
        plan = solve(graph, scores, budget, criterion="l2")
        self._from_nothing(folder, dense.edited(cut(graph, plan)))

    def make_random_pruned(self, folder: Path) -> None:
        """Remove random channels instead of low-scoring ones."""
        self._prune(folder, self._network(self.source), "random")

    def make_random(self, folder: Path) -> None:
        """Fine-tune what random pruning left, as the pruned network is."""
        self._finetune(folder, self._network("random-pruned", "slim"))

    @property
    def settings(self) -> StudySettings:
        """Of the study."""
        return self.subject.settings

    @property
    def source(self) -> str:
        """The stage whose network is pruned."""
        return "sparse" if self.settings.sparsity else "dense"

    def _network(self, stage: str, name: str = "best") -> Model:
        return load(self.run / stage / f"{name}.cfg")

    def _prune(self, folder: Path, network: Model, criterion: str) -> None:
        method = self.settings.compensation
        found = prune(
            network,
            {"macs": self.settings.keep_macs},
            criterion=criterion,
            compensation=method,
            multiple_of=1,
            seed=self.settings.seed,
            device=self.device,
        )
        settings = {"criterion": criterion, "compensation": method.value}
        with write_folder(folder) as temporary:
            write_cut(temporary, replace(found, settings=settings))

    def _finetune(self, folder: Path, network: Model) -> None:
        data, teacher = read_study_data(self.run), self._network("dense")
        self._fit(folder, data, network, self.settings.finetuning(), teacher)

    def _from_nothing(self, folder: Path, network: Model) -> None:
        state = training_state(darknet(network).spec, seed=self.settings.seed)
        fresh = replace(network, parameters=parameters(state))
        self._fit(folder, read_study_data(self.run), fresh, self.settings.training())

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

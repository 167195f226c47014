"""The steps of an `iterate` run, each in a folder of its own."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from yoloprune.cli.iteration import Method
from yoloprune.cli.pruned_folder import RUN_FILES, write_sparse
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import State
from yoloprune.data.dataset import Dataset
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.names import write_names
from yoloprune.documents import read_document
from yoloprune.errors import CheckpointError, DatasetError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.files import file_sha256, write_folder, write_text
from yoloprune.model.network import Network
from yoloprune.reporter import Reporter
from yoloprune.schedule import Pair, ScheduledNetwork
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.engine import train, trainable_spec
from yoloprune.training.run_folder import CHECKPOINT, read_network, write_network

SCHEDULE = "schedule.json"
"""File of a run that says what it was started with."""

ACCURACY = "accuracy.json"
"""The last file of a step: its network's mAP, and what that was measured on."""

FINISHED = ("last.cfg", "last.weights", ACCURACY)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accuracy:
    """A step's mAP@0.5, and what it depends on."""

    map50: float
    measured_on: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The steps of a run, each in a folder of its own; what is finished is read, not made again.

    Of several processes the first one prunes, evaluates and writes; the others read. `untrained`
    are the numbers of the steps without fine-tuning.
    """

    out: Path
    weights: Path
    training: Dataset
    validation: Dataset
    config: TrainingConfig
    method: Method
    untrained: frozenset[int]
    here: World
    reporter: Reporter

    def check(self, spec: NetworkSpec, state: State, keep: float) -> None:
        """Raise what a step would raise, before anything is written."""
        self.method.check(spec, state, keep)
        trainable_spec(spec, self.training, self.config, self.here)
        if not self.validation.object_count:
            raise DatasetError(f"none of the {len(self.validation.images)} images has an object")

    def prune(self, spec: NetworkSpec, state: State, share: float, number: int) -> Pair:
        """The network pruned to a share of the dense one."""
        folder = self._folder(number)
        before = self._folder(number - 1) / "last.weights" if number > 1 else self.weights

        def work() -> None:
            if _holds(folder, self.method.files):
                return
            with write_folder(folder) as temporary:
                self.method.write(temporary, spec, state, before, share, number)

        self.here.on_first(work)
        return read_network(folder, self.method.name)

    def finetune(self, spec: NetworkSpec, state: State, number: int) -> Pair:
        """The pruned network trained further, or as it is."""
        folder = self._folder(number)
        if number in self.untrained:
            self.here.on_first(lambda: self._write_untrained(folder, spec, state))
        elif not self.here.on_first(lambda: _holds(folder, FINISHED)):
            train(
                spec,
                state,
                training=self.training,
                validation=None,
                config=replace(self.config, seed=self.config.seed + number),
                run=folder,
                world=self.here,
                masks=self.method.masks(folder, spec),
                resume=self.here.on_first(lambda: _holds(folder, [CHECKPOINT])),
                reporter=self.reporter,
            )
            self.here.wait()
        return read_network(folder, "last")

    def evaluate(self, spec: NetworkSpec, state: State, number: int) -> float:
        """The network's mAP@0.5 on the validation images."""
        return self.here.on_first(lambda: self._accuracy(spec, state, number))

    def _write_untrained(self, folder: Path, spec: NetworkSpec, state: State) -> None:
        write_names(folder / "last.names", self.training.names)
        write_network(folder, "last", spec, state, 0)

    def keep(self, network: ScheduledNetwork) -> None:
        """Write the last good network so far."""
        self.here.on_first(lambda: self._keep(network))

    def _keep(self, network: ScheduledNetwork) -> None:
        # Those of the network before, which may have been a better one in a run that is repeated.
        for name in RUN_FILES:
            (self.out / name).unlink(missing_ok=True)
        write_network(self.out, "best", network.spec, network.state, 0)
        write_names(self.out / "best.names", self.training.names)
        if network.step:
            masks = self.method.masks(self._folder(network.step), network.spec)
            if masks is not None:
                write_sparse(self.out, masks)

    def _accuracy(self, spec: NetworkSpec, state: State, number: int) -> float:
        folder = self._folder(number)
        measured_on = {
            "protocol": self.config.protocol,
            "image_size": self.config.image_size,
            "images": fingerprint(self.validation),
            "weights": file_sha256(folder / "last.weights" if number else self.weights),
        }
        if _holds(folder, [ACCURACY]):
            known = read_document(folder / ACCURACY, _Accuracy, fault=CheckpointError)
            if same_json(known.measured_on, measured_on):
                return known.map50
        network = Network.from_state(with_input_size(spec, *self.config.input_size), state)
        map50 = evaluate(network, self.validation, self.config.protocol).map50
        document = _Accuracy(map50=map50, measured_on=measured_on)
        write_text(folder / ACCURACY, json.dumps(asdict(document), indent=1) + "\n")
        return map50

    def _folder(self, number: int) -> Path:
        return self.out / f"step-{number:02}"


def same_json(a: Any, b: Any) -> bool:
    """Whether two values are one in JSON, which has lists for tuples."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def _holds(folder: Path, names: Iterable[str]) -> bool:
    return all((folder / name).exists() for name in names)

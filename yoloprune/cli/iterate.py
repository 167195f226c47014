"""`yoloprune iterate`: prune a small step, fine-tune, until the target."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.console import CfgPath, Quiet, WeightsPath, output, print_table
from yoloprune.cli.training import (
    Accumulate,
    BatchSize,
    DataPath,
    HoldOut,
    ImageSize,
    LearningRate,
    Precision,
    RunPath,
    Seed,
    Workers,
    shown_training,
    training_data,
    training_side,
)
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec, with_input_size
from yoloprune.darknet.state import State
from yoloprune.darknet.weights import read_weights
from yoloprune.errors import PlanError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.files import write_folder, write_text
from yoloprune.model.network import Network
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.plan import Budget, write_plan
from yoloprune.pruning.pruner import prune
from yoloprune.schedule import iterate as run_schedule
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import world
from yoloprune.training.run_folder import CHECKPOINT, write_network


def iterate(
    cfg: CfgPath,
    weights: WeightsPath,
    data: DataPath,
    out: RunPath,
    keep_macs: Annotated[
        float, typer.Option("--keep-macs", help="Share of the dense network's MACs at the end.")
    ],
    step: Annotated[
        float, typer.Option("--step", help="Share of the dense MACs that goes with each step.")
    ] = 0.05,
    epochs_per_step: Annotated[
        int, typer.Option("--epochs-per-step", help="Fine-tuning epochs after each step.")
    ] = 2,
    layerwise: Annotated[
        bool, typer.Option("--layerwise", help="The same share of every layer, not a global rank.")
    ] = False,
    criterion: Annotated[str, typer.Option("--criterion", help="As for `prune`.")] = "l2",
    map_floor: Annotated[
        float | None, typer.Option("--map-floor", help="Stop when mAP@0.5 falls under this.")
    ] = None,
    hold_out: HoldOut = 0.0,
    batch_size: BatchSize = 16,
    accumulate: Accumulate = 1,
    image_size: ImageSize = None,
    learning_rate: LearningRate = 0.005,
    precision: Precision = "float32",
    workers: Workers = 1,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Prune in small steps with fine-tuning between them; run again to go on after a stop."""
    spec = read_cfg(cfg)
    state = read_weights(weights, spec)
    size = training_side(spec, image_size)
    config = TrainingConfig(
        epochs=epochs_per_step,
        batch_size=batch_size,
        accumulate=accumulate,
        image_size=size,
        learning_rate=learning_rate,
        warmup=0.2,
        evaluate_every=epochs_per_step,
        precision=precision,  # type: ignore[arg-type]
        workers=workers,
        seed=seed,
    )
    asked = {"keep_macs": keep_macs, "step": step, "layerwise": layerwise, "criterion": criterion}
    training, validation = training_data(spec, data, hold_out)
    with world() as here:
        if here.is_first:
            _same_run(out / "schedule.json", asked | {"digest": spec.digest()})

        def prune_step(spec: NetworkSpec, state: State, share: float, number: int) -> Pair:
            folder = out / f"step-{number:02}"
            if here.is_first and not (folder / "slim.cfg").exists():
                pruned = prune(
                    spec,
                    state,
                    budget=Budget(keep_macs=share),
                    criterion=criterion,
                    scope=Scope.LAYER if layerwise else Scope.GLOBAL,
                    seed=seed + number,
                )
                with write_folder(folder) as temporary:
                    write_network(temporary, "slim", pruned.spec, pruned.state, 0)
                    write_plan(temporary / "plan.json", analyse(spec), pruned.plan)
            # All processes read what the first one decided.
            here.wait()
            slim = read_cfg(folder / "slim.cfg")
            return slim, read_weights(folder / "slim.weights", slim)

        def finetune_step(spec: NetworkSpec, state: State, number: int) -> Pair:
            run = out / f"step-{number:02}"
            resume = here.agree((run / CHECKPOINT).exists())
            shown_training(
                spec,
                state,
                training=training,
                validation=None,
                config=replace(config, seed=seed + number),
                run=run,
                here=here,
                resume=resume,
                quiet=quiet,
                how_to_go_on="run the same command again",
            )
            here.wait()
            tuned = read_cfg(run / "last.cfg")
            return tuned, read_weights(run / "last.weights", tuned)

        def accuracy(spec: NetworkSpec, state: State) -> float:
            sized = with_input_size(spec, size, size)
            found = 0.0
            if here.is_first:
                found = evaluate(Network.from_state(sized, state), validation, "case-study").map50
            return here.from_first(found)

        rows: list[tuple[int, str, str]] = []
        last_good: int | None = None
        for network in run_schedule(
            spec,
            state,
            step=step,
            keep_macs=keep_macs,
            prune=prune_step,
            finetune=finetune_step,
            evaluate=accuracy,
            floor=map_floor,
        ):
            rows.append((network.step, f"{network.keep_macs:.3f}", f"{network.accuracy:.4f}"))
            good = map_floor is None or network.accuracy >= map_floor
            if good:
                last_good = network.step
            if not here.is_first:
                continue
            if good:
                write_network(out, "best", network.spec, network.state, 0)
            if not quiet:
                output.print(
                    f"step {network.step}: {network.keep_macs:.3f} of MACs, mAP@0.5 "
                    f"{network.accuracy:.4f}{'' if good else ', under the floor: stopped'}"
                )
        if here.is_first:
            columns = ("Step", "MACs kept", "mAP@0.5 (case-study)")
            print_table("Iterative pruning", columns, rows)
        if last_good is None:
            raise PlanError(f"the dense network itself is under --map-floor {map_floor:g}")
        if here.is_first:
            output.print(f"{out}: best.cfg and best.weights are those of step {last_good}")


Pair = tuple[NetworkSpec, State]


def _same_run(path: Path, asked: dict[str, object]) -> None:
    """Refuse to go on with a schedule that was started with other settings."""
    if path.exists():
        was = json.loads(path.read_text(encoding="utf-8"))
        if was != asked:
            raise PlanError(f"{path}: this run was started with {was}: choose another --out")
        return
    write_text(path, json.dumps(asked) + "\n")

"""Accuracy against MACs for several criteria, without training: what to look at first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration
from yoloprune.data.preprocess import ImageInput
from yoloprune.devices import AUTO, torch_device
from yoloprune.errors import PlanError, UsageError
from yoloprune.files import write_json
from yoloprune.graph.model import Model
from yoloprune.locks import locked
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.choices import Compensation, Scope
from yoloprune.pruning.compensation import compensate
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.measures import Meter
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prune import check_budget, rankable_scores
from yoloprune.pruning.queue import Scores
from yoloprune.pruning.recover.network import recover
from yoloprune.pruning.score.on_weights import CRITERIA, MEASURED_CRITERIA
from yoloprune.pruning.shape import shaped
from yoloprune.pruning.solve import coarsest, solve
from yoloprune.report.shown import Result, Shown
from yoloprune.report.sweep_plot import SweepPoint, write_sweep_picture
from yoloprune.reporter import SILENT, Reporter
from yoloprune.workflows.choices import chosen
from yoloprune.workflows.defaults import ON_IMAGES, PRUNING, SWEEP
from yoloprune.workflows.judges import ERROR, Request, judge_of
from yoloprune.workflows.models import AnyModel, opened
from yoloprune.workflows.prediction import (
    REHEARSAL,
    REHEARSED,
    Forecast,
    calibration_apart,
    finetuned,
    foretold,
    judged_unseen,
    knee,
    prediction_errors,
)
from yoloprune.workflows.rounding import suited_multiple
from yoloprune.workflows.scores import scores_on_images


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Sweep(Result):
    """A measure by criterion and share of MACs: criteria first, shares in falling order.

    `measure` is `judges.ACCURACY` or `prediction.PREDICTED`, of which more is better, or
    `judges.ERROR`, of which less is; `reads` and `decoder` say how the networks were read. Where
    networks were `refitted`, accuracies were foretold before they were measured.
    """

    dense: float
    points: tuple[SweepPoint, ...]
    measure: str
    reads: ImageInput
    decoder: str | None
    split: str
    images: int
    refitted: int = 0

    def shown(self) -> Shown:
        """A row a share, a column a criterion."""
        criteria = list(dict.fromkeys(point.criterion for point in self.points))
        shares = len(self.points) // len(criteria)
        columns = [self.points[n * shares : (n + 1) * shares] for n in range(len(criteria))]
        better = min if self.measure == ERROR else max
        best = better(self.points, key=lambda point: point.figure)
        how = "as pruned"
        if self.refitted:
            how = f"re-fitted on {counted(self.refitted, 'image')}"
        return Shown(
            title=(
                f"{self.measure} on {counted(self.images, f'{self.split} image')} {how}; "
                f"dense {self.dense:.4f}"
            ),
            summary=(
                f"dense {self.dense:.4f}; best {how} {best.figure:.4f}, by {best.criterion} "
                f"at {best.keep_macs:.3f} of the MACs"
            ),
            header=("MACs kept", *criteria, *(f"{name}, predicted" for name in self._foretold())),
            rows=[
                (
                    # Each criterion meets the budget by another hair.
                    f"{max(point.keep_macs for point in row):.3f}",
                    *(f"{point.figure:.4f}" for point in row),
                    *(f"{p.predicted:.4f}" for p in row if p.predicted is not None),
                )
                for row in zip(*columns, strict=True)
            ],
            lines=self._lines(),
            document={
                "measure": self.measure,
                "preprocess": self.reads.document(),
                "decoder": self.decoder,
                "split": self.split,
                "images": self.images,
                "dense": self.dense,
                "points": [self._entry(point) for point in self.points],
            }
            | self._advice(),
        )

    def _foretold(self) -> list[str]:
        return list(dict.fromkeys(p.criterion for p in self.points if p.predicted is not None))

    def _advice(self) -> dict[str, Any]:
        """What to choose, where networks were re-fitted, and how good the predictions were."""
        if not self.refitted or self.measure == ERROR:
            return {}
        chosen = knee(self.points, self.dense)
        figure = chosen.figure if chosen.predicted is None else chosen.predicted
        return {
            "refitted_on": self.refitted,
            "knee": {
                "criterion": chosen.criterion,
                "keep_macs": chosen.keep_macs,
                "figure": figure,
                "finetuned": finetuned(figure, self.dense),
            },
            "prediction": prediction_errors(self.points),
        }

    def _lines(self) -> list[str]:
        advice = self._advice()
        if not advice:
            return []
        point, errors = advice["knee"], advice["prediction"]
        low, high = point["finetuned"]
        lines = [
            f"the knee: {point['keep_macs']:.3f} of the MACs by {point['criterion']} keeps most "
            "beyond its share of them",
            f"there fine-tuning with labels may bring {point['figure']:.4f} to between "
            f"{low:.4f} and {high:.4f}: not measured here, but what it did for other networks",
        ]
        if errors:
            ranks = f", Spearman {errors['spearman']:.2f}" if "spearman" in errors else ""
            lines.append(f"predictions are off by {errors['mean_error']:.4f} in the mean{ranks}")
        return lines

    def _entry(self, point: SweepPoint) -> dict[str, Any]:
        figure = "error" if self.measure == ERROR else "accuracy"
        return {
            "criterion": point.criterion,
            "keep_macs": point.keep_macs,
            figure: point.figure,
        } | ({} if point.predicted is None else {"predicted": point.predicted})

    def save(self, folder: str | Path) -> list[str]:
        """Write sweep.json and sweep.png into a folder; gives their names."""
        folder = Path(folder)
        with locked(folder):
            write_json(folder / "sweep.json", self.shown().document)
            write_sweep_picture(folder / "sweep.png", self.points, self.dense, self.measure)
        return ["sweep.json", "sweep.png"]


def sweep(
    network: AnyModel,
    data: str | Path | None = None,
    *,
    images: str | Path | None = None,
    criteria: str | Sequence[str] | None = None,
    shares: Sequence[float] = SWEEP.shares,
    scope: Scope | str = PRUNING.scope,
    compensation: Compensation | str = PRUNING.compensation,
    multiple_of: int | None = None,
    calibration_images: int = PRUNING.calibration_images,
    split: str | None = None,
    limit: int | None = None,
    seed: int = PRUNING.seed,
    allow_faulty: bool = False,
    device: str = AUTO,
    preprocess: str | None = None,
    decoder: str | None = None,
    reporter: Reporter = SILENT,
) -> Sweep:
    """How mAP@0.5 (coco) falls with the MACs, for each criterion, without fine-tuning.

    Evaluated are the `split` or, without one, a tenth of the training images, so that a budget is
    not chosen by the test set; criteria that look at images look at the other training images.
    `preprocess` and `decoder` are those of `detector`; an ONNX network whose outputs no decoder
    knows is judged by the error at these, on images without labels.
    Where `images` are given, without labels, each network is re-fitted on `calibration_images` of
    them, and the mAP of each is foretold by others of them before it is measured; without `data`
    that is all that is told. None of them is an image that networks are evaluated on.
    Without `criteria`, all on weights are tried that can rank this network's channels, or with
    `images` what `prune` does. Raises `UsageError` without `data` and `images`, and for shares
    outside of (0, 1), `PlanError`, before anything is evaluated, for an unknown criterion or a
    share that cannot be met.
    """
    scope = chosen(Scope, scope, "scope")
    compensation = chosen(Compensation, compensation, "compensation")
    shares = sorted(set(shares), reverse=True)
    if not all(0 < share < 1 for share in shares):
        raise UsageError(f"shares of MACs to keep must be in (0, 1), not {shares}")
    network, place = opened(network), torch_device(device)
    if isinstance(criteria, str):
        criteria = [criteria]
    if criteria is None:
        criteria = _able(network) if images is None else [ON_IMAGES]
    criteria = list(dict.fromkeys(criteria))
    judge = None
    if data is not None:
        request = Request(
            data=Path(data),
            split=split,
            limit=limit,
            seed=seed,
            allow_faulty=allow_faulty,
            device=place,
            preprocess=preprocess,
            decoder=decoder,
        )
        judge = judge_of(network, request, reporter)
    elif images is None:
        raise UsageError("give `data` to evaluate on, or `images` to re-fit and to foretell by")
    calibration = None
    if images is not None or not set(criteria).isdisjoint(MEASURED_CRITERIA):
        least = Budget(
            limits={"macs": shares[-1]}, multiple_of=1 if multiple_of is None else multiple_of
        )
        for name in criteria:
            check_budget(
                analyze(network.graph), network.parameters, least, name, compensation=compensation
            )
    if images is not None:
        calibration = calibration_apart(
            network, Path(images), calibration_images, judge, seed=seed, preprocess=preprocess,
            reporter=reporter,
        ).on(place)  # fmt: skip
    elif judge is not None and data is not None and not set(criteria).isdisjoint(MEASURED_CRITERIA):
        calibration = judge.calibration(network, Path(data), calibration_images, seed, reporter).on(
            place
        )
    measured = {}
    for name in criteria:
        scores = scores_on_images(name, network, calibration, seed=seed, reporter=reporter)
        if scores is not None:
            measured[name] = scores
    told = None
    if images is not None and calibration is not None:
        told = foretold(network, calibration, device=place, preprocess=preprocess, decoder=decoder)
        if judge is None:
            judge, told = judged_unseen(network, calibration, told), None
        elif told is not None:
            rehearsed = reporter.track(
                _rehearsed(network, calibration, seed), "rehearsing", total=len(REHEARSED)
            )
            told = told.fitted(network, rehearsed, judge.judge)
    assert judge is not None
    found = sweep_points(
        network,
        criteria=criteria,
        shares=shares,
        evaluate=judge.judge,
        scope=scope,
        compensation=compensation,
        multiple_of=multiple_of or suited_multiple(reporter),
        finer=multiple_of is None,
        seed=seed,
        measured=measured,
        refit_on=None if images is None else calibration,
        told=told,
    )
    dense = judge.judge(network)
    points = [
        point if point.predicted is None else replace(point, predicted=dense * point.predicted)
        for point in reporter.track(found, "sweeping", total=len(criteria) * len(shares))
    ]
    return Sweep(
        dense=dense,
        points=tuple(points),
        measure=judge.measure,
        reads=judge.reads,
        decoder=judge.decoder,
        split=judge.split,
        images=judge.images,
        refitted=0 if images is None or calibration is None else len(calibration.images),
    )


def _able(network: Model) -> list[str]:
    """The criteria on weights that can rank the channels of a network: not all have batch norms."""
    graph = analyze(network.graph)
    able = []
    for name in CRITERIA:
        with suppress(PlanError):
            rankable_scores(graph, network.parameters, name, Scope.GLOBAL)
            able.append(name)
    return able


def sweep_points(
    network: Model,
    *,
    criteria: Sequence[str],
    shares: Sequence[float],
    evaluate: Callable[[Model], float],
    scope: Scope = Scope.GLOBAL,
    compensation: Compensation = Compensation.NONE,
    multiple_of: int = 1,
    finer: bool = False,
    seed: int = 0,
    measured: Mapping[str, Scores] | None = None,
    refit_on: Calibration | None = None,
    told: Forecast | None = None,
) -> Iterator[SweepPoint]:
    """A point for each criterion and share, criteria first, shares in the order given.

    `measured` are the scores of criteria that look at images (`score.on_images`), by name. With
    `finer` channel counts are rounded finer where a share needs it (`solve.coarsest`). Slim
    networks are re-fitted on the images of `refit_on`; `told` foretells the share of mAP that each
    keeps.

    Nothing is proven here: `pruning.prune` does that for the budget that is chosen. Raises
    `PlanError`, before anything is evaluated, for an unknown criterion or a share that cannot be
    met.
    """
    graph = analyze(network.graph)
    meter = Meter(graph)
    dense = meter.remaining(graph.kept({})).macs
    known = measured or {}
    scores = {
        name: rankable_scores(
            graph, network.parameters, name, scope, seed=seed, measured=known.get(name)
        )
        for name in criteria
    }
    budgets = [Budget(limits={"macs": share}, multiple_of=multiple_of) for share in shares]
    if finer:
        budgets = [
            coarsest(graph, budget, multiple_of, compensation=compensation)
            or replace(budget, multiple_of=1)
            for budget in budgets
        ]
    plans = []
    for name in criteria:
        for budget in budgets:
            plan_of = partial(
                solve, graph, budget=budget, criterion=name, compensation=compensation
            )
            ranking: Scores = scores[name]
            if refit_on is not None and name == ON_IMAGES and scope is Scope.GLOBAL:
                # As `prune` does.
                ranking = shaped(
                    graph, network.parameters, ranking, plan_of, refit_on.images, seed=seed
                )
            plans.append(plan_of(ranking))

    def point(plan: PruningPlan) -> SweepPoint:
        slim = _slim(network, plan, refit_on, seed)
        return SweepPoint(
            criterion=plan.criterion,
            keep_macs=meter.remaining(graph.kept(plan.keep)).macs / dense,
            predicted=None if told is None else told.share(slim),
            figure=evaluate(slim),
        )

    return map(point, plans)


def _slim(network: Model, plan: PruningPlan, refit_on: Calibration | None, seed: int) -> Model:
    graph = analyze(network.graph)
    slim = network.edited(cut(graph, plan), compensate(graph, network.parameters, plan))
    if refit_on is None:
        return slim
    found = recover(
        graph,
        network.parameters,
        plan,
        (slim.graph, slim.parameters),
        refit_on.images,
        seed=seed,
    )
    return replace(slim, parameters={name: array.cpu() for name, array in found.parameters.items()})


def _rehearsed(network: Model, refit_on: Calibration, seed: int) -> Iterator[Model]:
    """Slim networks by a criterion that loses much, whatever budgets are asked for."""
    graph = analyze(network.graph)
    scores = rankable_scores(graph, network.parameters, REHEARSAL, Scope.GLOBAL)
    for share in REHEARSED:
        # Where a network cannot lose as much, fewer will do.
        with suppress(PlanError):
            plan = solve(graph, scores, Budget(limits={"macs": share}), criterion=REHEARSAL)
            yield _slim(network, plan, refit_on, seed)

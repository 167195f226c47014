"""`yoloprune prune`: the main job."""

from pathlib import Path
from typing import Annotated

import typer

from yoloprune.cli.calibration import (
    CalibrationImages,
    images_to_use,
    read_calibration,
    run_recovery,
)
from yoloprune.cli.console import ConsoleReporter, Quiet, output, print_table
from yoloprune.cli.export import Decode, decodes
from yoloprune.cli.measured import measured_scores
from yoloprune.cli.networks import NetworkWords, keep_names, only_network
from yoloprune.cli.pruned_folder import PRUNED_FILES, SLIM_FILES, refuse_to_replace
from yoloprune.cli.rounding import RoundTo, usually_rounded
from yoloprune.cli.slim_folder import write_report, write_slim
from yoloprune.cli.verification import verification_images
from yoloprune.darknet.parser import read_cfg
from yoloprune.darknet.spec import NetworkSpec
from yoloprune.darknet.weights import read_weights
from yoloprune.errors import UsageError
from yoloprune.export.interface import OnnxForm
from yoloprune.export.onnx import require_onnx
from yoloprune.files import write_folder
from yoloprune.pruning.budget import Scope
from yoloprune.pruning.groups import analyse
from yoloprune.pruning.importance import CRITERIA, MEASURED_CRITERIA
from yoloprune.pruning.plan import Budget, Compensation
from yoloprune.pruning.pruner import check_budget
from yoloprune.pruning.pruner import prune as prune_network
from yoloprune.pruning.reconstruction import Recovery
from yoloprune.pruning.tracing import cross_check as compare_groups
from yoloprune.report.pruning import (
    HEADER,
    cost_rows,
    proof_lines,
    recovery_lines,
)
from yoloprune.reporter import Reporter
from yoloprune.workflows.models import names_beside


def prune(
    words: NetworkWords,
    out: Annotated[Path, typer.Option("--out", help="Folder for the slim network and report.")],
    keep_macs: Annotated[
        float | None, typer.Option("--keep-macs", help="Largest share of the MACs to keep.")
    ] = None,
    keep_params: Annotated[
        float | None, typer.Option("--keep-params", help="Largest share of the parameters.")
    ] = None,
    keep_channels: Annotated[
        float | None, typer.Option("--keep-channels", help="Largest share of the channels.")
    ] = None,
    min_channels: Annotated[
        int, typer.Option("--min-channels", min=1, help="Fewest channels that a group keeps.")
    ] = 1,
    round_to: RoundTo = None,
    max_layer_cut: Annotated[
        float, typer.Option("--max-layer-cut", help="Largest share that a group may lose.")
    ] = 1.0,
    criterion: Annotated[
        str,
        typer.Option("--criterion", help=", ".join((*CRITERIA, *MEASURED_CRITERIA))),
    ] = "l2",
    scope: Annotated[
        Scope, typer.Option("--scope", help="Rank over the whole network, or cut layers alike.")
    ] = Scope.GLOBAL,
    compensate: Annotated[
        Compensation,
        typer.Option("--compensate", help="Where the constants of removed channels go."),
    ] = Compensation.NONE,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of what is random.")
    ] = 0,
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Verify on these and on noise; some criteria look too."),
    ] = None,
    reconstruct: Annotated[
        Path | None,
        typer.Option("--reconstruct", help="Then re-fit the kernels on these images, unlabelled."),
    ] = None,
    recalibrate: Annotated[
        Path | None,
        typer.Option("--recalibrate", help="Then adapt batch norms only, on these images."),
    ] = None,
    calibration_images: CalibrationImages = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Also write slim.onnx.")] = False,
    decode: Decode = None,
    cross_check: Annotated[
        bool, typer.Option("--cross-check", help="Compare groups with Torch-Pruning's first.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Remove channels to meet a budget; prove, write and report the slim network."""
    budget = Budget(
        keep_macs=keep_macs,
        keep_params=keep_params,
        keep_channels=keep_channels,
        min_channels=min_channels,
        multiple_of=round_to or 1,
        max_layer_cut=max_layer_cut,
    )
    if not budget.limits:
        raise UsageError("give at least one of --keep-macs, --keep-params, --keep-channels")
    reporter = ConsoleReporter(quiet=quiet)
    cfg, weights = only_network(words)
    refuse_to_replace(out, cfg, weights)
    if reconstruct is not None and recalibrate is not None:
        raise UsageError("give --reconstruct or --recalibrate, not both: re-fitting does it all")
    spec = read_cfg(cfg)
    form = _onnx_form(cfg, spec, decode) if onnx else None
    if decode is not None and not onnx:
        reporter.warn("--decode and --raw change nothing without --onnx")
    state = read_weights(weights, spec)
    if round_to is None:
        budget = usually_rounded(spec, budget, reporter, compensate)
    recover_on = reconstruct or recalibrate
    source = recover_on or (images if criterion in MEASURED_CRITERIA else None)
    count, calibration = images_to_use(calibration_images, reporter, used=source is not None), None
    if source is not None:
        calibration = read_calibration(spec, source, count, seed, reporter)
    batch = verification_images(spec, images)
    if criterion in MEASURED_CRITERIA:
        check_budget(spec, state, budget, criterion, compensation=compensate)
    measured = measured_scores(criterion, spec, state, calibration, seed=seed, reporter=reporter)
    opinion = _second_opinion(spec, reporter) if cross_check else "not asked for"
    with reporter.stage("pruning and verifying in float64"):
        pruned = prune_network(
            spec,
            state,
            criterion=criterion,
            scope=scope,
            budget=budget,
            compensation=compensate,
            images=batch,
            seed=seed,
            measured=measured,
        )
    settings = {
        "criterion": criterion,
        "scope": scope.value,
        "compensation": compensate.value,
        "seed": seed,
        "verification_images": len(batch),
        "cross_check": opinion,
    }
    slim_state, recovery = pruned.state, None
    if calibration is not None and recover_on is not None:
        slim_state, recovery = run_recovery(
            spec,
            state,
            pruned.plan,
            pruned.spec,
            pruned.state,
            calibration,
            recovery=Recovery.RECALIBRATE if reconstruct is None else Recovery.RECONSTRUCT,
            seed=seed,
            reporter=reporter,
        )
    with write_folder(out, obsolete=PRUNED_FILES) as folder:
        write_slim(folder, pruned.spec, slim_state, onnx=form, reporter=reporter)
        write_report(folder, spec, weights, pruned, settings, recovery, onnx=form)
        keep_names(cfg, spec, folder / "slim.names")
        names = [name for name in SLIM_FILES if (folder / name).exists()]
    print_table("Pruning", HEADER, cost_rows(spec, pruned.spec))
    for line in proof_lines(pruned) + ([] if recovery is None else recovery_lines(recovery)):
        output.print(line)
    output.print(f"wrote {out}/: {', '.join(names)}")


def _onnx_form(cfg: Path, spec: NetworkSpec, decode: bool | None) -> OnnxForm:
    """How slim.onnx is written; an error now, for pruning takes its time."""
    require_onnx()
    return OnnxForm(decoded=decodes(spec, decode), names=names_beside(cfg, spec))


def _second_opinion(spec: NetworkSpec, reporter: Reporter) -> str:
    """Compare groups with Torch-Pruning's, print every difference, and say it in one line."""
    with reporter.stage("tracing with Torch-Pruning"):
        check = compare_groups(analyse(spec))
    opinion = f"{len(check.agreed)} groups agree with Torch-Pruning's trace"
    if not check.passed:
        opinion += f", {len(check.only_ours)} of ours and {len(check.only_traced)} traced differ"
    output.print(f"cross-check: {opinion}")
    for name, groups in (("only ours", check.only_ours), ("only traced", check.only_traced)):
        for producers, consumers in groups:
            filters = ", ".join(f"{count} of layer {layer}" for layer, count in producers)
            output.print(f"  {name}: filters {filters}; read by layers {list(consumers)}")
    return opinion

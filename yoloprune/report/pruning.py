"""What a pruning run reports: cost before and after, and what was proven."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from yoloprune.counting import counted
from yoloprune.engines.side_by_side import SideBySide
from yoloprune.graph.cost import Cost
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prove import Exactness
from yoloprune.pruning.prune import Proof
from yoloprune.pruning.torch_pruning_check import CrossCheck
from yoloprune.pruning.verification import Verification
from yoloprune.report.table import amount, change, file_size, markdown_table
from yoloprune.report.wording import flattened

FEW = 4
"""Outputs whose errors are all named in a line."""

SUITED = 8
"""What channel counts should be multiples of, so that engines compute them fast."""

MISSED = 0.02
"""Share of the dense network by which rounding must miss a limit for that to be told."""

NAMES = {"macs": "MACs", "params": "parameters", "channels": "channels", "bytes": "bytes"}
"""What a budget limits, in words."""

HEADER = ("Network", "Params", "Size", "MACs", "FLOPs", "Channels")


def pruning_report(
    dense: Model,
    slim: Model,
    proof: Proof,
    made_by: str | None,
    settings: Mapping[str, Any],
    recovery: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The content of report.json.

    `dense` and `slim` hold cost and verification figures: under `slim`, slim against masked dense
    (which must be rounding error); under `dense`, slim against the dense original. `recovery`,
    where given, is what happened after that. `made_by` is the command, where there was one.
    """
    report = {
        "dense": cost_figures(dense.cost) | {"verification": _errors(proof.change)},
        "slim": cost_figures(slim.cost) | {"verification": _exactness(proof.exactness)},
        "made_by": made_by,
        "settings": dict(settings),
        "layers": channels_by_layer(dense, slim),
    }
    return report if recovery is None else report | {"recovery": dict(recovery)}


def cost_rows(
    dense: Model, slim: Model, between: Mapping[str, Model] | None = None
) -> list[tuple[str, ...]]:
    """Rows under `HEADER`: the dense network, the slim one, and the change.

    What the dense one was made `between`, before it was pruned, is by what was done.
    """
    before, after = dense.cost, slim.cost
    pairs = [
        (before.params, after.params),
        (before.weight_bytes, after.weight_bytes),
        (before.macs, after.macs),
        (before.flops, after.flops),
        (before.channels, after.channels),
    ]
    return [
        ("Dense", *_cost_texts(before)),
        *((done, *_cost_texts(own.cost)) for done, own in (between or {}).items()),
        ("Slim", *_cost_texts(after)),
        ("Change", *(change(a, b) for a, b in pairs)),
    ]


def proof_lines(proof: Proof) -> list[str]:
    """The proof in words, one statement a line."""
    return [
        exactness_line(proof.exactness.relative_error, proof.exactness.compared),
        f"slim against dense: outputs differ by up to {proof.change.relative_error:.2g} of their "
        "largest value (before any fine-tuning)",
    ]


def exactness_line(error: float, compared: str) -> str:
    """How far slim is from masked dense, over what was compared."""
    return (
        f"slim = masked dense: relative error {error:.2g} (of each channel's largest value) in "
        f"float64, over {compared}"
    )


def engine_line(candidate: str, reference: str, error: float) -> str:
    """How far the outputs of one program, or file, are from those of another."""
    return f"{candidate} = {reference}: relative error {error:.2g} (of each output's largest value)"


def opinion_line(check: CrossCheck) -> str:
    """What Torch-Pruning's trace says of our groups."""
    opinion = f"{len(check.agreed)} groups agree with Torch-Pruning's trace"
    if not check.passed:
        opinion += f", {len(check.only_ours)} of ours and {len(check.only_traced)} traced differ"
    return opinion


def cross_check_lines(check: CrossCheck) -> list[str]:
    """The same, and every difference."""
    lines = [f"cross-check: {opinion_line(check)}"]
    for name, groups in (("only ours", check.only_ours), ("only traced", check.only_traced)):
        for producers, consumers in groups:
            filters = ", ".join(f"{count} of {node}" for node, count in producers)
            lines.append(
                f"  {name}: filters {filters}; read by {', '.join(consumers) or 'nothing'}"
            )
    return lines


def latency_lines(latency: SideBySide | None, multiple_of: int) -> list[str]:
    """Whether the slim network is faster and, where it is not, what would help."""
    if latency is None:
        return []
    line = (
        f"{latency.share:.2f} of dense's time, {latency.slim_ms:.2f} for {latency.dense_ms:.2f} ms "
        f"in {latency.engine} ({counted(latency.threads, 'thread')}, medians of {latency.runs} "
        "alternating runs)"
    )
    if latency.faster:
        return [f"slim takes {line}"]
    rounding = f"counts in multiples of {SUITED} (`multiple_of`), or " * (multiple_of < SUITED)
    return [
        f"slim is not faster than dense: it takes {line}",
        f"what would help: {rounding}a budget in time (`keep_ms`)",
    ]


def prediction_lines(settings: Mapping[str, Any]) -> list[str]:
    """What a budget in time was met by, and what binds; one statement a line."""
    if "predicted_ms" not in settings:
        return []
    # Older reports do not say it.
    parts = settings.get("goes_into", {})
    order = sorted(parts, key=lambda name: -parts[name])
    shares = ", ".join(f"{name} {parts[name]:.2f}" for name in order)
    return [
        f"predicted {settings['predicted_share']:.2f} of the time before pruning, "
        f"{settings['predicted_ms']:.2f} of {settings['dense_ms']:.2f} ms, by layers in "
        f"{settings['timings']}; slim is bound by {settings['bound_by']}"
        + (f" (of its time: {shares})" if shares else "")
    ]


def rounding_lines(budget: Budget, kept: Mapping[str, float]) -> list[str]:
    """What the channel counts of pruned layers were rounded up to, where they were, and its price.

    `kept` are the shares of the dense network that are left, by measures that are limited: large
    steps let less stay than was allowed.
    """
    if not budget.limits or budget.multiple_of == 1:
        return []
    line = f"channel counts of pruned layers are multiples of {budget.multiple_of}"
    name = min(kept, key=lambda each: budget.limits[each] - kept[each], default=None)
    if name is None or budget.limits[name] - kept[name] < MISSED:
        return [line]
    return [
        f"{line}: with steps that large {kept[name]:.2f} of the {NAMES[name]} are kept, where "
        f"{budget.limits[name]:.2f} was allowed; a smaller `multiple_of` keeps closer"
    ]


def latency_markdown(lines: Sequence[str]) -> str:
    """The section of report.md about time."""
    return "\n## Time\n\n" + "".join(f"- {line}\n" for line in lines) if lines else ""


def recovery_lines(recovery: Mapping[str, Any]) -> list[str]:
    """What recovery did, in words, one statement a line."""
    heads = recovery["heads"]
    which = f"{heads['images']} of the images fitted to"
    if heads["unseen"]:
        which = counted(heads["images"], "held-out image")
    # Older reports do not say it.
    read_as = f" ({recovery['read_as']})" if "read_as" in recovery else ""
    return [
        f"{recovery['method']} with {counted(recovery['images'], 'image')}{read_as}, after the "
        "proof: the weights are no longer the dense network's",
        output_line(which, heads["before"], heads["after"]),
        *confidence_lines(recovery.get("confidence")),
        *distillation_lines(recovery.get("distillation")),
    ]


def confidence_lines(confidence: Mapping[str, Any] | None) -> list[str]:
    """Whether scores mean what the dense network's mean, one statement a line."""
    if confidence is None:
        return []
    if not confidence["lines"]:
        return ["scores are as recovery left them: nothing tells which outputs hold them"]
    images = counted(confidence["images"], "image")
    # Older reports do not say it.
    if not confidence.get("kept", True):
        return [
            f"scores are as recovery left them: on {images}, {confidence['before']} detections "
            f"score above {confidence['threshold']}, where the dense network has "
            f"{confidence['dense']}; distributed as its scores they would be {confidence['after']}"
        ]
    return [
        f"scores are distributed as the dense network's: on {images}, {confidence['after']} "
        f"detections score above {confidence['threshold']}, where the dense network has "
        f"{confidence['dense']} ({confidence['before']} before)"
    ]


def distillation_lines(distilled: Mapping[str, Any] | None) -> list[str]:
    """What training towards the dense network did, one statement a line."""
    if distilled is None:
        return []
    gain = f"{distilled['left']:.3f} of the distance to the dense network's outputs is left"
    if distilled["left"] >= 1:
        gain = "nothing came closer to the dense network's outputs: the weights stay"
    return [
        f"distilled in {counted(distilled['steps'], 'step')} of "
        f"{counted(distilled['batch_size'], 'image')} out of {distilled['images']:,} without "
        f"labels: on {counted(distilled['held_out'], 'held-out image')}, {gain}"
    ]


def output_line(which: str, before: Sequence[float], after: Sequence[float]) -> str:
    """How far each output was from the dense one as pruned, and is after recovery."""
    pruned, recovered = map(_several, (before, after))
    return (
        f"error at the outputs on {which}, relative to how much they vary: {pruned} "
        f"pruned, {recovered} recovered"
    )


def _several(errors: Sequence[float]) -> str:
    """Errors of outputs: all, or the least and the largest of many."""
    if len(errors) <= FEW:
        return ", ".join(f"{error:.2g}" for error in errors)
    return f"{min(errors):.2g} to {max(errors):.2g}"


def recovery_markdown(recovery: Mapping[str, Any]) -> str:
    """The last section of report.md, and which command recovered, where one did."""
    lines = "\n".join(f"- {line}" for line in recovery_lines(recovery))
    rows = [
        (index, f"{fit['before']:.3f}", f"{fit['after']:.3f}", fit["samples"], fit["unknowns"])
        for index, fit in recovery["layers"].items()
    ]
    header = ("Layer", "Error before", "Error after", "Samples", "Unknowns")
    table = (
        "\nOutput of each convolution before batch norm, against the dense one, on the samples "
        f"that it was fitted to:\n\n{markdown_table(header, rows)}"
    )
    command = _made_by(recovery.get("made_by"))
    return (
        f"\n## Recovery\n\n{command}{lines}\n{table if rows else ''}"
        f"{_curve_markdown(recovery.get('distillation'))}"
    )


def _curve_markdown(distilled: Mapping[str, Any] | None) -> str:
    if distilled is None:
        return ""
    rows = [(step, f"{left:.3f}") for step, left in distilled["curve"]]
    return (
        "\nWhat is left of the distance to the dense network's outputs, on the held-out images, "
        f"while distilling:\n\n{markdown_table(('Step', 'Left'), rows)}"
    )


def pruning_markdown(
    dense: Model,
    slim: Model,
    plan: PruningPlan,
    proof: Proof,
    made_by: str | None,
    settings: Mapping[str, Any],
    rows: Sequence[tuple[str, ...]] = (),
    first: Sequence[str] = (),
) -> str:
    """The content of report.md, but for `recovery_markdown`.

    `rows` are those of costs, where the dense network is what is left of another one; `first` says
    how it came to that.
    """
    layers = [
        (index, row["dense"], row["slim"], change(row["dense"], row["slim"]))
        for index, row in channels_by_layer(dense, slim).items()
    ]
    statements = "\n".join(f"- {line}" for line in (*first, *proof_lines(proof)))
    rows = rows or cost_rows(dense, slim)
    return (
        "# Pruning report\n\n"
        f"{_made_by(made_by)}"
        f"{markdown_table(HEADER, rows)}\n"
        "MACs are the multiply-accumulates of convolutions and matrix products for one "
        f"{_read(dense.graph)}; FLOPs are twice as many. Size is that of the parameters in a "
        "file.\n\n"
        f"## Proof\n\n{statements}\n\n"
        f"## Selection\n\n{_selection(plan)}\n\n"
        f"{markdown_table(('Setting', 'Value'), flattened(settings))}\n"
        "## Output channels of each layer\n\n"
        f"{markdown_table(('Layer', 'Dense', 'Slim', 'Change'), layers)}"
    )


def onnx_markdown(lines: Sequence[str]) -> str:
    """The section of report.md that says what slim.onnx wants and gives."""
    return "\n## slim.onnx\n\n" + "".join(f"- {line}\n" for line in lines)


def _made_by(command: str | None) -> str:
    return "" if command is None else f"Made by `{command}`.\n\n"


def _exactness(found: Exactness) -> dict[str, Any]:
    """What the proof found; it ran in float64."""
    return asdict(found) | {"dtype": "float64", "passed": found.passed}


def _errors(measured: Verification) -> dict[str, Any]:
    """A change's figures; it is what pruning costs, so there is nothing to pass or fail."""
    figures = asdict(measured)
    del figures["passed"], figures["tolerance"]
    return figures


def cost_figures(total: Cost) -> dict[str, Any]:
    """What a network costs, as JSON has it."""
    return {
        "params": total.params,
        "macs": total.macs,
        "flops": total.flops,
        "weight_bytes": total.weight_bytes,
        "channels": total.channels,
    }


def _cost_texts(total: Cost) -> tuple[str, ...]:
    return (
        amount(total.params),
        file_size(total.weight_bytes),
        amount(total.macs),
        amount(total.flops),
        f"{total.channels:,}",
    )


def channels_by_layer(dense: Model, slim: Model) -> dict[str, dict[str, int]]:
    """Output channels of each layer with a kernel before and after, by the layer's name."""
    left = {node.name: node.channels for node in slim.cost.per_node}
    return {
        str(dense.document.layer(node.name)): {"dense": node.channels, "slim": left[node.name]}
        for node in dense.cost.per_node
        if node.channels and node.name in left
    }


def _read(graph: Graph) -> str:
    """What a network reads: an image of a size, or inputs of a shape."""
    shapes = [value.shape for value in graph.inputs.values()]
    if len(shapes) == 1 and len(shapes[0]) == 4:
        height, width = (graph.sizes.get(str(size), size) for size in shapes[0][2:])
        return f"image of {width}x{height}"
    return f"input of {' and '.join('x'.join(map(str, shape)) for shape in shapes)}"


def _selection(plan: PruningPlan) -> str:
    if not plan.budget.limits:
        return "No channel was removed."
    limits = ", ".join(f"{name} <= {share:g}" for name, share in plan.budget.limits.items())
    whole = "the dense network" if plan.task is None else "the network cut to its task"
    whole += " without the blocks that were removed" if plan.blocks else ""
    carried = sum(len(numbers) for numbers in plan.carriers.values())
    carriers = f"; {counted(carried, 'channel')} carry constants" if carried else ""
    return (
        f"Criterion `{plan.criterion}`; share of {whole}: {limits}; at least "
        f"{counted(plan.budget.min_channels, 'channel')} a group, in multiples of "
        f"{plan.budget.multiple_of}, at most {plan.budget.max_layer_cut:.0%} of a group "
        f"cut{carriers}."
    )

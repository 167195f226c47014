"""What pruning reports of two networks whose costs are counted by hand."""

from tests.report import studies
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.graph.model import Model
from yoloprune.pruning.budget import Budget
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prove import Exactness
from yoloprune.pruning.prune import Proof
from yoloprune.pruning.torch_pruning_check import CrossCheck
from yoloprune.pruning.verification import Verification
from yoloprune.report.pruning import (
    cost_rows,
    cross_check_lines,
    onnx_markdown,
    opinion_line,
    output_line,
    prediction_lines,
    proof_lines,
    pruning_markdown,
    pruning_report,
    recovery_lines,
    recovery_markdown,
    rounding_lines,
)


def two_layers(filters: int) -> Model:
    """Two convolutions by single pixels over 8 x 8, the first with so many filters."""
    conv = "[convolutional]\nfilters={}\nsize=1\nstride=1\nactivation=linear\n"
    text = "[net]\nheight=8\nwidth=8\nchannels=3\n" + conv.format(filters) + conv.format(2)
    return studies.network(parse_cfg(text))


DENSE, SLIM = two_layers(4), two_layers(2)
PROOF = Proof(
    exactness=Exactness(relative_error=2.5e-16, worst="y", values=1, tolerance=1e-12),
    change=Verification(
        max_abs_error=0.5, relative_error=0.25, per_output=(0.25,), dtype="float32",
        tolerance=0.0, passed=False,
    ),
)  # fmt: skip
PLAN = PruningPlan(
    graph_digest="",
    criterion="l2",
    budget=Budget(limits={"macs": 0.5}, min_channels=1, multiple_of=2, max_layer_cut=0.75),
    keep={},
    carriers={0: (0, 1)},
)
RECOVERY = {
    "method": "Closed form", "images": 8, "read_as": "RGB in [0, 1]",
    "heads": {"images": 1, "unseen": True, "before": [0.5, 0.25], "after": [0.125, 0.1]},
    "layers": {"1": {"before": 0.5, "after": 0.25, "samples": 64, "unknowns": 3}},
}  # fmt: skip


def test_rows_of_cost() -> None:
    dense = ("26", "124B", "1.3K", "2.6K", "6")
    slim = ("14", "76B", "640", "1.3K", "4")
    # 3 x 4 + 4 and 4 x 2 + 2 parameters, 64 x (12 + 8) multiply-accumulates; with 2 filters
    # 3 x 2 + 2 and 2 x 2 + 2, and 64 x (6 + 4).
    # Four bytes a parameter, behind a header of 20.
    assert cost_rows(DENSE, SLIM) == [
        ("Dense", *dense),
        ("Slim", *slim),
        ("Change", "-46%", "-39%", "-50%", "-50%", "-33%"),
    ]
    assert cost_rows(DENSE, SLIM, {"For its task": SLIM})[1] == ("For its task", *slim)


def test_report_json() -> None:
    found = pruning_report(DENSE, SLIM, PROOF, "prune net", {"criterion": "l2"})
    verifications = [found[name].pop("verification") for name in ("dense", "slim")]
    assert verifications == [
        {"max_abs_error": 0.5, "relative_error": 0.25, "per_output": (0.25,), "dtype": "float32"},
        {"relative_error": 2.5e-16, "worst": "y", "values": 1, "tolerance": 1e-12,
         "stepwise": False, "dtype": "float64", "passed": True},
    ]  # fmt: skip
    assert found == {
        "dense": {"params": 26, "macs": 1280, "flops": 2560, "weight_bytes": 124, "channels": 6},
        "slim": {"params": 14, "macs": 640, "flops": 1280, "weight_bytes": 76, "channels": 4},
        "made_by": "prune net",
        "settings": {"criterion": "l2"},
        "layers": {"0": {"dense": 4, "slim": 2}, "1": {"dense": 2, "slim": 2}},
    }
    recovered = pruning_report(DENSE, SLIM, PROOF, None, {}, RECOVERY)
    assert recovered["recovery"] == RECOVERY and recovered["made_by"] is None


def test_report_md() -> None:
    text = pruning_markdown(DENSE, SLIM, PLAN, PROOF, "prune net", {"seed": 7}, first=["so cut"])
    for part in (
        "Made by `prune net`.\n",
        "for one image of 8x8;",
        "## Proof\n\n- so cut\n- slim = masked dense: relative error 2.5e-16",
        "Criterion `l2`; share of the dense network: macs <= 0.5; at least 1 channel a group, in "
        "multiples of 2, at most 75% of a group cut; 2 channels carry constants.",
        "| seed | 7 |",
        "| 0 | 4 | 2 | -50% |\n| 1 | 2 | 2 | +0% |",
    ):
        assert part in text
    assert "Made by" not in pruning_markdown(DENSE, SLIM, PLAN, PROOF, None, {})
    assert onnx_markdown(["Output `y`."]) == "\n## slim.onnx\n\n- Output `y`.\n"


def test_the_proof_in_words() -> None:
    assert proof_lines(PROOF) == [
        "slim = masked dense: relative error 2.5e-16 (of each channel's largest value) in float64, "
        "over 1 value",
        "slim against dense: outputs differ by up to 0.25 of their largest value (before any "
        "fine-tuning)",
    ]


def test_what_a_trace_found_otherwise_is_listed() -> None:
    group = (("a", 4),), ("b",)
    unread = (("c", 2), ("d", 2)), ()
    both = "2 groups agree with Torch-Pruning's trace"
    assert opinion_line(CrossCheck(agreed=(group, group), only_ours=(), only_traced=())) == both
    found = CrossCheck(agreed=(group, group), only_ours=(unread,), only_traced=())
    assert cross_check_lines(found) == [
        f"cross-check: {both}, 1 of ours and 0 traced differ",
        "  only ours: filters 2 of c, 2 of d; read by nothing",
    ]


def test_recovery_in_words() -> None:
    said, errors = recovery_lines(RECOVERY)
    assert said.startswith("Closed form with 8 images (RGB in [0, 1]), after the proof: ")
    assert errors == (
        "error at the outputs on 1 held-out image, relative to how much they vary: 0.5, 0.25 "
        "pruned, 0.12, 0.1 recovered"
    )
    seen = RECOVERY | {"heads": RECOVERY["heads"] | {"unseen": False, "images": 3}}
    assert "on 3 of the images fitted to, relative" in recovery_lines(seen)[1]
    text = recovery_markdown(RECOVERY | {"made_by": "reconstruct net"})
    assert "## Recovery\n\nMade by `reconstruct net`.\n\n- Closed form" in text
    assert "| 1 | 0.500 | 0.250 | 64 | 3 |" in text


def test_of_many_outputs_the_least_and_the_largest_error_are_named() -> None:
    line = output_line("x", [0.3, 0.1, 0.2, 0.5, 0.4], [0.1] * 5)
    assert line.endswith(": 0.1 to 0.5 pruned, 0.1 to 0.1 recovered")


def test_what_a_plan_in_time_was_met_by_is_said() -> None:
    settings = {
        "timings": "ONNX Runtime 1.20, 1 thread",
        "dense_ms": 10.0,
        "predicted_ms": 4.96,
        "predicted_share": 0.496,
        "bound_by": "memory",
    }
    assert prediction_lines(settings) == [
        "predicted 0.50 of the time before pruning, 4.96 of 10.00 ms, by layers in ONNX Runtime "
        "1.20, 1 thread; slim is bound by memory"
    ]
    (line,) = prediction_lines(settings | {"goes_into": {"MACs": 0.4, "memory": 0.6}})
    assert line.endswith("slim is bound by memory (of its time: memory 0.60, MACs 0.40)")
    assert prediction_lines({"criterion": "l2"}) == []


def test_what_rounding_costs_is_said_where_it_costs_something() -> None:
    budget = Budget(limits={"macs": 0.5, "params": 0.9}, multiple_of=8)
    whole = "channel counts of pruned layers are multiples of 8"
    assert rounding_lines(budget, {"macs": 0.49, "params": 0.4}) == [whole]
    assert rounding_lines(budget, {"macs": 0.4, "params": 0.4}) == [
        f"{whole}: with steps that large 0.40 of the MACs are kept, where 0.50 was allowed; a "
        "smaller `multiple_of` keeps closer"
    ]
    # In time nothing can be counted.
    assert rounding_lines(Budget(limits={"ms": 0.5}, multiple_of=8), {}) == [whole]
    assert rounding_lines(Budget(limits={"macs": 0.5}), {"macs": 0.4}) == []
    assert rounding_lines(Budget(limits={}, multiple_of=8), {}) == []

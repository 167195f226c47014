"""What a report says of blocks that were removed."""

from tests.workflows.test_depth import residual_network
from yoloprune.pruning.prove import Exactness
from yoloprune.report.depth import depth_line, depth_report

PROOF = Exactness(relative_error=2e-16, worst="a", values=9, tolerance=1e-12)


def test_the_sums_are_named_and_what_was_proven() -> None:
    gone = [("layer_3.sum_0", 0), ("layer_6.sum_0", 0)]
    assert depth_line(gone, PROOF) == (
        "without 2 blocks (before the sums layer_3.sum_0, layer_6.sum_0): the rest computes what "
        "it did beside their outputs times 0, within 2e-16 in float64"
    )
    before = residual_network()
    report = depth_report(before, gone, PROOF)
    assert report["before"]["macs"] == before.cost.macs
    assert report["proof"]["passed"] and report["blocks"][1] == ["layer_6.sum_0", 0]

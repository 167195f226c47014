from yoloprune.pruning.task import TaskProof
from yoloprune.report.task import task_lines

PROOF = TaskProof(outputs=2, equal=True, relative_error=0.0, rounding=2.5e-16)


def test_what_was_proven_is_said_and_no_more() -> None:
    (line,) = task_lines(("a", "b"), {}, PROOF)
    assert line == (
        "cut to the classes a, b: what is kept of the outputs is the dense network's, bit for bit "
        "in float64 (summed in another order, within 2.5e-16)"
    )
    unequal = TaskProof(outputs=1, equal=False, relative_error=3e-13, rounding=0.0)
    lines = task_lines((), {"y": "normalized over channels by shares (Softmax)"}, unequal)
    assert lines == [
        "cut to its task: what is kept of the outputs is the dense network's, within 3e-13 "
        "relative in float64",
        "output y: no row of its head could go, normalized over channels by shares (Softmax); its "
        "kept entries are taken from it",
    ]

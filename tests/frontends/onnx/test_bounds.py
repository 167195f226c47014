"""Files that ask for too much, or for what is not theirs, are refused in a line and in no time."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bombs import at_most
from tests.frontends.onnx.models import loaded, node, number, two_convs
from yoloprune.errors import GraphError
from yoloprune.pruning.groups import analyze

MUCH = 1 << 40


@pytest.mark.parametrize(
    ("operator", "inputs", "arrays", "attributes", "message"),
    [
        ("Tile", ["a", "n"], {"n": np.array([1, MUCH, 1, 1])}, {}, "more than any network needs"),
        ("Expand", ["a", "n"], {"n": np.array([MUCH, 1, 1, 1])}, {}, "more than any network"),
        ("ConstantOfShape", ["n"], {"n": np.array([0, MUCH])}, {}, "more than any network needs"),
        ("Range", ["o", "n", "e"], {"o": number(0), "n": number(MUCH), "e": number(1)}, {},
         "more than any network needs"),
        ("Resize", ["a", "", "n"], {"n": np.array([1, 1, MUCH, 1], np.float32)}, {},
         "more than any network needs"),
        ("Pad", ["a", "n"], {"n": np.array([0, 0, 0, 0, 0, MUCH, 0, 0])}, {}, "more than any"),
        ("Pad", ["a", "n"], {"n": np.array([0, 0, MUCH, 0, 0, 0, -MUCH, 0])}, {"mode": "edge"},
         "pads 8 by"),
        ("Conv", ["a", "k"], {"k": np.ones((8, 8, 1, 1), np.float32)},
         {"pads": [MUCH] * 4, "strides": [MUCH] * 2}, "more than any network needs"),
        ("ConvTranspose", ["a", "k"], {"k": np.ones((8, 8, 1, 1), np.float32)},
         {"pads": [7 * MUCH // 2] * 4, "strides": [MUCH] * 2}, "more than any network needs"),
        ("AveragePool", ["a"], {}, {"kernel_shape": [1, 1], "strides": [MUCH, 1],
                                    "pads": [MUCH, 0, MUCH, 0]}, "more than any network needs"),
        ("MaxPool", ["a"], {}, {"kernel_shape": [0, 1]}, "windows of no size"),
        ("Reshape", ["a", "n"], {"n": np.full(1 << 20, 1 << 60)}, {}, "not a short list"),
        ("Split", ["a"], {}, {"num_outputs": MUCH}, f"gives 1 values, not {MUCH}"),
        ("Gather", ["a", "n"], {"n": number(MUCH)}, {"axis": 1}, f"takes number {MUCH} of 8"),
        ("Round", ["a", "a"], {}, {}, "reads 2 values, of which it takes 1 alone"),
        ("Softmax", ["a"], {}, {"axis": 1.5}, "has axis in another type"),
        ("RMSNormalization", ["a"], {}, {}, "reads 1 values, of which it takes 2 alone"),
        ("DepthToSpace", ["a"], {}, {"blocksize": 3}, "lays 8 channels out in blocks"),
        ("LRN", ["a"], {}, {"size": -1}, "looks at -1 channels"),
        ("BatchNormalization", ["a", "n", "n", "n", "n"], {"n": np.ones(7, np.float32)}, {},
         "reads (7,) where 8 numbers"),
        ("Transpose", ["a"], {}, {"perm": [0, 0, 0, MUCH]}, "has the order"),
    ],
)  # fmt: skip
def test_nodes_that_ask_for_too_much(
    operator: str,
    inputs: Sequence[str],
    arrays: Mapping[str, np.ndarray],
    attributes: Mapping[str, Any],
    message: str,
    tmp_path: Path,
) -> None:
    middle = [node(operator, inputs, ["b"], name="large", **attributes)]
    proto = two_convs(middle, arrays=arrays, opset=18)
    started = time.monotonic()
    with at_most(200), pytest.raises(GraphError, match=re.escape(message)) as caught:
        loaded(proto, tmp_path)
    assert time.monotonic() - started < 5
    assert "node large" in str(caught.value) and "\n" not in str(caught.value)


def test_windows_of_response_norms_are_no_wider_than_what_they_look_at(tmp_path: Path) -> None:
    network = loaded(two_convs([node("LRN", ["a"], ["b"], name="norm", size=1 << 40)]), tmp_path)
    assert not analyze(network.graph).prunable


def test_tables_that_are_computed_from_next_to_nothing(tmp_path: Path) -> None:
    middle = [
        node("ConstantOfShape", ["n"], ["zeros"], name="zeros"),
        node("EyeLike", ["zeros"], ["eye"]),
        node("ReduceSum", ["eye"], ["sum"], keepdims=0),
        node("Add", ["a", "sum"], ["b"]),
    ]
    proto = two_convs(middle, arrays={"n": np.array([30000, 30000])})
    with at_most(200), pytest.raises(GraphError, match=r"zeros.* computes 900000000 numbers"):
        loaded(proto, tmp_path)


def test_what_is_worked_out_beforehand_is_bounded_in_all(tmp_path: Path) -> None:
    """Each array is small, but there are a thousand of them."""
    million = np.array([1 << 20])
    steps = [node("ConstantOfShape", ["n"], ["s0"])]
    steps += [node("Add", [f"s{i}", "one"], [f"s{i + 1}"]) for i in range(1000)]
    steps += [node("ReduceSum", ["s1000", "first"], ["s"], keepdims=0)]
    middle = [*steps, node("Mul", ["a", "s"], ["b"])]
    arrays = {"n": million, "one": np.ones(1, np.float32), "first": np.array([0])}
    with at_most(600):
        network = loaded(two_convs(middle, arrays=arrays), tmp_path)
        analyze(network.graph)

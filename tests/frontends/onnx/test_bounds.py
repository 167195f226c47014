"""Files that ask for too much, or for what is not theirs, are refused in a line and in no time."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.bombs import at_most
from tests.frontends.onnx.models import loaded, node, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx import apart, observe
from yoloprune.frontends.onnx.read import read
from yoloprune.pruning.groups import analyze

MUCH = 1 << 40


def number(value: int) -> np.ndarray:
    return np.array(value, np.int64)


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


def negative(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = -8


def older_than_all(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 0


def doubled(proto: onnx.ModelProto) -> None:
    proto.graph.initializer.append(proto.graph.initializer[0])


def fed_twice(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(proto.graph.input[0])


def nowhere(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].data_location = TensorProto.EXTERNAL


def without_filters(proto: onnx.ModelProto) -> None:
    empty = np.zeros((0, 3, 3, 3), np.float32)
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(empty, "w1"))


def with_a_body(proto: onnx.ModelProto) -> None:
    body = helper.make_graph([node("Relu", ["a"], ["inside"])], "body", [], [])
    proto.graph.node[1].attribute.append(helper.make_attribute("body", body))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (negative, "the array 'w1' has the shape (-8, 3, 3, 3)"),
        (older_than_all, "written in opset 0, and the first is 1"),
        (doubled, "the name 'w1' is given twice"),
        (fed_twice, "the name 'x' is given twice"),
        (nowhere, "the array 'w1' is in a file of its own, of which it says no name"),
        (with_a_body, "node relu (Relu) has a body, body, that it does not run"),
        (without_filters, "node first (Conv) reads (1, 3, 8, 8) with a kernel of (0, 3, 3, 3)"),
    ],
)  # fmt: skip
def test_what_no_model_says(
    damage: Callable[[onnx.ModelProto], None], message: str, tmp_path: Path
) -> None:
    proto = two_convs()
    damage(proto)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(GraphError, match=re.escape(message)):
        read(tmp_path / "net.onnx")


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


def test_sequences_of_more_parts_than_anyone_wants_stay_sequences(tmp_path: Path) -> None:
    middle = [
        node("SplitToSequence", ["x", "one"], ["parts"], name="parts", axis=2),
        node("SequenceAt", ["parts", "one"], ["part"]),
        node("Add", ["a", "part"], ["b"]),
    ]
    proto = two_convs(middle, arrays={"one": number(1)})
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 1 << 62
    with at_most(200), pytest.raises(GraphError, match="more than any network needs"):
        loaded(proto, tmp_path)


def test_what_brings_a_library_down_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies, as onnx's converter may over a damaged model."""
    program = tmp_path / "program.py"
    program.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(apart, "__file__", str(tmp_path / "apart.py"))
    with pytest.raises(GraphError, match="cannot be read in opset 11: it is damaged"):
        loaded(two_convs(opset=9), tmp_path)


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


@pytest.mark.parametrize(
    ("calls", "message"),
    [({"f": ["g"], "g": ["f"]}, "calls itself"),
     ({f"f{i}": [f"f{i + 1}"] * 2 for i in range(40)} | {"f40": ["Relu"]}, "unfold into more")],
)  # fmt: skip
def test_functions_without_end(
    calls: Mapping[str, Sequence[str]], message: str, tmp_path: Path
) -> None:
    proto = two_convs([node(next(iter(calls)), ["a"], ["b"], domain="own")])
    proto.opset_import.add(domain="own", version=1)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for name, inner in calls.items():
        values = [f"v{i}" for i in range(len(inner) + 1)]
        body = [
            node(called, [values[i]], [values[i + 1]], domain="own" if called in calls else "")
            for i, called in enumerate(inner)
        ]
        proto.functions.append(
            helper.make_function("own", name, values[:1], values[-1:], body, imports)
        )
    with pytest.raises(GraphError, match=message):
        loaded(proto, tmp_path)


def looping(condition: np.ndarray, count: int) -> onnx.ModelProto:
    """A loop in the middle whose shapes no rule tells."""
    none = helper.make_tensor_value_info("state", TensorProto.FLOAT, None)
    body = helper.make_graph(
        [node("Identity", ["go"], ["on"]), node("Relu", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            none,
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    middle = [node("Loop", ["times", "go", "a"], ["b"], name="loop", body=body)]
    return two_convs(middle, arrays={"times": number(count), "go": condition})


def test_loops_freeze_what_they_read_by_name(tmp_path: Path) -> None:
    network = loaded(looping(np.array(True), 3), tmp_path)
    assert network.graph.observed == {"b": (1, 8, 8, 8)}
    reasons = {group.frozen_because for group in analyze(network.graph).groups}
    assert "read by loop (Loop)" in reasons


def test_a_loop_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "SECONDS", 1)
    started = time.monotonic()
    with pytest.raises(GraphError, match="Loop, an operator that is not known, and ONNX R"):
        loaded(looping(np.array(True), 1 << 60), tmp_path)
    assert time.monotonic() - started < 10


def test_a_run_takes_no_more_memory_than_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = looping(np.array(True), 1)
    (loop,) = (own for own in proto.graph.node if own.op_type == "Loop")
    loop.input[2] = "large"
    proto.graph.node.insert(1, node("Tile", ["a", "many"], ["large"]))
    many = numpy_helper.from_array(np.array([1, 1, 1 << 8, 1 << 7]), "many")
    proto.graph.initializer.append(many)
    proto.graph.node.insert(3, node("Slice", ["b", "o", "eight", "axes"], ["c"]))
    for name, numbers in (("o", [0, 0]), ("eight", [8, 8]), ("axes", [2, 3])):
        proto.graph.initializer.append(numpy_helper.from_array(np.array(numbers), name))
    proto.graph.node[4].input[0] = "c"
    assert loaded(proto, tmp_path).graph.observed["b"] == (1, 8, 1 << 11, 1 << 10)
    monkeypatch.setattr(observe, "LEAST_BYTES", 1 << 27)
    with pytest.raises(GraphError, match="node loop is a Loop"):
        loaded(proto, tmp_path)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\u202e"])
def test_names_that_cannot_be_shown(name: str, tmp_path: Path) -> None:
    proto = two_convs()
    proto.graph.node[0].name = name
    with pytest.raises(GraphError, match="signs that cannot be shown") as caught:
        loaded(proto, tmp_path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("place", ["initializer", "attribute", "body"])
@pytest.mark.parametrize("location", ["../secret", "link", "/etc/hostname", "a\0b"])
def test_nothing_is_read_from_elsewhere(place: str, location: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_bytes(bytes(1 << 10))
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "secret")
    tensor = TensorProto(name="w3", data_type=1, dims=[8], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    branch = helper.make_graph(
        [node("Add", ["a", "w3"], ["inside"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
        [tensor] if place == "body" else [],
    )
    if place == "body":
        middle = [node("If", ["yes"], ["b"], then_branch=branch, else_branch=branch)]
    elif place == "attribute":
        middle = [node("Constant", [], ["w3"], value=tensor), node("Relu", ["a"], ["b"])]
    else:
        middle = [node("Relu", ["a"], ["b"])]
    proto = two_convs(middle, arrays={"yes": np.array(True)})
    if place == "initializer":
        proto.graph.initializer.append(tensor)
    (tmp_path / "folder" / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(GraphError, match="beyond the file's folder"):
        read(tmp_path / "folder" / "net.onnx")

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.frontends.onnx.models import loaded, node, two_convs
from yoloprune.errors import GraphError
from yoloprune.frontends.onnx.read import read


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

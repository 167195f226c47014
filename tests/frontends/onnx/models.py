"""Small ONNX models for tests of the door."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.pruning.plans import random_plan
from yoloprune.frontends.onnx.read import read
from yoloprune.graph.graph import Graph, ValueType
from yoloprune.graph.model import Model
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.prove import Exactness, exactness
from yoloprune.pruning.verification import random_images

node = helper.make_node

Shape = Sequence[int | str]


def weights(*shape: int, seed: int = 0) -> np.ndarray:
    """Numbers of order one over the fan-in."""
    numbers = np.random.default_rng(seed + sum(shape)).normal(size=shape)
    return (numbers / max(1, np.prod(shape[1:])) ** 0.5).astype(np.float32)


def model(
    nodes: Sequence[onnx.NodeProto],
    arrays: Mapping[str, np.ndarray],
    *,
    inputs: Mapping[str, Shape] | None = None,
    outputs: Mapping[str, Shape] | None = None,
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    **more: Any,
) -> onnx.ModelProto:
    """A model that reads `x` (1, 3, 8, 8) and gives `y` (1, 4, 8, 8), unless others are named."""

    def values(shapes: Mapping[str, Shape]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(name, dtype, shape) for name, shape in shapes.items()]

    graph = helper.make_graph(
        nodes,
        "net",
        values(inputs or {"x": (1, 3, 8, 8)}),
        values(outputs or {"y": (1, 4, 8, 8)}),
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        doc_string="what the graph is",
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8, **more
    )
    helper.set_model_props(made, {"stride": "32", "names": "{0: 'hand', 1: 'foot'}"})
    return made


def two_convs(middle: Sequence[onnx.NodeProto] = (), **more: Any) -> onnx.ModelProto:
    """A convolution that gives `a`, what stands between, and one that reads `b`."""
    between = list(middle) or [node("Relu", ["a"], ["b"], name="relu")]
    arrays = {"w1": weights(8, 3, 3, 3), "c1": weights(8), "w2": weights(4, 8, 1, 1)}
    return model(
        [
            node("Conv", ["x", "w1", "c1"], ["a"], name="first", pads=[1] * 4),
            *between,
            node("Conv", ["b", "w2"], ["y"], name="second"),
        ],
        {**arrays, **more.pop("arrays", {})},
        **more,
    )


def residual(size: Shape = (1, 3, 16, 16)) -> onnx.ModelProto:
    """Two convolutions with batch norms that are added, a third, and a head with a logistic."""
    arrays: dict[str, np.ndarray] = {
        "w1": weights(16, 3, 3, 3),
        "w2": weights(16, 16, 3, 3, seed=1),
        "w3": weights(24, 16, 1, 1),
        "c3": weights(24, seed=2),
        "w4": weights(6, 24, 1, 1),
    }
    for norm in "12":
        for seed, kind in enumerate(("scale", "bias", "mean", "variance")):
            numbers = weights(16, seed=seed) / 4
            arrays[kind + norm] = numbers if kind in ("bias", "mean") else 1 + numbers
    norms = [
        node(
            "BatchNormalization",
            [value, *(kind + norm for kind in ("scale", "bias", "mean", "variance"))],
            [value + "n"],
            name=f"norm{norm}",
        )
        for value, norm in (("a", "1"), ("b", "2"))
    ]
    nodes = [
        node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        norms[0],
        node("Relu", ["an"], ["ar"], name="relu1"),
        node("Conv", ["ar", "w2"], ["b"], name="second", pads=[1] * 4),
        norms[1],
        node("Add", ["bn", "ar"], ["sum"], name="sum"),
        node("Relu", ["sum"], ["s"], name="relu2"),
        node("Conv", ["s", "w3", "c3"], ["d"], name="third"),
        node("Relu", ["d"], ["e"], name="relu3"),
        node("Conv", ["e", "w4"], ["f"], name="head"),
        node("Sigmoid", ["f"], ["y"], name="logistic"),
    ]
    return model(
        nodes, arrays, inputs={"x": size}, outputs={"y": (size[0], 6, *size[2:])}, opset=15
    )


def two_scales() -> onnx.ModelProto:
    """A detector of two classes from cells of 16 and 32 pixels; the finer ones never fire."""
    nodes = [
        node("Conv", ["x", "w"], ["f0"], strides=[16, 16], name="stem"),
        node("MaxPool", ["f0"], ["f1"], kernel_shape=[2, 2], strides=[2, 2], name="pool"),
    ]
    arrays = {"w": weights(8, 3, 16, 16), "anchors": weights(1, 4, 20)}
    arrays |= {"flat": np.array([1, 6, -1]), "parts": np.array([4, 2])}
    for scale in (0, 1):
        arrays[f"w{scale}"] = weights(6, 8, 1, 1, seed=scale)
        arrays[f"b{scale}"] = np.array([0, 0, 0, 0, *2 * [20.0 * (scale - 1)]], np.float32)
        inputs = [f"f{scale}", f"w{scale}", f"b{scale}"]
        nodes += [
            node("Conv", inputs, [f"head{scale}"], name=f"head{scale}"),
            node("Reshape", [f"head{scale}", "flat"], [f"rows{scale}"], name=f"rows{scale}"),
        ]
    nodes += [
        node("Concat", ["rows0", "rows1"], ["all"], axis=2, name="all"),
        node("Split", ["all", "parts"], ["box", "class"], axis=1, name="split"),
        node("Add", ["box", "anchors"], ["placed"], name="placed"),
        node("Sigmoid", ["class"], ["score"], name="score"),
        node("Concat", ["placed", "score"], ["y"], axis=1, name="join"),
    ]
    return model(nodes, arrays, inputs={"x": (1, 3, 64, 64)}, outputs={"y": (1, 6, 20)})


def proto_of(graph: Graph, arrays: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Any graph as a model; ONNX's checker would refuse some of them for their dtype."""

    def values(types: Mapping[str, ValueType]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype)), value.shape
            )
            for name, value in types.items()
        ]

    nodes = [
        node(own.operator, own.inputs, own.outputs, name=own.name, **own.attributes)
        for own in graph.nodes
    ]
    tensors = [numpy_helper.from_array(a, n) for n, a in {**graph.constants, **arrays}.items()]
    made = helper.make_graph(nodes, "net", values(graph.inputs), values(graph.outputs), tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.opset)])


def loaded(proto: onnx.ModelProto, folder: Path, **options: Any) -> Model:
    """The model from a file."""
    path = folder / "net.onnx"
    onnx.save_model(proto, path, **options)
    return read(path)


def slimmed(network: Model, seed: int = 0) -> tuple[Model, Exactness, DependencyGraph]:
    """A network cut by a random plan, and how exact that is."""
    dependencies = analyze(network.graph)
    plan = random_plan(dependencies, seed)
    slim = network.edited(cut(dependencies, plan))
    found = exactness(
        dependencies,
        network.parameters,
        dependencies.kept(plan.keep),
        (slim.graph, slim.parameters),
        random_images(network.graph),
    )
    return slim, found, dependencies


def written(network: Model, folder: Path) -> onnx.ModelProto:
    """The model that `save` writes, checked by ONNX's own rules."""
    path = folder / "written.onnx"
    network.save(path)
    onnx.checker.check_model(str(path), full_check=True)
    return onnx.load_model(path)


def free(dependencies: DependencyGraph) -> set[str]:
    """The nodes that may lose filters."""
    return {member.node for group in dependencies.prunable for member in group.producers}


def check(network: Model, folder: Path, *nodes: str) -> onnx.ModelProto:
    """These nodes can lose filters; a slim file is exact, valid, and read as what it was."""
    slim, found, dependencies = slimmed(network, seed=3)
    assert free(dependencies) == set(nodes)
    assert found.passed, found
    proto = written(slim, folder)
    again = read(folder / "written.onnx")
    assert again.graph.digest() == slim.graph.digest()
    return proto


def number(value: int) -> np.ndarray:
    """A whole number of no dimensions."""
    return np.array(value, np.int64)


def copied(nodes: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Nodes that do not change with these."""
    return [onnx.NodeProto.FromString(own.SerializeToString()) for own in nodes]

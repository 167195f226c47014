"""ONNX files to damage, and what reads them: read, analyzed, cut, proven and written."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.benchmarks.mutations import Kind
from tests.benchmarks.onnx_mutations import ONNX
from tests.frontends.onnx.models import model, node, two_convs, weights
from yoloprune.frontends.onnx import apart, observe
from yoloprune.graph.cost import cost
from yoloprune.graph.shapes import facts
from yoloprune.pruning.cut import removal
from yoloprune.pruning.groups import DependencyGraph, analyze
from yoloprune.pruning.prove import exactness, require
from yoloprune.pruning.verification import random_images
from yoloprune.workflows.models import load

SECONDS = 5
"""Given to one run that observes shapes."""

MOST_MACS, MOST_ELEMENTS = 10**8, 1 << 22
"""Of networks that are proven too."""


def onnx_kind(root: Path, given: Sequence[Path] = ()) -> Kind:
    """Files made here, or damaged copies of those that are given."""
    path, out = root / "net.onnx", root.parent / "out"
    whole = two_convs()
    onnx.save_model(whole, path, save_as_external_data=True, location="arrays", size_threshold=0)
    (root.parent / "secret").write_bytes(bytes(1 << 12))
    (root / "link").symlink_to(root.parent / "secret")
    samples = [own.read_bytes() for own in given] or [
        path.read_bytes(),
        *(own.SerializeToString() for own in _models()),
    ]
    observe.SECONDS = apart.SECONDS = SECONDS

    def read() -> None:
        network = load(path)
        dependencies = analyze(network.graph)
        kept = _half(dependencies)
        slim = network.edited(removal(dependencies, kept))
        shutil.rmtree(out, ignore_errors=True)
        slim.save(out / "slim.onnx")
        shapes = facts(network.graph).shapes
        largest = max(math.prod(shape) for shape in shapes.values())
        if largest <= MOST_ELEMENTS and cost(network.graph, shapes).macs <= MOST_MACS:
            both = (slim.graph, slim.parameters)
            images = random_images(network.graph)
            require(exactness(dependencies, network.parameters, kept, both, images))

    return Kind(path=path, samples=samples, changes=ONNX, read=read, command=("inspect", path))


def _half(dependencies: DependencyGraph) -> np.ndarray:
    keep = {}
    for group in dependencies.prunable:
        part = range(0, group.part_size, 2)
        starts = range(0, group.size, group.part_size)
        keep[group.id] = tuple(start + own for start in starts for own in part)
    return dependencies.kept(keep)


def _models() -> list[onnx.ModelProto]:
    shapes = [
        node("Shape", ["a"], ["shape"], name="shape"),
        node("Gather", ["shape", "places"], ["ends"]),
        node("Concat", ["ends", "minus"], ["target"], axis=0),
        node("Reshape", ["a", "target"], ["rows"], name="rows"),
        node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        node("MatMul", ["rows", "columns"], ["products"]),
        node("Softmax", ["products"], ["shares"], axis=-1),
        node("MatMul", ["shares", "rows"], ["mixed"], name="mix"),
        node("Reshape", ["mixed", "shape"], ["b"], name="back"),
    ]
    arrays = {"places": np.array([0, 1]), "minus": np.array([-1])}
    open_sizes: dict[str, Sequence[int | str]] = {"x": ("batch", 3, "height", "width")}
    dynamic = two_convs(shapes, arrays=arrays, inputs=open_sizes)
    dynamic.graph.output[0].type.tensor_type.ClearField("shape")
    choice = helper.make_graph(
        [node("Relu", ["a"], ["inside"])], "branch", [],
        [helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)],
    )  # fmt: skip
    branches = node("If", ["yes"], ["b"], then_branch=choice, else_branch=choice)
    function = two_convs([node("Act", ["a"], ["b"], domain="own")])
    function.opset_import.add(domain="own", version=1)
    body = [node("Sigmoid", ["p"], ["s"]), node("Mul", ["p", "s"], ["q"])]
    own = [helper.make_opsetid("", 17)]
    function.functions.append(helper.make_function("own", "Act", ["p"], ["q"], body, own))
    numbers = {"four": np.array(4), "zero": np.array(0), "one": np.array(1)}
    parts = [
        node("SplitToSequence", ["a", "four"], ["parts"], name="chunk", axis=1),
        node("SequenceAt", ["parts", "zero"], ["p"], name="left"),
        node("SequenceAt", ["parts", "one"], ["q"], name="right"),
        node("Concat", ["q", "p"], ["b"], axis=1),
    ]
    old = two_convs([node("Upsample", ["a", "twice"], ["b"])], opset=9,
                    arrays={"twice": np.array([1, 1, 2, 2], np.float32)})  # fmt: skip
    old.graph.output[0].type.tensor_type.ClearField("shape")
    made = [
        two_convs(),
        dynamic,
        two_convs([branches], arrays={"yes": np.array(True)}),
        function,
        onnx.shape_inference.infer_shapes(two_convs(parts, arrays=numbers)),
        old,
        _quantized(),
        _detector(),
    ]
    return [*made, onnx.shape_inference.infer_shapes(made[-1])]


def _quantized() -> onnx.ModelProto:
    codes = np.random.default_rng(0).integers(-127, 128, (8, 8, 3, 3)).astype(np.int8)
    middle = [
        node("QuantizeLinear", ["a", "step", "zero"], ["coded"]),
        node("DequantizeLinear", ["coded", "step", "zero"], ["real"]),
        node("DequantizeLinear", ["codes", "steps", "zeros"], ["kernel"], axis=0),
        node("Conv", ["real", "kernel"], ["b"], name="coded", pads=[1] * 4),
    ]
    arrays = {
        "step": np.float32(0.1), "zero": np.uint8(3), "codes": codes,
        "steps": np.linspace(0.01, 0.02, 8).astype(np.float32), "zeros": np.zeros(8, np.int8),
    }  # fmt: skip
    return two_convs(middle, arrays=arrays)


def _detector() -> onnx.ModelProto:
    """A little of everything: norms, a split, a shortcut, pools, a shuffle, a gate, two heads."""
    norm = ["scale", "shift", "mean", "variance"]
    nodes = [
        node("Conv", ["x", "w1"], ["c1"], name="stem", pads=[1] * 4, strides=[2, 2]),
        node("BatchNormalization", ["c1", *norm], ["n1"], name="norm"),
        node("LeakyRelu", ["n1"], ["r1"], alpha=0.1),
        node("Split", ["r1", "halves"], ["p", "q"], axis=1, name="split"),
        node("Conv", ["q", "w2"], ["c2"], name="inner", pads=[1] * 4),
        node("Sigmoid", ["c2"], ["s2"]),
        node("Mul", ["c2", "s2"], ["m2"]),
        node("Add", ["m2", "q"], ["t2"], name="shortcut"),
        node("MaxPool", ["t2"], ["pooled"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Concat", ["p", "t2", "pooled"], ["joined"], axis=1, name="join"),
        node("Conv", ["joined", "w3", "c3"], ["deep"], name="depthwise", group=12, pads=[1] * 4),
        node("Reshape", ["deep", "apart"], ["groups"], name="groups"),
        node("Transpose", ["groups"], ["turned"], perm=[0, 2, 1, 3, 4]),
        node("Reshape", ["turned", "together"], ["shuffled"], name="shuffled"),
        node("GlobalAveragePool", ["shuffled"], ["mean_of"]),
        node("Flatten", ["mean_of"], ["flat"]),
        node("Gemm", ["flat", "w4", "c4"], ["gate"], name="gate", transB=1),
        node("HardSigmoid", ["gate"], ["open"]),
        node("Unsqueeze", ["open", "places"], ["gated"]),
        node("Mul", ["shuffled", "gated"], ["scaled"]),
        node("Resize", ["scaled", "", "factors"], ["large"], mode="nearest", name="resize"),
        node("ConvTranspose", ["scaled", "w5"], ["wide"], name="up", strides=[2, 2]),
        node("PRelu", ["wide", "slopes"], ["bent"]),
        node("Concat", ["large", "bent"], ["all"], axis=1),
        node("Conv", ["all", "w6", "c6"], ["y"], name="head"),
        node("Transpose", ["y"], ["last"], perm=[0, 2, 3, 1]),
        node("Slice", ["last", "start", "end", "axis"], ["z"], name="boxes"),
    ]
    arrays = {
        "w1": weights(8, 3, 3, 3), "scale": 1 + abs(weights(8)), "shift": weights(8),
        "mean": weights(8), "variance": 1 + abs(weights(8, seed=1)), "halves": np.array([4, 4]),
        "w2": weights(4, 4, 3, 3), "w3": weights(12, 1, 3, 3), "c3": weights(12),
        "apart": np.array([0, 2, 6, 4, 4]), "together": np.array([0, -1, 4, 4]),
        "w4": weights(12, 12), "c4": weights(12), "places": np.array([2, 3]),
        "factors": np.array([1, 1, 2, 2], np.float32), "w5": weights(12, 6, 2, 2),
        "slopes": weights(6, 1, 1), "w6": weights(7, 18, 1, 1), "c6": weights(7),
        "start": np.array([0]), "end": np.array([4]), "axis": np.array([-1]),
    }  # fmt: skip
    return model(nodes, arrays, outputs={"y": (1, 7, 8, 8), "z": (1, 8, 8, 4)})

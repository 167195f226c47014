"""Leaky ReLUs of int8 models as sums, which ONNX Runtime computes faster than by a table.

a x + (1 - a) max(x, 0): the second part is a clip at the zero point, and each part is the same
bytes under a scale of its own.
"""

import copy
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


def leaky_as_sums(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """The model that `quantized` gave, its int8 leaky ReLUs with slopes in (0, 1) written anew."""
    from onnx import helper, numpy_helper

    made = copy.deepcopy(model)
    graph = made.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    givers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    coded = {node.input[0] for node in graph.node if node.op_type == "QuantizeLinear"}
    nodes: list[onnx.NodeProto] = []
    gone: set[str] = set()
    for node in graph.node:
        slope = next((own.f for own in node.attribute if own.name == "alpha"), 0.01)
        before = givers.get(node.input[0]) if node.op_type == "LeakyRelu" else None
        if (
            before is None
            or before.op_type != "DequantizeLinear"
            or uses[node.input[0]] > 1
            or node.output[0] not in coded
            or not 0 < slope < 1
        ):
            nodes.append(node)
            continue
        codes, scale, zero = before.input
        gone.add(before.name)
        name, whole = node.name, numpy_helper.to_array(tensors[scale])
        parts = {f"{name}_all": (codes, slope), f"{name}_above": (f"{name}_clipped", 1 - slope)}
        nodes.append(helper.make_node("Clip", [codes, zero], [f"{name}_clipped"], f"{name}_clip"))
        for part, (source, factor) in parts.items():
            array = np.asarray(whole * np.float32(factor), whole.dtype)
            graph.initializer.append(numpy_helper.from_array(array, f"{part}_scale"))
            inputs = [source, f"{part}_scale", zero]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [part], f"{part}_float"))
        nodes.append(helper.make_node("Add", list(parts), list(node.output), f"{name}_sum"))
    del graph.node[:]
    graph.node.extend(node for node in nodes if node.name not in gone)
    return made

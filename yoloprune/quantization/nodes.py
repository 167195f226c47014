"""Which nodes of an ONNX model int8 is for, by where they stand.

`Conv`, `ConvTranspose`, `Gemm` and `MatMul` are contractions: int8 makes them faster, the others
only have to keep up.
"""

import copy
from typing import TYPE_CHECKING

from yoloprune.frontends.onnx.protos import captured

if TYPE_CHECKING:
    import onnx

CONTRACTIONS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "Sigmoid")


def contractions(model: "onnx.ModelProto") -> list[str]:
    """Names of the contractions, in order of execution."""
    return [node.name for node in model.graph.node if node.op_type in CONTRACTIONS]


def decoding(model: "onnx.ModelProto") -> frozenset[str]:
    """Nodes from which no contraction is reached: what makes outputs of the heads' maps."""
    before = _leading(model)
    return frozenset(
        node.name
        for node in model.graph.node
        if node.name not in before and node.op_type not in CONTRACTIONS
    )


def undecoded(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """A copy that ends where decoding begins: int8 leaves that in float, whatever its values are.

    Sizes are exponentials of what a head gives, so that they have any range, or none.
    """
    import onnx

    away = decoding(model)
    kept = [node for node in model.graph.node if node.name not in away]
    made = {name for node in kept for name in node.output}
    read = [name for node in model.graph.node if node.name in away for name in node.input]
    graph = onnx.shape_inference.infer_shapes(model).graph
    known = {value.name: value for value in (*graph.value_info, *graph.output)}
    names = (*read, *(output.name for output in model.graph.output))
    ends = [known[name] for name in dict.fromkeys(names) if name in made & known.keys()]
    found = copy.deepcopy(model)
    del found.graph.node[:], found.graph.output[:]
    found.graph.node.extend(kept)
    found.graph.output.extend(ends)
    # ONNX Runtime warns of each array that nothing reads.
    read_by = {name for node in kept for name in (*node.input, *captured(node))}
    arrays = [array for array in model.graph.initializer if array.name in read_by]
    del found.graph.initializer[:]
    found.graph.initializer.extend(arrays)
    return found


def heads(model: "onnx.ModelProto") -> frozenset[str]:
    """Contractions from which no other is reached."""
    return frozenset(contractions(model)) - _leading(model)


def beginning(model: "onnx.ModelProto", count: int) -> frozenset[str]:
    """The first contractions, so many, with what is computed before them and their activations."""
    names = [node.name for node in model.graph.node]
    found = contractions(model)[:count]
    if not found:
        return frozenset()
    before = names[: names.index(found[-1]) + 1]
    return frozenset(before).union(*(with_activation(model, name) for name in found))


def ending(model: "onnx.ModelProto", count: int) -> frozenset[str]:
    """All from the last contractions on, so many."""
    names = [node.name for node in model.graph.node]
    found = contractions(model)[-count:]
    return frozenset(names[names.index(found[0]) :] if found else ())


def with_activation(model: "onnx.ModelProto", name: str) -> frozenset[str]:
    """A node, and the activation that alone reads it, if one does."""
    (node,) = (node for node in model.graph.node if node.name == name)
    readers = [each for each in model.graph.node if set(node.output) & set(each.input)]
    if len(readers) == 1 and readers[0].op_type in ACTIVATIONS:
        return frozenset({name, readers[0].name})
    return frozenset({name})


def _leading(model: "onnx.ModelProto") -> frozenset[str]:
    """Nodes from which a further contraction is reached."""
    wanted: set[str] = set()
    found: set[str] = set()
    for node in reversed(model.graph.node):
        leads = bool(wanted.intersection(node.output))
        if leads:
            found.add(node.name)
        if leads or node.op_type in CONTRACTIONS:
            wanted.update(node.input)
    return frozenset(found)

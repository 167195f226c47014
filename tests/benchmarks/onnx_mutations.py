"""Seeded ways to damage an ONNX file: what its messages say, not its bytes alone."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper

from tests.benchmarks.mutations import Change, Random, change_bytes, some
from yoloprune.graph.operators.table import OPERATORS

SIZES = (0, 1, 2, 3, 7, -1, -2, 255, 1 << 16, 1 << 20, 1 << 31, 1 << 40, (1 << 63) - 1, -(1 << 63))
REALS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, float("inf"), float("-inf"), float("nan"))
NAMES = ("", " ", "x", "y", "a\nb", "\x1b[31m", "\u202e", "x" * 3000, "../a", "\0", "w1", "a.0")
PLACES = ("../secret", "/etc/passwd", "/dev/zero", "absent", "", ".", "link", "net.onnx", "a\0b")
DOMAINS = ("", "ai.onnx", "com.example", "com.microsoft", "ai.onnx.ml")
UNKNOWN = ("LSTM", "Hardmax", "Det", "BitShift", "Unique", "StringNormalizer", "SequenceEmpty",
           "If", "Loop", "Scan", "Optional", "RandomNormal", "Multinomial", "Foo")  # fmt: skip

Edit = Callable[[Random, onnx.ModelProto], object]


def change_model(random: Random, data: bytes) -> bytes:
    """One damage to what a model says."""
    model = onnx.ModelProto.FromString(data)
    some(random, EDITS)(random, model)
    return model.SerializeToString()


def _node(random: Random, model: onnx.ModelProto) -> onnx.NodeProto:
    nodes: list[onnx.NodeProto] = list(model.graph.node)
    for node in model.graph.node:
        nodes += [inner for a in node.attribute if a.HasField("g") for inner in a.g.node]
    nodes += [inner for function in model.functions for inner in function.node]
    return some(random, nodes)


def _name(random: Random, model: onnx.ModelProto) -> str:
    """A name that something has, or a strange one."""
    names = [name for node in model.graph.node for name in (*node.input, *node.output)]
    names += [own.name for own in (*model.graph.initializer, *model.graph.input)]
    return some(random, NAMES) if random.integers(6) == 0 else some(random, names)


def _tensor(random: Random, model: onnx.ModelProto) -> TensorProto:
    tensors = list(model.graph.initializer)
    tensors += [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    return some(random, tensors)


def _change_dims(random: Random, model: onnx.ModelProto) -> None:
    dims = _tensor(random, model).dims
    match random.integers(4):
        case 0:
            dims.append(some(random, SIZES))
        case 1:
            del dims[int(random.integers(len(dims))) :]
        case _:
            dims[int(random.integers(len(dims)))] = some(random, SIZES)


def _change_numbers(random: Random, model: onnx.ModelProto) -> None:
    tensor = _tensor(random, model)
    whole = [t for t in model.graph.initializer if t.data_type == TensorProto.INT64]
    if whole and random.integers(3):
        tensor = some(random, whole)
    array = onnx.numpy_helper.to_array(tensor).copy()
    choices = SIZES if array.dtype.kind in "iu" else REALS
    with np.errstate(all="ignore"):
        number = np.array(some(random, choices)).astype(array.dtype)
    if random.integers(2):
        array.reshape(-1)[int(random.integers(array.size))] = number
    else:
        array[...] = number
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))


def _change_bytes_of_numbers(random: Random, model: onnx.ModelProto) -> None:
    tensor = _tensor(random, model)
    tensor.raw_data = change_bytes(random, tensor.raw_data)


def _change_type(random: Random, model: onnx.ModelProto) -> None:
    _tensor(random, model).data_type = int(random.integers(-1, 30))


def _send_outside(random: Random, model: onnx.ModelProto) -> None:
    tensor = _tensor(random, model)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=some(random, PLACES))
    for key in ("offset", "length"):
        if random.integers(2):
            tensor.external_data.add(key=key, value=str(some(random, (*SIZES, "x", ""))))


def _rewire(random: Random, model: onnx.ModelProto) -> None:
    node = _node(random, model)
    names = some(random, [own for own in (node.input, node.output) if len(own)])
    match random.integers(6):
        case 0:
            names.append(_name(random, model))
        case 1:
            del names[-1]
        case 2:
            names[int(random.integers(len(names)))] = ""
        case _:
            names[int(random.integers(len(names)))] = _name(random, model)


def _change_operator(random: Random, model: onnx.ModelProto) -> None:
    node = _node(random, model)
    node.op_type = some(random, UNKNOWN) if random.integers(4) == 0 else some(random, [*OPERATORS])
    if random.integers(6) == 0:
        node.domain = some(random, DOMAINS)


def _change_nodes(random: Random, model: onnx.ModelProto) -> None:
    nodes = model.graph.node
    number = int(random.integers(len(nodes)))
    match random.integers(3):
        case 0:
            del nodes[number]
        case 1:
            nodes.append(nodes[number])
        case _:
            copy = nodes.add()
            copy.CopyFrom(nodes[number])
            for place, name in enumerate(copy.output):
                copy.output[place] = f"{name}.copy"
            _rewire(random, model)


def _change_attribute(random: Random, model: onnx.ModelProto) -> None:
    node = some(random, [own for own in model.graph.node if len(own.attribute)])
    attribute = some(random, node.attribute)
    if attribute.type == AttributeProto.INT:
        attribute.i = some(random, SIZES)
    elif attribute.type == AttributeProto.FLOAT:
        attribute.f = some(random, REALS)
    elif attribute.type == AttributeProto.INTS and len(attribute.ints) and random.integers(3):
        attribute.ints[int(random.integers(len(attribute.ints)))] = some(random, SIZES)
    elif attribute.type == AttributeProto.INTS:
        attribute.ints.extend([some(random, SIZES)] * int(random.integers(1, 4)))
    elif attribute.type == AttributeProto.STRING:
        attribute.s = some(random, (b"", b"linear", b"SAME_UPPER", b"reflect", b"\xff", b"x" * 999))
    else:
        attribute.type = int(random.integers(16))


def _move_attribute(random: Random, model: onnx.ModelProto) -> None:
    """Take one away, or give a node one that another has, or one of a wrong type."""
    owners = [own for own in model.graph.node if len(own.attribute)]
    node, other = some(random, owners), _node(random, model)
    attribute = some(random, node.attribute)
    match random.integers(4):
        case 0:
            node.attribute.remove(attribute)
        case 1:
            other.attribute.append(attribute)
        case 2:
            names = ("axis", "axes", "group", "pads", "to", "blocksize", "num_outputs", "perm",
                     "strides", "dilations", "kernel_shape", "mode", "scales", "split", "keepdims",
                     "num_groups", "size", "equation", "allowzero", "block_size", "p")  # fmt: skip
            values: Sequence[Any] = (
                some(random, SIZES), some(random, REALS), "x", [some(random, SIZES)] * 2,
                [some(random, REALS)] * 2, ["x"],
            )  # fmt: skip
            other.attribute.append(helper.make_attribute(some(random, names), some(random, values)))
        case _:
            attribute.name = some(random, ("axis", "axes", "value", "", "x"))


def _change_value(random: Random, model: onnx.ModelProto) -> None:
    """What an input, an output or a value between is said to be."""
    graph = model.graph
    value = some(random, [*graph.input, *graph.output, *graph.value_info])
    kind = value.type.tensor_type
    match random.integers(8):
        case 0:
            value.type.Clear()
        case 1:
            kind.elem_type = int(random.integers(-1, 30))
        case 2:
            kind.ClearField("shape")
        case 3:
            value.type.sequence_type.elem_type.tensor_type.elem_type = 1
        case 4:
            value.name = _name(random, model)
        case 5:
            some(random, kind.shape.dim).dim_param = some(random, ("", "?", "n", "a\nb", "1"))
        case _:
            some(random, kind.shape.dim).dim_value = some(random, SIZES)


def _change_lists(random: Random, model: onnx.ModelProto) -> None:
    graph = model.graph
    own = some(random, [a for a in (graph.initializer, graph.input, graph.output, graph.value_info,
                                    model.functions, model.opset_import) if len(a)])  # fmt: skip
    number = int(random.integers(len(own)))
    match random.integers(3):
        case 0:
            del own[number]
        case 1:
            own.append(own[number])
        case _:
            copy = own.add()
            copy.CopyFrom(own[number])
            if hasattr(copy, "name"):
                copy.name = _name(random, model)


def _change_versions(random: Random, model: onnx.ModelProto) -> None:
    match random.integers(3):
        case 0:
            model.ir_version = some(random, (*SIZES, 3, 4, 10, 99))
        case 1:
            some(random, model.opset_import).version = some(random, (*SIZES, *range(6, 27)))
        case _:
            some(random, model.opset_import).domain = some(random, DOMAINS)


def _rename(random: Random, model: onnx.ModelProto) -> None:
    """Give a node or an array another's name, or a strange one."""
    own = some(random, [_node(random, model), _tensor(random, model)])
    own.name = some(random, NAMES) if random.integers(2) else _name(random, model)


def _add_functions(random: Random, model: onnx.ModelProto) -> None:
    """Functions that call one another twice each, or themselves."""
    depth = int(some(random, (2, 4, 30)))
    circle = random.integers(3) == 0
    own = [helper.make_opsetid("", model.opset_import[0].version), helper.make_opsetid("own", 1)]
    for level in range(depth):
        last = level == depth - 1
        inner = "f0" if circle else f"f{level + 1}"
        domain = "own" if not last or circle else ""
        name = inner if domain else "Relu"
        nodes = [helper.make_node(name, ["p"], ["q"], domain=domain),
                 helper.make_node(name, ["q"], ["r"], domain=domain)]  # fmt: skip
        model.functions.append(helper.make_function("own", f"f{level}", ["p"], ["r"], nodes, own))
    model.opset_import.add(domain="own", version=1)
    node = _node(random, model)
    node.op_type, node.domain = "f0", "own"


def _add_body(random: Random, model: onnx.ModelProto) -> None:
    """A loop or a branch in a node's place, with bodies within bodies."""
    node = some(random, model.graph.node)
    read, given = node.input[0], node.output[0]
    result = helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)
    steps = [helper.make_node(some(random, ("Relu", "Neg", "Foo")), [read], ["inside"])]
    body = helper.make_graph(steps, "body", [], [result])
    for _ in range(int(some(random, (0, 1, 20)))):
        name = _name(random, model)
        inner = helper.make_node("If", [name], ["inside"], then_branch=body, else_branch=body)
        if body.ByteSize() > 1 << 18:
            break
        body = helper.make_graph([inner], "body", [], [result])
    node.ClearField("attribute")
    node.domain = ""
    del node.input[:], node.output[1:]
    condition = helper.make_tensor("", TensorProto.BOOL, [], [bool(random.integers(2))])
    model.graph.initializer.append(condition)
    condition = model.graph.initializer[-1]
    condition.name = f"{given}.condition"
    if random.integers(2):
        node.op_type = "If"
        node.input.append(condition.name)
        node.attribute.append(helper.make_attribute("then_branch", body))
        node.attribute.append(helper.make_attribute("else_branch", body))
        return
    count = helper.make_tensor(f"{given}.count", TensorProto.INT64, [], [some(random, SIZES)])
    model.graph.initializer.append(count)
    node.op_type = "Loop"
    node.input.extend([count.name, condition.name, read])
    loop = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["go_on"]),
         helper.make_node(some(random, ("Relu", "Identity", "Neg")), ["state"], ["inside"])],
        "loop",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("state", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("go_on", TensorProto.BOOL, []), result],
    )  # fmt: skip
    node.attribute.append(helper.make_attribute("body", loop))


def _add_large(random: Random, model: onnx.ModelProto) -> None:
    """A node that makes much of little, between others."""
    graph = model.graph
    node = some(random, [own for own in graph.node if len(own.input) and own.input[0]])
    before, name = node.input[0], f"large.{len(graph.node)}"
    much = int(some(random, (3, 1 << 10, 1 << 20, 1 << 31, 1 << 40, 1 << 62)))
    rank = int(some(random, (1, 2, 4)))
    sizes = [1] * rank
    sizes[int(random.integers(rank))] = much
    if random.integers(3) == 0:
        sizes = [much] * rank
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(sizes), f"{name}.sizes"))
    ends = np.array([0] * rank + sizes)
    graph.initializer.append(onnx.numpy_helper.from_array(ends, f"{name}.pads"))
    for number, value in enumerate((0, much, 1)):
        array = np.array(value, np.int64)
        graph.initializer.append(onnx.numpy_helper.from_array(array, f"{name}.{number}"))
    scales = np.array(sizes, np.float32)
    graph.initializer.append(onnx.numpy_helper.from_array(scales, f"{name}.scales"))
    numbers = [f"{name}.{number}" for number in range(3)]
    kinds: Sequence[tuple[str, Sequence[str], dict[str, Any]]] = (
        ("Tile", [before, f"{name}.sizes"], {}),
        ("Expand", [before, f"{name}.sizes"], {}),
        ("ConstantOfShape", [f"{name}.sizes"], {}),
        ("Range", numbers, {}),
        ("Pad", [before, f"{name}.pads"], {"mode": some(random, ("constant", "edge", "wrap"))}),
        ("Resize", [before, "", f"{name}.scales"], {}),
        ("Resize", [before, "", "", f"{name}.sizes"], {"mode": "linear"}),
        ("OneHot", [numbers[0], numbers[1], f"{name}.scales"], {}),
        ("Upsample", [before, f"{name}.scales"], {}),
        ("TopK", [before, f"{name}.sizes"], {}),
        ("DepthToSpace", [before], {"blocksize": much}),
        ("SpaceToDepth", [before], {"blocksize": much}),
        ("ConvTranspose", [before, "w1"], {"strides": [much, much]}),
        ("ConvTranspose", [before, "w1"], {"output_shape": [much, much]}),
        ("MaxPool", [before], {"kernel_shape": [much, much], "pads": [much - 1] * 4}),
        ("AveragePool", [before], {"kernel_shape": [1, 1], "pads": [much] * 4,
                                   "strides": [much, much], "count_include_pad": 1}),
        ("Conv", [before, "w1"], {"pads": [much] * 4, "strides": [much, much]}),
        ("LRN", [before], {"size": much}),
        ("Reshape", [before, f"{name}.sizes"], {}),
        ("EyeLike", [before], {"k": much}),
        ("CumSum", [before, numbers[0]], {}),
        ("Einsum", [before, before], {"equation": "abcd,efgh->abcdefgh"}),
        ("MatMul", [before, before], {}),
        ("GatherND", [before, f"{name}.sizes"], {}),
        ("Split", [before], {"num_outputs": much}),
    )  # fmt: skip
    operator, inputs, attributes = some(random, kinds)
    made = helper.make_node(operator, inputs, [f"{name}.out"], name=name, **attributes)
    graph.node.insert(0, made)
    reader = some(random, [own for own in graph.node if len(own.input) and own.name != name])
    reader.input[int(random.integers(len(reader.input)))] = f"{name}.out"


EDITS: Sequence[Edit] = (
    _change_dims, _change_numbers, _change_numbers, _change_bytes_of_numbers, _change_type,
    _send_outside, _rewire, _rewire, _rewire, _change_operator, _change_operator, _change_nodes,
    _change_attribute, _change_attribute, _move_attribute, _move_attribute, _change_value,
    _change_value, _change_lists, _change_versions, _rename, _add_functions, _add_body,
    _add_large, _add_large, _add_large,
)  # fmt: skip

ONNX: tuple[Change, ...] = (change_bytes, *(change_model,) * 9)

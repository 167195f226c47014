"""Drawings of nodes that move, index or make numbers."""

import math

import numpy as np

from tests.graph.operators.cases import Case, Draw, Drawing, ints


def reshape(d: Draw) -> Case:
    shape = d.shape(2)
    options = [(-1,), (0, -1), (math.prod(shape[:2]), *shape[2:]), (*shape, 1), (1, -1, shape[-1])]
    return Case(operator="Reshape", inputs=[d.real(*shape), ints(*d.choice(options))])


def flatten(d: Draw) -> Case:
    shape = d.shape()
    axis = d.integer(-len(shape), len(shape))
    return Case(operator="Flatten", inputs=[d.real(*shape)], attributes={"axis": axis})


def transpose(d: Draw) -> Case:
    shape = d.shape()
    order = {"perm": tuple(d.random.permutation(len(shape)).tolist())} if d.flag() else {}
    return Case(operator="Transpose", inputs=[d.real(*shape)], attributes=order)


def squeeze(d: Draw) -> Case:
    x = d.real(1, 3, 1, 2)
    axes = d.choice([(0,), (2,), (-2, 0), (-4,)])
    match d.integer(0, 2):
        case 0:
            return Case(operator="Squeeze", inputs=[x])
        case 1:
            return Case(operator="Squeeze", inputs=[x], attributes={"axes": axes}, opset=11)
    return Case(operator="Squeeze", inputs=[x, ints(*axes)])


def unsqueeze(d: Draw) -> Case:
    x = d.real(3, 2)
    axes = d.choice([(0,), (1, 3), (-1,), (0, -1)])
    if d.flag():
        return Case(operator="Unsqueeze", inputs=[x], attributes={"axes": axes}, opset=11)
    return Case(operator="Unsqueeze", inputs=[x, ints(*axes)])


def slice_(d: Draw) -> Case:
    x = d.real(3, 5, 4)
    axes = d.axes(3)
    steps = [d.choice([1, 2, -1, -2]) for _ in axes]
    ends = [d.choice([-(2**31), -1, 1, 3, 2**31 - 1, 2**63 - 1]) for _ in axes]
    starts = [d.integer(-3, 6) for _ in axes]
    bounds = [ints(*starts), ints(*ends), ints(*axes), ints(*steps)]
    if d.flag():
        bounds = [ints(0, 1), ints(2, 4)]
    return Case(operator="Slice", inputs=[x, *bounds], opset=13)


def split(d: Draw) -> Case:
    axis = d.choice([1, -2])
    x = d.real(2, 6, 3)
    match d.integer(0, 3):
        case 0:
            sizes = {"axis": axis, "split": (1, 3, 2)}
            return Case(operator="Split", inputs=[x], attributes=sizes, opset=11, outputs=3)
        case 1:
            return Case(
                operator="Split", inputs=[x], attributes={"axis": axis}, opset=13, outputs=3
            )
        case 2:
            parts = {"axis": axis, "num_outputs": 3}
            return Case(operator="Split", inputs=[x[:, :5]], attributes=parts, outputs=3)
    inputs = [x, ints(4, 0, 2)]
    return Case(operator="Split", inputs=inputs, attributes={"axis": axis}, outputs=3)


def concat(d: Draw) -> Case:
    shape = d.shape()
    axis = d.integer(-len(shape), len(shape) - 1)
    parts = []
    for _ in range(d.integer(1, 3)):
        sizes = list(shape)
        sizes[axis] = d.integer(1, 3)
        parts.append(d.real(*sizes))
    return Case(operator="Concat", inputs=parts, attributes={"axis": axis})


def expand(d: Draw) -> Case:
    shape = d.shape()
    smaller = d.broadcastable(shape)
    # 1 asks for no more than is there.
    target = d.choice([shape, tuple(1 if d.flag() else size for size in shape)])
    return Case(operator="Expand", inputs=[d.real(*smaller), ints(*target)])


def tile(d: Draw) -> Case:
    shape = d.shape()
    times = [d.integer(1, 3) for _ in shape]
    return Case(operator="Tile", inputs=[d.real(*shape), ints(*times)])


def pad(d: Draw) -> Case:
    x = d.real(2, 3, 4)
    mode = d.choice(["constant", "edge", "reflect", "wrap"])
    attributes = {"mode": mode}
    opset = 19
    value = np.array(0.5) if d.flag() and mode == "constant" else None
    if d.flag():
        pads = ints(1, d.integer(0, 2), 0, 1)
        return Case(
            operator="Pad",
            inputs=[x, pads, value, ints(d.choice([1, -2]), 2)],
            attributes=attributes,
            opset=opset,
        )
    low = -1 if mode == "constant" else 0
    pads = ints(*(d.integer(low, 1) for _ in range(6)))
    trailing = [] if value is None else [value]
    return Case(
        operator="Pad",
        inputs=[x, pads, *trailing],
        attributes=attributes,
        opset=opset,
        runtime=bool((pads < 0).any()),
    )


def depth_to_space(d: Draw) -> Case:
    block = d.integer(1, 3)
    x = d.real(2, 2 * block**2, 2, 3)
    attributes = {"blocksize": block, "mode": d.choice(["DCR", "CRD"])}
    return Case(operator="DepthToSpace", inputs=[x], attributes=attributes)


def space_to_depth(d: Draw) -> Case:
    block = d.integer(1, 3)
    x = d.real(2, 3, 2 * block, 3 * block)
    return Case(operator="SpaceToDepth", inputs=[x], attributes={"blocksize": block})


def identity(d: Draw) -> Case:
    return Case(operator="Identity", inputs=[d.real(*d.shape(0))])


def gather(d: Draw) -> Case:
    axis = d.integer(-3, 2)
    x = d.real(3, 4, 5)
    indices = d.whole(-3, 2, *d.shape(0, 2))
    return Case(operator="Gather", inputs=[x, indices], attributes={"axis": axis})


def gather_elements(d: Draw) -> Case:
    axis = d.integer(-2, 1)
    indices = d.whole(-3, 2, 2, 4) if axis in (0, -2) else d.whole(-4, 3, 3, 2)
    x = d.real(3, 4)
    return Case(
        operator="GatherElements", inputs=[x, indices], attributes={"axis": axis}, runtime=axis < 0
    )


def gather_nd(d: Draw) -> Case:
    batch = d.flag()
    x = d.real(2, 3, 4)
    depth = d.integer(1, 2 if batch else 3)
    lead = (2, 3) if batch else d.shape(1, 2)
    indices = d.whole(-2, 1, *lead, depth)
    return Case(operator="GatherND", inputs=[x, indices], attributes={"batch_dims": batch})


def scatter_elements(d: Draw) -> Case:
    axis = d.choice([1, -1])
    reduction = d.choice(["none", "add", "mul", "max", "min"])
    indices = np.array([[0, 2], [1, -1], [3, 0]]) if reduction == "none" else d.whole(-4, 3, 3, 2)
    return Case(
        operator="ScatterElements",
        inputs=[d.real(3, 4), indices, d.real(3, 2)],
        attributes={"axis": axis, "reduction": reduction},
        opset=18,
    )


def scatter_nd(d: Draw) -> Case:
    reduction = d.choice(["none", "add", "mul", "max", "min"])
    x = d.real(4, 3, 2)
    if d.flag():
        indices, updates = ints(2, 0, -1)[:, None], d.real(3, 3, 2)
    else:
        indices, updates = np.array([[0, 1], [3, -1]]), d.real(2, 2)
    return Case(
        operator="ScatterND",
        inputs=[x, indices, updates],
        attributes={"reduction": reduction},
        opset=18,
    )


def constant(d: Draw) -> Case:
    values = {"value": d.real(2, 3), "value_int": 3, "value_ints": (1, 2), "value_float": 0.5}
    name = d.choice([*values, "value_floats"])
    attributes = {name: values.get(name, (0.5, 0.25))}
    return Case(operator="Constant", inputs=[], attributes=attributes, opset=13)


def constant_of_shape(d: Draw) -> Case:
    values = [{}, {"value": np.array([2])}, {"value": np.array([0.5])}, {"value": np.array([True])}]
    return Case(operator="ConstantOfShape", inputs=[ints(2, 3)], attributes=d.choice(values))


def eye_like(d: Draw) -> Case:
    attributes = {"k": d.integer(-1, 1)} | ({"dtype": 7} if d.flag() else {})
    return Case(operator="EyeLike", inputs=[d.real(3, 4)], attributes=attributes)


def non_zero(d: Draw) -> Case:
    return Case(operator="NonZero", inputs=[d.whole(0, 1, 3, 4)])


def range_(d: Draw) -> Case:
    if d.flag():
        bounds = [np.array(d.integer(-2, 2)), np.array(d.integer(-2, 9)), np.array(2)]
    else:
        bounds = [np.array(0.5), np.array(3.25), np.array(0.5)]
    return Case(operator="Range", inputs=bounds)


def shape(d: Draw) -> Case:
    attributes = {name: d.integer(-2, 4) for name in ("start", "end") if d.flag()}
    return Case(operator="Shape", inputs=[d.real(*d.shape(2))], attributes=attributes)


def size(d: Draw) -> Case:
    return Case(operator="Size", inputs=[d.real(*d.shape(0))])


MOVES: dict[str, Drawing] = {
    "Concat": concat,
    "Constant": constant,
    "ConstantOfShape": constant_of_shape,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "EyeLike": eye_like,
    "Flatten": flatten,
    "Gather": gather,
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "Identity": identity,
    "NonZero": non_zero,
    "Pad": pad,
    "Range": range_,
    "Reshape": reshape,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "Shape": shape,
    "Size": size,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}

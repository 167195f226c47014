"""Drawings of nodes that contract, pool, resize, reduce or normalize, and of all others."""

from typing import Any

import numpy as np

from tests.graph.operators.cases import Case, Draw, Drawing, ints


def _windows(d: Draw, rank: int, *, dilations: bool = True) -> dict[str, Any]:
    kernel = tuple(d.integer(1, 3) for _ in range(rank))
    found: dict[str, Any] = {"kernel_shape": kernel}
    if d.flag():
        found["strides"] = tuple(d.integer(1, 2) for _ in range(rank))
    if dilations and d.flag():
        found["dilations"] = tuple(d.integer(1, 2) for _ in range(rank))
    match d.integer(0, 3):
        case 0:
            found["auto_pad"] = d.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
            # Where windows lie apart, referees differ.
            found["strides"] = tuple(d.integer(1, size) for size in kernel)
        case 1:
            found["pads"] = tuple(d.integer(0, size - 1) for size in kernel) * 2
        case 2:
            found["pads"] = tuple(d.integer(0, size - 1) for size in kernel * 2)
    return found


def _pool_windows(d: Draw) -> dict[str, Any]:
    found = _windows(d, 2)
    if "auto_pad" in found:
        # The runtime forgets dilations there, and the ceiling is not defined.
        return {name: value for name, value in found.items() if name != "dilations"}
    return found | {"ceil_mode": d.flag()}


def conv(d: Draw) -> Case:
    rank = d.integer(1, 2)
    attributes = _windows(d, rank)
    groups, into, out = d.integer(1, 2), d.integer(1, 2), d.integer(1, 2)
    x = d.real(2, groups * into, *(d.integer(5, 7) for _ in range(rank)))
    kernel = d.real(groups * out, into, *attributes["kernel_shape"])
    bias = [d.real(groups * out)] if d.flag() else []
    return Case(
        operator="Conv", inputs=[x, kernel, *bias], attributes=attributes | {"group": groups}
    )


def conv_transpose(d: Draw) -> Case:
    attributes = _windows(d, 2)
    groups, into, out = d.integer(1, 2), d.integer(1, 2), d.integer(1, 2)
    x = d.real(1, groups * into, 3, 4)
    kernel = d.real(groups * into, out, *attributes["kernel_shape"])
    bias = [d.real(groups * out)] if d.flag() else []
    if "strides" in attributes and d.flag():
        attributes["output_padding"] = tuple(stride - 1 for stride in attributes["strides"])
    attributes |= {"group": groups}
    inputs = [x, kernel, *bias]
    return Case(operator="ConvTranspose", inputs=inputs, attributes=attributes, runtime=True)


def gemm(d: Draw) -> Case:
    rows, middle, columns = (d.integer(1, 4) for _ in range(3))
    attributes: dict[str, Any] = {name: d.flag() for name in ("transA", "transB")}
    if d.flag():
        attributes |= {"alpha": 0.5, "beta": 0.25}
    a = d.real(*((middle, rows) if attributes["transA"] else (rows, middle)))
    b = d.real(*((columns, middle) if attributes["transB"] else (middle, columns)))
    c = d.choice([[], [d.real(columns)], [d.real(rows, 1)], [d.real()]])
    return Case(operator="Gemm", inputs=[a, b, *c], attributes=attributes)


def matmul(d: Draw) -> Case:
    a, b = d.choice(
        [((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 1, 2, 3), (5, 3, 4)), ((3,), (3,))]
    )
    return Case(operator="MatMul", inputs=[d.real(*a), d.real(*b)])


def max_pool(d: Draw) -> Case:
    attributes = _pool_windows(d)
    inputs = [d.image(low=5)]
    return Case(operator="MaxPool", inputs=inputs, attributes=attributes, runtime=True)


def average_pool(d: Draw) -> Case:
    attributes = _pool_windows(d) | {"count_include_pad": d.flag()}
    inputs = [d.image(low=5)]
    return Case(
        operator="AveragePool", inputs=inputs, attributes=attributes, opset=19, runtime=True
    )


def global_pool(operator: str) -> Drawing:
    def draw(d: Draw) -> Case:
        return Case(operator=operator, inputs=[d.image()])

    return draw


def resize(d: Draw) -> Case:
    x = d.real(1, 2, d.integer(2, 5), d.integer(2, 5))
    modes = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
    attributes: dict[str, Any] = {
        "mode": d.choice(["nearest", "linear", "cubic"]),
        "coordinate_transformation_mode": d.choice([*modes, "half_pixel_symmetric"]),
    }
    tolerance = 0.0 if attributes["mode"] == "nearest" else 2e-6
    if attributes["mode"] == "nearest":
        kinds = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = d.choice(kinds)
    elif attributes["mode"] == "cubic" and d.flag():
        attributes |= {"exclude_outside": d.flag(), "cubic_coeff_a": -0.5}
    if d.flag():
        if attributes["coordinate_transformation_mode"] == "align_corners":
            x = d.real(1, 2, 4, 4)  # Where the new size is no fraction, for referees differ.
        # The nearest of places that float32 rounds is another in the reference.
        factors = [0.5, 1, 2, 3] if attributes["mode"] == "nearest" else [0.5, 1, 2, 3, 1.25]
        scales = np.array([1, 1, d.choice(factors), d.choice(factors)], np.float32)
        inputs = [x, None, scales]
        return Case(
            operator="Resize", inputs=inputs, attributes=attributes, opset=19, tolerance=tolerance
        )
    sizes = [d.integer(1, 8), d.integer(1, 8)]
    if d.flag():
        attributes |= {"axes": (2, 3)}
        if d.flag():
            attributes["keep_aspect_ratio_policy"] = d.choice(["not_larger", "not_smaller"])
    else:
        sizes = [*x.shape[:2], *sizes]
    inputs = [x, None, None, ints(*sizes)]
    return Case(
        operator="Resize", inputs=inputs, attributes=attributes, opset=19, tolerance=tolerance
    )


def upsample(d: Draw) -> Case:
    scales = np.array([1, 1, d.integer(1, 3), d.integer(1, 3)], np.float32)
    attributes = {"mode": d.choice(["nearest", "linear"])}
    inputs = [d.image(), scales]
    return Case(operator="Upsample", inputs=inputs, attributes=attributes, opset=9, runtime=True)


def channel_norm(operator: str, count: int = 2) -> Drawing:
    def draw(d: Draw) -> Case:
        vectors = [d.positive(3), d.real(3)]
        attributes = {"epsilon": 0.125}
        return Case(
            operator=operator, inputs=[d.image(channels=3), *vectors], attributes=attributes
        )

    return draw


def group_norm(d: Draw) -> Case:
    opset = d.choice([18, 21])
    size = 2 if opset == 18 else 4
    attributes: dict[str, Any] = {"num_groups": 2} | ({"epsilon": 0.125} if d.flag() else {})
    inputs = [d.image(channels=4), d.positive(size), d.real(size)]
    return Case(
        operator="GroupNormalization",
        inputs=inputs,
        attributes=attributes,
        opset=opset,
        tolerance=1e-6,
    )


def layer_norm(d: Draw) -> Case:
    axis = d.choice([-1, 1, -2])
    sizes = {-1: (4,), 1: (3, 4), -2: (3, 4)}[axis]
    scale = d.positive(*sizes) if d.flag() else d.positive(sizes[-1])
    bias = [d.real(*sizes)] if d.flag() else []
    return Case(
        operator="LayerNormalization",
        inputs=[d.real(2, 3, 4), scale, *bias],
        attributes={"axis": axis, "epsilon": 0.125},
        outputs=d.choice([1, 3]),
        opset=17,
    )


def rms_norm(d: Draw) -> Case:
    axis, sizes = d.choice([(-1, (4,)), (1, (3, 4))])
    return Case(
        operator="RMSNormalization",
        inputs=[d.real(2, 3, 4), d.positive(*sizes)],
        attributes={"axis": axis, "epsilon": 0.125},
        opset=23,
    )


def lp_norm(d: Draw) -> Case:
    attributes = {"axis": d.integer(-3, 2), "p": d.integer(1, 2)}
    inputs = [d.real(2, 3, 4)]
    return Case(operator="LpNormalization", inputs=inputs, attributes=attributes, runtime=True)


def response_norm(d: Draw) -> Case:
    attributes = {"size": d.choice([1, 3, 5]), "alpha": 0.25, "beta": 0.5, "bias": 2.0}
    inputs = [d.image(channels=5)]
    return Case(operator="LRN", inputs=inputs, attributes=attributes, runtime=True)


def softmax(operator: str) -> Drawing:
    def draw(d: Draw) -> Case:
        attributes = {"axis": d.integer(-3, 2)} if d.flag() else {}
        opset = d.choice([11, 13])
        return Case(
            operator=operator,
            inputs=[d.real(2, 3, 4)],
            attributes=attributes,
            opset=opset,
            runtime=opset == 11,
        )

    return draw


def reduction(operator: str, since: int = 18) -> Drawing:
    """Axes are an input since this opset, and an attribute before."""

    def draw(d: Draw) -> Case:
        x = d.positive(2, 3, 4)
        attributes: dict[str, Any] = {"keepdims": d.flag()} if d.flag() else {}
        axes = d.axes(3)
        match d.integer(0, 3):
            case 0:
                return Case(operator=operator, inputs=[x], attributes=attributes, opset=18)
            case 1:
                attributes["noop_with_empty_axes"] = d.flag()
                inputs = [x, ints()]
                return Case(operator=operator, inputs=inputs, attributes=attributes, opset=18)
            case 2:
                attributes["axes"] = axes
                return Case(operator=operator, inputs=[x], attributes=attributes, opset=since - 1)
        return Case(operator=operator, inputs=[x, ints(*axes)], attributes=attributes, opset=18)

    return draw


def arg(operator: str) -> Drawing:
    def draw(d: Draw) -> Case:
        attributes = {
            "axis": d.integer(-3, 2),
            "keepdims": d.flag(),
            "select_last_index": d.flag(),
        }
        x = d.whole(0, 2, 2, 3, 4).astype(np.float64)
        return Case(operator=operator, inputs=[x], attributes=attributes, opset=13)

    return draw


def top_k(d: Draw) -> Case:
    attributes = {"axis": d.choice([-1, 1]), "largest": d.flag()}
    x = d.choice([d.real(2, 4, 5), d.whole(0, 2, 2, 4, 5).astype(np.float64)])
    inputs = [x, ints(d.integer(1, 4))]
    return Case(operator="TopK", inputs=inputs, attributes=attributes, outputs=2, opset=11)


def grid_sample(d: Draw) -> Case:
    mode = d.choice(["linear", "nearest", "cubic"])
    attributes = {
        "mode": mode,
        "padding_mode": d.choice(["zeros", "border", "reflection"]),
        "align_corners": d.flag(),
    }
    grid = d.random.uniform(-1.2, 1.2, size=(1, 3, 2, 2))
    return Case(
        operator="GridSample",
        inputs=[d.real(1, 2, 4, 5), grid],
        attributes=attributes,
        opset=20,
        runtime=mode == "cubic",
        tolerance=1e-5,
    )


def roi_align(d: Draw) -> Case:
    corners = np.sort(d.random.uniform(-2, 16, size=(3, 2, 2)), axis=1).reshape(3, 4)
    attributes = {
        "coordinate_transformation_mode": d.choice(["half_pixel", "output_half_pixel"]),
        "mode": d.choice(["avg", "max"]),
        "output_height": d.integer(1, 3),
        "output_width": d.integer(1, 3),
        "sampling_ratio": d.integer(0, 2),
        "spatial_scale": 0.5,
    }
    inputs = [d.real(2, 2, 5, 7), corners, d.whole(0, 1, 3)]
    return Case(operator="RoiAlign", inputs=inputs, attributes=attributes, runtime=True)


def global_norm(d: Draw) -> Case:
    attributes = {"p": d.integer(1, 3)}
    return Case(operator="GlobalLpPool", inputs=[d.image()], attributes=attributes, runtime=True)


def einsum(d: Draw) -> Case:
    shapes = {
        "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
        "ij -> ji": ((3, 4),),
        "nchw,nkc->nkhw": ((2, 3, 2, 2), (2, 5, 3)),
        "ij,jk": ((2, 3), (3, 4)),
        "...ij,j...->...i": ((5, 2, 3), (3, 5)),
        "b...,...b": ((3, 4), (2, 4, 3)),
        "iij->ji": ((3, 3, 2),),
    }
    equation = d.choice(list(shapes))
    inputs = [d.real(*shape) for shape in shapes[equation]]
    return Case(operator="Einsum", inputs=inputs, attributes={"equation": equation})


def cum_sum(d: Draw) -> Case:
    attributes = {"exclusive": d.flag(), "reverse": d.flag()}
    inputs = [d.real(3, 4), np.array(d.integer(-2, 1))]
    return Case(operator="CumSum", inputs=inputs, attributes=attributes)


def trilu(d: Draw) -> Case:
    offset = [np.array(d.integer(-2, 2))] if d.flag() else []
    return Case(operator="Trilu", inputs=[d.real(2, 3, 4), *offset], attributes={"upper": d.flag()})


def one_hot(d: Draw) -> Case:
    inputs = [d.whole(-4, 3, 2, 3), np.array(4), np.array([0.25, 2.0])]
    return Case(operator="OneHot", inputs=inputs, attributes={"axis": d.integer(-3, 2)})


def suppression(d: Draw) -> Case:
    corners = d.random.uniform(0, 1, size=(2, 8, 4))
    limits = [ints(d.integer(1, 4)), np.array([0.3], np.float32), np.array([0.2], np.float32)]
    inputs = [corners.astype(np.float32), d.random.random((2, 3, 8)).astype(np.float32), *limits]
    attributes = {"center_point_box": d.flag()}
    return Case(operator="NonMaxSuppression", inputs=inputs, attributes=attributes)


LAYERS: dict[str, Drawing] = {
    **{
        name: reduction(name)
        for name in (
            *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax"),
            *("ReduceMean", "ReduceMin", "ReduceProd", "ReduceSumSquare"),
        )
    },
    "ReduceSum": reduction("ReduceSum", since=13),
    "ArgMax": arg("ArgMax"),
    "ArgMin": arg("ArgMin"),
    "AveragePool": average_pool,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "CumSum": cum_sum,
    "Einsum": einsum,
    "Gemm": gemm,
    "GlobalAveragePool": global_pool("GlobalAveragePool"),
    "GlobalMaxPool": global_pool("GlobalMaxPool"),
    "GlobalLpPool": global_norm,
    "GridSample": grid_sample,
    "GroupNormalization": group_norm,
    "InstanceNormalization": channel_norm("InstanceNormalization"),
    "Hardmax": softmax("Hardmax"),
    "LRN": response_norm,
    "LayerNormalization": layer_norm,
    "RoiAlign": roi_align,
    "LogSoftmax": softmax("LogSoftmax"),
    "LpNormalization": lp_norm,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "NonMaxSuppression": suppression,
    "OneHot": one_hot,
    "RMSNormalization": rms_norm,
    "Resize": resize,
    "Softmax": softmax("Softmax"),
    "TopK": top_k,
    "Trilu": trilu,
    "Upsample": upsample,
}

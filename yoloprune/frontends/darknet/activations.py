"""Darknet's activations as nodes.

Formulas: darknet `src/activations.h`. Those in pieces are written without comparisons, for which
inference engines have no fast kernels: clipping x to the middle piece leaves the rest to the outer
ones.
"""

from collections.abc import Callable

from yoloprune.graph.builder import GraphBuilder

Lowering = Callable[[GraphBuilder, str, str], str]
"""Adds an activation of a value: (graph, name for its last node, value) -> the new value."""


def _operator(operator: str, **attributes: float) -> Lowering:
    def lower(graph: GraphBuilder, name: str, x: str) -> str:
        return graph.node(name, operator, x, **attributes)

    return lower


def _linear(graph: GraphBuilder, name: str, x: str) -> str:
    return x


def _loggy(graph: GraphBuilder, name: str, x: str) -> str:  # 2 sigmoid(x) - 1
    half = graph.node(f"{name}.half", "Mul", x, graph.constant(f"{name}.factor", 0.5))
    return graph.node(name, "Tanh", half)


def _mish(graph: GraphBuilder, name: str, x: str) -> str:  # x tanh(log(1 + e^x))
    softplus = graph.node(f"{name}.softplus", "Softplus", x)
    return graph.node(name, "Mul", x, graph.node(f"{name}.tanh", "Tanh", softplus))


def _swish(graph: GraphBuilder, name: str, x: str) -> str:
    return graph.node(name, "Mul", x, graph.node(f"{name}.sigmoid", "Sigmoid", x))


def _gelu(graph: GraphBuilder, name: str, x: str) -> str:
    # x/2 (1 + tanh(0.797885 x + 0.035677 x^3)), as x (1/2 + tanh(...)/2).
    square = graph.node(f"{name}.square", "Mul", x, x)
    cubic = graph.node(f"{name}.cubic", "Mul", square, graph.constant(f"{name}.third", 0.035677))
    factor = graph.node(f"{name}.factor", "Add", cubic, graph.constant(f"{name}.first", 0.797885))
    tanh = graph.node(f"{name}.tanh", "Tanh", graph.node(f"{name}.inner", "Mul", x, factor))
    half = graph.constant(f"{name}.half", 0.5)
    gate = graph.node(f"{name}.gate", "Add", graph.node(f"{name}.halved", "Mul", tanh, half), half)
    return graph.node(name, "Mul", x, gate)


def _selu(graph: GraphBuilder, name: str, x: str) -> str:  # with darknet's rounded constants
    elu = graph.node(f"{name}.elu", "Elu", x, alpha=1.6732)
    return graph.node(name, "Mul", elu, graph.constant(f"{name}.factor", 1.0507))


def _ramp(graph: GraphBuilder, name: str, x: str) -> str:  # max(x, 0) + 0.1 x
    slope = graph.node(f"{name}.slope", "Mul", x, graph.constant(f"{name}.factor", 0.1))
    return graph.node(name, "Add", graph.node(f"{name}.relu", "Relu", x), slope)


def _hard_mish(graph: GraphBuilder, name: str, x: str) -> str:  # x clip(x/2 + 1, 0, 1)
    gate = graph.node(f"{name}.gate", "HardSigmoid", x, alpha=0.5, beta=1.0)
    return graph.node(name, "Mul", x, gate)


def _clip(graph: GraphBuilder, name: str, x: str, low: float, high: float) -> str:
    bounds = graph.constant(f"{name}.low", low), graph.constant(f"{name}.high", high)
    return graph.node(name, "Clip", x, *bounds)


def _clipped(low: float, high: float) -> Lowering:
    def lower(graph: GraphBuilder, name: str, x: str) -> str:
        return _clip(graph, name, x, low, high)

    return lower


def _outside(
    graph: GraphBuilder, name: str, x: str, low: float, high: float, slope: float
) -> tuple[str, str]:
    """x within the bounds, and `slope` times how far x lies outside of them."""
    inside = _clip(graph, f"{name}.inside", x, low, high)
    beyond = graph.node(f"{name}.beyond", "Sub", x, inside)
    factor = graph.constant(f"{name}.factor", slope)
    return inside, graph.node(f"{name}.outside", "Mul", beyond, factor)


def _lhtan(graph: GraphBuilder, name: str, x: str) -> str:
    # 0.001 x below 0; x between 0 and 1; 1 + 0.001 (x - 1) above.
    return graph.node(name, "Add", *_outside(graph, name, x, 0.0, 1.0, 0.001))


def _plse(graph: GraphBuilder, name: str, x: str) -> str:
    # 0.01 (x + 4) below -4; x/8 + 1/2 between -4 and 4; 1 + 0.01 (x - 4) above.
    _, outside = _outside(graph, name, x, -4.0, 4.0, 0.01)
    middle = graph.node(f"{name}.middle", "HardSigmoid", x, alpha=0.125, beta=0.5)
    return graph.node(name, "Add", middle, outside)


def _stair(graph: GraphBuilder, name: str, x: str) -> str:
    # floor(x / 2), and x - floor(x) more where floor(x) is odd.
    halved = graph.node(f"{name}.halved", "Mul", x, graph.constant(f"{name}.half", 0.5))
    flight = graph.node(f"{name}.flight", "Floor", halved)
    step = graph.node(f"{name}.step", "Floor", x)
    even = graph.node(f"{name}.even", "Add", flight, flight)
    odd = graph.node(f"{name}.odd", "Sub", step, even)
    rise = graph.node(f"{name}.rise", "Sub", x, step)
    return graph.node(name, "Add", flight, graph.node(f"{name}.climb", "Mul", odd, rise))


ACTIVATIONS: dict[str, Lowering] = {
    "elu": _operator("Elu", alpha=1.0),
    "gelu": _gelu,
    "hard_mish": _hard_mish,
    "hardtan": _clipped(-1.0, 1.0),
    "leaky": _operator("LeakyRelu", alpha=0.1),
    "lhtan": _lhtan,
    "linear": _linear,
    "loggy": _loggy,
    "logistic": _operator("Sigmoid"),
    "mish": _mish,
    "plse": _plse,
    "ramp": _ramp,
    "relie": _operator("LeakyRelu", alpha=0.01),
    "relu": _operator("Relu"),
    "relu6": _clipped(0.0, 6.0),
    "selu": _selu,
    "stair": _stair,
    "swish": _swish,
    "tanh": _operator("Tanh"),
}
"""By the name in a cfg."""

"""Gates that torch has a function for."""

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph


def gated(*, tapped: bool = False) -> Graph:
    """silu(x) + mish(x); with `tapped`, the sigmoid is an output too."""
    graph = GraphBuilder(opset=17)
    x = graph.input("x", ("n",))
    sigmoid = graph.node("sigmoid", "Sigmoid", x)
    silu = graph.node("silu", "Mul", sigmoid, x)
    tanh = graph.node("tanh", "Tanh", graph.node("softplus", "Softplus", x))
    y = graph.node("y", "Add", silu, graph.node("mish", "Mul", x, tanh))
    return graph.build({y: ("n",)} | ({sigmoid: ("n",)} if tapped else {}))

"""A small graph by hand."""

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph


def scaled_pool(size: int = 2) -> Graph:
    """A pool and a product, by hand."""
    graph = GraphBuilder(opset=15)
    x = graph.input("x", ("n", 1, 4, 4))
    pool = graph.node("pool", "MaxPool", x, kernel_shape=(size, size), strides=(2, 2))
    y = graph.node("y", "Mul", pool, graph.parameter("factor", (1, 1, 1, 1)))
    return graph.build({graph.node("z", "Add", y, graph.constant("one", 1.0)): ("n", 1, 2, 2)})

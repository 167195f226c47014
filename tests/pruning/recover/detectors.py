"""Small detectors of a kind that exporters make: objectness and classes of layers of their own."""

import torch
from torch import Tensor

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph
from yoloprune.pruning.recover.score_rows import Scored

NOISE = torch.randn(64, 6, 8, 8, generator=torch.Generator().manual_seed(0))


def detector(*, shares: bool) -> tuple[Graph, dict[str, Tensor], dict[str, Scored]]:
    """An output (B, 64, 2 + 1 + 3) of places, objectness, classes; few places are sure."""
    g = GraphBuilder(opset=17)
    x = g.input("x", ("batch", 6, 8, 8))

    def conv(name: str, filters: int) -> str:
        kernel = g.parameter(f"{name}.kernel", (filters, 6, 1, 1))
        return g.node(name, "Conv", x, kernel, g.parameter(f"{name}.bias", (filters,)))

    place, sure, kind = conv("place", 2), conv("sure", 1), conv("kind", 3)
    norm = [g.parameter(f"kind.{name}", (3,)) for name in ("scale", "shift", "mean", "variance")]
    kind = g.node("kind_norm", "BatchNormalization", kind, *norm)
    sure = g.node("sure_sigmoid", "Sigmoid", sure)
    kind = (
        g.node("kind_softmax", "Softmax", kind, axis=1)
        if shares
        else g.node("kind_sigmoid", "Sigmoid", kind)
    )
    joined = g.node("joined", "Concat", place, sure, kind, axis=1)
    flat = g.reshape("flat", joined, (0, 6, 64))
    graph = g.build({g.node("out", "Transpose", flat, perm=(0, 2, 1)): ("batch", 64, 6)})
    generator = torch.Generator().manual_seed(1)
    parameters = {
        name: torch.randn(array.shape, generator=generator)
        for name, array in graph.parameters.items()
    }
    parameters |= {"sure.bias": torch.tensor([-5.0]), "kind.variance": torch.ones(3)}
    return graph, parameters, {"out": Scored(axis=2, objectness=(2,), classes=(3, 4, 5))}

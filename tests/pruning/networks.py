"""Networks run and cut on their graphs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import edit
from yoloprune.graph.graph import Graph
from yoloprune.pruning import verification
from yoloprune.pruning.cut import cut
from yoloprune.pruning.groups import DependencyGraph
from yoloprune.pruning.plan import PruningPlan
from yoloprune.pruning.prove import outputs
from yoloprune.pruning.verification import compare

Network = tuple[Graph, dict[str, Tensor]]


def slim_of(
    dependencies: DependencyGraph,
    parameters: Mapping[str, Tensor],
    plan: PruningPlan,
) -> Network:
    """What a plan leaves of a network."""
    return edit(dependencies.graph, parameters, cut(dependencies, plan))


def outputs_of(network: tuple[Graph, Mapping[str, Tensor]], images: Tensor) -> list[Tensor]:
    """A network's outputs in the images' dtype."""
    graph, parameters = network
    (name,) = graph.inputs
    return list(outputs(graph, parameters, {name: images}))


def relative_error(found: list[Tensor], expected: list[Tensor]) -> float:
    """The largest over outputs of max |a - b| / max |b|."""
    return compare(tuple(found), tuple(expected)).relative_error


def random_images(graph: Graph, *, count: int = 1, seed: int = 0) -> Tensor:
    """Uniform noise in [0, 1): (B, C, H, W) float64."""
    (images,) = verification.random_images(graph, seed=seed, batch=count).values()
    return images


def every_contraction(*, tapped: bool = False) -> Graph:
    """Every contraction once; with `tapped`, what the batch norm reads is an output too."""
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 4, 6, 6))
    norm = [graph.parameter(f"norm.{name}", (6,)) for name in ("scale", "bias", "mean", "variance")]
    grouped = graph.parameter("conv.kernel", (6, 2, 3, 3))
    x = graph.node("conv", "Conv", x, grouped, group=2, pads=(1, 1, 1, 1))
    before = x
    x = graph.node("norm", "BatchNormalization", x, *norm, epsilon=1e-3)
    deconv = graph.parameter("deconv.kernel", (6, 4, 2, 2)), graph.parameter("deconv.bias", (8,))
    x = graph.node("leaky", "LeakyRelu", x, alpha=0.1)
    x = graph.node("deconv", "ConvTranspose", x, *deconv, group=2, strides=(2, 2))
    x = graph.node("pool", "GlobalAveragePool", x)
    x = graph.node("flat", "Flatten", x)
    x = graph.node("gemm", "Gemm", x, graph.parameter("gemm.kernel", (8, 5)))
    x = graph.node("turned", "Gemm", x, graph.parameter("turned.kernel", (3, 5)), transB=1)
    x = graph.node("active", "Relu", x)
    x = graph.node("product", "MatMul", x, graph.parameter("product.kernel", (3, 7)))
    x = graph.node("sum", "Add", x, graph.parameter("product.bias", (7,)))
    x = graph.node("last", "MatMul", x, graph.parameter("last.kernel", (7, 2)))
    outputs: dict[str, tuple[int | str, ...]] = {x: ("batch", 2)}
    return graph.build(outputs | ({before: ("batch", 6, 6, 6)} if tapped else {}))


def random_parameters(graph: Graph, seed: int = 0) -> dict[str, Tensor]:
    """Numbers of order one, variances positive: float64."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, parameter in graph.parameters.items():
        values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        found[name] = values.abs() + 0.5 if name.endswith("variance") else values
    return found

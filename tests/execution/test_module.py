"""A graph as a module: what it computes, in training too, and what it promises as a module."""

import copy
import weakref

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch import Tensor, nn

from tests import random_graphs
from tests.architectures import ARCHITECTURES
from tests.execution.gates import gated
from tests.pruning.networks import every_contraction, random_parameters
from tests.random_networks import random_state
from yoloprune.errors import GraphError
from yoloprune.execution.module import Network
from yoloprune.execution.stream import arrays_like, computed
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.zoo import NETWORKS
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph

BUILDERS = NETWORKS | ARCHITECTURES
SLOW = [HealthCheck.too_slow]


def close(found: Tensor, expected: Tensor) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_a_training_step_is_that_of_torch_s_own_layers() -> None:
    torch.manual_seed(0)
    theirs = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1, bias=False),
        nn.BatchNorm2d(6, eps=1e-3),
        nn.LeakyReLU(0.1),
        nn.Conv2d(6, 4, 3, stride=2, groups=2),
        nn.BatchNorm2d(4, eps=1e-3),
        nn.SiLU(),
    ).double()
    nn.init.normal_(theirs[1].weight)
    nn.init.normal_(theirs[4].running_mean)
    graph, names = GraphBuilder(opset=17), {}

    def parameter(name: str, theirs: str, shape: tuple[int, ...]) -> str:
        names[name] = theirs
        return graph.parameter(name, shape)

    def norm(place: int, channels: int, x: str) -> str:
        kinds = ("weight", "bias", "running_mean", "running_var")
        arrays = [parameter(f"n{place}.{kind}", f"{place}.{kind}", (channels,)) for kind in kinds]
        return graph.node(f"n{place}", "BatchNormalization", x, *arrays, epsilon=1e-3)

    x = graph.input("x", ("n", 3, 9, 9))
    first = parameter("first", "0.weight", (6, 3, 3, 3))
    x = norm(1, 6, graph.node("c0", "Conv", x, first, pads=(1, 1, 1, 1)))
    x = graph.node("leaky", "LeakyRelu", x, alpha=0.1)
    second = parameter("second", "3.weight", (4, 3, 3, 3)), parameter("bias", "3.bias", (4,))
    x = norm(4, 4, graph.node("c3", "Conv", x, *second, strides=(2, 2), group=2))
    y = graph.node("y", "Mul", x, graph.node("sigmoid", "Sigmoid", x))
    state = theirs.state_dict()
    built = graph.build({y: ("n", 4, 4, 4)})
    ours = Network(built, {name: state[other] for name, other in names.items()}).train()
    theirs.train()
    images = torch.rand(5, 3, 9, 9, dtype=torch.float64)
    for _ in range(2):
        (found,), expected = ours(images), theirs(images)
        close(found, expected)
        found.square().mean().backward()
        expected.square().mean().backward()
    state = theirs.state_dict()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, other in names.items():
        close(ours.array(name).detach(), state[other])
        if other in gradients:
            close(ours.array(name).grad, gradients[other])


@settings(max_examples=40, suppress_health_check=SLOW)
@given(random_graphs.graphs())
def test_random_graphs_compute_what_their_nodes_give(graph: Graph) -> None:
    arrays = random_graphs.random_parameters(graph)
    (name,) = graph.inputs
    shape = [size if isinstance(size, int) else 2 for size in graph.inputs[name].shape]
    images = torch.rand(shape, dtype=torch.float64)
    known = arrays_like(graph, arrays, images)
    expected = computed(graph, known, {name: images}, list(graph.outputs))
    network = Network(graph, arrays).eval()
    for module in (network, network.for_inference()):
        with torch.no_grad():
            for found, own in zip(module(images), expected.values(), strict=True):
                torch.testing.assert_close(found, own, rtol=1e-10, atol=1e-10)


def test_the_copy_for_inference_folds_norms_and_leaves_the_network() -> None:
    graph, arrays = every_contraction(), random_parameters(every_contraction())
    network = Network(graph, arrays).train()
    fast = network.for_inference()
    operators = {node.operator for node in fast.graph.nodes}
    assert "BatchNormalization" not in operators and not fast.training and network.training
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    assert fast.graph.parameters.keys() < graph.parameters.keys()
    for name, array in network.state().items():
        assert torch.equal(array, arrays[name])


def test_every_value_is_seen_and_may_be_replaced() -> None:
    graph, seen = gated(), []

    def observe(name: str, value: Tensor) -> Tensor:
        seen.append(name)
        return torch.zeros_like(value) if name == "mish" else value

    x = torch.linspace(-2, 2, 9)
    (y,) = Network(graph, {})(x, observe=observe)
    assert seen == [name for node in graph.nodes for name in node.outputs]
    torch.testing.assert_close(y, nn.functional.silu(x))


def test_other_arrays_stand_in_for_parameters() -> None:
    graph = GraphBuilder(opset=17)
    x, y = graph.input("x", ("n",)), graph.parameter("y", (1,))
    network = Network(graph.build({graph.node("sum", "Add", x, y): ("n",)}), {"y": torch.ones(1)})
    other = torch.full((1,), 2.0, requires_grad=True)
    (found,) = network(torch.zeros(3), arrays={"y": other})
    torch.autograd.backward(found.sum())
    assert found.tolist() == [2, 2, 2] and other.grad is not None and other.grad.item() == 3
    assert network(torch.zeros(3))[0].tolist() == [1, 1, 1]


def test_values_are_freed_after_their_last_reader() -> None:
    graph = GraphBuilder(opset=17)
    x = graph.input("x", ("n",))
    for number in range(4):
        x = graph.node(f"relu_{number}", "Relu", x)
    alive: list[weakref.ref[Tensor]] = []
    most = 0

    def observe(name: str, value: Tensor) -> Tensor:
        nonlocal most
        alive.append(weakref.ref(value))
        most = max(most, sum(each() is not None for each in alive))
        return value

    with torch.no_grad():
        Network(graph.build({x: ("n",)}), {})(torch.ones(3), observe=observe)
    assert most == 2


def scaled(*names: str) -> Graph:
    """The input times parameters of these names, one after the other."""
    graph = GraphBuilder(opset=17)
    x = graph.input("x", (3,))
    for number, name in enumerate(names):
        x = graph.node(f"y_{number}", "Mul", x, graph.parameter(name, (3,)))
    return graph.build({x: (3,)})


def test_any_name_will_do_for_a_parameter() -> None:
    names = ("a.b", "a", "a%2Eb", "training", "forward", "a..b", "/x:0", "weight")
    graph = scaled(*names)
    arrays = {name: torch.full((3,), float(i + 1)) for i, name in enumerate(names)}
    network = Network(graph, arrays)
    assert list(network.state()) == list(names)
    assert all(torch.equal(array, arrays[name]) for name, array in network.state().items())
    (y,) = copy.deepcopy(network)(torch.ones(3))
    assert y.tolist() == [40320.0] * 3
    assert len(list(network.parameters())) == len(names)


def test_parameters_are_copied_both_ways_and_checked() -> None:
    graph, arrays = scaled("a", "b"), {"a": torch.ones(3), "b": torch.ones(3)}
    network = Network(graph, arrays)
    arrays["a"].zero_()
    network.state()["a"].zero_()
    assert network.state()["a"].tolist() == [1, 1, 1]
    network.load({"b": torch.full((3,), 2.0)})
    assert network(torch.ones(3))[0].tolist() == [2, 2, 2]
    with pytest.raises(GraphError, match="no parameter c"):
        network.load({"c": torch.ones(3)})
    with pytest.raises(GraphError, match=r"the parameter a is \(3,\), not \(2,\)"):
        network.load({"b": torch.zeros(3), "a": torch.ones(2)})
    assert network.state()["b"].tolist() == [2, 2, 2]
    with pytest.raises(GraphError, match="not those of the graph: b, c differ"):
        Network(graph, {"a": torch.ones(3), "c": torch.ones(3)})


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_computes_in_the_dtype_that_it_is_told(dtype: torch.dtype) -> None:
    spec = NETWORKS["yolov3-tiny"](classes=1, width=0.0625, size=(32, 64))
    network = Network(lower(spec), parameters(random_state(spec)), dtype=dtype).eval()
    with torch.no_grad():
        outputs = network(torch.rand(1, *spec.input_shape, dtype=dtype))
    assert {output.dtype for output in outputs} == {dtype}


@pytest.mark.parametrize("opset", [11, 13])
def test_dropout_drops_where_it_trains(opset: int) -> None:
    graph = GraphBuilder(opset=opset)
    x = graph.input("x", ("n",))
    told = [graph.constant("ratio", 0.25)] if opset > 11 else []
    y = graph.node("y", "Dropout", x, *told, **({} if told else {"ratio": 0.25}))
    network = Network(graph.build({y: ("n",)}), {})
    torch.manual_seed(1)
    (dropped,) = network.train()(torch.ones(10000))
    assert sorted(set(dropped.tolist())) == [0.0, pytest.approx(4 / 3)]
    assert (dropped == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert network.eval()(torch.ones(5))[0].tolist() == [1] * 5


def test_a_graph_by_hand_learns() -> None:
    graph = every_contraction()
    network = Network(graph, random_parameters(graph)).train()
    images = torch.rand(4, 4, 6, 6, dtype=torch.float64)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    losses = []
    for _ in range(5):
        loss = sum(output.square().mean() for output in network(images))
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


def told() -> Graph:
    """What nodes are told by constants: shapes, bounds, sizes, scales, limits."""
    graph = GraphBuilder(opset=17)
    x = graph.input("images", ("batch", 4, "height", "width"))
    x = graph.node("clip", "Clip", x, graph.constant("low", 0.25), graph.constant("high", 0.75))
    kernel = graph.parameter("kernel", (4, 1, 3, 3))
    x = graph.node("conv", "Conv", x, kernel, pads=(1,) * 4, group=4)
    a, b = graph.nodes("parts", "Split", x, graph.constant("sizes", [1, 3]), outputs=2, axis=1)
    x = graph.node("joined", "Concat", graph.part("second", b, 1, 1, 2), a, axis=1)
    x = graph.node("pool", "MaxPool", x, kernel_shape=(2, 2), pads=(0, 0, 1, 1))
    scales = graph.constant("scales", (1, 1, 2, 2), dtype="float32")
    modes = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    x = graph.node("resized", "Resize", x, "", scales, mode="nearest", **modes)
    x = graph.reshape("pairs", graph.reshape("rows", x, (0, 0, -1)), (0, 2, 2, -1))
    axes = graph.constant("axes", [1])
    x = graph.node("back", "Squeeze", graph.node("front", "Unsqueeze", x, axes), axes)
    return graph.build({x: ("batch", 2, 2, "pixels")})


def test_torch_compiles_it_whole() -> None:
    graph = told()
    network = Network(graph, random_parameters(graph), dtype=torch.float32).train()
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    for size in ((8, 4), (12, 6)):
        images = torch.rand(2, 4, *size)
        (found,) = compiled(images)
        # Observed, nodes are run as they are.
        (expected,) = network(images, observe=lambda name, value: value)
        torch.testing.assert_close(found, expected)

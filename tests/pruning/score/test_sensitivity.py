from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.pruning.score.convolutions import CFG
from tests.random_networks import random_state
from yoloprune.execution.stream import arrays_like, computed
from yoloprune.frontends.darknet.curvature import curvatures
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.graph import Graph, Node, ValueType
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.score.sensitivity import sensitivities

HEADED = """[net]
height=6
width=6
channels=3
[convolutional]
filters=4
size=1
activation=linear
[convolutional]
batch_normalize=1
filters=5
size=3
pad=1
activation=leaky
[convolutional]
filters=7
size=1
activation={activation}
[yolo]
anchors=8,8
mask=0
num=1
classes=2
new_coords={new_coords}
"""


def test_a_single_output_value_gives_finite_sensitivities() -> None:
    text = CFG.replace("height=10", "height=1").replace("width=10", "width=1")
    spec = parse_cfg(text)
    images = torch.rand(3, 3, 1, 1, dtype=torch.float64)
    weights = sensitivities(analyze(lower(spec)), parameters(random_state(spec)), images)
    assert all(values.isfinite().all() for values in weights.values())


@pytest.mark.parametrize(("activation", "new_coords"), [("linear", 0), ("logistic", 1)])
def test_sensitivity_predicts_the_divergence_that_noise_makes(
    activation: str, new_coords: int
) -> None:
    spec = parse_cfg(HEADED.format(activation=activation, new_coords=new_coords))
    graph, state = analyze(lower(spec)), parameters(random_state(spec, 0))
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(1, *spec.input_shape, dtype=torch.float64, generator=generator)
    # Many probes of the same image stand for the expectation.
    images, size = image.expand(1500, -1, -1, -1), 1e-3
    weights = sensitivities(graph, state, images, curvatures(spec))
    noisy = Graph(
        opset=graph.graph.opset,
        inputs={**graph.graph.inputs, "noise": ValueType(shape=(1500, 4, 6, 6), dtype="float64")},
        parameters=graph.graph.parameters,
        constants=graph.graph.constants,
        nodes=_noisy(graph.graph.nodes),
        outputs=graph.graph.outputs,
    )
    arrays = arrays_like(noisy, state, image)
    noise = torch.randn((1500, 4, 6, 6), dtype=torch.float64, generator=generator)
    with torch.no_grad():
        clean, changed = (
            computed(noisy, arrays, {"images": images, "noise": own}, noisy.outputs)["head_3"]
            for own in (0 * noise, size * noise)
        )
    found = divergence(clean, changed, logits=not new_coords) / 1500
    # Layer 0 has neither batch norm nor an activation: its output is what the weights are of.
    arrays = arrays_like(graph.graph, state, image)
    given = computed(graph.graph, arrays, {"images": image}, ["layer_0.conv"])["layer_0.conv"]
    at_outputs = weights["layer_0.conv"].square() * given.var(dim=(0, 2, 3), correction=0)
    assert found == pytest.approx(size**2 * float(at_outputs.sum()) / 2, rel=0.1)


def _noisy(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Layer 0's output, with what is given as noise added."""
    (first, *rest) = nodes
    add = Node(name="noisy", operator="Add", inputs=(first.outputs[0], "noise"), outputs=("noisy",))
    renamed = [
        replace(n, inputs=tuple("noisy" if i == first.outputs[0] else i for i in n.inputs))
        for n in rest
    ]
    return (first, add, *renamed)


def divergence(clean: torch.Tensor, changed: torch.Tensor, *, logits: bool) -> float:
    """Kullback-Leibler of objectness and classes; half the squared change of boxes.

    Objectness and boxes count as far as any class is there.
    """
    p, q = (x.sigmoid() if logits else x for x in (clean, changed))
    each = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    objectness, known = p[:, 4:5], 1 - (1 - p[:, 5:]).prod(dim=1, keepdim=True)
    boxes = (objectness * known * (clean - changed)[:, :4].square()).sum() / 2
    return float(boxes + (known * each[:, 4:5]).sum() + (objectness * each[:, 5:]).sum())


def test_an_error_counts_by_what_it_does_at_the_outputs_and_by_its_share_in_the_variance() -> None:
    graph = GraphBuilder(opset=17, dtype="float64")
    x = graph.input("x", ("batch", 1, 40, 40))
    a = graph.node("a", "Conv", x, graph.parameter("a.kernel", (3, 1, 1, 1)))
    y = graph.node("y", "Conv", a, graph.parameter("y.kernel", (1, 3, 1, 1)))
    dependencies = analyze(graph.build({y: ("batch", 1, 40, 40)}))
    arrays = {
        "a.kernel": torch.tensor([2.0, 0.5, 0.0], dtype=torch.float64).reshape(3, 1, 1, 1),
        "y.kernel": torch.tensor([1.0, 3.0, 1.0], dtype=torch.float64).reshape(1, 3, 1, 1),
    }
    image = torch.arange(4, dtype=torch.float64).repeat(1, 1, 40, 10)
    weights = sensitivities(dependencies, arrays, image.expand(4, -1, -1, -1))
    # The image varies by 1.25, the output by (2 + 1.5)^2 times that: at each of the places an error
    # of the output counts 1 / that, one of a filter as much times its square in y.
    varied = 3.5**2 * 1.25
    at_outputs = 1600 * np.array([1.0, 9.0]) / varied
    expected = np.sqrt(at_outputs / (1.25 * np.array([4.0, 0.25])))
    np.testing.assert_allclose(weights["a"][:2].numpy(), expected, rtol=0.04)
    assert weights["a"][2] == 0
    np.testing.assert_allclose(weights["y"].numpy(), np.sqrt(1600) / varied, rtol=0.04)

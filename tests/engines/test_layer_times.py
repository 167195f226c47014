"""Layers timed between others, by a stopwatch that is not the wall's."""

from dataclasses import replace

import pytest

from yoloprune.engines import layer_times
from yoloprune.engines.layer_times import LayerTimer, between, copies_of, fastest, sandwich
from yoloprune.graph.cost import cost
from yoloprune.graph.graph import Graph
from yoloprune.graph.shapes import facts
from yoloprune.pruning.layer_times import Layer

LAYER = Layer(
    kernel=(3, 3),
    strides=(2, 2),
    dilations=(1, 1),
    pads=(1, 1, 1, 1),
    groups=1,
    height=8,
    width=6,
    inputs=24,
    outputs=10,
    activation="LeakyRelu",
)

SAME = replace(LAYER, strides=(1, 1))
"""As large after it as before it, so that it can follow itself."""


def macs(graph: Graph) -> int:
    return cost(graph, facts(graph).shapes).macs


@pytest.mark.parametrize("layer", [SAME, replace(SAME, groups=24, outputs=24)])
def test_a_sandwich_holds_the_layer_and_what_is_around_it(layer: Layer) -> None:
    once, twice = (macs(sandwich(layer, n)) for n in (1, 2))
    narrow = layer_times.NARROW
    assert once == twice - once == layer.macs + 48 * (24 + layer.outputs) * narrow
    assert macs(between(24, (8, 6), 2)) == 2 * macs(between(24, (8, 6), 1))
    assert macs(between(24, (8, 6), 1)) == 2 * 48 * 24 * narrow


def test_what_is_around_a_layer_is_taken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine that takes a microsecond for each run and a nanosecond for each MAC.
    asked: list[Graph] = []

    def told(self: LayerTimer, graph: Graph, longer: int = 1) -> float:
        asked.append(graph)
        return 1e-3 + 1e-6 * macs(graph)

    monkeypatch.setattr(LayerTimer, "_fastest", told)
    depthwise = replace(LAYER, groups=24, outputs=24)
    layers = [LAYER, depthwise, SAME]
    found = LayerTimer("onnxruntime", 1)(layers)
    assert found == pytest.approx({k: 1e-6 * k.macs for k in layers})
    # Three layers, what is around each once and twice, and before all the same.
    assert len(asked) == 3 + 2 * 4
    assert [copies_of(layer) for layer in layers] == [1, 1, layer_times.COPIES]
    assert copies_of(replace(SAME, height=800, width=600, outputs=160)) == 1


def test_the_fastest_run_counts_and_the_first_do_not() -> None:
    times = iter([0.1, 0.2, 9.0, 7.0, 8.0, 7.5, 6.0, 0.5])
    assert fastest(lambda: next(times), least=5, most=9, enough=30.0) == 6.0


def test_a_layer_is_timed_in_an_engine() -> None:
    (ms,) = LayerTimer("torch", 1)([replace(LAYER, inputs=8)]).values()
    assert ms > 0

"""Stretch by stretch gives what all at once gives, and holds no more than it says."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pruning.networks import every_contraction, random_parameters
from tests.random_networks import network_specs, random_state
from yoloprune.errors import GraphError
from yoloprune.execution.stream import (
    Stream,
    arrays_like,
    batched,
    chunked,
    computed,
    fitting,
    held,
    only_input,
    stretches,
)
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.graph.graph import Graph, ValueType
from yoloprune.graph.shapes import facts


@given(spec=network_specs(max_blocks=6), seed=st.integers(0, 9))
@settings(max_examples=20)
def test_it_computes_what_the_network_gives(spec: NetworkSpec, seed: int) -> None:
    graph, arrays = lower(spec), parameters(random_state(spec))
    images = torch.rand(3, *spec.input_shape, dtype=torch.float64)
    names = [name for node in graph.nodes for name in node.outputs]
    whole = computed(graph, arrays_like(graph, arrays, images), {"images": images}, names)
    generator = torch.Generator().manual_seed(seed)
    stops = [node.name for node in graph.nodes if torch.rand(1, generator=generator) < 0.3]
    stream, parts = Stream(graph, arrays, [images[:2], images[2:]]), stretches(graph, stops)
    assert [node for part in parts for node in part] == list(graph.nodes)
    before = images[0].numel()
    assert stream.known(next(iter(graph.outputs)), 0) is None
    for part, limit in zip(parts, held(graph, facts(graph).shapes, parts), strict=True):
        for node in part[:1]:
            for name in node.inputs:
                if name in whole:
                    found = torch.cat([stream.value(name, n) for n in range(2)])
                    assert all(stream.known(name, n) is stream.value(name, n) for n in range(2))
                    assert torch.allclose(found, whole[name], atol=1e-12)
        for chunk in range(2):
            most = 0
            for node in part:
                given = stream.run([node], chunk)
                expected = whole[node.outputs[0]][2 * chunk :][:2]
                assert given is not None and torch.allclose(given, expected, atol=1e-12)
                most = max(most, values_in(stream, chunk))
        assert max(before, values_in(stream, 1)) == limit.between
        assert most <= limit.between + limit.passing
        before = values_in(stream, 1)


def values_in(stream: Stream, chunk: int) -> int:
    """How many are held for each image of a chunk."""
    return sum(value.numel() // len(value) for value in stream._runs[chunk].values.values())


def test_a_parameter_can_be_changed_before_its_node_runs() -> None:
    graph = every_contraction()
    arrays = random_parameters(graph)
    images = torch.rand(2, 4, 6, 6, dtype=torch.float64)
    stream, stop = Stream(graph, arrays, [images]), "gemm"
    first, rest = stretches(graph, [stop])
    stream.run(first, 0)
    stream.load({"gemm.kernel": 2 * arrays["gemm.kernel"]})
    given = stream.run(rest, 0)
    changed = {**arrays, "gemm.kernel": 2 * arrays["gemm.kernel"]}
    expected = computed(graph, arrays_like(graph, changed, images), {"images": images}, ["last"])
    assert given is not None and torch.allclose(given, expected["last"])


def with_batch(size: int | str) -> Graph:
    graph = every_contraction()
    images = replace(graph.inputs["images"], shape=(size, 4, 6, 6))
    return replace(graph, inputs={"images": images})


def test_images_come_in_chunks_that_the_network_can_read() -> None:
    images = torch.zeros(7, 4, 6, 6)
    assert [len(chunk) for chunk in chunked(with_batch("batch"), images, 4)] == [4, 3]
    assert [len(chunk) for chunk in chunked(with_batch(3), images, 4)] == [3, 3]
    with pytest.raises(GraphError, match="reads 8 images at once: 7 are too few"):
        chunked(with_batch(8), images, 4)


def test_batches_are_even_and_hold_what_the_network_can_read() -> None:
    images = torch.zeros(23, 4, 6, 6)

    def sizes(size: int | str, most: int) -> list[int]:
        return [len(images[part]) for part in batched(with_batch(size), images, most)]

    assert sizes("batch", 30) == [23] and sizes("batch", 16) == [12, 11]
    assert sizes("batch", 8) == [8, 8, 7]
    # Whole chunks: what is left over is not given.
    assert sizes(4, 16) == [12, 11] and sizes(4, 9) == [8, 8, 7] and sizes(16, 8) == [16]
    # What none can be made of, `chunked` refuses.
    assert sizes(40, 8) == [23]


def test_as_many_images_run_as_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yoloprune.execution.stream.LIMIT", 100)
    assert fitting(20, 8, lambda images: 5 * images) == 20
    assert fitting(30, 8, lambda images: 5 * images) == 16
    assert fitting(24, 8, lambda images: 5 * images) == 16
    assert fitting(30, 8, lambda images: 50 * images) == 8
    # What batches leave for the next may be more than all take at once.
    assert fitting(30, 8, lambda images: 5 * images + 200 * (images < 30)) == 30


def test_a_network_that_reads_more_than_images_is_refused() -> None:
    graph = every_contraction()
    sizes = ValueType(shape=(1, 2), dtype="float32")
    with pytest.raises(GraphError, match=r"reads 2 inputs \(images, sizes\)"):
        only_input(replace(graph, inputs={**graph.inputs, "sizes": sizes}))

"""Edits by hand; that whole networks compute the same after them is `pruning.cut`'s law."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from yoloprune.graph.builder import GraphBuilder
from yoloprune.graph.edits import ArrayCut, Edits, Reading, as_stored, edit
from yoloprune.graph.graph import Graph, Node


def places(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def cut(*blocks: Mapping[int, np.ndarray]) -> ArrayCut:
    return ArrayCut(blocks=blocks)


def edits(arrays: Mapping[Reading, ArrayCut], **others: object) -> Edits:
    return Edits(**({"arrays": arrays, "constants": {}, "attributes": {}} | others))  # type: ignore[arg-type]


def shared() -> Graph:
    """Two products with one parameter of four numbers."""
    graph = GraphBuilder(opset=17)
    x, w = graph.input("x", ("n", 4)), graph.parameter("w", (4,))
    first, second = graph.node("first", "Mul", x, w), graph.node("second", "Mul", x, w)
    return graph.build({first: ("n", 4), second: ("n", 4)})


NUMBERS = {"w": torch.tensor([10.0, 11, 12, 13])}


def test_an_array_is_cut_block_by_block() -> None:
    array = np.arange(24).reshape(4, 6)
    whole = cut({0: places(1, 3), 1: places(0, 5)})
    assert whole.numbers(array).tolist() == [[6, 11], [18, 23]]
    halves = cut({0: places(1)}, {0: places(0, 1)})
    assert halves.numbers(array).tolist() == array[[1, 2, 3]].tolist()
    for each in (whole, halves):
        numbers = each.numbers(array)
        assert each.tensor(torch.from_numpy(array)).tolist() == numbers.tolist()
        assert each.shape(array.shape) == numbers.shape
    assert (halves.length(4), cut({1: places(0)}, {1: places(0)}).length(4)) == (3, 4)
    assert whole.same_as(cut({0: places(1, 3), 1: places(0, 5)}))
    assert not whole.same_as(cut({0: places(1, 2), 1: places(0, 5)}))
    assert not whole.same_as(halves)


def test_what_is_read_alike_keeps_its_name_and_the_rest_gets_one() -> None:
    same = edits({("first", 1): cut({0: places(0, 2)}), ("second", 1): cut({0: places(0, 2)})})
    graph, tensors = edit(shared(), NUMBERS, same)
    assert {name: tensor.tolist() for name, tensor in tensors.items()} == {"w": [10, 12]}
    assert graph.parameters["w"].shape == (2,)
    graph, tensors = edit(shared(), NUMBERS, edits({("second", 1): cut({0: places(3)})}))
    first, second = graph.nodes
    assert first.inputs[1] == "w" and tensors["w"] is NUMBERS["w"]
    assert tensors[second.inputs[1]].tolist() == [13]
    assert graph.parameters.keys() == tensors.keys() == {"w", second.inputs[1]}


def test_attributes_and_constants_are_changed_where_they_are_named() -> None:
    graph = GraphBuilder(opset=17)
    sizes = graph.constant("sizes", [1, 4])
    x = graph.input("x", ("n", 4))
    first, second = (graph.node(name, "Reshape", x, sizes, allowzero=0) for name in "ab")
    built = graph.build({first: (1, 4), second: (1, 4)})
    change = edits({}, constants={("b", 1): places(1, 2)}, attributes={"b": {"allowzero": 1}})
    a, b = edit(built, {}, change)[0].nodes
    assert a is built.nodes[0]
    assert b.attributes == {"allowzero": 1}
    after = edit(built, {}, change)[0].constants
    assert [after[node.inputs[1]].tolist() for node in (a, b)] == [[1, 4], [1, 2]]


def test_what_nobody_reads_any_more_is_gone() -> None:
    graph = GraphBuilder(opset=17)
    x, w = graph.input("x", (2,)), graph.parameter("w", (2,))
    y = graph.node("y", "Add", x, graph.node("product", "Mul", x, w))
    built = graph.build({y: (2,)})
    stands_in = Node(name="y", operator="Add", inputs=("x", "one"), outputs=("y",))
    change = edits({}, nodes={"y": (stands_in,)}, added={"one": np.float32([1, 1])})
    slim, tensors = edit(built, {"w": torch.ones(2)}, change)
    assert [node.name for node in slim.nodes] == ["y"]
    assert (slim.constants.keys(), slim.parameters.keys(), tensors) == ({"one"}, set(), {})


def test_attributes_are_those_that_a_file_holds() -> None:
    graph = GraphBuilder(opset=17)
    y = graph.node("y", "LeakyRelu", graph.input("x", (1,)), alpha=0.1)
    (node,) = as_stored(graph.build({y: (1,)})).nodes
    assert node.attributes["alpha"] == 0.10000000149011612


def test_large_arrays_are_cut_a_few_rows_after_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    array = torch.rand(14, 6, 3, generator=torch.Generator().manual_seed(0))
    rows, columns = np.array([0, 2, 3, 6]), np.array([1, 2, 5])
    own = cut({0: rows, 1: columns}, {0: rows[:2], 1: columns[::-1].copy()})
    expected = own.numbers(array.numpy())
    assert expected.shape == (6, 3, 3)
    for most in (1 << 24, 40, 20, 1):
        monkeypatch.setattr("yoloprune.graph.edits.AT_ONCE", most)
        np.testing.assert_array_equal(own.tensor(array).numpy(), expected)

"""Ids are moved as ONNX's reference moves the data that they stand for."""

import zlib
from dataclasses import replace

import numpy as np
import pytest

from tests.graph.operators.cases import Array, Draw
from tests.graph.operators.referee import CASES, EXAMPLES, node_of, referee
from yoloprune.graph.graph import Node
from yoloprune.graph.operators.operator import Family
from yoloprune.graph.operators.table import OPERATORS
from yoloprune.pruning.labels.ids import lean, no_channels
from yoloprune.pruning.labels.moves import MOVES, Move, is_equal, move, pieces, whole_numbers

MOVED = sorted(name for name in MOVES if OPERATORS[name].family is Family.MOVE)


def numbers_like(array: Array | None, start: int, *, along_channels: bool) -> Array:
    """A number for each element, or for each channel: what is taken apart in space has those."""
    assert array is not None
    if along_channels:
        numbers = np.arange(start, start + array.shape[1], dtype=float).reshape(1, -1, 1, 1)
        return np.broadcast_to(numbers, array.shape).copy()
    return np.arange(start, start + array.size, dtype=float).reshape(array.shape)


@pytest.mark.parametrize("name", MOVED)
def test_ids_go_where_the_data_go(name: str) -> None:
    followed = 0
    for number in range(EXAMPLES):
        case = CASES[name](Draw(zlib.crc32(name.encode()), number))
        data = range(len(case.inputs)) if name == "Concat" else range(1)
        start, inputs = 1, list(case.inputs)
        for position in data:
            array = numbers_like(inputs[position], start, along_channels=name == "SpaceToDepth")
            inputs[position], start = array, start + array.size
        expected = referee(replace(case, inputs=inputs))
        node = node_of(case)
        found = move(
            Move(
                node=node,
                ids=tuple(
                    lean(np.asarray(x).astype(np.int64)) if n in data else no_channels(np.ndim(x))
                    for n, x in enumerate(inputs)
                    if x is not None
                ),
                before=tuple(np.shape(x) for x in inputs if x is not None),
                after=tuple(y.shape for y in expected),
                known={n: x for n, x in enumerate(case.inputs) if n not in data and x is not None},
            )
        )
        if found is None:
            continue
        followed += 1
        for ids, values in zip(found, expected, strict=True):
            if values.dtype != bool:
                moved = np.broadcast_to(ids, values.shape)
                # What is put between has no channel, whatever its number.
                inside = np.isin(values, np.arange(1, start))
                assert np.array_equal(moved[inside], values[inside])
    assert followed


def test_pieces_are_what_lies_beside_one_another() -> None:
    ids = np.arange(8).reshape(1, 8, 1, 1)
    for mode, expected in (("DCR", [[0, 1], [2, 3], [4, 5], [6, 7]]),
                           ("CRD", [[0, 4], [1, 5], [2, 6], [3, 7]])):  # fmt: skip
        node = Node(name="n", operator="DepthToSpace", inputs=("x",), outputs=("y",),
                    attributes={"blocksize": 2, "mode": mode})  # fmt: skip
        assert [part.reshape(-1).tolist() for part in pieces(ids, node)] == expected


def test_numbers_stand_in_inputs_or_attributes() -> None:
    node = Node(name="n", operator="Split", inputs=("x",), outputs=("y",),
                attributes={"split": (1, 2), "axis": 1, "mode": "a"})  # fmt: skip
    assert whole_numbers(node, None, "split") == [1, 2]
    assert whole_numbers(node, None, "axis") == [1]
    assert whole_numbers(node, np.array([[3], [4]]), "split") == [3, 4]
    assert whole_numbers(node, None, "mode") is whole_numbers(node, None, "none") is None
    assert not is_equal(node)
    assert is_equal(Node(name="n", operator="Split", inputs=("x", ""), outputs=("y", "z")))

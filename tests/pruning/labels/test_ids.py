"""Arrays of ids against NumPy's own, written out."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from yoloprune.pruning.labels.ids import (
    aligned,
    by_lines,
    compacted,
    connect,
    cut_axis,
    lean,
    no_channels,
    numbered,
    reshaped,
    varying,
)

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def random_ids(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Full along some axes alone."""
    generator = np.random.default_rng(seed)
    sizes = [size if generator.random() < 0.5 else 1 for size in shape]
    return generator.integers(0, 5, sizes)


@given(SHAPES, st.integers(0, 99))
def test_lean_ids_are_the_same_ids(shape: tuple[int, ...], seed: int) -> None:
    ids = np.broadcast_to(random_ids(shape, seed), shape)
    short = lean(ids)
    assert np.array_equal(np.broadcast_to(short, shape), ids)
    for axis in varying(short):
        assert (np.diff(short, axis=axis) != 0).any()


@given(SHAPES, st.integers(0, 99), st.randoms())
def test_ids_are_reshaped_in_memory_order(
    shape: tuple[int, ...], seed: int, random: object
) -> None:
    ids = random_ids(shape, seed)
    count = int(np.prod(shape))
    divisors = [d for d in range(1, count + 1) if count % d == 0]
    first = random.choice(divisors)  # type: ignore[attr-defined]
    after = (first, 1, count // first)
    expected = np.broadcast_to(ids, shape).reshape(after)
    assert np.array_equal(np.broadcast_to(reshaped(ids, shape, after), after), expected)


def test_places_are_numbered_along_some_axes() -> None:
    assert numbered((2, 3, 4), (0, 2)).tolist() == [[[0, 1, 2, 3]], [[4, 5, 6, 7]]]
    assert no_channels(2).tolist() == [[0]]
    assert aligned(np.arange(3), 3).shape == (1, 1, 3)
    assert by_lines(np.arange(6).reshape(2, 3), 0).tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_mask_is_cut_along_an_axis_whose_lines_keep_equally_many() -> None:
    heads = np.array([[True, False, True], [False, True, True]])
    assert cut_axis(heads) == 1
    assert cut_axis(heads, 0) == 1
    assert cut_axis(np.array([[True, False], [True, True]])) is None
    assert cut_axis(np.array([[True, False], [True, False]])) == 1
    table = np.arange(6).reshape(2, 3)
    assert compacted(table, heads, 1).tolist() == [[0, 2], [4, 5]]
    assert compacted(table, np.array([[True], [False]]), 0).tolist() == [[0, 1, 2]]


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=30))
def test_what_is_united_has_its_smallest_id(pairs: list[tuple[int, int]]) -> None:
    groups = {n: {n} for n in range(20)}
    for a, b in pairs:
        if groups[a] is not groups[b]:
            groups[a] |= groups[b]
            for n in groups[b]:
                groups[n] = groups[a]
    unions = [(np.array([a]), np.array([b])) for a, b in pairs]
    assert connect(20, unions).tolist() == [min(groups[n]) for n in range(20)]

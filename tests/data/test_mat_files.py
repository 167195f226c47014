"""SciPy writes and reads the same files: it is the outside truth, as far as they are whole."""

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from tests import bombs
from tests.data.originals import DIAMOND, SQUARE, write_mat
from yoloprune.data.mat_files import read_mat
from yoloprune.data.vgg_hand import read_hand_corners
from yoloprune.errors import DatasetError


def saved(compressed: bool, **variables: object) -> bytes:
    file = io.BytesIO()
    savemat(file, variables, do_compression=compressed)
    return file.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"])
def test_arrays_are_what_scipy_reads(kind: str, compressed: bool) -> None:
    array = np.random.default_rng(0).integers(0, 100, (2, 3, 4)).astype(kind)
    data = saved(compressed, first=array, second=array[0, :, :1])
    expected = loadmat(io.BytesIO(data))
    found = read_mat(data)
    assert set(found) == {"first", "second"}
    for name, value in found.items():
        assert isinstance(value, np.ndarray)
        assert np.array_equal(value, expected[name])


@pytest.mark.parametrize("compressed", [False, True])
def test_cells_structs_and_text(compressed: bool) -> None:
    cells = np.empty((1, 3), object)
    cells[0] = [{"a": np.eye(2), "long_name": "hi"}, np.zeros((0, 0)), {"deep": {"b": 3.0}}]
    (cell,) = read_mat(saved(compressed, cells=cells)).values()
    assert isinstance(cell, tuple)
    first, empty, deep = cell
    assert isinstance(first, list) and list(first[0]) == ["a", "long_name"]
    assert np.array_equal(np.asarray(first[0]["a"]), np.eye(2))
    assert np.array_equal(np.asarray(first[0]["long_name"]), [[ord("h"), ord("i")]])
    assert isinstance(empty, np.ndarray) and empty.size == 0
    assert deep == [{"deep": [{"b": 3.0}]}]


def test_other_byte_orders() -> None:
    # As a big-endian machine would write the array [[1, 2]] of int16.
    def element(kind: int, content: bytes) -> bytes:
        head = kind.to_bytes(4, "big") + len(content).to_bytes(4, "big")
        return head + content.ljust(-(-len(content) // 8) * 8, b"\0")

    matrix = (
        element(6, bytes([0, 0, 0, 10, 0, 0, 0, 0]))
        + element(5, bytes([0, 0, 0, 1, 0, 0, 0, 2]))
        + element(1, b"x")
        + element(3, bytes([0, 1, 0, 2]))
    )
    data = b"MATLAB 5.0".ljust(124) + b"\x01\x00MI" + element(14, matrix)
    assert np.array_equal(loadmat(io.BytesIO(data))["x"], [[1, 2]])
    assert np.array_equal(np.asarray(read_mat(data)["x"]), [[1, 2]])


def test_what_it_does_not_know_is_none() -> None:
    from scipy.sparse import csc_matrix

    assert read_mat(saved(False, s=csc_matrix(np.eye(3)), x=1.0)) == {"s": None, "x": 1.0}


@pytest.mark.parametrize(
    "data", [b"", b"MATLAB 5.0 MAT-file", bytes(200), b"\x89HDF\r\n\x1a\n".ljust(600, b"\0")]
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a level 5 \.mat file"):
        read_mat(data)


def compressed(*elements: bytes) -> bytes:
    """A file of compressed elements."""
    heads = ((15).to_bytes(4, "little") + len(e).to_bytes(4, "little") for e in elements)
    parts = (head + element for head, element in zip(heads, elements, strict=True))
    return saved(False)[:128] + b"".join(parts)


def test_a_small_file_cannot_fill_the_memory() -> None:
    bomb = compressed(bombs.stream(2048))
    assert len(bomb) < 1 << 22
    with bombs.at_most(100), pytest.raises(ValueError, match="unpacks to more than 8 MiB"):
        read_mat(bomb)


def test_nor_can_one_of_many_small_elements() -> None:
    whole = saved(False, **{f"x{n}": np.zeros(7 << 20, np.uint8) for n in range(2)})
    parts = [zlib.compress(whole[start : start + (7 << 20) + 64]) for start in (128, 128)]
    with bombs.at_most(200), pytest.raises(ValueError, match="unpacks to more than 8 MiB"):
        read_mat(compressed(*parts * 100))


def test_empty_cells_take_little_memory() -> None:
    def element(kind: int, content: bytes) -> bytes:
        return kind.to_bytes(4, "little") + len(content).to_bytes(4, "little") + content

    count = 1 << 18
    shape = (1).to_bytes(4, "little") + count.to_bytes(4, "little")
    cells = element(6, bytes([1]).ljust(8, b"\0")) + element(5, shape) + element(1, b"")
    cells += element(14, b"") * count
    # The largest file that is read has four times as many.
    with bombs.at_most(150):
        (found,) = read_mat(compressed(zlib.compress(element(14, cells)))).values()
    assert isinstance(found, tuple) and len(found) == count


@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_raises_nothing_else(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    write_mat(path, [SQUARE, DIAMOND])
    whole: Any = path.read_bytes()
    if compressed:
        whole = saved(True, boxes=loadmat(path)["boxes"])
    random = np.random.default_rng(0)
    outcomes = set()
    for round_ in range(1500):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), random.integers(1, 6)):
            damaged[place] = random.integers(256)
        if round_ % 3 == 0:
            damaged = damaged[: random.integers(len(damaged))]
        path.write_bytes(damaged)
        try:
            outcomes.add(read_hand_corners(path).shape[1:])
        except DatasetError as error:
            assert str(error).startswith(str(path))
            outcomes.add("refused")
    assert "refused" in outcomes

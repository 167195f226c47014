"""The packed file: bit for bit, small, and nothing in it is believed."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.random_networks import random_state
from yoloprune.errors import WeightsError
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.graph.graph import Graph, Node, Parameter, ValueType
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.weights.masks import MaskSettings, apply_masks, magnitude_masks
from yoloprune.pruning.weights.storage import pack, read_packed, unpack, write_packed

SPEC = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
GRAPH = lower(SPEC)
ONE_LAYER = lower(
    parse_cfg("""[net]
height=8
width=8
channels=32
[convolutional]
filters=16
size=3
activation=linear
""")
)


def one_layer(kernel: np.ndarray) -> dict[str, torch.Tensor]:
    tensor = torch.from_numpy(kernel.reshape(16, 32, 3, 3))
    return {"layer_0.kernel": tensor, "layer_0.bias": torch.arange(16.0)}


def sparse_arrays(sparsity: float) -> dict[str, torch.Tensor]:
    arrays = parameters(random_state(SPEC, 1, torch.float32))
    settings = MaskSettings(sparsity=sparsity, scope=Scope.LAYER)
    return apply_masks(GRAPH, arrays, magnitude_masks(GRAPH, arrays, settings))


def bits_of(arrays: Mapping[str, torch.Tensor]) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in arrays.items()}


@given(
    st.floats(0, 1),
    st.sampled_from([1, 100, 300, 1000]),
    st.integers(0, 2**31),
)
def test_it_comes_back_bit_for_bit(share: float, run: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    kernel = generator.standard_normal(16 * 32 * 9).astype(np.float32)
    # Runs of zeros, long ones too, and a negative zero, which is not all bits 0.
    kernel[np.repeat(generator.random(-(-kernel.size // run)) < share, run)[: kernel.size]] = 0
    kernel[generator.integers(kernel.size)] = -0.0
    state = one_layer(kernel)
    assert bits_of(unpack(pack(ONE_LAYER, state), ONE_LAYER)) == bits_of(state)


@pytest.mark.parametrize("places", [[], [0], [4607], [255], [254], [256, 512], [0, 4607]])
def test_few_nonzeros_come_back(places: list[int]) -> None:
    kernel = np.zeros(16 * 32 * 9, np.float32)
    kernel[places] = 1.5
    state = one_layer(kernel)
    assert bits_of(unpack(pack(ONE_LAYER, state), ONE_LAYER)) == bits_of(state)


@pytest.mark.parametrize("sparsity", [0, 0.5, 0.8, 0.9, 0.98])
def test_it_takes_little_more_than_the_nonzeros_do(tmp_path: Path, sparsity: float) -> None:
    state = sparse_arrays(sparsity)
    path = tmp_path / "net.packed"
    write_packed(path, GRAPH, state)
    assert bits_of(read_packed(path, GRAPH)) == bits_of(state)
    values = 4 * sum(int(tensor.count_nonzero()) for tensor in state.values())
    # A place takes 8 bits at most; the values' compressed exponents make up for most of that.
    assert path.stat().st_size < 1.15 * values + 2000


def test_damage_is_seen(tmp_path: Path) -> None:
    content = pack(GRAPH, sparse_arrays(0.9))
    path = tmp_path / "net.packed"
    for wrong, words in (
        (b"", "not a packed file"),
        (b"YPSPARSE", "damaged"),
        (content[:-1], "damaged"),
        (content + b"0", "damaged"),
        (b"x" + content[1:], "not a packed file"),
        (content[:500] + b"?" + content[501:], "damaged"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(WeightsError, match=f"net.packed: .*{words}"):
            read_packed(path, GRAPH)
    with pytest.raises(WeightsError, match="cannot read"):
        read_packed(tmp_path / "none", GRAPH)
    with pytest.raises(WeightsError, match="another network"):
        unpack(content, lower(yolov3_tiny(classes=2, width=0.125, size=(64, 64))))


def sealed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize("sparsity", [0, 0.5, 0.98])
def test_whoever_forges_the_checksum_gets_an_error_too(sparsity: float) -> None:
    kernel = np.random.default_rng(0).standard_normal(16 * 32 * 9).astype(np.float32)
    kernel[np.random.default_rng(1).random(kernel.size) < sparsity] = 0
    body = pack(ONE_LAYER, one_layer(kernel))[:-32]
    for length in [*range(8, 160), *range(160, len(body), 97)]:
        with pytest.raises(WeightsError):
            unpack(sealed(body[:length]), ONE_LAYER)
    with pytest.raises(WeightsError, match="bytes remain"):
        unpack(sealed(body + b"0"), ONE_LAYER)
    refused = 0
    start = 8 + 4 + 32 + 16 * 4  # The kernel's places; whatever is read instead must be finite.
    for place in range(start, start + 40):
        for value in (0, 1, 2, 7, 127, 255):
            try:
                state = unpack(sealed(body[:place] + bytes([value]) + body[place + 1 :]), ONE_LAYER)
            except WeightsError:
                refused += 1
            else:
                assert torch.isfinite(state["layer_0.kernel"]).all()
    assert refused > 20


def test_a_stream_that_unpacks_to_more_than_it_may_is_refused() -> None:
    import struct
    import zlib

    bomb = zlib.compress(bytes(50_000_000))
    head = pack(ONE_LAYER, one_layer(np.ones(16 * 32 * 9, np.float32)))[: 8 + 4 + 32 + 64]
    body = head + struct.pack("<IB", 10, 2) + struct.pack("<BI", 1, len(bomb)) + bomb
    with pytest.raises(WeightsError, match="longer than"):
        unpack(sealed(body), ONE_LAYER)


def test_what_is_not_finite_is_neither_written_nor_read(tmp_path: Path) -> None:
    kernel = np.ones(16 * 32 * 9, np.float32)
    kernel[7] = np.nan
    with pytest.raises(WeightsError, match=r"NaN or inf in layer_0\.kernel"):
        write_packed(tmp_path / "net.packed", ONE_LAYER, one_layer(kernel))
    assert not list(tmp_path.iterdir())
    body = bytearray(pack(ONE_LAYER, one_layer(np.ones(16 * 32 * 9, np.float32)))[:-32])
    body[8 + 4 + 32 : 8 + 4 + 32 + 4] = b"\x00\x00\xc0\x7f"
    with pytest.raises(WeightsError, match="bias has values"):
        unpack(sealed(bytes(body)), ONE_LAYER)


def test_parameters_of_any_dtype_come_back(tmp_path: Path) -> None:
    """What is no float32 kernel is stored as it is."""
    graph = Graph(
        opset=17,
        inputs={"x": ValueType(shape=(1, 4), dtype="float16")},
        parameters={
            "half": Parameter(shape=(4, 3), dtype="float16"),
            "whole": Parameter(shape=(2,), dtype="int64"),
            "none": Parameter(shape=(0,), dtype="float32"),
            "one": Parameter(shape=(), dtype="float32"),
        },
        constants={},
        nodes=(Node(name="product", operator="MatMul", inputs=("x", "half"), outputs=("y",)),),
        outputs={"y": ValueType(shape=(1, 3), dtype="float16")},
    )
    arrays = {
        "half": torch.arange(12, dtype=torch.float16).reshape(4, 3),
        "whole": torch.tensor([-1, 1 << 40]),
        "none": torch.empty(0),
        "one": torch.tensor(2.5),
    }
    write_packed(tmp_path / "net.packed", graph, arrays)
    read = read_packed(tmp_path / "net.packed", graph)
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert torch.equal(read[name], array)

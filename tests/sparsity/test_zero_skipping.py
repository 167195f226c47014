"""Zero-skipping convolutions against torch's dense ones."""

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from random_networks import network_specs, random_state

from yoloprune.darknet.options import ACTIVATIONS
from yoloprune.darknet.spec import Conv, NetworkSpec
from yoloprune.darknet.zoo import yolov3_tiny
from yoloprune.errors import PlanError, WeightsError
from yoloprune.model.layers import ACTIVATION_FUNCTIONS
from yoloprune.model.network import Network
from yoloprune.sparsity import inference
from yoloprune.sparsity.inference import SparseConv, SparseNetwork
from yoloprune.sparsity.masks import MaskSettings, apply_masks, magnitude_masks

TINY = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
POOL = ThreadPoolExecutor(3)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Conv, tuple[int, int, int]]:
    groups = draw(st.sampled_from([1, 1, 1, 2, 5]))
    size, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, size))
    reach = max(1, dilation * (size - 1) + 1 - 2 * padding)
    height, width = (draw(st.integers(reach, reach + 40)) for _ in range(2))
    conv = replace(
        TINY.convs[0],
        filters=groups * draw(st.integers(1, 7)),
        size=size,
        stride_x=draw(st.integers(1, 3)),
        stride_y=draw(st.integers(1, 3)),
        padding=padding,
        dilation=dilation,
        groups=groups,
        batch_normalize=False,
        activation=draw(st.sampled_from(sorted(ACTIVATIONS))),
    )
    return conv, (groups * draw(st.integers(1, 12)), height, width)


@given(
    cases(), st.floats(0, 1), st.booleans(), st.integers(1, 3), st.integers(1, 4),
    st.integers(0, 2**31),
)  # fmt: skip
def test_a_convolution_of_any_shape_is_what_torch_computes(
    case: tuple[Conv, tuple[int, int, int]],
    zeros: float,
    blocks: bool,
    batch: int,
    threads: int,
    seed: int,
) -> None:
    conv, shape = case
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *shape, generator=generator)
    kernel = torch.randn(
        conv.filters, shape[0] // conv.groups, conv.size, conv.size, generator=generator
    )
    gone = torch.rand(kernel.shape, generator=generator) < zeros
    if blocks:  # Four consecutive filters have the same zeros.
        gone = gone[torch.arange(len(kernel)) // 4]
    kernel[gone] = 0
    bias = torch.randn(conv.filters, generator=generator)
    layer = SparseConv(conv, kernel, bias, shape, threads=threads, pool=POOL)
    sums = F.conv2d(x, kernel, bias, stride=(conv.stride_y, conv.stride_x), padding=conv.padding,
                    dilation=conv.dilation, groups=conv.groups)  # fmt: skip
    expected = ACTIVATION_FUNCTIONS[conv.activation](sums)
    for _ in range(2):  # Nothing may be left over from the run before.
        found = layer(x)
        assert found.shape == expected.shape
        # `stair` jumps, and rounding may fall on either side.
        off = (found - expected).abs() > 1e-4 * (1 + sums.abs().max())
        assert off.float().mean() <= (0.01 if conv.activation == "stair" else 0)


def sparse_pair(spec: NetworkSpec, seed: int) -> tuple[Network, SparseNetwork, torch.Tensor]:
    state = random_state(spec, seed, torch.float32)
    masks = magnitude_masks(spec, state, MaskSettings(sparsity=0.5))
    state = apply_masks(spec, state, masks)
    images = torch.rand(2, *spec.input_shape, generator=torch.Generator().manual_seed(seed))
    return Network.from_state(spec, state), SparseNetwork(spec, state, threads=1), images


def always(choose_sparse: bool) -> object:
    times = [1.0, 0.0] if choose_sparse else [0.0, 1.0]
    return lambda layers, x: times


@pytest.mark.parametrize("skip", [True, False])
def test_a_network_is_the_dense_one_whatever_is_chosen(
    skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "_milliseconds", always(skip))
    dense, sparse, images = sparse_pair(TINY, 3)
    assert [choice.is_sparse for choice in sparse.choices] == [skip] * len(TINY.convs)
    first = sparse(images)
    copies = [found.clone() for found in first]
    sparse(torch.zeros_like(images))
    for found, copy, expected in zip(first, copies, dense(images), strict=True):
        assert torch.equal(found, copy)  # What was given out is not written over.
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@given(network_specs(activations=("leaky", "mish", "linear")), st.integers(0, 2**31))
def test_random_networks_are_the_dense_ones(spec: NetworkSpec, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inference, "_milliseconds", always(True))
        try:
            dense, sparse, images = sparse_pair(spec, seed)
        except PlanError:
            return  # A layer was emptied.
    with torch.inference_mode():
        for found, expected in zip(sparse(images), dense(images), strict=True):
            assert (found - expected).abs().max() <= 1e-4 * expected.abs().max() + 1e-6


def test_each_layer_is_timed_both_ways() -> None:
    _, sparse, _ = sparse_pair(TINY, 3)
    assert [choice.index for choice in sparse.choices] == [conv.index for conv in TINY.convs]
    assert all(choice.dense_ms > 0 and choice.sparse_ms > 0 for choice in sparse.choices)
    kinds = [type(sparse.network.layers[str(choice.index)]) for choice in sparse.choices]
    assert [kind is SparseConv for kind in kinds] == [c.is_sparse for c in sparse.choices]


def test_images_of_another_size_are_refused() -> None:
    layer = SparseConv(TINY.convs[0], torch.ones(2, 3, 3, 3), torch.zeros(2), (3, 8, 8))
    with pytest.raises(ValueError, match="made for inputs of"):
        layer(torch.zeros(1, 3, 8, 9))


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yoloprune.sparsity.kernels", None)
    monkeypatch.delattr("yoloprune.sparsity.kernels", raising=False)
    with pytest.raises(WeightsError, match=r"numba.*`sparse` extra"):
        SparseNetwork(TINY, random_state(TINY, 1, torch.float32), threads=1)

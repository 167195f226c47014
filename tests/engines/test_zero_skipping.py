"""Zero-skipping convolutions against torch's dense ones."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import accumulate, chain, cycle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.random_networks import network_specs, random_state
from yoloprune.engines import zero_skipping
from yoloprune.engines.sparse_layout import Window
from yoloprune.engines.zero_skipping import SparseConv, SparseNetwork
from yoloprune.errors import MissingDependencyError, PlanError
from yoloprune.execution.module import Network
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.weights.masks import MaskSettings, apply_masks, magnitude_masks

TINY = yolov3_tiny(classes=1, width=0.125, size=(64, 64))
POOL = ThreadPoolExecutor(3)
WINDOW = Window(filters=2, size=3, stride_y=1, stride_x=1, padding=1, dilation=1, groups=1)
SLOPES = (0.0, 0.01, 0.1, 1.0)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Window, tuple[int, int, int]]:
    groups = draw(st.sampled_from([1, 1, 1, 2, 5]))
    size, dilation = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    padding = draw(st.integers(0, size))
    reach = max(1, dilation * (size - 1) + 1 - 2 * padding)
    height, width = (draw(st.integers(reach, reach + 40)) for _ in range(2))
    conv = Window(
        filters=groups * draw(st.integers(1, 7)),
        size=size,
        stride_x=draw(st.integers(1, 3)),
        stride_y=draw(st.integers(1, 3)),
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return conv, (groups * draw(st.integers(1, 12)), height, width)


@given(
    cases(), st.sampled_from(SLOPES), st.floats(0, 1), st.booleans(), st.integers(1, 3),
    st.integers(1, 4), st.integers(0, 2**31),
)  # fmt: skip
def test_a_convolution_of_any_shape_is_what_torch_computes(
    case: tuple[Window, tuple[int, int, int]],
    slope: float,
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
    alone = zero_skipping.SPREAD_ALONE if seed % 2 else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zero_skipping, "ALONE", -1)  # However little work there is.
        layer = SparseConv(conv, kernel, bias, shape, slope=slope, threads=threads, pool=POOL)
    sums = F.conv2d(x, kernel, bias, stride=(conv.stride_y, conv.stride_x), padding=conv.padding,
                    dilation=conv.dilation, groups=conv.groups)  # fmt: skip
    expected = F.leaky_relu(sums, slope)
    for _ in range(2):  # Nothing may be left over from the run before.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(zero_skipping, "SPREAD_ALONE", alone)
            found = layer(x)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-4 * (1 + sums.abs().max())


def test_little_work_is_not_shared_among_threads() -> None:
    conv = replace(WINDOW, filters=64)
    kernel, bias = torch.ones(64, 8, 3, 3), torch.zeros(64)
    for side, threads in ((8, 1), (64, 3)):  # 0.3 and 19 million multiply-adds.
        layer = SparseConv(conv, kernel, bias, (8, side, side), threads=3, pool=POOL)
        assert len(layer.parts) == threads


def sparse_pair(spec: NetworkSpec, seed: int) -> tuple[Network, SparseNetwork, torch.Tensor]:
    state = random_state(spec, seed, torch.float32)
    graph, arrays = lower(spec), parameters(state)
    masks = magnitude_masks(graph, arrays, MaskSettings(sparsity=0.5))
    arrays = apply_masks(graph, arrays, masks)
    images = torch.rand(2, *spec.input_shape, generator=torch.Generator().manual_seed(seed))
    return Network(graph, arrays), SparseNetwork(graph, arrays, threads=3), images


def always(choose_sparse: bool) -> object:
    times = [1.0, 0.0] if choose_sparse else [0.0, 1.0]
    return lambda layers, x: times


@pytest.mark.parametrize("skip", [True, False])
def test_a_network_is_the_dense_one_whatever_is_chosen(
    skip: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zero_skipping, "_milliseconds", always(skip))
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
        patch.setattr(zero_skipping, "_milliseconds", always(True))
        try:
            dense, sparse, images = sparse_pair(spec, seed)
        except PlanError:
            return  # A layer was emptied.
    with torch.inference_mode():
        for found, expected in zip(sparse(images), dense(images), strict=True):
            assert (found - expected).abs().max() <= 1e-4 * expected.abs().max() + 1e-6


def test_each_layer_gets_what_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = cycle([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    monkeypatch.setattr(zero_skipping, "_milliseconds", lambda layers, x: next(measured))
    _, sparse, _ = sparse_pair(TINY, 3)
    assert [c.node for c in sparse.choices] == [f"layer_{conv.index}.conv" for conv in TINY.convs]
    for number, choice in enumerate(sparse.choices):
        assert (choice.dense_ms, choice.sparse_ms) == ((1, 2), (2, 1), (1, 1))[number % 3]
        assert choice.is_sparse == (number % 3 == 1)
    # A rectifier behind a convolution that skips zeros is part of it.
    operators = [node.operator for node in sparse.network.graph.nodes]
    rectified = [c.activation == "leaky" for c in TINY.convs]
    left = [r for r, choice in zip(rectified, sparse.choices, strict=True) if not choice.is_sparse]
    assert operators.count("LeakyRelu") == sum(left) < sum(rectified)


def test_layers_are_timed_in_turn_and_the_best_run_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [torch.nn.Identity(), torch.nn.Identity()]
    lasting = [5.0, 7.0, 4.0, 8.0, 6.0, 7.5]
    steps = ((0.0, seconds) for seconds in lasting)
    clock = accumulate(chain([0.0, 0.0], *steps))  # The first run of each is not timed.
    monkeypatch.setattr(zero_skipping, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert zero_skipping._milliseconds(layers, torch.zeros(1)) == pytest.approx([4e3, 7e3])


def ones_layer(**options: object) -> SparseConv:
    kernel, bias = torch.ones(2, 3, 3, 3), torch.zeros(2)
    return SparseConv(WINDOW, kernel, bias, (3, 8, 8), **options)  # type: ignore[arg-type]


def test_other_inputs_and_threads_than_it_was_made_for_are_refused() -> None:
    layer = ones_layer()
    with pytest.raises(ValueError, match="made for inputs of"):
        layer(torch.zeros(1, 3, 8, 9))
    with pytest.raises(ValueError, match=r"inputs of float32, got torch\.float64"):
        layer(torch.zeros(1, 3, 8, 8, dtype=torch.float64))
    with pytest.raises(TypeError):  # The kernels themselves take nothing else.
        layer.kernels.spread(np.zeros((3, 8, 8)), np.zeros((3, 1, 1, 10, 9)), 1, 0, 3)
    with pytest.raises(ValueError, match="threads=0 must be at least 1"):
        ones_layer(threads=0)
    with pytest.raises(ValueError, match="need a pool"):
        ones_layer(threads=2)
    with pytest.raises(ValueError, match="threads=0 must be at least 1"):
        SparseNetwork(lower(TINY), parameters(random_state(TINY, 1, torch.float32)), threads=0)


@pytest.mark.parametrize("slope", SLOPES)
def test_infinities_and_nan_are_activated_as_torch_does(slope: float) -> None:
    conv = replace(WINDOW, filters=3, size=1, padding=0)
    kernel, bias = torch.ones(3, 1, 1, 1), torch.tensor([-torch.inf, torch.inf, torch.nan])
    found = SparseConv(conv, kernel, bias, (1, 4, 4), slope=slope)(torch.zeros(1, 1, 4, 4))
    expected = F.leaky_relu(bias, slope) if slope else F.relu(bias)
    torch.testing.assert_close(found[0, :, 0, 0], expected, equal_nan=True)


def test_one_call_at_a_time_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_skipping, "_milliseconds", always(True))
    _, sparse, images = sparse_pair(TINY, 3)
    inside: list[int] = []
    most = []

    def compute(images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        inside.append(1)
        time.sleep(0.02)
        most.append(len(inside))
        inside.pop()
        return (images,)

    monkeypatch.setattr(sparse, "network", compute)
    list(POOL.map(sparse, [images] * 3))
    assert most == [1, 1, 1]


def test_the_state_and_torchs_random_numbers_are_left_alone() -> None:
    bare = parse_cfg(
        "[net]\nheight=8\nwidth=8\nchannels=3\n"
        "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\n"
    )
    state = random_state(bare, 1, torch.float32)
    images = torch.rand(1, 3, 8, 8)
    before = torch.get_rng_state()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zero_skipping, "TRIALS", 1)
        network = SparseNetwork(lower(bare), parameters(state), threads=1)
        patch.setattr(zero_skipping, "_milliseconds", always(True))
        skipping = SparseNetwork(lower(bare), parameters(state), threads=1)
    assert torch.equal(torch.get_rng_state(), before)
    expected = [network(images)[0], skipping(images)[0]]
    state[0].bias.fill_(99.0)
    state[0].kernel.fill_(99.0)
    for made, was in zip((network, skipping), expected, strict=True):
        assert torch.equal(made(images)[0], was)


def test_without_numba_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yoloprune.engines.sparse_kernels", None)
    monkeypatch.delattr("yoloprune.engines.sparse_kernels", raising=False)
    with pytest.raises(MissingDependencyError, match=r"numba.*yoloprune\[sparse\]"):
        SparseNetwork(lower(TINY), parameters(random_state(TINY, 1, torch.float32)), threads=1)

"""Single layers against OpenCV's Darknet importer, and darknet's formulas where it has none.

OpenCV adds 1e-6 to a variance where darknet (and we) add 1e-5: with variances of 0.5 and more, as
`random_state` gives them, the two differ by less than 1e-5 relative.
"""

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.networks import layer_outputs, network_of
from tests.random_networks import random_state
from yoloprune.frontends.darknet.parser import parse_cfg, write_cfg
from yoloprune.frontends.darknet.weights import write_weights

NET = "[net]\nchannels=3\nheight=12\nwidth=10\n"
TOLERANCE = 1e-4


def conv(filters: int = 8, size: int = 3, activation: str = "leaky", **more: object) -> str:
    options = {"batch_normalize": 1, "filters": filters, "size": size, "pad": 1} | more
    lines = [f"{key}={value}" for key, value in options.items() if value != ""]
    return "\n".join(["[convolutional]", *lines, f"activation={activation}"]) + "\n"


def run_ours(text: str, images: np.ndarray) -> np.ndarray:
    """The last layer's output of our network, in float32."""
    spec = parse_cfg(text)
    with torch.no_grad():
        network = network_of(spec, random_state(spec, 1, torch.float32))
        return network(torch.from_numpy(images))[-1].numpy()


def run_opencv(text: str, images: np.ndarray, folder: Path) -> np.ndarray:
    """The same from OpenCV, which reads the files that we write."""
    spec = parse_cfg(text)
    write_cfg(folder / "a.cfg", spec)
    write_weights(folder / "a.weights", spec, random_state(spec, 1, torch.float32))
    network = cv2.dnn.readNetFromDarknet(str(folder / "a.cfg"), str(folder / "a.weights"))
    network.setInput(images)
    return network.forward(network.getLayerNames()[-1])


def some_images(channels: int = 3, height: int = 12, width: int = 10) -> np.ndarray:
    shape = (1, channels, height, width)  # OpenCV's scale_channels runs on single images only
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def agree_with_opencv(sections: str, folder: Path, **sides: int) -> None:
    net = NET
    for side, value in sides.items():
        net = "\n".join(
            f"{side}={value}" if line.startswith(side) else line for line in net.splitlines()
        )
        net += "\n"
    images = some_images(**sides)
    ours = run_ours(net + sections, images)
    theirs = run_opencv(net + sections, images, folder)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize(
    "activation", ["leaky", "linear", "logistic", "mish", "relu", "swish", "tanh"]
)
def test_activations_that_opencv_knows(activation, tmp_path):
    agree_with_opencv(conv(activation=activation), tmp_path)


@pytest.mark.parametrize(("size", "stride"), [*itertools.product((1, 2, 3, 4, 5, 7), (1, 2, 3))])
def test_convolution_sizes_and_strides(size, stride, tmp_path):
    agree_with_opencv(conv(size=size, stride=stride), tmp_path)


@pytest.mark.parametrize(
    "more",
    [{"batch_normalize": 0}, {"batch_normalize": ""}, {"pad": 0}, {"pad": 0, "padding": 2},
     {"pad": 1, "padding": 0}, {"groups": 1}],
)  # fmt: skip
def test_convolution_variants(more, tmp_path):
    agree_with_opencv(conv(**more), tmp_path)


@pytest.mark.parametrize(
    ("width", "filters", "groups"), [(8, 8, 2), (8, 12, 4), (8, 8, 8), (8, 24, 8), (12, 4, 2)]
)
def test_grouped_and_depthwise_convolutions(width, filters, groups, tmp_path):
    agree_with_opencv(conv(width, 1) + conv(filters, groups=groups), tmp_path)


@pytest.mark.parametrize(("size", "stride"), [*itertools.product((1, 2, 3, 4, 5, 9), (1, 2, 3))])
def test_maxpool_sizes_and_strides(size, stride, tmp_path):
    """Size 2 stride 1 (yolov3-tiny) and the other even sizes pad more behind than before."""
    agree_with_opencv(conv() + f"[maxpool]\nsize={size}\nstride={stride}\n", tmp_path)


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [(3, 2, 0), (3, 2, 1), (3, 2, 3), (2, 2, 0), (5, 1, 7)]
)
def test_maxpool_paddings(size, stride, padding, tmp_path):
    pool = f"[maxpool]\nsize={size}\nstride={stride}\npadding={padding}\n"
    agree_with_opencv(conv() + pool, tmp_path)


def test_maxpool_size_follows_the_stride(tmp_path):
    agree_with_opencv(conv() + "[maxpool]\nsize=2\nstride=2\n", tmp_path, height=13, width=11)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_upsample(stride, tmp_path):
    agree_with_opencv(conv() + f"[upsample]\nstride={stride}\n", tmp_path)


@pytest.mark.parametrize("layers", ["-1", "0", "-1,-2", "0, 1,0", "-2,-1,-1"])
def test_route(layers, tmp_path):
    agree_with_opencv(conv(8) + conv(12) + f"[route]\nlayers={layers}\n", tmp_path)


@pytest.mark.parametrize(("groups", "group_id"), [(2, 0), (2, 1), (4, 2)])
def test_grouped_route(groups, group_id, tmp_path):
    part = f"[route]\nlayers=-1\ngroups={groups}\ngroup_id={group_id}\n"
    agree_with_opencv(conv() + part + conv(4, 1), tmp_path)


@pytest.mark.parametrize("activation", ["linear", "leaky", "mish", "swish", "logistic"])
def test_shortcut(activation, tmp_path):
    shortcut = f"[shortcut]\nfrom=-2\nactivation={activation}\n"
    agree_with_opencv(conv() + conv() + shortcut, tmp_path)


@pytest.mark.parametrize(("source", "previous"), [(12, 8), (4, 8)])
def test_shortcut_of_unequal_widths(source, previous, tmp_path):
    """The previous layer gives the width; the other is cut or counts as zero beyond its own."""
    shortcut = "[shortcut]\nfrom=-2\nactivation=linear\n"
    agree_with_opencv(conv(source) + conv(previous) + shortcut, tmp_path)


@pytest.mark.parametrize("activation", ["linear", "leaky"])
def test_scale_channels(activation, tmp_path):
    agree_with_opencv(
        conv() + "[avgpool]\n" + conv(4, 1) + conv(8, 1, "logistic")
        + f"[scale_channels]\nfrom=-4\nactivation={activation}\n",
        tmp_path,
    )  # fmt: skip


def test_sam(tmp_path):
    sam = "[sam]\nfrom=-2\nactivation=linear\n"
    agree_with_opencv(conv() + conv(8, 3, "logistic") + sam, tmp_path)


@pytest.mark.parametrize(("width", "stride"), [(8, 2), (16, 2), (4, 2)])
def test_reorg(width, stride, tmp_path):
    agree_with_opencv(conv(width) + f"[reorg]\nstride={stride}\n", tmp_path)


def test_average_pool(tmp_path):
    agree_with_opencv(conv() + "[avgpool]\n", tmp_path)


def test_dropout_does_nothing_outside_training(tmp_path):
    agree_with_opencv(conv() + "[dropout]\nprobability=.5\n" + conv(), tmp_path)


# What OpenCV's importer lacks or reads otherwise (dilation, stride_x, shortcuts from many layers)
# is held against darknet's own definitions, written out for one number each.


def convolve(x: np.ndarray, kernel: np.ndarray, *, pad: int, dilation: int,
             strides: tuple[int, int], groups: int) -> np.ndarray:  # fmt: skip
    """Convolution of (C, H, W) by loops over the output pixels."""
    filters, depth, size, _ = kernel.shape
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    reach = dilation * (size - 1) + 1
    rows = range(0, x.shape[1] - reach + 1, strides[0])
    columns = range(0, x.shape[2] - reach + 1, strides[1])
    out = np.zeros((filters, len(rows), len(columns)))
    for f in range(filters):
        first = f // (filters // groups) * depth
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                window = x[first : first + depth, row : row + reach : dilation,
                           column : column + reach : dilation]  # fmt: skip
                out[f, i, j] = (window * kernel[f]).sum()
    return out


@pytest.mark.parametrize(
    ("options", "size", "pad", "dilation", "strides", "groups"),
    [
        # darknet multiplies the padding by the dilation: the map keeps its size.
        ("pad=1\ndilation=2", 3, 2, 2, (1, 1), 1),
        ("pad=1\ndilation=3\nstride=2", 3, 3, 3, (2, 2), 1),
        ("pad=1\ndilation=2\ngroups=2", 5, 4, 2, (1, 1), 2),
        ("pad=1\nstride_x=2", 3, 1, 1, (1, 2), 1),
        ("pad=1\nstride=3\nstride_y=1", 3, 1, 1, (1, 3), 2),
        ("padding=3", 3, 3, 1, (1, 1), 1),
    ],
)
def test_convolutions_beyond_opencv(options, size, pad, dilation, strides, groups):
    if f"groups={groups}" not in options and groups > 1:
        options += f"\ngroups={groups}"
    spec = parse_cfg(
        "[net]\nchannels=4\nheight=9\nwidth=8\n"
        f"[convolutional]\nfilters=6\nsize={size}\n{options}\nactivation=linear\n"
    )
    state = random_state(spec, 3)
    x = torch.randn(1, 4, 9, 8, dtype=torch.float64)
    with torch.no_grad():
        found = network_of(spec, state)(x)[0]
    expected = convolve(x[0].numpy(), state[0].kernel.numpy(), pad=pad, dilation=dilation,
                        strides=strides, groups=groups)  # fmt: skip
    expected += state[0].bias.numpy()[:, None, None]
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-12, atol=1e-12)


def outputs(text: str, seed: int = 0) -> list[Tensor]:
    """Outputs of all layers of a network on random images, in float64."""
    spec = parse_cfg(text)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(2, *spec.input_shape, generator=generator, dtype=torch.float64)
    return layer_outputs(spec, random_state(spec, seed), images)


def test_batch_norm_uses_the_running_statistics_and_darknets_epsilon():
    spec = parse_cfg(NET + conv(4, 1, "linear"))
    state = random_state(spec, 5)
    p = state[0]
    assert p.scale is not None
    assert p.mean is not None
    assert p.variance is not None
    images = torch.randn(2, 3, 12, 10, dtype=torch.float64)
    with torch.no_grad():
        found = network_of(spec, state)(images)[0]
    raw = torch.einsum("fc,bchw->bfhw", p.kernel[:, :, 0, 0], images)
    scale, mean, variance, bias = (t[:, None, None] for t in (p.scale, p.mean, p.variance, p.bias))
    expected = scale * (raw - mean) / (variance + 1e-5).sqrt() + bias
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_shortcut_adds_all_its_sources():
    a, b, c, total = outputs(
        NET + conv(6) + conv(9) + conv(8) + "[shortcut]\nfrom=-2, 0\nactivation=leaky\n"
    )
    expected = c + b[:, :8]
    expected[:, :6] += a
    expected = torch.where(expected > 0, expected, 0.1 * expected)
    torch.testing.assert_close(total, expected, rtol=0, atol=1e-12)


def test_grouped_route_takes_the_part_of_every_source():
    a, b, joined = outputs(
        NET + conv(8) + conv(12) + "[route]\nlayers=-1,-2\ngroups=2\ngroup_id=1\n"
    )
    assert torch.equal(joined, torch.cat([b[:, 6:], a[:, 4:]], dim=1))


def test_maxpool_strides_may_differ():
    x, pooled = outputs(NET + conv() + "[maxpool]\nsize=3\nstride_x=2\nstride_y=1\n")
    padded = torch.nn.functional.pad(x, (1, 1, 1, 1), value=-1e9)
    assert torch.equal(pooled, padded.unfold(2, 3, 1).unfold(3, 3, 2).amax((-2, -1)))


@pytest.mark.parametrize("stride", [2, 5])
def test_reorg3d_moves_pixels_of_a_block_into_channels(stride):
    x, moved = outputs(
        f"[net]\nchannels=3\nheight=10\nwidth=20\n{conv(3)}[reorg3d]\nstride={stride}\n"
    )
    for row, column in itertools.product(range(stride), range(stride)):
        first = 3 * (row * stride + column)
        assert torch.equal(moved[:, first : first + 3], x[:, :, row::stride, column::stride])


@pytest.mark.parametrize(("channels", "stride"), [(4, 2), (12, 2), (9, 3)])
def test_reorg_reads_memory_as_a_larger_and_shallower_image(channels, stride):
    x, moved = outputs(
        f"[net]\nchannels=3\nheight=6\nwidth=12\n{conv(channels)}[reorg]\nstride={stride}\n"
    )
    depth, height, width = channels // stride**2, 6 * stride, 12 * stride
    large = x[0].reshape(depth, height, width)
    parts = [
        large[:, row::stride, column::stride]
        for row, column in itertools.product(range(stride), range(stride))
    ]
    assert torch.equal(moved[0].flatten(), torch.cat(parts).flatten())


def test_attention_multiplies():
    x, factors, scaled = outputs(
        NET + conv() + conv(8, 3, "logistic") + "[sam]\nfrom=0\nactivation=leaky\n"
    )
    product = x * factors
    torch.testing.assert_close(scaled, torch.where(product > 0, product, 0.1 * product))

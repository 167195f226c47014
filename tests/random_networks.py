"""Random valid Darknet networks for property tests, and random parameters for them.

`network_texts` draws cfg text, `network_specs` the spec of such a text. A network is a chain of
blocks; each block reads the shapes of what is there and appends layers that fit, so nothing is ever
rejected. Feature maps stay within 16x16 and 48 channels: a float64 forward takes about a
millisecond.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from hypothesis import strategies as st

from yoloprune.frontends.darknet.options import ACTIVATIONS
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters
from yoloprune.frontends.darknet.weights import parameter_shapes

Shape = tuple[int, int, int]
_T = TypeVar("_T")

_ALL_ACTIVATIONS = sorted(ACTIVATIONS, key=lambda name: (name != "leaky", name))
_MAX_CHANNELS = 48
_MAX_SIDE = 16


def _integer(low: int, high: int) -> st.SearchStrategy[int]:
    return _INTEGERS.setdefault((low, high), st.integers(low, high))


_INTEGERS: dict[tuple[int, int], st.SearchStrategy[int]] = {}


class _Cfg:
    """Cfg text under construction, with the shape of every layer (None for a head)."""

    def __init__(self, draw: st.DrawFn, activations: Sequence[str], shape: Shape) -> None:
        self.draw = draw
        self.activations = activations
        self.input_shape = shape
        channels, height, width = shape
        self.lines = ["[net]", f"channels={channels}", f"height={height}", f"width={width}"]
        self.shapes: list[Shape | None] = []

    @property
    def last(self) -> int:
        return len(self.shapes) - 1

    @property
    def shape(self) -> Shape:
        shape = self.shapes[-1] if self.shapes else self.input_shape
        assert shape is not None
        return shape

    def integer(self, low: int, high: int) -> int:
        return self.draw(_integer(low, high))

    def one_of(self, choices: Sequence[_T]) -> _T:
        return choices[self.integer(0, len(choices) - 1)]

    def sometimes(self) -> bool:
        return self.integer(0, 2) == 2

    def activation(self) -> str:
        return self.one_of(self.activations)

    def add(self, name: str, shape: Shape | None, **options: object) -> int:
        self.lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in options.items())]
        self.shapes.append(shape)
        return self.last

    def reference(self, index: int) -> int:
        """The absolute or the relative spelling of a layer that the next one reads."""
        return index if self.sometimes() else index - self.last - 1

    def peers(self) -> list[int]:
        """Layers with the height and width of the last one, that one included."""
        side = self.shape[1:]
        return [i for i, shape in enumerate(self.shapes) if shape and shape[1:] == side]

    def conv(self, filters: int, *, size: int = 1, activation: str = "leaky", **more: int) -> int:
        """A convolution; `stride_x`, `stride_y`, `dilation`, `groups`, `padding` as in a cfg."""
        _, height, width = self.shape
        padding = more.get("padding", size // 2)
        dilation = more.get("dilation", 1)
        reach = dilation * (size - 1) + 1
        sides = (
            (side + 2 * padding * dilation - reach) // more.get(stride, 1) + 1
            for side, stride in ((height, "stride_y"), (width, "stride_x"))
        )
        pad = {} if "padding" in more else {"pad": 1}
        norm = {} if self.sometimes() else {"batch_normalize": 1}
        return self.add("convolutional", (filters, *sides), **norm, filters=filters, size=size,
                        **pad, **more, activation=activation)  # fmt: skip


def _any_conv(net: _Cfg) -> None:
    more = {}
    size = net.one_of((1, 3, 5))
    kind = net.integer(0, 4)
    if kind == 1:
        more = {"stride_x": net.integer(1, 2), "stride_y": net.integer(1, 2)}
    elif kind == 2:
        more = {"dilation": 2}
    elif kind == 3:
        # Less padding than usual shrinks the map, more lets zeros in: both stay legal.
        more = {"padding": net.integer(max(0, (size - min(net.shape[1:]) + 1) // 2), 2)}
    net.conv(2 * net.integer(1, 8), size=size, activation=net.activation(), **more)


def _grouped_conv(net: _Cfg) -> None:
    channels = net.shape[0]
    groups = net.one_of([g for g in range(channels, 0, -1) if channels % g == 0 and g <= 24])
    most = max(1, min(4, _MAX_CHANNELS // (2 * groups)))
    net.conv(groups * net.integer(1, most), size=3, activation=net.activation(), groups=groups)


def _residual(net: _Cfg) -> None:
    source = net.last
    channels = net.shape[0]
    net.conv(2 * net.integer(1, 4), size=1, activation=net.activation())
    net.conv(channels, size=3, activation=net.activation())
    net.add("shortcut", net.shape, **{"from": net.reference(source)}, activation=net.activation())


def _any_shortcut(net: _Cfg) -> None:
    peers = net.peers()
    sources = [net.one_of(peers) for _ in range(net.integer(1, 3))]
    references = ",".join(str(net.reference(s)) for s in sources)
    net.add("shortcut", net.shape, **{"from": references}, activation=net.activation())


def _concatenation(net: _Cfg) -> None:
    peers = net.peers()
    sources: list[int] = []
    channels = 0
    for _ in range(net.integer(1, 4)):
        source = net.one_of(peers)
        shape = net.shapes[source]
        assert shape is not None
        if not sources or channels + shape[0] <= _MAX_CHANNELS:
            sources.append(source)
            channels += shape[0]
    references = ", ".join(str(net.reference(s)) for s in sources)
    net.add("route", (channels, *net.shape[1:]), layers=references)


def _grouped_route(net: _Cfg) -> None:
    sources = [net.last, net.one_of(net.peers())] if net.sometimes() else [net.last]
    shapes = [net.shapes[s] for s in sources]
    widths = [shape[0] for shape in shapes if shape]
    groups = net.one_of([g for g in (2, 4, 3, 1) if all(w % g == 0 for w in widths)])
    references = ",".join(str(net.reference(s)) for s in sources)
    net.add("route", (sum(widths) // groups, *net.shape[1:]), layers=references, groups=groups,
            group_id=net.integer(0, groups - 1))  # fmt: skip


def _upsample(net: _Cfg) -> None:
    channels, height, width = net.shape
    stride = net.integer(1, max(1, min(3, _MAX_SIDE // max(height, width))))
    net.add("upsample", (channels, height * stride, width * stride), stride=stride)


def _maxpool(net: _Cfg) -> None:
    channels, height, width = net.shape
    size = net.integer(1, min(5, height, width))
    strides = {"stride_x": net.integer(1, 2), "stride_y": net.integer(1, 2)}
    padding = net.integer(0, 2 * (size - 1)) if net.sometimes() else size - 1
    more = {} if padding == size - 1 else {"padding": padding}
    shape = (
        channels,
        (height + padding - size) // strides["stride_y"] + 1,
        (width + padding - size) // strides["stride_x"] + 1,
    )
    net.add("maxpool", shape, size=size, **strides, **more)


def _pyramid(net: _Cfg) -> None:
    source = net.last
    channels, height, width = net.shape
    if 3 * channels > _MAX_CHANNELS:
        source = net.conv(8, activation=net.activation())
        channels = 8
    first = net.add("maxpool", (channels, height, width), size=3, stride=1)
    net.add("route", (channels, height, width), layers=net.reference(source))
    second = net.add("maxpool", (channels, height, width), size=5, stride=1)
    references = [net.reference(i) for i in (second, first, source)]
    net.add("route", (3 * channels, height, width), layers=",".join(map(str, references)))


def _dropout(net: _Cfg) -> None:
    net.add("dropout", net.shape, probability=0.3)


def _reorg(net: _Cfg) -> None:
    channels, height, width = net.shape
    if height % 2 or width % 2 or 4 * channels > _MAX_CHANNELS:
        height, width = _even_side(net, 8)
        channels = 8
    # The older order reads memory across channels and needs a multiple of stride^2 of them.
    name = "reorg" if channels % 4 == 0 and net.sometimes() else "reorg3d"
    net.add(name, (4 * channels, height // 2, width // 2), stride=2)


def _even_side(net: _Cfg, filters: int) -> tuple[int, int]:
    """Reduce to `filters` channels on sides that 2 divides, doubling odd sides first."""
    net.conv(filters, activation=net.activation())
    _, height, width = net.shape
    if height % 2 or width % 2:
        if 2 * max(height, width) > _MAX_SIDE:
            height, width = (height + 1) // 2, (width + 1) // 2
            net.add("maxpool", (filters, height, width), size=3, stride=2)
        height, width = 2 * height, 2 * width
        net.add("upsample", (filters, height, width), stride=2)
    return height, width


def _squeeze_excite(net: _Cfg) -> None:
    source = net.last
    channels, height, width = net.shape
    net.add("avgpool", (channels, 1, 1))
    net.conv(2 * net.integer(1, 3), activation=net.activation())
    net.conv(channels, activation="logistic")
    net.add("scale_channels", (channels, height, width), **{"from": net.reference(source)},
            activation=net.one_of(("linear", "leaky", "logistic")))  # fmt: skip


def _spatial_attention(net: _Cfg) -> None:
    source = net.last
    net.conv(net.shape[0], size=3, activation="logistic")
    net.add("sam", net.shape, **{"from": net.reference(source)},
            activation=net.one_of(("linear", "leaky", "tanh")))  # fmt: skip


BLOCKS: dict[str, Callable[[_Cfg], None]] = {
    "conv": _any_conv,
    "residual": _residual,
    "grouped_conv": _grouped_conv,
    "shortcut": _any_shortcut,
    "route": _concatenation,
    "grouped_route": _grouped_route,
    "upsample": _upsample,
    "maxpool": _maxpool,
    "pyramid": _pyramid,
    "dropout": _dropout,
    "reorg": _reorg,
    "squeeze_excite": _squeeze_excite,
    "spatial_attention": _spatial_attention,
}
"""What a network is drawn from, by name."""


def _head(net: _Cfg) -> None:
    classes, anchors = net.integer(1, 3), net.integer(1, 2)
    entries = 9 if (name := net.one_of(_HEAD_KINDS)) == "Gaussian_yolo" else 5
    new_coords = name == "yolo" and net.sometimes()
    filters = anchors * (entries + classes)
    net.conv(filters, activation="logistic" if new_coords else "linear")
    options: dict[str, object] = {
        "anchors": ",  ".join(f"{10 + 7 * i},{14 + 5 * i}" for i in range(anchors)),
        "classes": classes,
        "num": anchors,
    }
    if name == "region":
        options |= {"softmax": 1, "coords": 4}
    else:
        options |= {"mask": ",".join(map(str, range(anchors))), "scale_x_y": 1.1, "jitter": ".3"}
    if new_coords:
        options |= {"new_coords": 1}
    net.add(str(name), None, **options)


_HEAD_KINDS = ("yolo", "yolo", "yolo", "Gaussian_yolo", "region")


def _resume(net: _Cfg) -> None:
    """After a head: go on from any earlier layer, as detection necks do."""
    index = net.one_of([i for i, shape in enumerate(net.shapes) if shape is not None])
    net.add("route", net.shapes[index], layers=net.reference(index))


@st.composite
def network_texts(
    draw: st.DrawFn,
    *,
    blocks: Sequence[str] = tuple(BLOCKS),
    activations: Sequence[str] = tuple(_ALL_ACTIVATIONS),
    max_blocks: int = 8,
    heads: int = 2,
) -> str:
    """Cfg text of a random valid network.

    `blocks` are names from `BLOCKS`; the network has 1 to `max_blocks` of them after its first
    convolution and up to `heads` detection heads. Some layers end up read by nobody, as in real
    cfgs that were edited by hand.
    """
    shape = (draw(_integer(1, 3)), 2 * draw(_integer(3, 8)), 2 * draw(_integer(3, 8)))
    net = _Cfg(draw, activations, shape)
    if net.integer(0, 5) == 5:
        (_maxpool if "maxpool" in blocks else _any_conv)(net)
    _any_conv(net)
    count = net.integer(1, max_blocks)
    stops = {net.integer(1, count) for _ in range(net.integer(0, heads))}
    for number in range(1, count + 1):
        if net.shapes[-1] is None:
            _resume(net)
        BLOCKS[net.one_of(blocks)](net)
        if number in stops:
            _head(net)
    return "\n".join(net.lines) + "\n"


def network_specs(
    *,
    blocks: Sequence[str] = tuple(BLOCKS),
    activations: Sequence[str] = tuple(_ALL_ACTIVATIONS),
    max_blocks: int = 8,
    heads: int = 2,
) -> st.SearchStrategy[NetworkSpec]:
    """Specs of `network_texts`, drawn with the same options."""
    texts = network_texts(
        blocks=blocks, activations=activations, max_blocks=max_blocks, heads=heads
    )
    return texts.map(parse_cfg)


def random_state(
    spec: NetworkSpec, seed: int = 0, dtype: torch.dtype = torch.float64
) -> dict[int, ConvParameters]:
    """Parameters under which feature maps stay of order one.

    Kernels have variance 1/fan-in; batch norm has non-trivial statistics, gammas of both signs, and
    none near zero.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...], deviation: float) -> torch.Tensor:
        return deviation * torch.randn(shape, generator=generator, dtype=dtype)

    def uniform(shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator, dtype=dtype)

    state = {}
    for index, shapes in parameter_shapes(spec).items():
        kernel = shapes["kernel"]
        width = kernel[:1]
        tensors = {
            "kernel": normal(kernel, (kernel[1] * kernel[2] * kernel[3]) ** -0.5),
            "bias": normal(width, 0.3),
        }
        if "scale" in shapes:
            sign = torch.sign(uniform(width, -1.0, 3.0))
            tensors |= {
                "scale": sign * uniform(width, 0.5, 1.5),
                "mean": normal(width, 0.2),
                "variance": uniform(width, 0.5, 1.5),
            }
        state[index] = ConvParameters(**tensors)
    return state

"""From images to a network's numbers: how families of networks want them, a row each.

Images are uint8 (H, W, C), C is 3 for RGB, 1 for gray; network inputs are float32.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from yoloprune.data.images import MOST_SIDE, Image, in_channels
from yoloprune.data.resizes import RESIZES
from yoloprune.detection.placement import Placement
from yoloprune.errors import CfgError, UsageError
from yoloprune.frontends.darknet.spec import NetworkSpec

NetworkInput: TypeAlias = NDArray[np.float32]

COLORS = {1: "gray", 3: "RGB"}
"""What images of so many channels are read as."""

Layout: TypeAlias = Literal["nchw", "nhwc"]


def _one_of(name: str, value: object, known: Any) -> None:
    if value not in known:
        raise UsageError(
            f"`preprocess`: {name} {value!r} is unknown (known: {', '.join(filter(None, known))})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How an image becomes a network's input: (pixel * scale - mean) / std, channel by channel.

    Attributes:
        resize: how it is fitted to the input's size: a row of `RESIZES`.
        fill: pixel value, 0 to 255, of what the image does not cover.
        order: of the channels, where there are three.
        scale: what pixels of 0 to 255 are multiplied by.
        mean: of each channel, in their order, or one for all.
        std: as `mean`.
        layout: of the input; None for what its shape says.
        size: (height, width) of an input that may be of any size; None for what the file says.

    Raises `UsageError` for values that make no sense.
    """

    resize: str = "stretch"
    fill: float = 127.5
    order: Literal["rgb", "bgr"] = "rgb"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Layout | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        _one_of("resize", self.resize, RESIZES)
        _one_of("order", self.order, ("rgb", "bgr"))
        _one_of("layout", self.layout, (None, "nchw", "nhwc"))
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise UsageError(f"`preprocess`: {name} is one number, or three")
        numbers = (self.fill, self.scale, *self.mean, *self.std)
        if not (all(map(math.isfinite, numbers)) and self.scale and all(self.std)):
            raise UsageError("`preprocess`: numbers must be finite, scale and std not 0")

    @property
    def extent(self) -> tuple[float, float]:
        """The least and the largest number that a pixel can become."""
        ends = [
            (pixel * self.scale - mean) / std
            for pixel in (0, 255)
            for mean, std in zip(*np.broadcast_arrays(self.mean, self.std), strict=True)
        ]
        return min(ends), max(ends)


PRESETS: Mapping[str, Preprocess] = {
    "ultralytics": Preprocess(resize="letterbox", fill=114),
    "yolox": Preprocess(resize="corner", fill=114, order="bgr", scale=1.0),
    "fastestdet": Preprocess(order="bgr"),
    "yunet": Preprocess(resize="corner", fill=0, order="bgr", scale=1.0),
    "torchvision": Preprocess(resize="crop", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    # PaddleOCR reads BGR and yet takes the means in this order.
    "ppocr": Preprocess(order="bgr", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "plain": Preprocess(),
}
"""What the programs of these families do before their networks; `plain` is RGB in [0, 1]."""

DARKNET_LETTERBOX = replace(PRESETS["plain"], resize="darknet-letterbox")
"""What darknet does where a cfg says `letter_box=1`; without, it is `plain`."""


def network_input(
    image: Image, height: int, width: int, how: Preprocess
) -> tuple[NetworkInput, Placement]:  # (H, W, C) -> (C, height, width), or (height, width, C)
    """An image as a network of this input size wants it, and where in it the image lies."""
    fitted = RESIZES[how.resize](image, height, width)
    inside = _numbers(fitted.image, how)
    if inside.shape[:2] != (height, width):
        whole = np.empty((height, width, inside.shape[2]), np.float32)
        whole[:] = _numbers(np.full((1, 1, inside.shape[2]), how.fill, np.float32), how)
        rows, columns = inside.shape[:2]
        whole[fitted.top : fitted.top + rows, fitted.left : fitted.left + columns] = inside
        inside = whole
    if how.layout != "nhwc":
        inside = inside.transpose(2, 0, 1)
    return np.ascontiguousarray(inside), fitted.placement


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """The input of a network that reads images: `channels` is 3 (RGB or BGR) or 1 (gray)."""

    channels: int
    height: int
    width: int
    preprocess: Preprocess

    def fit(self, image: Image) -> tuple[NetworkInput, Placement]:
        """An image, RGB or gray, as the network wants it, and where in the result it lies."""
        image = in_channels(image, self.channels)
        return network_input(image, self.height, self.width, self.preprocess)

    def resized(self, resize: str | None) -> "ImageInput":
        """The same with images fitted by this row of `RESIZES`, or as they are if None."""
        if resize is None:
            return self
        return replace(self, preprocess=replace(self.preprocess, resize=resize))

    def document(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        sizes = {"channels": self.channels, "width": self.width, "height": self.height}
        how = {key: value for key, value in asdict(self.preprocess).items() if key != "size"}
        return sizes | how

    def __str__(self) -> str:
        """In words, for a report."""
        how = self.preprocess
        low, high = how.extent
        color = COLORS[self.channels] if self.channels == 1 else how.order.upper()
        return f"{color} in [{low:.3g}, {high:.3g}], {self.width}x{self.height} by {how.resize}"


def darknet_input(spec: NetworkSpec) -> ImageInput:
    """What a Darknet network reads, as its cfg says.

    Raises `CfgError` for a network that reads neither RGB nor gray.
    """
    channels, height, width = spec.input_shape
    if channels not in COLORS:
        raise CfgError(
            f"the network reads {channels} channels, but images are read with 3 (RGB) or 1 (gray)"
        )
    how = darknet_preprocess(spec)
    return ImageInput(channels=channels, height=height, width=width, preprocess=how)


def darknet_preprocess(spec: NetworkSpec) -> Preprocess:
    """What darknet does with images for this network: letterbox if its cfg says so, or stretch."""
    letterboxed = (spec.net_option("letter_box") or "0").strip() != "0"
    return DARKNET_LETTERBOX if letterboxed else PRESETS["plain"]


def stated(text: str, base: Preprocess) -> Preprocess:
    """What a user says: a preset's name, settings upon it, or settings upon `base` alone.

    Such as `yolox`, `yolox,fill=0`, `mean=0.5,0.5,0.5,size=640x480` (width x height),
    `scale=1/255`. Raises `UsageError` for anything else.
    """
    first, *rest = words = [word.strip() for word in text.split(",")]
    if "=" not in first:
        if first not in PRESETS:
            raise UsageError(
                f"`preprocess` {first!r} is unknown (known: {', '.join(PRESETS)}; or say what "
                f"differs: {', '.join(f'{key}=' for key in _KEYS)})"
            )
        base, words = PRESETS[first], rest
    said: dict[str, list[str]] = {}
    key = ""
    for word in words:
        # A word without a key is one more number of the key before.
        key, value = (part.strip() for part in (word.split("=", 1) if "=" in word else (key, word)))
        if key not in _KEYS:
            raise UsageError(f"`preprocess` has no {key or word!r} (known: {', '.join(_KEYS)})")
        said.setdefault(key, []).append(value)
    return replace(base, **{key: _value(key, values) for key, values in said.items()})


def stated_in(metadata: Mapping[str, str]) -> Preprocess | None:
    """What the metadata of an ONNX file say, or None: Ultralytics' and this package's are known."""
    if (own := _parsed(metadata.get("input"))) and isinstance(own, dict):
        if own.get("resize") == "letterbox":
            return DARKNET_LETTERBOX
        return PRESETS["plain"] if own.get("resize") == "stretch" else None
    if not {"stride", "names"} <= metadata.keys():
        return None
    size = _parsed(metadata.get("imgsz"))
    known = isinstance(size, list) and len(size) == 2
    known = known and all(type(side) is int and 0 < side <= MOST_SIDE for side in size)
    return replace(PRESETS["ultralytics"], size=tuple(size) if known else None)


def _numbers(pixels: NDArray[Any], how: Preprocess) -> NetworkInput:  # (h, w, C) -> (h, w, C)
    if how.order == "bgr":
        pixels = pixels[:, :, ::-1]
    numbers: NetworkInput = pixels.astype(np.float32)
    if how.scale != 1:
        numbers *= np.float32(how.scale)
    if any(how.mean):
        numbers -= np.array(how.mean, np.float32)
    if set(how.std) != {1.0}:
        numbers /= np.array(how.std, np.float32)
    return numbers


def _value(key: str, words: list[str]) -> Any:
    if key in ("resize", "order", "layout"):
        return ",".join(words).lower()
    if key == "size":
        sides = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", ",".join(words).lower())
        if sides is None or not all(0 < int(side or 1) <= MOST_SIDE for side in sides.groups()):
            raise UsageError(
                f"`preprocess`: size {','.join(words)!r} is none: give a side such as 416, or "
                "width x height such as 320x192"
            )
        return int(sides[2] or sides[1]), int(sides[1])
    try:
        numbers = tuple(map(_number, words))
    except (ValueError, ZeroDivisionError):
        raise UsageError(
            f"`preprocess`: {key} {','.join(words)!r}: give numbers such as 0.5 or 1/255"
        ) from None
    if key in ("mean", "std"):
        return numbers
    if len(numbers) > 1:
        raise UsageError(f"`preprocess`: {key} is one number, not {len(numbers)}")
    return numbers[0]


def _number(word: str) -> float:
    above, _, below = word.partition("/")
    return float(above) / float(below or 1)


_KEYS = tuple(Preprocess.__dataclass_fields__)


def _parsed(text: str | None) -> Any:
    """What a metadata entry holds as JSON, or None."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None

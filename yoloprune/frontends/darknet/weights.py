"""Darknet .weights files.

Format (darknet `src/parser.c`): little-endian int32 major, minor, revision; then `seen`, the
number of training images, in 8 bytes from version 0.2 on and in 4 before; then float32 per
convolution in layer order: with batch norm biases, scales, means, variances and kernel, without it
biases and kernel.

Some PyTorch programs begin with five int32 or five int64 instead (version, `seen`, one more), and
give 0.0.0 as the version of networks that they did not read from darknet. By that version darknet
reads four int32 and takes the rest of the header for weights; the file's length tells them apart.
"""

import math
import struct
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch

from yoloprune.errors import WeightsError
from yoloprune.files import plain_size, write_atomically
from yoloprune.frontends.darknet.foreign import refuse_foreign
from yoloprune.frontends.darknet.shapes import layer_shapes, source_shapes
from yoloprune.frontends.darknet.spec import WEIGHTS_HEADER_BYTES, Conv, NetworkSpec
from yoloprune.frontends.darknet.state import ConvParameters, State

_VERSION = (0, 2, 5)
_LONGEST_HEADER = 40
_FLOAT = np.dtype("<f4")


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsHeader:
    """Version, training images seen, and the header's own length in bytes."""

    version: tuple[int, int, int]
    seen: int
    size: int


def parameter_shapes(spec: NetworkSpec) -> dict[int, dict[str, tuple[int, ...]]]:
    """Shapes of each convolution's parameters, in file order, by layer index."""
    shapes = layer_shapes(spec)
    expected: dict[int, dict[str, tuple[int, ...]]] = {}
    for conv in spec.convs:
        channels = source_shapes(conv, spec, shapes)[0][0]
        names = ("bias", "scale", "mean", "variance") if conv.batch_normalize else ("bias",)
        expected[conv.index] = dict.fromkeys(names, (conv.filters,)) | {
            "kernel": (conv.filters, channels // conv.groups, conv.size, conv.size)
        }
    return expected


def read_header(
    data: bytes | bytearray,
    path: Path,
    lengths: Collection[int] = (),
    length: int | None = None,
) -> WeightsHeader:
    """Decode the header at the start of a file's bytes.

    `lengths` are the numbers of bytes that may follow it, in a file of `length` bytes (those that
    are given, if it is None). Where they do not follow darknet's own
    header but one of five int32 with version 0.0.0, or of five int64, it is that.
    """
    if len(data) < 16:
        raise WeightsError(f"{path}: only {len(data)} bytes: not a darknet .weights file")
    major, minor, revision = struct.unpack_from("<3i", data)
    if not (0 <= major < 100_000 and 0 <= minor < 100_000):
        raise WeightsError(
            f"{path}: unsupported version {major}.{minor}: not a darknet .weights file"
        )
    long_seen = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    if long_seen and len(data) < WEIGHTS_HEADER_BYTES:
        raise WeightsError(f"{path}: only {len(data)} bytes: not a darknet .weights file")
    (seen,) = struct.unpack_from("<q" if long_seen else "<i", data, 12)
    size = 20 if long_seen else 16
    whole = len(data) if length is None else length
    if lengths and whole - size not in lengths:
        # In five int64 every second int32 is 0, so their version begins with 0.0 for darknet.
        for size_of_five, layout, most in ((20, "<4i", 0), (40, "<4q", 999)):
            if whole - size_of_five in lengths:
                *version, count = struct.unpack_from(layout, data)
                if all(0 <= part <= most for part in version):
                    return WeightsHeader(
                        version=(version[0], version[1], version[2]), seen=count, size=size_of_five
                    )
    return WeightsHeader(version=(major, minor, revision), seen=seen, size=size)


def read_weights(
    path: Path, spec: NetworkSpec, *, backbone: bool = False
) -> dict[int, ConvParameters]:
    """Read a .weights file for a network, as float32 tensors.

    With `backbone` the file may end after any convolution (`darknet53.conv.74`), and only the
    layers it holds are returned. Raises `WeightsError` naming layer and byte offset when the file
    is too short, too long, not finite, or has a negative variance.
    """
    refuse_foreign(path, "weights")
    expected = parameter_shapes(spec)
    ends = list(accumulate(map(_byte_count, expected.values())))
    # No more is read than the network can use: the file may be of any size, or have no end.
    most = ends[-1] + _LONGEST_HEADER + 1
    try:
        size = plain_size(path)
        with path.open("rb") as file:
            data = bytearray(file.read(min(size, most)))
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights: {error.strerror}") from error
    header = read_header(data, path, set(ends) if backbone else {ends[-1]})
    offset = header.size
    state: dict[int, ConvParameters] = {}
    try:
        for conv in spec.convs:
            if backbone and state and offset == len(data):
                return state
            state[conv.index], offset = _read_conv(data, offset, conv, expected[conv.index])
        if offset != len(data):
            remain = max(size, len(data)) - offset
            raise ValueError(
                f"{remain} bytes remain after the last layer (byte {offset}): "
                "these weights belong to another cfg"
            )
    except ValueError as problem:
        old = header.size < WEIGHTS_HEADER_BYTES
        version = ".".join(map(str, header.version))
        note = f" (with the header of 16 bytes that version {version} has)" if old else ""
        raise WeightsError(f"{path}: {problem}{note}") from None
    return state


def read_seen(path: Path, spec: NetworkSpec) -> int:
    """How many training images the weights of a network have seen, by their file's header."""
    with path.open("rb") as file:
        data = file.read(_LONGEST_HEADER)
    lengths = {sum(map(_byte_count, parameter_shapes(spec).values()))}
    return read_header(data, path, lengths, plain_size(path)).seen


def write_weights(path: Path, spec: NetworkSpec, state: State, *, seen: int = 0) -> None:
    """Write a state as a version 0.2.5 .weights file, whole or not at all.

    Raises `WeightsError` unless the state fits the network and is finite in float32.
    """
    check_state(spec, state)
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<3iq", *_VERSION, seen))
        for conv in spec.convs:
            for name, tensor in state[conv.index].items():
                array = tensor.detach().to("cpu", torch.float32).numpy()
                if not np.isfinite(array).all():
                    raise WeightsError(
                        f"{path}: not written: {conv.title} has NaN or inf in {name}"
                    )
                file.write(array.astype(_FLOAT, copy=False).tobytes())


def check_state(spec: NetworkSpec, state: State) -> None:
    """Raise `WeightsError` unless the state has exactly the tensors that the network needs."""
    expected = parameter_shapes(spec)
    if expected.keys() != state.keys():
        odd = sorted(expected.keys() ^ state.keys())
        raise WeightsError(f"the weights do not cover the network: layers {odd[:10]} differ")
    for index, shapes in expected.items():
        found = {name: tuple(tensor.shape) for name, tensor in state[index].items()}
        if found != shapes:
            raise WeightsError(f"layer {index}: the cfg needs {shapes}, the weights have {found}")


def _byte_count(shapes: dict[str, tuple[int, ...]]) -> int:
    return _FLOAT.itemsize * sum(map(math.prod, shapes.values()))


def _read_conv(
    data: bytearray, offset: int, conv: Conv, shapes: dict[str, tuple[int, ...]]
) -> tuple[ConvParameters, int]:
    """A convolution's parameters from a byte offset on, and where they end."""
    tensors: dict[str, torch.Tensor] = {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        if offset + count * _FLOAT.itemsize > len(data):
            raise ValueError(
                f"the file ends at byte {len(data)}, but {conv.title} needs its {name} "
                f"({count} floats) from byte {offset}: truncated, or weights of another cfg"
            )
        array = np.frombuffer(data, _FLOAT, count, offset)
        bad = ~np.isfinite(array)
        if name == "variance":
            bad |= array < 0
        if bad.any():
            first = int(bad.argmax())
            raise ValueError(
                f"{conv.title}: {name}[{first}] = {array[first]} at byte "
                f"{offset + first * _FLOAT.itemsize}: damaged, or weights of another cfg"
            )
        tensors[name] = torch.from_numpy(array.astype(np.float32, copy=False).reshape(shape))
        offset += count * _FLOAT.itemsize
    return ConvParameters(**tensors), offset

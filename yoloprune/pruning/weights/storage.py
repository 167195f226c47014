"""The packed file: a sparse network in the space that its non-zeros need, bit for bit.

All numbers are little-endian. The file is

- 8 bytes `YPSPARSE`, a version (uint32), the graph's digest (32 bytes, SHA-256);
- the parameters that are no float32 kernels, in the graph's order, each in its own dtype;
- the float32 kernels in the graph's order, each in places and values;
- SHA-256 over everything before it (32 bytes).

Places are a uint32 number of non-zeros, a byte for the encoding and a stream. Encoding 0: every
weight has a value, the stream is empty. 1: one bit a weight, the first in the highest bit. 2: for
each non-zero the number of zeros before it, a byte each; a byte of 255 adds 255 zeros and says that
the number goes on. The writer takes the shorter one.

Values are the non-zeros' float32 in four streams: all lowest bytes, ..., all highest bytes, of
which the last, sign and exponent, compresses well.

A stream is a byte that says whether it is compressed (zlib), its uint32 length in the file, and its
bytes. A weight counts as zero if all its bits are 0.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from yoloprune.errors import WeightsError
from yoloprune.files import read_file, write_atomically
from yoloprune.graph.graph import Graph, Parameter
from yoloprune.graph.model import raw_bytes
from yoloprune.pruning.weights.masks import kernels

MAGIC = b"YPSPARSE"
VERSION = 2

_DENSE, _BITS, _GAPS = range(3)
_FLOAT = np.dtype("<f4")
_WHOLE_GAP = 255
_OVERHEAD = 1 << 20


def write_packed(path: Path, graph: Graph, parameters: Mapping[str, Tensor]) -> None:
    """Write a network's packed file, whole or not at all.

    Raises `WeightsError` unless the parameters are finite.
    """
    content = pack(graph, parameters)
    with write_atomically(path) as temporary:
        temporary.write_bytes(content)


def pack(graph: Graph, parameters: Mapping[str, Tensor]) -> bytes:
    """The content of a packed file; raises what `write_packed` raises."""
    parts = [MAGIC, struct.pack("<I", VERSION), bytes.fromhex(graph.digest())]
    whole, sparse = _parameters(graph)
    for name, parameter in (whole | sparse).items():
        tensor = parameters[name].detach().to("cpu", _dtype(parameter)).contiguous()
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"not packed: there is NaN or inf in {name}")
        if name in sparse:
            parts += _kernel_parts(np.ascontiguousarray(tensor.reshape(-1).numpy(), _FLOAT))
        else:
            parts.append(raw_bytes(tensor))
    content = b"".join(parts)
    return content + hashlib.sha256(content).digest()


def read_packed(path: Path, graph: Graph) -> dict[str, Tensor]:
    """Read the parameters in a packed file, each of the graph's shape and dtype.

    Raises `WeightsError` where it is damaged, too short or too long, not finite, or of another
    network.
    """
    weights = sum(_bytes(parameter) for parameter in graph.parameters.values())
    try:
        # Places and the like take less than the weights themselves.
        content = read_file(path, 2 * weights + _OVERHEAD)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the packed file: {error.strerror}") from error
    try:
        return unpack(content, graph)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from None


def unpack(content: bytes, graph: Graph) -> dict[str, Tensor]:
    """The parameters in the content of a packed file; raises what `read_packed` raises."""
    if not content.startswith(MAGIC):
        raise WeightsError("not a packed file of yoloprune")
    body, checksum = content[:-32], content[-32:]
    if hashlib.sha256(body).digest() != checksum:
        raise WeightsError("damaged: the checksum does not fit")
    reader = _Reader(body)
    reader.take(len(MAGIC))
    version = reader.number()
    if version != VERSION:
        raise WeightsError(f"version {version} of the format is unknown (known: {VERSION})")
    digest = reader.take(32).hex()
    if digest != graph.digest():
        raise WeightsError(
            f"packed from another network (its digest starts with {digest[:12]}, this network's "
            f"with {graph.digest()[:12]}; the input size counts)"
        )
    variances = {node.inputs[4] for node in graph.nodes if node.operator == "BatchNormalization"}
    whole, sparse = _parameters(graph)
    found = {}
    for name, parameter in (whole | sparse).items():
        try:
            read = _read_kernel if name in sparse else _read_whole
            tensor = read(reader, parameter)
        except WeightsError as error:
            raise WeightsError(f"{name}: {error}") from None
        if tensor.is_floating_point():
            least = 0.0 if name in variances else -math.inf
            if not tensor.isfinite().all() or (tensor < least).any():
                raise WeightsError(f"{name} has values that no network has")
        found[name] = tensor
    if reader.place != len(body):
        raise WeightsError(f"{len(body) - reader.place} bytes remain after the last parameter")
    return {name: found[name] for name in graph.parameters}


def _parameters(graph: Graph) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Those that are stored whole, and the kernels, of which zeros are left out."""
    named = {kernel.name for kernel in kernels(graph)}
    sparse = {n: p for n, p in graph.parameters.items() if n in named and p.dtype == "float32"}
    return {n: p for n, p in graph.parameters.items() if n not in sparse}, sparse


def _dtype(parameter: Parameter) -> torch.dtype:
    """Torch names dtypes as numpy does."""
    dtype: torch.dtype = getattr(torch, parameter.dtype)
    return dtype


def _bytes(parameter: Parameter) -> int:
    return _dtype(parameter).itemsize * math.prod(parameter.shape)


class _Reader:
    """Takes bytes off the front; whoever asks for more than there are gets a `WeightsError`."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise WeightsError(f"the file ends {count} bytes after byte {self.place}: truncated")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def stream(self, longest: int) -> bytes:
        """The next stream, of at most so many bytes when it is unpacked."""
        compressed, length = self.take(1)[0], self.number()
        data = self.take(length)
        if compressed:
            unpacker = zlib.decompressobj()
            try:
                data = unpacker.decompress(data, longest + 1)
            except zlib.error as error:
                raise WeightsError(f"a compressed stream is damaged ({error})") from error
        if len(data) > longest:
            raise WeightsError(f"a stream is longer than {longest} bytes")
        return data


def _read_whole(reader: _Reader, parameter: Parameter) -> Tensor:
    data = bytearray(reader.take(_bytes(parameter)))
    # Torch makes no tensor of an empty buffer.
    flat = torch.frombuffer(data, dtype=_dtype(parameter)) if data else torch.empty(0)
    return flat.to(_dtype(parameter)).reshape(parameter.shape)


def _kernel_parts(kernel: NDArray[np.float32]) -> list[bytes]:
    places = np.flatnonzero(kernel.view(np.uint32))
    values = kernel[places]
    streams = [(_BITS, _bits(places, kernel.size)), (_GAPS, _gaps(places))]
    if len(places) == kernel.size:
        streams = [(_DENSE, b"")]
    encoding, stream = min(
        ((encoding, _stream(data)) for encoding, data in streams), key=lambda found: len(found[1])
    )
    planes = values.view(np.uint8).reshape(-1, _FLOAT.itemsize).T
    return [
        struct.pack("<IB", len(places), encoding),
        stream,
        *(_stream(plane.tobytes()) for plane in planes),
    ]


def _read_kernel(reader: _Reader, parameter: Parameter) -> Tensor:
    size = math.prod(parameter.shape)
    count, encoding = reader.number(), reader.take(1)[0]
    if count > size:
        raise WeightsError(f"{count} non-zeros in a kernel of {size} weights")
    if encoding == _DENSE:
        reader.stream(0)
        places: NDArray[np.int64] = np.arange(size)
    elif encoding == _BITS:
        bits = np.frombuffer(reader.stream(-(-size // 8)), np.uint8)
        places = np.flatnonzero(np.unpackbits(bits, count=min(size, 8 * len(bits))))
    elif encoding == _GAPS:
        places = _places(reader.stream(count + size // _WHOLE_GAP))
    else:
        raise WeightsError(f"encoding {encoding} is unknown")
    if len(places) != count or (count and places[-1] >= size):
        raise WeightsError("the places of the non-zeros contradict their number")
    planes = [np.frombuffer(reader.stream(count), np.uint8) for _ in range(_FLOAT.itemsize)]
    if any(len(plane) != count for plane in planes):
        raise WeightsError(f"fewer than {count} values")
    kernel = np.zeros(size, np.float32)
    kernel[places] = np.stack(planes, axis=1).reshape(-1).view(_FLOAT)
    return torch.from_numpy(kernel.reshape(parameter.shape))


def _stream(data: bytes) -> bytes:
    packed = zlib.compress(data)
    if len(packed) < len(data):
        return struct.pack("<BI", 1, len(packed)) + packed
    return struct.pack("<BI", 0, len(data)) + data


def _bits(places: NDArray[np.int64], size: int) -> bytes:
    bits = np.zeros(size, bool)
    bits[places] = True
    return np.packbits(bits).tobytes()


def _gaps(places: NDArray[np.int64]) -> bytes:
    gaps = np.diff(places, prepend=-1) - 1
    whole, rest = np.divmod(gaps, _WHOLE_GAP)
    data = np.full(len(gaps) + whole.sum(), _WHOLE_GAP, np.uint8)
    data[np.cumsum(whole + 1) - 1] = rest
    return data.tobytes()


def _places(stream: bytes) -> NDArray[np.int64]:
    data = np.frombuffer(stream, np.uint8)
    last = np.flatnonzero(data != _WHOLE_GAP)
    places: NDArray[np.int64] = np.cumsum(data, dtype=np.int64)[last] + np.arange(len(last))
    return places

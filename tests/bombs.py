"""Small files that unpack to gigabytes, and how much memory whoever opens them takes."""

import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BLOCK = 1 << 20

CLEAR = Path("/proc/self/clear_refs")


def stream(
    mebibytes: int, unit: bytes = b"\0", *, head: bytes = b"", window: int = zlib.MAX_WBITS
) -> bytes:
    """A head and then one piece over and over, as zlib (a window of 31: gzip) of little size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush a block depends on nothing before it.
    block = packer.compress(unit * (_BLOCK // len(unit))) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * mebibytes + packer.flush()


def png(side: int) -> bytes:
    """A picture of so many black pixels squared, of which only the last checksum is wrong."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = stream(side * (3 * side + 1) // _BLOCK + 1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@contextmanager
def at_most(mebibytes: int) -> Iterator[None]:
    """Fail if the process grows by more than so much while the block runs."""
    if not CLEAR.exists():
        pytest.skip("the peak of memory can be reset on Linux alone")
    before = forget_peak()
    yield
    grown = peak() - before
    assert grown <= mebibytes, f"{grown} MiB more than before"


def forget_peak() -> int:
    """From now on the peak is the present, which this gives in MiB."""
    CLEAR.write_text("5")
    return _status("VmRSS")


def peak() -> int:
    """The most memory that the process had since, in MiB."""
    return _status("VmHWM")


def _status(name: str) -> int:
    """A field of /proc/self/status in MiB."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) >> 10

import errno
from pathlib import Path

import numpy as np
import pytest

from yoloprune.engines.sparse_kernels import spread


def double(x: np.ndarray) -> None:
    for i in range(len(x)):
        x[i] *= 2


@pytest.mark.parametrize("damage", ["nbi", "nbc"])
def test_a_damaged_cache_is_made_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba import config, types

    from yoloprune.engines.sparse_kernels import compiled

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    decorate = compiled(types.Array(types.float32, 1, "C"))
    decorate(double)
    (cached,) = tmp_path.rglob(f"*.{damage}")
    whole = cached.read_bytes()
    for content in (b"", whole[: len(whole) // 2]):
        cached.write_bytes(content)
        x = np.ones(3, np.float32)
        decorate(double)(x)
        assert x.tolist() == [2.0] * 3
    assert decorate(double).stats.cache_hits  # type: ignore[attr-defined]


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from numba import config, types
    from numba.core import caching

    from yoloprune.engines.sparse_kernels import compiled

    def full(*_: object) -> None:
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(caching.IndexDataCacheFile, "_open_for_write", full)
    x = np.ones(3, np.float32)
    compiled(types.Array(types.float32, 1, "C"))(double)(x)
    assert x.tolist() == [2.0] * 3


def test_planes_hold_every_pixel_once_and_zeros_around() -> None:
    """Pixels (y, x), padded by one, lie in the plane of their remainders by the strides."""
    x = np.arange(1, 1 + 2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    planes = np.zeros((2, 2, 2, 4, 4), np.float32)
    spread(x, planes, 1, 0, 2)
    for dy in range(2):
        for dx in range(2):
            part = padded[:, dy::2, dx::2]
            assert np.array_equal(planes[:, dy, dx, : part.shape[1], : part.shape[2]], part)

from pathlib import Path

import numpy as np

from tests.data.originals import write_image
from yoloprune.data.inspection import image_size, is_cut_jpeg, unturned


def test_only_jpegs_without_an_end_are_cut(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    assert image_size(whole, tmp_path) == (90, 100)
    # Phones append films, in which any mark may occur.
    assert image_size(whole + b"\0\0 a film \xff\xda", tmp_path) == (90, 100)
    # A whole thumbnail in front does not make up for the end.
    thumbnail = b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole
    assert not is_cut_jpeg(whole[:2] + thumbnail + whole[2:])
    for keep in (0.3, 0.6, 0.9, 0.999):
        assert is_cut_jpeg(whole[:2] + thumbnail + whole[2 : int(keep * len(whole))])
    assert not is_cut_jpeg(b"\x89PNG")


def test_damaged_exif_data_is_left_as_it_is() -> None:
    assert unturned(b"") == b""
    assert unturned(b"\xff\xd8\xff") == b"\xff\xd8\xff"
    random = np.random.default_rng(0)
    head = (
        b"\xff\xd8\xff\xe1\x00\x30Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    )
    assert unturned(head)[-4:] == b"\x01\0\0\0"
    for _ in range(300):
        damaged = bytearray(head)
        damaged[random.integers(2, len(head))] = random.integers(256)
        cut = bytes(damaged[: random.integers(2, len(head))])
        assert len(unturned(cut)) == len(cut)

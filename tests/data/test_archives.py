import io
import tarfile
from pathlib import Path

import pytest

from tests.data.originals import small_original
from yoloprune.data import archives
from yoloprune.data.archives import unpack_tar
from yoloprune.data.vgg_hand import convert_hand_dataset, opened_original
from yoloprune.errors import DatasetError


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0
) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, target, size
    return member


def pack(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def files(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_an_archive_converts_as_its_folder_does(mode: str, tmp_path: Path) -> None:
    root = small_original(tmp_path / "raw" / "hand_dataset")
    archive = tmp_path / "hand_dataset.tar.any"
    with tarfile.open(archive, mode) as tar:  # type: ignore[call-overload]
        tar.add(root, "hand_dataset")
    work = tmp_path / "work"
    with opened_original(archive, work) as unpacked:
        convert_hand_dataset(unpacked, tmp_path / "one")
    convert_hand_dataset(root, tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert list(work.iterdir()) == []


@pytest.mark.parametrize(
    ("member", "problem"),
    [
        (entry("../evil", size=1), "leads out of the folder"),
        (entry("hand_dataset/../../evil", size=1), "leads out of the folder"),
        (entry("..\\evil", size=1), "leads out of the folder"),
        (entry("/evil", size=1), "leads out of the folder"),
        (entry("C:\\evil", size=1), "leads out of the folder"),
        (entry("..", tarfile.DIRTYPE), "leads out of the folder"),
        (entry("link", tarfile.SYMTYPE, "/etc/passwd"), "is a link or a device"),
        (entry("link", tarfile.SYMTYPE, ".."), "is a link or a device"),
        (entry("link", tarfile.LNKTYPE, "../outside"), "is a link or a device"),
        (entry("null", tarfile.CHRTYPE), "is a link or a device"),
        (entry("disk", tarfile.BLKTYPE), "is a link or a device"),
        (entry("pipe", tarfile.FIFOTYPE), "is a link or a device"),
    ],
)
def test_nothing_leaves_the_folder(member: tarfile.TarInfo, problem: str, tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", entry("good", size=3), member, entry("link/x", size=1))
    (tmp_path / "inner").mkdir()
    with pytest.raises(DatasetError, match=problem):
        unpack_tar(archive, tmp_path / "inner")
    assert files(tmp_path / "inner") == {"good": b"xxx"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar.gz", "inner"]


def test_absurd_sizes_are_refused_before_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1000)
    archive = pack(tmp_path / "a.tar.gz", entry("a", size=900), entry("b", size=101))
    (tmp_path / "inner").mkdir()
    with pytest.raises(DatasetError, match="unpacks to more than"):
        unpack_tar(archive, tmp_path / "inner")
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["a"]
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    with pytest.raises(DatasetError, match="unpacks to more than 2 files"):
        unpack_tar(pack(archive, *(entry(name) for name in "abc")), tmp_path / "inner")


def test_a_header_that_lies_about_its_size_fills_no_disk(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(entry("big", size=1 << 40).tobuf() + bytes(1024))
    with pytest.raises(DatasetError, match="unpacks to more than"):
        unpack_tar(archive, tmp_path)


@pytest.mark.parametrize("keep", [0, 5, 100, -40])
def test_a_damaged_archive_is_refused(keep: int, tmp_path: Path) -> None:
    root = small_original(tmp_path / "hand_dataset")
    archive = tmp_path / "a.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(root, "hand_dataset")
    archive.write_bytes(archive.read_bytes()[:keep])
    with (
        pytest.raises(DatasetError, match=r"a\.tar\.gz: not a tar archive, or damaged"),
        opened_original(archive, tmp_path / "work"),
    ):
        pass
    assert list((tmp_path / "work").iterdir()) == []


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", entry("a", size=100_000))
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 0xFF
    archive.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged"):
        unpack_tar(archive, tmp_path)


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.tar.gz", entry("readme", size=3))
    with (
        pytest.raises(DatasetError, match=r"a\.tar\.gz: not the original hand_dataset"),
        opened_original(archive, tmp_path / "work"),
    ):
        pass

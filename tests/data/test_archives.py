import io
import tarfile
from pathlib import Path

import pytest

from tests import bombs
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


def gzipped(path: Path, mebibytes: int, head: bytes, unit: bytes = b"\0") -> Path:
    """A .tar.gz of some bytes, and after them one piece over and over."""
    path.write_bytes(bombs.stream(mebibytes, unit, head=head, window=31))
    assert path.stat().st_size < 1 << 22
    return path


@pytest.mark.parametrize(
    "kind",
    [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE],
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_that_claims_gigabytes_takes_no_memory(
    kind: bytes, packed: bool, tmp_path: Path
) -> None:
    head = entry("name", kind, size=3 << 30).tobuf()
    archive = tmp_path / "a.tar"
    if packed:
        gzipped(archive, 2048, head)
    else:
        archive.write_bytes(head)
        with archive.open("ab") as file:
            file.truncate(3 << 30)
    with bombs.at_most(100), pytest.raises(DatasetError, match="longer than makes sense"):
        unpack_tar(archive, tmp_path)


def test_a_sparse_map_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    member = entry("name", size=1024)
    member.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    head = member.tobuf(tarfile.PAX_FORMAT) + b"999999999\n"
    with bombs.at_most(100), pytest.raises(DatasetError, match="longer than makes sense"):
        unpack_tar(gzipped(tmp_path / "a.tar.gz", 1024, head, b"0\n"), tmp_path)


def test_a_bomb_fills_no_disk(tmp_path: Path) -> None:
    archive = gzipped(tmp_path / "a.tar.gz", 1024, entry("x", size=1 << 30).tobuf())
    (tmp_path / "inner").mkdir()
    with pytest.raises(DatasetError, match="unpacks to more than 100000 files or 256 MiB"):
        unpack_tar(archive, tmp_path / "inner")
    assert not files(tmp_path / "inner")


def test_endless_headers_are_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(entry("x" * 90, tarfile.GNUTYPE_LONGNAME).tobuf() * 5000)
    with pytest.raises(DatasetError, match="not a tar archive, or damaged"):
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

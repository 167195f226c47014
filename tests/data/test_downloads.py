import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.reporters import Heard
from yoloprune.data.downloads import download
from yoloprune.errors import DatasetError

CONTENT = np.random.default_rng(0).bytes(700_000)


@dataclass
class Host:
    """What the server serves, how it misbehaves, and the requests it saw."""

    content: bytes = CONTENT
    tag: str | None = '"v1"'
    ranges: bool = True
    break_after: list[int] = field(default_factory=list)
    seen: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def host() -> Iterator[Host]:
    served = Host()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            served.seen.append(wanted)
            if self.path != "/data.tar.gz":
                self.send_error(404, "Not here")
                return
            start = 0
            fresh = self.headers.get("If-Range") in (None, served.tag)
            if wanted and served.ranges and fresh:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])  # type: ignore[index]
                if start >= len(served.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(served.content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                last = len(served.content) - 1
                self.send_header("Content-Range", f"bytes {start}-{last}/{last + 1}")
            else:
                self.send_response(200)
            if served.tag:
                self.send_header("ETag", served.tag)
            body = served.content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: served.break_after.pop(0)] if served.break_after else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_port}/data.tar.gz"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    thread.join()
    server.server_close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_and_checked(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "new" / "data.tar.gz"
    heard = Heard()
    digest = hashlib.sha256(CONTENT).hexdigest()
    download(
        host.url,
        path,
        sha256=digest.upper(),
        size=len(CONTENT),
        reporter=heard,
    )
    assert path.read_bytes() == CONTENT
    assert names(path.parent) == ["data.tar.gz"]
    assert heard.tracked == ["downloading data.tar.gz"]
    download(host.url, path, sha256=digest)
    assert len(host.seen) == 1  # what is there and right is not fetched again


def test_a_broken_connection_is_taken_up_again(host: Host, tmp_path: Path) -> None:
    host.break_after = [100_000, 200_000]
    download(host.url, tmp_path / "a", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert host.seen == [None, "bytes=100000-", "bytes=300000-"]
    assert names(tmp_path) == ["a"]


def test_a_later_call_goes_on(host: Host, tmp_path: Path) -> None:
    host.break_after = [50_000] * 5
    with pytest.raises(DatasetError, match="the same command goes on from where this one stopped"):
        download(host.url, tmp_path / "a")
    assert names(tmp_path) == ["a.part", "a.part.version"]
    download(host.url, tmp_path / "a")
    assert host.seen[-1] == "bytes=250000-"
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_part_that_is_whole_already_is_kept(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    (tmp_path / "a.part.version").write_text('"v1"')
    download(host.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("part", "version"), [(b"x" * 800_000, '"v1"'), (b"old", '"v0"'), (b"old", "")]
)
def test_a_part_of_something_else_is_thrown_away(
    part: bytes, version: str, host: Host, tmp_path: Path
) -> None:
    (tmp_path / "a.part").write_bytes(part)
    if version:
        (tmp_path / "a.part.version").write_text(version)
    download(host.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_without_a_version_nothing_is_appended(tag: str | None, host: Host, tmp_path: Path) -> None:
    host.tag = tag
    host.break_after = [100_000]
    download(host.url, tmp_path / "a")
    assert host.seen == [None, None]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_anew(host: Host, tmp_path: Path) -> None:
    host.ranges = False
    host.break_after = [100_000]
    download(host.url, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_failed_check_keeps_nothing(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"SHA-256 {hashlib.sha256(CONTENT).hexdigest()}, exp"):
        download(host.url, tmp_path / "a", sha256="0" * 64)
    with pytest.raises(DatasetError, match="700000 bytes, expected 5"):
        download(host.url, tmp_path / "a", size=5)
    assert names(tmp_path) == []


def test_a_file_that_is_not_the_one_is_left_alone(host: Host, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(DatasetError, match="4 bytes, expected 700000"):
        download(host.url, tmp_path / "a", size=700_000)
    assert (tmp_path / "a").read_text() == "mine"


def test_what_cannot_be_fetched_is_refused(host: Host, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the server says 404 Not here"):
        download(host.url + ".gone", tmp_path / "a")
    for url in ("file:///etc/passwd", "ftp://127.0.0.1/a", "hand_dataset.tar.gz"):
        with pytest.raises(DatasetError, match="only http and https"):
            download(url, tmp_path / "a")
    with pytest.raises(DatasetError, match="is not a SHA-256"):
        download(host.url, tmp_path / "a", sha256="abc")
    assert names(tmp_path) == []


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    # Port 9 (discard) is closed everywhere.
    with pytest.raises(DatasetError, match="refused"):
        download("http://127.0.0.1:9/a.tar.gz", tmp_path / "a")

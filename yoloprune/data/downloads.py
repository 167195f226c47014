"""Downloads that go on where they stopped."""

import math
import re
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from yoloprune.errors import DatasetError
from yoloprune.files import file_sha256, naming_errors
from yoloprune.reporter import SILENT, Reporter

_ATTEMPTS = 5
_BLOCK = 1 << 18
_TIMEOUT_SECONDS = 60


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Download a file, and check its size in bytes and its SHA-256 (hexadecimal) where given.

    Until the file is whole it is called `path`.part, and a later call goes on from there (HTTP
    Range, with If-Range so that halves of two versions never meet). A file at `path` that passes
    the checks is left alone. Raises `DatasetError` if the server refuses, the connection keeps
    breaking, or a check fails; after a failed check nothing is kept.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise DatasetError(f"{url}: only http and https addresses can be downloaded")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise DatasetError(f"{sha256!r} is not a SHA-256: expected 64 hexadecimal digits")
    if path.is_file():
        _check(path, url, sha256, size)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with naming_errors(part, part):
                _fetch(url, part, reporter)
            break
        except urllib.error.HTTPError as error:
            error.close()
            raise DatasetError(f"{url}: the server says {error.code} {error.reason}") from None
        except (urllib.error.URLError, HTTPException, ConnectionError, TimeoutError) as error:
            if attempt == _ATTEMPTS:
                reason = getattr(error, "reason", None) or error
                raise DatasetError(
                    f"{url}: {reason} (the same command goes on from where this one stopped)"
                ) from error
    try:
        _check(part, url, sha256, size)
    except DatasetError:
        _discard(part)
        raise
    part.replace(path)
    _discard(part)


def _fetch(url: str, part: Path, reporter: Reporter) -> None:
    """Append to the part what is missing, or start it anew if the server's file has changed."""
    version = _version_file(part)
    done = part.stat().st_size if part.is_file() and version.is_file() else 0
    headers = {"User-Agent": "yoloprune", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": version.read_text(encoding="utf-8")}
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        # 416: there is nothing after what we have.
        if error.code != 416 or not done:
            raise
        whole = error.headers.get("Content-Range", "").endswith(f"/{done}")
        error.close()
        if whole:
            return
        _discard(part)
        raise ConnectionError("the part on disk is longer than the file") from None
    with response:
        _receive(response, part, done if response.status == 206 else 0, reporter)


def _receive(response: HTTPResponse, part: Path, done: int, reporter: Reporter) -> None:
    length = response.headers.get("Content-Length")
    total = done + int(length) if length and length.isdigit() else None
    if done and not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
        _discard(part)
        raise ConnectionError("the server sent another range than asked for")
    version = _version_file(part)
    tag = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if tag and not tag.startswith("W/"):
        version.write_text(tag, encoding="utf-8")
    else:
        # Without a version there is no telling later whether the rest belongs to this part.
        version.unlink(missing_ok=True)

    def size() -> str:
        return f"{done / 1e6:.1f} MB"

    with part.open("ab" if done else "wb") as file:
        blocks = iter(lambda: response.read(_BLOCK), b"")
        count = None if total is None else math.ceil((total - done) / _BLOCK)
        for block in reporter.track(blocks, f"downloading {part.stem}", total=count, state=size):
            file.write(block)
            done += len(block)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke after {done} of {total} bytes")


def _check(path: Path, url: str, sha256: str | None, size: int | None) -> None:
    found = path.stat().st_size
    if size is not None and found != size:
        raise DatasetError(f"{path.name} from {url}: {found} bytes, expected {size}")
    if sha256 is not None:
        digest = file_sha256(path)
        if digest != sha256.lower():
            raise DatasetError(f"{path.name} from {url}: SHA-256 {digest}, expected {sha256}")


def _version_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.version")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)

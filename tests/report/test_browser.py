"""The report in a real browser: headless Chromium, spoken to over its DevTools pipe.

Chrome DevTools Protocol: messages are JSON, each ended by a zero byte, on descriptors 3 and 4.
"""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.report import studies
from yoloprune.report.html import report_html

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PATIENCE = 60.0
"""Seconds for any one answer; a busy machine takes some for the browser's start."""

MEASURE = """
document.fonts.ready.then(() => ({
  images: [...document.images].map(image => image.naturalWidth),
  width: document.scrollingElement.scrollWidth,
  window: innerWidth,
  background: getComputedStyle(document.body).backgroundColor,
  wide: [...document.querySelectorAll('body *')].filter(element =>
    element.getBoundingClientRect().right > innerWidth + 1
    && !element.closest('.scroll, pre')).map(element => element.outerHTML.slice(0, 80)),
  cut: [...document.querySelectorAll('svg text')].filter(text => {
    const own = text.getBoundingClientRect();
    const all = text.closest('svg').getBoundingClientRect();
    return own.left < all.left - 3 || own.right > all.right + 3
      || own.top < all.top - 3 || own.bottom > all.bottom + 3;
  }).map(text => text.textContent),
  letters: Math.min(...[...document.querySelectorAll('svg text')].map(text =>
    parseFloat(getComputedStyle(text).fontSize)
    * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b))),
}))
"""


class Browser:
    """One page of a headless Chromium."""

    def __init__(self, commands: int, answers: int) -> None:
        self.commands, self.answers = commands, answers
        self.buffer = b""
        self.number = 0
        self.events: list[dict[str, Any]] = []
        self.session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, path: Path, width: int, scheme: str) -> dict[str, Any]:
        """Open a page and measure it."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800,
                  deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.call("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())
        found = self.call(
            "Runtime.evaluate", expression=MEASURE, awaitPromise=True, returnByValue=True
        )
        return found["result"]["value"]

    def receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.answers], [], [], deadline - time.monotonic())
            assert ready, "the browser does not answer"
            self.buffer += os.read(self.answers, 1 << 16)
        message, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(message)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """Start Chromium and, in the end, stop it."""
    assert CHROMIUM is not None
    from_us, commands = os.pipe()
    answers, to_us = os.pipe()
    flags = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", "--disable-extensions"),
    ]
    # The shell moves the pipes to the two descriptors that the browser expects.
    moved = f'exec "$@" 3<&{from_us} 4>&{to_us}'
    process = subprocess.Popen(
        ["bash", "-c", moved, "bash", CHROMIUM, *flags, f"--user-data-dir={profile}",
         "--remote-debugging-pipe", "about:blank"],
        pass_fds=(from_us, to_us),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(from_us)
    os.close(to_us)
    try:
        browser = Browser(commands, answers)
        yield browser
        browser.session = None
        browser.call("Browser.close")
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(commands)
        os.close(answers)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_report_shows_in_a_browser(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(report_html(studies.filled_study()), encoding="utf-8")
    backgrounds = {}
    with chromium(tmp_path / "profile") as browser:
        for width in (360, 1280):
            for scheme in ("light", "dark"):
                seen = browser.open(page, width, scheme)
                assert seen["window"] == width
                assert seen["width"] <= width
                assert not seen["wide"]
                assert not seen["cut"]
                assert seen["images"] and all(seen["images"])
                assert seen["letters"] >= 7.5
                backgrounds[scheme] = seen["background"]
                assert not complaints(browser.events)
                assert loaded(browser.events) <= {page.as_uri()}
    assert backgrounds["light"] != backgrounds["dark"]


def complaints(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Errors and warnings of the page, in whatever way the browser reports them."""
    methods = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    return [event for event in events if event.get("method") in methods]


def loaded(events: list[dict[str, Any]]) -> set[str]:
    """What was asked of a disk or a network."""
    requests = [e["params"] for e in events if e.get("method") == "Network.requestWillBeSent"]
    urls = {request["request"]["url"] for request in requests}
    return {url for url in urls if not url.startswith("data:")}

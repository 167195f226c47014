"""Signals as a wish to stop at a good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_flag(*signals: signal.Signals) -> Iterator[Callable[[], int]]:
    """Number of the signal that asked to stop between two steps, or 0; a second stops at once.

    Without `signals` it is Ctrl-C that asks.
    """
    raised = 0
    before = {number: signal.getsignal(number) for number in signals or (signal.SIGINT,)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal raised
        raised = number
        restore()

    for number in before:
        signal.signal(number, handle)
    try:
        yield lambda: raised
    finally:
        restore()

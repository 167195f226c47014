import os
import signal

import pytest

from yoloprune.interrupts import stop_flag


def test_the_first_signal_asks_and_the_second_stops() -> None:
    before = signal.getsignal(signal.SIGINT)
    with stop_flag() as asked:
        assert asked() == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert asked() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_signals_ask_where_they_are_named() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    with stop_flag(signal.SIGTERM, signal.SIGUSR1) as asked:
        os.kill(os.getpid(), signal.SIGUSR1)
        assert asked() == signal.SIGUSR1
        # One wish is enough: all signals mean again what they did.
        assert {number: signal.getsignal(number) for number in before} == before
    with pytest.raises(ZeroDivisionError), stop_flag(signal.SIGTERM):
        _ = 1 / 0
    assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]

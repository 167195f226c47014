"""Which channel counts suit an engine, by times that are made up, and in one that is there."""

import pytest

from yoloprune.engines import quantum
from yoloprune.engines.quantum import QUANTA, WIDEST, channel_quantum, coarsest_wasted
from yoloprune.errors import UsageError

WIDTHS = sorted({WIDEST} | {WIDEST - q // part for q in QUANTA for part in (1, 2)})


@pytest.mark.parametrize("block", [1, 8, 16, 32])
@pytest.mark.parametrize("constant", [0.0, 500.0])
def test_an_engine_that_fills_up_blocks_wants_multiples_of_them(
    block: int, constant: float
) -> None:
    filled = {width: -(-width // block) * block for width in WIDTHS}
    assert coarsest_wasted({width: constant + n**2 for width, n in filled.items()}) == block


def test_a_layout_that_wants_multiples_is_seen() -> None:
    assert coarsest_wasted({width: width * (1 + (width % 4 > 0)) for width in WIDTHS}) == 4


def test_an_engine_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantum, "RUNS", 1)
    monkeypatch.setattr(quantum, "SIDE", 2)
    assert channel_quantum("torch") in (1, *QUANTA)
    with pytest.raises(UsageError, match="engine 'abacus' is not known"):
        channel_quantum("abacus")

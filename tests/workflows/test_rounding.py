"""What counts are rounded to by default, with engines that are made up."""

from pathlib import Path

import pytest

from tests.reporters import Heard
from yoloprune.engines.benchmark import default_engines
from yoloprune.errors import GraphError
from yoloprune.graph.model import Model
from yoloprune.pruning.solve import USUAL_MULTIPLE
from yoloprune.workflows import rounding
from yoloprune.workflows.prune import prune
from yoloprune.workflows.rounding import FINEST, quantum_file, suited_multiple, suited_to

ENGINES = ("torch", "onnxruntime", "opencv")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that were measured, of which the coarsest wants multiples of 16."""
    engines: list[str] = []

    def measured(engine: str) -> int:
        engines.append(engine)
        return {"torch": 32, "onnxruntime": 16, "opencv": 2}[engine]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(rounding, "default_engines", lambda: ENGINES)
    monkeypatch.setattr(rounding, "channel_quantum", measured)
    return engines


def test_the_coarsest_wish_of_what_is_installed_counts(asked: list[str]) -> None:
    assert suited_multiple() == suited_multiple() == 16
    # Once each, and torch does not count.
    assert asked == ["onnxruntime", "opencv"]
    assert quantum_file("opencv").read_text() == "2\n"


def test_without_another_engine_than_torch_it_is_the_usual(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounding, "default_engines", lambda: ("torch",))
    assert suited_multiple() == USUAL_MULTIPLE
    assert not asked


def test_an_engine_that_cannot_run_the_probe_has_no_say(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(engine: str) -> int:
        if engine == "onnxruntime":
            raise GraphError("no convolutions today")
        return 4

    monkeypatch.setattr(rounding, "channel_quantum", refuse)
    assert suited_multiple() == 4


def test_in_one_engine_it_is_that_ones_wish_but_no_finer_than_what_can_be_searched(
    asked: list[str],
) -> None:
    assert [suited_to(name) for name in ENGINES] == [32, 16, FINEST]


def test_prune_goes_by_it(dense: Model, asked: list[str]) -> None:
    heard = Heard()
    assert prune(dense, {"macs": 0.9}, reporter=heard).plan.budget.multiple_of <= 16
    assert asked
    assert prune(dense, {"macs": 0.9}, multiple_of=1).plan.budget.multiple_of == 1
    assert default_engines()

from tests.reporters import Heard
from yoloprune.reporter import SILENT, WarnsOnce


def test_nothing_is_said_unless_somebody_listens(capfd) -> None:  # type: ignore[no-untyped-def]
    with SILENT.stage("working"):
        assert list(SILENT.track(iter("ab"), "letters")) == ["a", "b"]
    SILENT.say("a")
    SILENT.warn("b")
    assert capfd.readouterr() == ("", "")


def test_a_warning_is_passed_on_once() -> None:
    heard = Heard()
    once = WarnsOnce(heard)
    for text in ("a", "b", "a"):
        once.warn(text)
    once.say("c")
    assert (heard.warnings, heard.lines) == (["a", "b"], [])

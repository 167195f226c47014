from tests.nasty import NASTY, SEEN
from yoloprune.escapes import printable


def test_escapes_are_python_s() -> None:
    assert printable(NASTY) == SEEN
    assert printable("naïve 日本\u3000手 [red]{x}") == "naïve 日本\u3000手 [red]{x}"
    assert printable("日本", "ascii") == r"\u65e5\u672c"

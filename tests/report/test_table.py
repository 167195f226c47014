"""Numbers as people read them: those of the case-study table, among others."""

import pytest

from yoloprune.report.table import billions, change, markdown_table, megabytes, millions


def test_the_case_studys_figures() -> None:
    assert millions(61_523_734) == "61.5M"
    assert billions(32_644_937_728) == "32.6G"
    assert megabytes(246_305_388) == "246MB"
    assert change(61.5, 10.9) == "-82%"
    assert change(32.8, 9.6) == "-71%"


@pytest.mark.parametrize(
    ("value", "text"), [(10_196, "0.0102M"), (0, "0M"), (123_456_789_012, "123,457M")]
)
def test_small_and_large_counts(value: int, text: str) -> None:
    assert millions(value) == text


def test_nothing_before_has_no_change() -> None:
    assert change(0, 5) == "n/a"


def test_markdown() -> None:
    assert markdown_table(("A", "B"), [("x", 1)]) == "| A | B |\n|---|---:|\n| x | 1 |\n"

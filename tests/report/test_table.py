"""Numbers as people read them: those of the case-study table, among others."""

import pytest

from yoloprune.report.table import amount, change, file_size, markdown_table


def test_the_case_studys_figures() -> None:
    assert amount(61_523_734) == "61.5M"
    assert amount(32_644_937_728) == "32.6B"
    assert file_size(246_305_388) == "246.3MB"
    assert change(61.5, 10.9) == "-82%"
    assert change(32.8, 9.6) == "-71%"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (999, "999"),
        (10_196, "10.2K"),
        (999_960, "1.0M"),
        (1_029_000, "1.0M"),
        (123_456_789_012, "123.5B"),
    ],
)
def test_small_and_large_amounts(value: int, text: str) -> None:
    assert amount(value) == text


def test_nothing_before_has_no_change() -> None:
    assert change(0, 5) == "n/a"


def test_markdown() -> None:
    assert markdown_table(("A", "B"), [("x", 1)]) == "| A | B |\n|---|---:|\n| x | 1 |\n"

from pathlib import Path

import pytest
import typer

from yoloprune.cli.training import asked_size, training_errors
from yoloprune.errors import ClassesError, UsageError
from yoloprune.training.engine import InterruptedRunError


@pytest.mark.parametrize(
    ("text", "size"),
    [("416", 416), (" 320X192 ", (192, 320)), ("64x64", 64), ("32", 32)],
)
def test_a_size_is_width_x_height_and_a_setting_height_first(
    text: str, size: int | tuple[int, int]
) -> None:
    assert asked_size(text) == {"image_size": size}


@pytest.mark.parametrize("text", ["", "x", "416x", "4.5", "-32", "416x416x3", "31", "416x8"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"--image-size {text}: "):
        asked_size(text)
    assert asked_size(None) == {}


def test_a_signal_ends_with_128_more_and_says_how_to_resume(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(typer.Exit) as ended, training_errors(Path("run")):
        raise InterruptedRunError(15)
    assert ended.value.exit_code == 143
    said = capsys.readouterr().err
    assert said == "stopped: run the same command with --resume to resume run\n"


def test_a_mismatch_of_classes_names_the_option_that_mends_it() -> None:
    with (
        pytest.raises(ClassesError, match=r"2 classes, not 3: --fit-heads \(train, finetune"),
        training_errors(Path("run")),
    ):
        raise ClassesError("2 classes, not 3")

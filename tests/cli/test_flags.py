"""Messages of the library name parameters; on the command line they name options."""

from pathlib import Path

import pytest
import typer

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from tests.training.painted import paint
from yoloprune.cli.console import print_result
from yoloprune.cli.flags import RUNNING, given, with_flags
from yoloprune.cli.main import app
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.spec import class_count
from yoloprune.report.shown import Shown

COMMANDS = typer.main.get_command(app).commands


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        ("train", "give `batch_size` 8", "give --batch-size 8"),
        ("train", "run without `compiled`", "run without --compile"),
        ("data", "`allow_faulty` uses the rest", "--allow-faulty uses the rest"),
        ("zoo", "give `batch_size` 8", "give `batch_size` 8"),
        ("data", "`yoloprune data check` lists them", "`yoloprune data check` lists them"),
        ("sparsify", "`sparsify`, then `sparsity`", "`sparsify`, then --sparsity"),
    ],
)
def test_a_setting_is_an_option_where_the_command_has_one(
    command: str, message: str, shown: str
) -> None:
    assert with_flags(message, COMMANDS[command].load()) == shown


def test_an_error_names_the_option(pair: Pair) -> None:
    assert "`exclude`" not in (message := refused("sparsify", pair.cfg, pair.weights, "--out", "c",
        "--sparsity", 0.5, "--exclude", "last"))  # fmt: skip
    assert "--exclude 'last' is unknown" in message


def test_a_warning_names_the_option(pair: Pair, tmp_path: Path) -> None:
    data = paint(tmp_path / "painted", train=4, test=2)
    lists = {name: tmp_path / f"{name}.txt" for name in ("train", "valid")}
    for path in lists.values():
        images = sorted((data / "images" / "train").iterdir())
        path.write_text("".join(f"{image}\n" for image in images))
    classes = class_count(read_cfg(pair.cfg))
    text = "".join(f"{name} = {path}\n" for name, path in lists.items())
    (tmp_path / "set.data").write_text(f"classes = {classes}\n{text}")
    result = run("train", pair.cfg, "--weights", pair.weights, "--data", tmp_path / "set.data",
                 "--out", tmp_path / "run", "--epochs", 1, "--batch-size", 2,
                 "--workers", 0)  # fmt: skip
    assert "are training images: --hold-out or --val-split name others" in result.stderr


def test_a_result_names_options_too(capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["what would help: counts in multiples of 8 (`multiple_of`)"]
    shown = Shown(title="", summary="see `keep_ms`", lines=lines, document={})
    token = RUNNING.set(COMMANDS["prune"].load())
    try:
        print_result(shown, as_json=False, quiet=False)
        print_result(shown, as_json=False, quiet=True)
    finally:
        RUNNING.reset(token)
    said = capsys.readouterr().out
    assert said == "what would help: counts in multiples of 8 (--multiple-of)\nsee --keep-ms\n"


def test_an_option_is_given_where_it_stands_on_the_command_line() -> None:
    command = COMMANDS["sweep"].load()
    words = ["net.cfg", "0.5", "--seed", "0", "-q", "--round-to", "8"]
    with command.make_context("sweep", words) as context:
        assert given(context) == {
            "seed": "--seed",
            "quiet": "--quiet",
            "multiple_of": "--multiple-of",
        }

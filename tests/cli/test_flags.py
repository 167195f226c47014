"""Messages of the library name parameters; on the command line they name options."""

import pytest
import typer

from tests.cli.commands import refused
from tests.cli.conftest import Pair
from yoloprune.cli.flags import with_flags
from yoloprune.cli.main import app

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

import pytest
import typer

from yoloprune.cli.main import app
from yoloprune.cli.on_demand import OnDemand

GROUP = typer.main.get_command(app)


@pytest.mark.parametrize("command", GROUP.commands.values(), ids=list(GROUP.commands))
def test_the_list_says_what_the_command_says(command: OnDemand) -> None:
    loaded = command.load()
    assert loaded.name in (command.name, "", None)
    assert command.help == " ".join(loaded.help.split("\n\n")[0].split())

"""Commands that are imported when they are used: a list of them loads no torch."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from yoloprune.cli.flags import RUNNING


class OnDemand(TyperCommand):
    """A command known by its name and its line of help until it runs, helps or completes.

    `where` is "module:attribute" of a command's function, or of the `Typer` of a group.
    """

    def __init__(self, name: str, where: str, line: str) -> None:
        super().__init__(name, help=line)
        self._where = where

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        """Hand over to the command itself; all that is asked of a command begins here."""
        command = self.load()
        RUNNING.set(command)
        return command.make_context(*arguments, **settings)

    def get_short_help_str(self, limit: int = 0) -> str:
        """The whole line, whatever the limit: the list wraps it."""
        return self.help or ""

    def load(self) -> Any:
        """Import the command."""
        module, attribute = self._where.split(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command(self.name)(found)
            found = alone
        return typer.main.get_command(found)

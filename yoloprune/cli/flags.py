"""Settings that the library's messages name, as the options of a command."""

import re
from contextvars import ContextVar
from typing import Any

import typer

RUNNING: ContextVar[Any] = ContextVar("RUNNING", default=None)
"""The command that was asked for, once it begins."""

_SETTING = re.compile(r"`(\w+)`")


def with_flags(message: str, command: Any) -> str:
    """Write `batch_size` as --batch-size where the command has such an option.

    Library messages name a setting by its parameter, between backticks.
    """
    flags = {
        parameter.name: max(parameter.opts, key=len)
        for each in (command, *getattr(command, "commands", {}).values())
        for parameter in each.params
        if parameter.param_type_name == "option"
    }
    return _SETTING.sub(lambda found: flags.get(found[1], found[0]), message)


def said(message: str) -> str:
    """A message as the command that is running says it."""
    command = RUNNING.get()
    return message if command is None else with_flags(message, command)


def given(context: typer.Context) -> dict[str, str]:
    """By parameter, the longest flag of each option that stands on the command line."""
    return {
        parameter.name: max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.param_type_name == "option"
        and parameter.name is not None
        and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    }

"""Settings that the library's messages name, as the options of a command."""

import re
from typing import Any

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

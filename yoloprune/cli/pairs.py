"""Options that take a network as two words, CFG WEIGHTS: a folder that holds one will do too."""

from collections.abc import Sequence
from pathlib import Path

from yoloprune.errors import UsageError

OPTIONS = ("--teacher", "--transfer", "--dense")


def with_pairs(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the two files in the place of a folder.

    Raises `UsageError` if a folder holds no network, several, or one that is no pair.
    """
    found: list[str] = []
    for number, word in enumerate(words):
        if number and words[number - 1] in OPTIONS and Path(word).is_dir():
            # Here, as it loads torch.
            from yoloprune.workflows.models import network_in

            files = network_in(Path(word))
            if len(files) != 2:
                raise UsageError(f"{files[0]}: {words[number - 1]} takes a Darknet pair")
            found += map(str, files)
        else:
            found.append(word)
    return found

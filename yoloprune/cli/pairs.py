"""Options that take a network as two words, CFG WEIGHTS: a folder that holds one will do too."""

from collections.abc import Sequence
from pathlib import Path

OPTIONS = ("--teacher", "--transfer", "--dense")


def with_pairs(words: Sequence[str]) -> list[str]:
    """The words of a command line, with the two files in the place of a folder.

    Raises `PlanError` if a folder holds no network, or several.
    """
    found: list[str] = []
    for number, word in enumerate(words):
        if number and words[number - 1] in OPTIONS and Path(word).is_dir():
            # Here, as it loads torch.
            from yoloprune.workflows.models import network_in

            found += map(str, network_in(Path(word)))
        else:
            found.append(word)
    return found

"""What a program that thins networks is to `compare`: a name, what it needs, and how it is run."""

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from yoloprune.data.calibration import Calibration
from yoloprune.errors import YoloPruneError
from yoloprune.graph.model import Model
from yoloprune.reporter import Reporter
from yoloprune.workflows.cut import Cut


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What each tool is given.

    Attributes:
        dense: the network.
        shares: of its MACs to keep; a network is wanted for each.
        calibration: images without labels, if there are any.
        multiple_of: what channel counts are rounded to, by tools that can.
        seed: of whatever is drawn by lot.
        device: where our own tools compute.
        work: an empty folder for the tool's own files.
        reporter: who is told how it goes.
    """

    dense: Model
    shares: tuple[float, ...]
    calibration: Calibration | None
    multiple_of: int
    seed: int
    device: str
    work: Path
    reporter: Reporter


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Made:
    """A network that a tool has made.

    `exact` says whether it computes what is left of the dense one, `remark` what differs; `cut` is
    the plan and the proof, where the tool is one of ours.
    """

    slim: Model
    exact: str
    remark: str = ""
    cut: Cut | None = None


Outcome: TypeAlias = Made | YoloPruneError
"""A network, or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """One row of the table of tools.

    Attributes:
        name: as users write it.
        about: what it does, in a few words.
        make: a task to an outcome for each share, in order.
        drawn: whether it depends on the seed, or on which images are chosen by it.
        modules: what Python must be able to import.
        install: the command that installs them.
    """

    name: str
    about: str
    make: Callable[[Task], Iterator[Outcome]]
    drawn: bool = False
    modules: tuple[str, ...] = ()
    install: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The modules that it needs and that are not installed."""
        return tuple(name for name in self.modules if importlib.util.find_spec(name) is None)

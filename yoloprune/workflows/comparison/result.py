"""What comparing programs comes to: a row for each network, and the table of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from yoloprune.counting import counted
from yoloprune.engines.benchmark import Latency
from yoloprune.engines.side_by_side import SLOWER
from yoloprune.evaluation.evaluator import SHOWN, Evaluation
from yoloprune.files import write_folder, write_json, write_text
from yoloprune.graph.model import Model
from yoloprune.report.shown import Result, Shown
from yoloprune.report.table import amount
from yoloprune.workflows.comparison.tool import Made
from yoloprune.workflows.cut import write_cut
from yoloprune.workflows.judges import Judge

NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Compared:
    """A tool's network for one share of the MACs, or why there is none.

    `kept` is the share that it has, by our own count; `error` is that of the outputs
    (`recover.errors`), their mean; `evaluation` is there where labeled images were given. `exact`
    and `remark` say whether it computes what is left of the dense network. `seed` is given where
    there are several networks of a tool that depends on it.
    """

    tool: str
    share: float
    made: Made | None = None
    kept: float | None = None
    latency: Latency | None = None
    error: float | None = None
    evaluation: Evaluation | None = None
    remark: str = ""
    seed: int | None = None

    @property
    def accuracy(self) -> float | None:
        """The mAP@0.5."""
        return None if self.evaluation is None else self.evaluation.map50

    @property
    def shown(self) -> float | None:
        """The mAP@0.5 of what scores enough to be shown."""
        return None if self.evaluation is None else self.evaluation.map50_shown

    @property
    def name(self) -> str:
        """Of the folder that it is saved in."""
        return f"{self.tool}-{self.share:g}" + ("" if self.seed is None else f"-seed-{self.seed}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Comparison(Result):
    """Tools at equal MACs: `dense` first, then a row for each share and tool.

    `images` says what the outputs were compared on, `judge` what judged the accuracy, if anything.
    """

    network: Model
    dense: Compared
    rows: tuple[Compared, ...]
    runs: int
    images: str
    judge: Judge | None
    about: Mapping[str, str] = field(default_factory=dict)

    def shown(self) -> Shown:
        """A row a tool and share; below it what each tool does, and what went wrong."""
        judged = [] if self.judge is None else [self.judge.measure, SHOWN]
        title = (
            f"{self.network.document.title}, {amount(self.network.cost.macs)} MACs: ms in ONNX "
            f"Runtime, one thread, {self.runs} alternating runs; error at the outputs on "
            f"{self.images}"
        )
        if self.judge is not None:
            title += f"; mAP on {counted(self.judge.images, f'{self.judge.split} image')}"
        return Shown(
            title=title,
            summary=self._summary(),
            header=("Tool", "MACs asked", "MACs kept", "ms", "Error", *judged, "Exact"),
            rows=[self._cells(rows) for rows in ((self.dense,), *self._by_tool())],
            lines=[
                *self._no_faster(),
                *(f"{tool}: {about}" for tool, about in self.about.items()),
                *dict.fromkeys(
                    f"{row.tool} at {row.share:g}: {row.remark}" for row in self.rows if row.remark
                ),
            ],
            document={
                "network": self.network.document.title,
                "runs": self.runs,
                "images": self.images,
                "judged_on": None
                if self.judge is None
                else {"images": self.judge.images, "split": self.judge.split},
                "dense": self._entry(self.dense),
                "rows": [self._entry(row) for row in self.rows],
            },
        )

    def save(self, folder: str | Path) -> list[str]:
        """Write each network into a folder of its own, compare.json and compare.md; gives names."""
        folder = Path(folder)
        shown = self.shown()
        with write_folder(folder) as temporary:
            for row in self.rows:
                if row.made is not None:
                    _write(temporary / row.name, row.made)
            write_json(temporary / "compare.json", shown.document)
            write_text(temporary / "compare.md", str(self))
            return sorted(path.name for path in temporary.iterdir())

    def _no_faster(self) -> list[str]:
        """Says which networks gain no time on the dense one, and what helps; nothing of none."""
        if self.dense.latency is None:
            return []
        most = SLOWER * self.dense.latency.median
        names = dict.fromkeys(
            f"{row.tool} at {row.share:g}"
            for row in self.rows
            if row.latency is not None and row.latency.median >= most
        )
        if not names:
            return []
        return [
            f"no faster than dense: {', '.join(names)} (at equal MACs any channel counts are "
            "taken; with `--round-to 8` they suit engines, as those of `prune` do)"
        ]

    def _by_tool(self) -> list[tuple[Compared, ...]]:
        """The rows of each share and tool: one, or one a seed."""
        found: dict[tuple[float, str], tuple[Compared, ...]] = {}
        for row in self.rows:
            key = row.share, row.tool
            found[key] = (*found.get(key, ()), row)
        return list(found.values())

    def _cells(self, rows: Sequence[Compared]) -> list[str]:
        first = rows[0]
        numbers = [
            _figure([row.kept for row in rows], 3),
            _figure([None if row.latency is None else row.latency.median for row in rows], 2),
            _figure([row.error for row in rows], 3),
        ]
        if self.judge is not None:
            numbers += [
                _figure([row.accuracy for row in rows], 3),
                _figure([row.shown for row in rows], 3),
            ]
        exact = NOTHING if first.made is None else first.made.exact
        return [first.tool, f"{first.share:g}", *numbers, exact]

    def _entry(self, row: Compared) -> dict[str, Any]:
        return {
            "tool": row.tool,
            "seed": row.seed,
            "share": row.share,
            "kept": row.kept,
            "milliseconds": None if row.latency is None else row.latency.median,
            "error": row.error,
            "map50": row.accuracy,
            "map50_shown": row.shown,
            "exact": None if row.made is None else row.made.exact,
            "remark": row.remark,
        }

    def _summary(self) -> str:
        """The best of each share."""
        said = []
        for share in dict.fromkeys(row.share for row in self.rows):
            rows = [row for row in self.rows if row.share == share and row.error is not None]
            if not rows:
                said.append(f"nothing at {share:g}")
                continue
            best = min(rows, key=lambda row: (-(row.accuracy or 0), row.error))
            figure = f"error {best.error:.3f}"
            if best.accuracy is not None:
                figure = f"mAP@0.5 {best.accuracy:.3f}"
            said.append(f"{best.tool} at {share:g} with {figure}")
        return f"{self.network.document.title}: best are {', '.join(said)}"


def _figure(values: Sequence[float | None], digits: int) -> str:
    """A number or, of several seeds, their mean and standard deviation."""
    known = [value for value in values if value is not None]
    if not known:
        return NOTHING
    if len(known) == 1:
        return f"{known[0]:.{digits}f}"
    return f"{mean(known):.{digits}f} ± {stdev(known):.{digits}f}"


def _write(folder: Path, made: Made) -> None:
    folder.mkdir()
    if made.cut is None:
        made.slim.save(folder / "slim.onnx")
    else:
        write_cut(folder, made.cut)

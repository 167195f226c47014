"""One network of a sweep of levers: made, written into a folder of its own, judged and timed."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from yoloprune.counting import counted
from yoloprune.data.calibration import Calibration, choose_calibration
from yoloprune.data.dataset import Dataset
from yoloprune.data.fingerprint import fingerprint
from yoloprune.data.inputs import image_input
from yoloprune.documents import read_document
from yoloprune.engines.onnxruntime import ONNXRUNTIME
from yoloprune.engines.side_by_side import SideBySide, side_by_side
from yoloprune.errors import UsageError
from yoloprune.evaluation.evaluator import evaluate
from yoloprune.exporters.interface import form_of
from yoloprune.files import file_sha256, write_json, write_text
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.onnx.resized import image_size
from yoloprune.graph.edits import Reading
from yoloprune.graph.model import Model
from yoloprune.reporter import Reporter
from yoloprune.workflows.cut import Cut
from yoloprune.workflows.defaults import ON_IMAGES
from yoloprune.workflows.depth import block_order
from yoloprune.workflows.detectors import detector
from yoloprune.workflows.distill import distill
from yoloprune.workflows.models import load, sized
from yoloprune.workflows.prune import prune
from yoloprune.workflows.prune_depth import LOOKED_AT
from yoloprune.workflows.quantize import quantize
from yoloprune.workflows.recover import recover

INT8_LOSS = 0.02
"""How much mAP int8 may lose of a point: whether it pays, the front shows."""

LEAST = 1e-3
"""A share of a network's time that none is as fast as."""

FLOAT, INT8 = "slim.onnx", "int8.onnx"
"""In a point's folder: what is judged and timed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where each lever stands: size of images, shares to keep, blocks removed, int8.

    Shares, of the MACs and of the time, are of the network with all its blocks, for images of that
    size.
    """

    height: int
    width: int
    keep_macs: float = 1.0
    keep_ms: float = 1.0
    blocks: int = 0
    int8: bool = False

    @property
    def folder(self) -> str:
        """Of the network, in float and in int8."""
        time = f"-ms-{self.keep_ms:g}" if self.keep_ms < 1 else ""
        blocks = f"-without-{self.blocks}" if self.blocks else ""
        return f"{self.width}x{self.height}-{self.keep_macs:g}{time}{blocks}"

    @property
    def file(self) -> str:
        """What is judged and timed, in the sweep's folder."""
        return f"{self.folder}/{INT8 if self.int8 else FLOAT}"

    @property
    def record(self) -> str:
        """What stands there of it, beside the file."""
        return f"{self.folder}/{'int8' if self.int8 else 'float'}.json"

    @property
    def name(self) -> str:
        """The levers in a few words."""
        words = [f"{self.width}x{self.height}"]
        words += [f"{self.keep_macs:g} of the MACs"] if self.keep_macs < 1 else []
        words += [f"pruned to {self.keep_ms:g} of the ms"] if self.keep_ms < 1 else []
        words += [f"{counted(self.blocks, 'block')} fewer"] if self.blocks else []
        return ", ".join([*words, *(["int8"] if self.int8 else [])])


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A network that was tried: its mAP@0.5 (coco), and its time beside the dense network's.

    `file` is in the sweep's folder, of this `sha256`; `of` is the digest of the dense network's
    numbers, `by` that of what it was made and judged with. Raises `ValueError` for what no sweep
    finds.
    """

    setting: Setting
    map50: float
    time: SideBySide
    file: str
    sha256: str
    of: str
    by: str

    def __post_init__(self) -> None:
        if not 0 <= self.map50 <= 1:
            raise ValueError(f"mAP@0.5 must be in [0, 1], not {self.map50:g}")
        if self.file != self.setting.file:
            raise ValueError(f"its file must be {self.setting.file}, not {self.file[:80]!r}")

    @property
    def share(self) -> float:
        """Of the dense network's time."""
        return self.time.share


@dataclass(frozen=True, kw_only=True, eq=False)
class Workshop:
    """The dense network, and what others are made of it and judged with.

    `data` is where the `judged` images were read from, with split and limit; `paths` are those
    `images` that may be learned from.
    """

    dense: Model
    data: tuple[Path, str | None, int | None]
    judged: Dataset
    images: Path
    paths: tuple[Path, ...]
    out: Path
    count: int
    seed: int
    threads: int
    minutes: float | None
    preprocess: str | None
    decoder: str | None
    reporter: Reporter

    @cached_property
    def by(self) -> str:
        """A digest of the images, by name and size, and of the settings."""
        digest = hashlib.sha256(fingerprint(self.judged).encode())
        for path in self.paths:
            digest.update(os.fsencode(path.name) + f" {path.stat().st_size}\n".encode())
        settings = self.count, self.seed, self.threads, self.minutes, self.preprocess, self.decoder
        digest.update(repr(settings).encode())
        return digest.hexdigest()

    @property
    def whole(self) -> Path:
        """The file of the dense network, beside which all are timed."""
        height, width = image_size(self.dense)
        return self.out / Setting(height=height, width=width).file

    @cached_property
    def decoding(self) -> float:
        """What the dense network's file takes beside the network, which no channels save: a share
        of that one's time."""
        if not isinstance(self.dense.document, DarknetDocument):
            return 0.0
        found = side_by_side(self.dense, load(self.whole), ONNXRUNTIME.name, self.threads)
        return max(0.0, found.share - 1)

    def block_order(self, most: int) -> tuple[Reading, ...]:
        """The blocks that go first; raises `PlanError` where none can."""
        images = self._calibration(self.dense).images[:LOOKED_AT]
        with self.reporter.stage("weighing blocks"):
            return block_order(self.dense, images, most)

    def point(self, setting: Setting, order: Sequence[Reading] = ()) -> Point:
        """The point of these levers, read or made; `order` is that in which blocks go.

        Raises what `prune` raises, and `VerificationError` where int8 loses too much.
        """
        folder, file = self.out / setting.folder, self.out / setting.file
        record = self.out / setting.record
        kept = None
        # What is missing or damaged is made anew.
        with suppress(UsageError):
            kept = read_document(record, Point, fault=UsageError)
        if kept is not None and file.exists():
            if kept.of != self.dense.sha256:
                raise UsageError(f"{record}: of another network: choose another folder")
            if kept.by != self.by:
                raise UsageError(
                    f"{record}: made from or judged by other images, or with other settings: "
                    "choose another folder"
                )
            if kept.sha256 != file_sha256(file):
                raise UsageError(f"{file}: not the file that the sweep made: remove it")
            return kept
        if setting.int8:
            data, split, limit = self.data
            quantize(
                load(folder / FLOAT), self.images, file, data=data, split=split, limit=limit,
                max_loss=INT8_LOSS, seed=self.seed, threads=self.threads,
                preprocess=self.preprocess, decoder=self.decoder,
            )  # fmt: skip
        else:
            cut = self._cut(setting, order)
            onnx = isinstance(self.dense.document, DarknetDocument)
            cut.save(folder, onnx=form_of(cut.slim) if onnx else None)
        found = load(file)
        whole = self.whole
        judge = detector(
            found, engine=ONNXRUNTIME.name, preprocess=self.preprocess, decoder=self.decoder
        )
        time = side_by_side(load(whole), found, ONNXRUNTIME.name, self.threads)
        if file == whole:
            # It takes all of its own time, whatever noise makes of that.
            time = replace(time, slim_ms=time.dense_ms, share=1.0)
        made = Point(
            setting=setting,
            map50=evaluate(judge, self.judged).map50,
            time=time,
            file=setting.file,
            sha256=file_sha256(file),
            of=self.dense.sha256,
            by=self.by,
        )
        write_json(record, asdict(made))
        return made

    def _cut(self, setting: Setting, order: Sequence[Reading]) -> Cut:
        network = sized(self.dense, setting.height, setting.width)
        keep = {} if setting.keep_macs == 1 else {"macs": setting.keep_macs}
        if setting.keep_ms < 1:
            # Of the file's time, so much less of the network's as decoding stays.
            left = setting.keep_ms - (1 - setting.keep_ms) * self.decoding
            keep["ms"] = max(left, LEAST)
        if not keep and not setting.blocks:
            return prune(network, {"macs": 1})
        calibration = self._calibration(network)
        cut = prune(
            network,
            keep or {"macs": 1},
            blocks=order[: setting.blocks],
            criterion=ON_IMAGES,
            calibration=calibration,
            seed=self.seed,
            engine=ONNXRUNTIME.name,
            threads=self.threads,
        )
        cut = recover(cut, calibration, seed=self.seed)
        if self.minutes is None:
            return cut
        listed = self.out / "images.txt"
        write_text(listed, "".join(f"{path.resolve()}\n" for path in self.paths))
        return distill(
            cut, listed, minutes=self.minutes, seed=self.seed, preprocess=self.preprocess,
            reporter=self.reporter,
        )  # fmt: skip

    def _calibration(self, network: Model) -> Calibration:
        reads = image_input(network, self.preprocess)
        return choose_calibration(
            network, reads, self.images, self.paths, self.count, self.seed, self.reporter
        )

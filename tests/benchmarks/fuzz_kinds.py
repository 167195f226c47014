"""What can be damaged, and who reads it: a row of `KINDS` for each kind of file."""

import gzip
import hashlib
import io
import json
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from scipy.io import savemat

from tests import architectures
from tests.benchmarks.mutations import (
    Change,
    Kind,
    Random,
    change_bytes,
    change_json,
    change_text,
    some,
)
from tests.benchmarks.onnx_kind import onnx_kind
from tests.data.originals import DIAMOND, SQUARE, small_original, write_mat
from tests.random_networks import random_state
from tests.report.studies import filled_study
from tests.training.painted import paint
from yoloprune.data.archives import unpack_tar
from yoloprune.data.check import check_dataset, write_clean_copy
from yoloprune.data.images import list_images, read_image, read_image_file
from yoloprune.data.inspection import image_size, unturned
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.data.text_files import read_names
from yoloprune.data.vgg_hand import is_original, read_hand_corners
from yoloprune.files import file_sha256
from yoloprune.frontends.darknet.cost import cost
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.document import state as layers
from yoloprune.frontends.darknet.lower import lower, parameters
from yoloprune.frontends.darknet.parser import format_cfg, read_cfg, write_cfg
from yoloprune.frontends.darknet.weights import parameter_shapes, read_weights, write_weights
from yoloprune.frontends.darknet.zoo import yolov3_tiny
from yoloprune.pruning.choices import Scope
from yoloprune.pruning.groups import analyze
from yoloprune.pruning.plan import read_plan
from yoloprune.pruning.weights.mask_file import write_masks
from yoloprune.pruning.weights.masks import MaskSettings, apply_masks, magnitude_masks
from yoloprune.pruning.weights.storage import pack, read_packed
from yoloprune.report.markdown import report_json, report_markdown
from yoloprune.report.study import TrainingLog
from yoloprune.training.config import TrainingConfig
from yoloprune.training.distributed import World
from yoloprune.training.loop import Loop
from yoloprune.training.run_folder import read_log
from yoloprune.workflows import iterate, steps
from yoloprune.workflows.case_study import collect, measurements
from yoloprune.workflows.case_study.data import Summary, read_study_data
from yoloprune.workflows.case_study.settings import PRESETS
from yoloprune.workflows.case_study.subject import Subject, read_subject, write_subject
from yoloprune.workflows.cut import write_cut
from yoloprune.workflows.models import load
from yoloprune.workflows.prune import prune
from yoloprune.workflows.pruned_folder import read_cut
from yoloprune.workflows.sparsify import read_sparse
from yoloprune.workflows.stages import Attempt, Manifest, Stage, finished_stages, is_finished

SPEC = yolov3_tiny(classes=2, width=0.0625, size=(32, 32))
STATE = random_state(SPEC, 0, torch.float32)
GRAPH, ARRAYS = lower(SPEC), parameters(STATE)


BYTES: tuple[Change, ...] = (change_bytes,)
TEXT: tuple[Change, ...] = (change_bytes, change_text, change_text)
JSON: tuple[Change, ...] = (change_bytes, change_text, change_json, change_json, change_json)


def _cfg(root: Path) -> Kind:
    def read() -> None:
        spec = read_cfg(path)
        cost(spec)
        parameter_shapes(spec)
        if len(spec.layers) < 300:
            analyze(lower(spec))

    path = root / "net.cfg"
    tiny = architectures.yolov4_tiny(classes=2, width=0.0625, size=(64, 64))
    samples = [format_cfg(SPEC).encode(), format_cfg(tiny).encode()]
    return Kind(path=path, samples=samples, changes=TEXT, read=read, command=("inspect", path))


def _weights(root: Path) -> Kind:
    def read() -> None:
        read_weights(path, SPEC, backbone=True)
        read_weights(path, SPEC)

    path = root / "net.weights"
    write_weights(path, SPEC, STATE)
    samples = [path.read_bytes()]
    return Kind(path=path, samples=samples, changes=BYTES, read=read)


def _data_set(root: Path, file: str, changes: Sequence[Change], *samples: bytes) -> Kind:
    """A file of a data set, which is checked, cleaned and read for training."""

    def read() -> None:
        raw = read_raw(data)
        checked = check_dataset(raw)
        shutil.rmtree(copy, ignore_errors=True)
        if checked.images:
            write_clean_copy(checked, copy, "data")
            read_raw(copy)
        read_dataset(data, classes=2, split="train", allow_faulty=True)
        read_dataset(data, classes=2)

    path, copy = root / file, root.parent / f"{root.name}-copy"
    data = path if path.suffix in (".data", ".json", ".yaml") else root
    return Kind(path=path, samples=samples or [path.read_bytes()], changes=changes, read=read,
                command=("data", "check", data))  # fmt: skip


def _yolo(root: Path) -> None:
    paint(root, train=2, test=1, side=16)
    (root / "a.names").write_text("cat\ndog\n")
    for split in ("train", "test"):
        images = sorted((root / "images" / split).iterdir())
        (root / f"{split}.txt").write_text("".join(f"{path}\n" for path in images))
    (root / "a.data").write_text(
        f"classes = 2\ntrain = train.txt\nvalid = {root / 'test.txt'}\nnames = a.names\n"
    )


def _data(root: Path) -> Kind:
    _yolo(root)
    return _data_set(root, "a.data", TEXT)


def _names(root: Path) -> Kind:
    _yolo(root)
    kind = _data_set(root, "a.names", TEXT)
    return replace(kind, read=lambda: (read_names(kind.path), kind.read()))


def _list(root: Path) -> Kind:
    _yolo(root)
    kind = replace(_data_set(root, "a.data", TEXT), path=root / "train.txt")
    return replace(
        kind, samples=[kind.path.read_bytes()], read=lambda: (kind.read(), list_images(kind.path))
    )


def _labels(root: Path) -> Kind:
    _yolo(root)
    (root / "a.data").unlink()
    outline = b"1 0.1 0.1 0.5 0.1 0.5 0.5 0.1 0.5\n0.0 0.5 0.5 0.2 0.2\n"
    path = root / "labels" / "train" / "0.txt"
    return _data_set(root, "labels/train/0.txt", TEXT, path.read_bytes(), outline)


def _yaml(root: Path) -> Kind:
    _yolo(root)
    lists = b"path: .\ntrain: images/train\nval: images/test\nnc: 2\nnames: [cat, dog]\n"
    mapping = b"train: [images/train]\nval: test.txt\nnames:\n  0: cat\n  1: dog\n"
    anchors = b"x: &a [images/train]\ntrain: *a\nval: images/test\nnames: ['cat', \"dog\"]\n"
    return _data_set(root, "data.yaml", TEXT, lists, mapping, anchors)


def _voc(root: Path) -> Kind:
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(root / "JPEGImages" / f"{number}.png"), np.zeros((20, 30, 3), np.uint8))
        (root / "Annotations" / f"{number}.xml").write_text(
            f"<annotation><folder>x</folder><filename>{number}.png</filename>"
            "<size><width>30</width><height>20</height><depth>3</depth></size>"
            "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin>"
            "<xmax>10</xmax><ymax>12</ymax></bndbox></object>"
            f"<object><name>dog{number}</name><bndbox><xmin>5</xmin><ymin>6</ymin><xmax>30</xmax>"
            "<ymax>20</ymax></bndbox></object></annotation>"
        )
    return _data_set(root, "Annotations/0.xml", TEXT)


def _coco(root: Path) -> Kind:
    (root / "images").mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(root / "images" / f"{number}.png"), np.zeros((20, 30, 3), np.uint8))
    document = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 30, "height": 20} for n in range(2)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "dog", "supercategory": "x"}],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 3, "bbox": [1, 2, 10, 10], "iscrowd": 0},
            {"id": 2, "image_id": 1, "category_id": 5, "bbox": [1.5, 2, 3, 4],
             "segmentation": [[1, 2, 3, 4, 5, 6]]},
            {"id": 3, "image_id": 1, "category_id": 5, "segmentation": [[1, 2, 3, 4, 5, 6]]},
        ],
    }  # fmt: skip
    return _data_set(root, "train.json", JSON, json.dumps(document).encode())


def _image(root: Path, suffix: str, whole: Change | None = None) -> Kind:
    def read() -> None:
        data = read_image_file(path)
        unturned(data)
        image_size(data, path)
        read_image(path)

    path = root / f"a{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    picture, options = Image.fromarray(pixels), _IMAGE_OPTIONS[suffix]
    samples = []
    for mode, more in options:
        file = io.BytesIO()
        picture.convert(mode).save(file, **more)
        samples.append(file.getvalue())
    return Kind(path=path, samples=samples, changes=BYTES, read=read, whole=whole)


_TURNED = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
_IMAGE_OPTIONS: Mapping[str, Sequence[tuple[str, dict[str, Any]]]] = {
    ".png": [("RGB", {"format": "PNG"}), ("P", {"format": "PNG"}), ("RGBA", {"format": "PNG"})],
    ".jpg": [
        ("RGB", {"format": "JPEG", "exif": _TURNED}),
        ("L", {"format": "JPEG"}),
        ("CMYK", {"format": "JPEG", "progressive": True}),
    ],
    ".bmp": [("RGB", {"format": "BMP"}), ("1", {"format": "BMP"})],
    ".webp": [("RGB", {"format": "WEBP"}), ("RGBA", {"format": "WEBP", "lossless": True})],
    ".tiff": [
        ("RGB", {"format": "TIFF"}),
        ("RGB", {"format": "TIFF", "compression": "tiff_lzw", "big_tiff": True}),
    ],
    ".gif": [("RGB", {"format": "GIF"})],
}


def _png_checksums(random: Random, data: bytes) -> bytes:
    """The checksum of every chunk made to fit, as far as they can be told."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(fixed):
        (length,) = struct.unpack_from(">I", fixed, place)
        if place + 12 + length > len(fixed):
            break
        checksum = zlib.crc32(fixed[place + 4 : place + 8 + length])
        struct.pack_into(">I", fixed, place + 8 + length, checksum)
        place += 12 + length
    return bytes(fixed)


def _archive(root: Path, *, packed: bool) -> Kind:
    def read() -> None:
        is_original(path)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        unpack_tar(path, out)

    path, out = root / "a.tar", root / "out"
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(small_original(root / "hand_dataset"), "hand_dataset")
    samples = [file.getvalue()[:4096] + bytes(1024), _odd_members()]
    if not packed:
        return Kind(path=path, samples=samples, changes=(change_bytes, _change_header), read=read,
                    whole=_tar_checksums)  # fmt: skip
    inner = (change_bytes, _change_header)
    changes = (change_bytes, partial(_inside, gzip.compress, gzip.decompress, inner))
    return Kind(path=path, samples=[gzip.compress(s, 1) for s in samples], changes=changes,
                read=read,
                whole=lambda random, data: _inside(
                    gzip.compress, gzip.decompress, (_tar_checksums,), random, data))  # fmt: skip


def _odd_members() -> bytes:
    """Headers of all kinds, with names of all kinds."""
    members = []
    for kind in (b"0", b"5", b"1", b"2", b"3", b"6", b"7", b"L", b"K", b"x", b"g", b"S", b"V"):
        member = tarfile.TarInfo(f"a/{kind.decode()}")
        member.type = kind
        members.append(member.tobuf())
    long = tarfile.TarInfo("n" * 200)
    long.pax_headers = {"path": "b/\u00e9", "GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    long.size = 600
    members += [long.tobuf(tarfile.PAX_FORMAT), b"1\n0\n600\n".ljust(1024, b"\0")]
    members += [tarfile.TarInfo("n" * 200).tobuf(tarfile.GNU_FORMAT)]
    return b"".join(members) + bytes(1024)


def _change_header(random: Random, data: bytes) -> bytes:
    """A field of a header replaced, its checksum made to fit."""
    start = 512 * int(random.integers(max(1, len(data) // 512)))
    place, length = some(random, ((0, 100), (100, 8), (124, 12), (156, 1), (157, 100), (257, 8),
                                  (345, 155), (482, 1), (483, 12)))  # fmt: skip
    field = some(random, (
        b"77777777777", b"\x80" + bytes(6) + b"\xff" * 4, b"\xff" * 12, b"", b"9" * 11, b"../x",
        b"/x", b"\xff\xfe", b"a\nb\x1b", b"L", b"x", b"g", b"S", b"5", b"0", b"2", b"00000100000",
    ))  # fmt: skip
    changed = bytearray(data)
    changed[start + place : start + place + length] = field[:length].ljust(length, b"\0")
    return _tar_checksums(random, bytes(changed))


def _tar_checksums(random: Random, data: bytes) -> bytes:
    fixed = bytearray(data)
    for start in range(0, len(fixed) - 511, 512):
        block = fixed[start : start + 512]
        if block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            fixed[start + 148 : start + 156] = b"%06o\0 " % (sum(block) & 0o777777)
    return bytes(fixed)


def _inside(
    pack_: Callable[[bytes], bytes],
    unpack: Callable[[bytes], bytes],
    changes: Sequence[Change],
    random: Random,
    data: bytes,
) -> bytes:
    return pack_(some(random, changes)(random, unpack(data)))


def _mat(root: Path) -> Kind:
    path = root / "a.mat"
    write_mat(path, [SQUARE, DIAMOND], deep={"b": [1.0, 2.0]})
    plain = path.read_bytes()
    file = io.BytesIO()
    savemat(file, {"boxes": np.zeros((1, 0)), "x": np.arange(9)}, do_compression=True)

    def inner(random: Random, data: bytes) -> bytes:
        changed = change_bytes(random, plain[128:])
        parts = (zlib.compress(changed, 1), zlib.compress(bytes(1 << int(random.integers(24))), 9))
        part = some(random, parts)
        return plain[:128] + struct.pack("<II", 15, len(part)) + part

    return Kind(path=path, samples=[plain, file.getvalue()], changes=(change_bytes, inner),
                read=lambda: read_hand_corners(path))  # fmt: skip


def _slim(root: Path) -> Path:
    """A folder that `prune` would write, recovered."""
    write_cfg(root / "dense.cfg", SPEC)
    write_weights(root / "dense.weights", SPEC, STATE)
    cut = prune(load(root / "dense.cfg"), {"macs": 0.5}, multiple_of=1)
    fit = {"before": 1.0, "after": 0.5, "samples": 9, "unknowns": 3, "images_needed": 1}
    recovery = {
        "method": "reconstruct", "images": 3, "files": ["a"], "layers": {"0": fit},
        "heads": {"images": 3, "unseen": True, "before": [1.0], "after": [0.5]},
    }  # fmt: skip
    write_cut(root, replace(cut, recovery=recovery))
    return root


def _slim_file(root: Path, name: str) -> Kind:
    path = _slim(root) / name
    graph = analyze(lower(SPEC))

    def read() -> None:
        read_plan(root / "plan.json", graph)
        read_cut(root, root / "dense.cfg")

    return Kind(path=path, samples=[path.read_bytes()], changes=JSON, read=read)


def _masks(root: Path) -> Kind:
    def whole(random: Random, data: bytes) -> bytes:
        document = json.loads(data)
        document.pop("sha256", None)
        digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
        return json.dumps(document | {"sha256": digest}).encode()

    masks = magnitude_masks(GRAPH, ARRAYS, MaskSettings(sparsity=0.5, scope=Scope.LAYER))
    write_cfg(root / "sparse.cfg", SPEC)
    write_weights(root / "sparse.weights", SPEC, layers(apply_masks(GRAPH, ARRAYS, masks)))
    path = root / "masks.json"
    write_masks(path, masks)
    return Kind(path=path, samples=[path.read_bytes()], changes=JSON,
                read=lambda: read_sparse(root), whole=whole)  # fmt: skip


def _packed(root: Path) -> Kind:
    def whole(random: Random, data: bytes) -> bytes:
        return data[:-32] + hashlib.sha256(data[:-32]).digest()

    path = root / "a.packed"
    masks = magnitude_masks(GRAPH, ARRAYS, MaskSettings(sparsity=0.9))
    write_cfg(root / "a.cfg", SPEC)
    samples = [pack(GRAPH, apply_masks(GRAPH, ARRAYS, masks)), pack(GRAPH, ARRAYS)]
    return Kind(path=path, samples=samples, changes=BYTES, read=lambda: read_packed(path, GRAPH),
                command=("expand", root / "a.cfg", path, "--out", root / "a.weights"),
                whole=whole)  # fmt: skip


def _checkpoint(root: Path) -> Kind:
    config = TrainingConfig(epochs=3, batch_size=4, image_size=32)
    here = World(rank=0, size=1, device=torch.device("cpu"))
    network = model(SPEC, STATE, title="network")
    loop = Loop(network, config, here, 5, None, {"training set": "a"})
    loop.log = [json.loads(_LOG)]
    loop.position = replace(loop.position, epoch=1, step=2)
    for parameter in loop.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    loop.optimizer.step()
    loop.save(root)
    path = root / "last.pt"

    def change_value(random: Random, data: bytes) -> bytes:
        document = torch.load(io.BytesIO(data), weights_only=True)
        parent, key = document, some(random, list(document))
        while isinstance(parent[key], dict) and parent[key] and random.integers(4):
            parent = parent[key]
            key = some(random, list(parent))
        values = (None, 1, -1, 10**30, 1.5, float("nan"), "x", [], {}, torch.zeros(3),
                  [parent[key]], torch.zeros((), dtype=torch.int64), torch.zeros(1).expand(10**9),
                  torch.zeros(4, 4).to_sparse(), torch.zeros(2, dtype=torch.complex64))  # fmt: skip
        if random.integers(4):
            parent[key] = some(random, values)
        else:
            del parent[key]
        file = io.BytesIO()
        torch.save(document, file)
        return file.getvalue()

    def change_pickle(random: Random, data: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {info.filename: archive.read(info) for info in archive.infolist()}
        name = some(random, [n for n in parts if n.endswith(".pkl")] * 5 + list(parts))
        parts[name] = change_bytes(random, parts[name])
        file, way = io.BytesIO(), some(random, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(file, "w", way) as archive:
            for part, content in parts.items():
                archive.writestr(part, content)
        return file.getvalue()

    return Kind(path=path, samples=[path.read_bytes()], read=lambda: loop.restore(root),
                changes=(change_bytes, change_value, change_value, change_pickle))  # fmt: skip


_LOG = json.dumps({
    "epoch": 1, "learning_rate": 0.01, "zero_channels": 0.0, "map50": 0.5,
    "loss": {"box": 1.0, "objectness": 1.0, "classes": 0.0, "distillation": 0.0},
})  # fmt: skip


def _study(root: Path, name: str) -> Kind:
    """The files of a case study of which the data and a network are finished."""
    study = filled_study()
    write_subject(root, Subject(preset="demo", settings=PRESETS["demo"], data=Path("/a")))
    stage = Stage(name="data", needs=(), settings={"seed": 0}, outputs=("data.json",),
                  work=lambda folder: None)  # fmt: skip
    names = ("training", "validation", "test")
    summary = Summary(
        path="hands", names=("hand",), anchors=((1.0, 2.0),) * 9, warnings=("one is missing",),
        images=dict.fromkeys(names, 1), objects=dict.fromkeys(names, 2),
        sha256=dict.fromkeys(names, "0"),
    )  # fmt: skip
    attempt = Attempt(stage="data", inputs={"a": {"x": "0"}}, settings={"seed": 0})
    curve = {"precision": [1.0, 0.5], "recall": [0.1, 0.2]}
    figures = {"map50": 0.5, "map50_95": None, "curve": curve}
    latency = {"torch eager": {"median": 1.0, "p95": 2.0, "runs": 3}}
    contents = {
        "data/data.json": json.dumps(asdict(summary)),
        "data/attempt.json": json.dumps(asdict(attempt)),
        "evaluated/original.json": json.dumps({"case-study": figures, "coco": figures}),
        "benchmark/latency.json": json.dumps({"threads": 1, "latency": {"Original": latency}}),
        "exported/checks.json": json.dumps([asdict(check) for check in study.checks]),
        "dense/log.jsonl": f"{_LOG}\n{_LOG}\n",
        "accuracy.json": json.dumps({"map50": 0.5}),
        "schedule.json": json.dumps({"version": 2, "step": 0.05}),
    }
    for file, text in contents.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text(text)
    manifest = Manifest(
        **asdict(attempt), environment={"python": "3", "packages": {"torch": "2"}},
        outputs={"data.json": file_sha256(root / "data" / "data.json")},
    )  # fmt: skip
    (root / "data" / "manifest.json").write_text(json.dumps(asdict(manifest)))

    def shown(changed: Any) -> None:
        report_markdown(changed)
        json.dumps(report_json(changed))

    first, *others = study.measurements
    reads: dict[str, Callable[[], object]] = {
        "study.json": lambda: (read_subject(root), shown(collect.read_study(root))),
        "data/manifest.json": lambda: (
            finished_stages(root, ["data"]), shown(collect.read_study(root)),
            is_finished(stage, root)),
        "data/attempt.json": lambda: collect.read_document(
            root / "data" / "attempt.json", Attempt),
        "data/data.json": lambda: (read_study_data(root), shown(collect.read_study(root))),
        "evaluated/original.json": lambda: shown(replace(study, measurements=[replace(
            first, accuracy=measurements.read_accuracy(root / name)), *others])),
        "benchmark/latency.json": lambda: shown(replace(study, measurements=[replace(
            first, latency=measurements.read_latencies(root / name).latency.get("Original", {})),
            *others])),
        "exported/checks.json": lambda: shown(replace(study, checks=collect._checks(root))),
        "dense/log.jsonl": lambda: shown(replace(
            study, training={"Original": TrainingLog(lines=read_log(root / "dense"))})),
        "accuracy.json": lambda: collect.read_document(root / name, steps._Accuracy),
        "schedule.json": lambda: iterate._begin(root, {"version": 2, "step": 0.05}, resume=True),
    }  # fmt: skip
    path = root / name
    command = ("report", root) if name in ("study.json", "data/manifest.json") else None
    return Kind(path=path, samples=[path.read_bytes()], changes=JSON, read=reads[name],
                command=command)  # fmt: skip


_STUDY_FILES = (
    "study.json", "data/manifest.json", "data/attempt.json", "data/data.json",
    "evaluated/original.json", "benchmark/latency.json", "exported/checks.json", "dense/log.jsonl",
    "accuracy.json", "schedule.json",
)  # fmt: skip

KINDS: dict[str, Callable[[Path], Kind]] = {
    "cfg": _cfg,
    "weights": _weights,
    "data": _data,
    "names": _names,
    "list": _list,
    "labels": _labels,
    "data.yaml": _yaml,
    "voc": _voc,
    "coco": _coco,
    "png": partial(_image, suffix=".png", whole=_png_checksums),
    **{suffix[1:]: partial(_image, suffix=suffix) for suffix in _IMAGE_OPTIONS if suffix != ".png"},
    "tar": partial(_archive, packed=False),
    "tar.gz": partial(_archive, packed=True),
    "mat": _mat,
    "plan.json": partial(_slim_file, name="plan.json"),
    "report.json": partial(_slim_file, name="report.json"),
    "masks.json": _masks,
    "packed": _packed,
    "last.pt": _checkpoint,
    "onnx": onnx_kind,
    **{name: partial(_study, name=name) for name in _STUDY_FILES},
}
"""By name: what lays out a kind in an empty folder."""

"""How to run the exported files elsewhere: short programs, as a reader would paste them."""

import shlex
from dataclasses import dataclass

from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.graph.model import Model
from yoloprune.report.study import ExportedFiles

ONNX_TITLE = "What slim.onnx wants and gives"


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A program or some command lines: where they run, in which language, the text."""

    title: str
    language: str
    code: str


_DARKNET = """\
printf 'classes = {classes}\\nnames = %s\\n' {names} > slim.data
./darknet detector test slim.data {cfg} {weights} photo.jpg -thresh 0.25
"""

_OPENCV = """\
import cv2

model = cv2.dnn.DetectionModel({weights}, {cfg})
model.setInputParams(size=({width}, {height}), scale=1 / 255, swapRB={swap})
photo = cv2.imread("photo.jpg", cv2.{flag})
labels, scores, boxes = model.detect(photo, confThreshold=0.25, nmsThreshold=0.45)
for label, score, (x, y, w, h) in zip(labels, scores, boxes):
    print(label, round(float(score), 3), x, y, x + w, y + h)
"""

_ONNX_RUNTIME = """\
import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession({onnx}, providers=["CPUExecutionProvider"])
photo = cv2.imread("photo.jpg", cv2.{flag})
images = cv2.dnn.blobFromImage(photo, 1 / 255, ({width}, {height}), swapRB={swap})
boxes, scores = (found[0] for found in session.run(["boxes", "scores"], {{"images": images}}))

rows, columns = photo.shape[:2]
boxes *= np.float32([columns / {width}, rows / {height}] * 2)  # corners in the photo's pixels
labels, best = scores.argmax(axis=1), scores.max(axis=1)
corner_and_size = np.hstack((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]))
for i in cv2.dnn.NMSBoxesBatched(corner_and_size, best, labels, 0.25, 0.45):
    print(labels[i], round(float(best[i]), 3), *boxes[i].round().astype(int))
"""


_FILE = """\
yoloprune detect {onnx}{settings} photo.jpg --out found/
"""


def snippets(slim: Model, files: ExportedFiles) -> list[Snippet]:
    """Programs that detect with the files of a network in `photo.jpg`, for each format there is.

    Those of a Darknet network all stretch the photo to the input size and drop scores up to 0.25.
    An .onnx runs where the dense one ran.
    """
    if not isinstance(slim.document, DarknetDocument):
        settings = "".join(f" --{name} {shlex.quote(s)}" for name, s in files.settings.items())
        code = _FILE.format(onnx=shlex.quote(str(files.onnx)), settings=settings)
        return [Snippet(title="yoloprune", language="sh", code=code)]
    spec = slim.document.spec
    channels, height, width = spec.input_shape
    is_gray = channels == 1
    flag = "IMREAD_GRAYSCALE" if is_gray else "IMREAD_COLOR"
    fields = {"width": width, "height": height, "flag": flag, "swap": not is_gray}
    classes = spec.heads[0].classes
    # Darknet wants names: without any, numbers.
    numbers = "" if files.names else f"seq 0 {classes - 1} > slim.names\n"
    darknet = numbers + _DARKNET.format(
        classes=classes,
        names=shlex.quote(files.names or "slim.names"),
        cfg=shlex.quote(str(files.cfg)),
        weights=shlex.quote(str(files.weights)),
    )
    opencv = _OPENCV.format(weights=_text(str(files.weights)), cfg=_text(str(files.cfg)), **fields)
    programs = [
        Snippet(title="darknet", language="sh", code=darknet),
        Snippet(title="OpenCV", language="python", code=opencv),
    ]
    if files.onnx is not None:
        code = _ONNX_RUNTIME.format(onnx=_text(files.onnx), **fields)
        programs.append(Snippet(title="ONNX Runtime", language="python", code=code))
    return programs


def _text(path: str) -> str:
    """A Python string literal, in double quotes where it can be."""
    return f'"{path}"' if path.isprintable() and not {'"', "\\"} & set(path) else repr(path)

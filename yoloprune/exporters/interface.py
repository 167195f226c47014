"""What an exported ONNX file wants and gives, for programs and for people.

`interface` is written into the file's metadata, one JSON value a key; `interface_lines` says the
same in sentences.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoloprune.data.preprocess import DARKNET_LETTERBOX, darknet_preprocess
from yoloprune.detection.nms import IOU_THRESHOLD, SCORE_THRESHOLD
from yoloprune.errors import CfgError, UsageError
from yoloprune.frontends.darknet.document import DarknetDocument
from yoloprune.frontends.darknet.heads import raw_map
from yoloprune.frontends.darknet.lower import BATCH, lower
from yoloprune.frontends.darknet.shapes import layer_shapes
from yoloprune.frontends.darknet.spec import AnyHead, NetworkSpec, Region, class_count
from yoloprune.graph.graph import Graph
from yoloprune.graph.model import Model

_COLORS = {3: "RGB", 1: "gray"}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxForm:
    """What is written of a network.

    Attributes:
        decoded: `boxes` and `scores`, instead of the raw maps that the heads read.
        names: of the classes, where they are known.
        batch: number of images, None for any.
    """

    decoded: bool = False
    names: tuple[str, ...] | None = None
    batch: int | None = None


def is_decodable(spec: NetworkSpec) -> bool:
    """Whether a network's heads give boxes of one set of classes."""
    try:
        class_count(spec)
    except CfgError:
        return False
    return True


def form_of(
    network: Model,
    *,
    decode: bool | None = None,
    names: Sequence[str] | None = None,
    batch: int | None = None,
) -> OnnxForm:
    """The form in which a network is written: with boxes, by default, where it can give them.

    Raises `CfgError` if boxes are asked for that it cannot give; `UsageError` if anything is asked
    for of a network that came as an .onnx: that is written as it is.
    """
    document = network.document
    if not isinstance(document, DarknetDocument):
        if (decode, names, batch) != (None, None, None):
            raise UsageError(
                f"{document.title}: came as an .onnx and is written as it is: `decode`, `names` "
                "and `batch` are for Darknet networks"
            )
        return OnnxForm()
    if decode:
        class_count(document.spec)
    names = names or document.names
    return OnnxForm(
        decoded=is_decodable(document.spec) if decode is None else decode,
        names=None if names is None else tuple(names),
        batch=batch,
    )


def onnx_graph(spec: NetworkSpec, form: OnnxForm) -> Graph:
    """The graph that a file in this form holds."""
    return lower(spec, decoded=form.decoded, batch=BATCH if form.batch is None else form.batch)


def interface(spec: NetworkSpec, form: OnnxForm) -> dict[str, Any]:
    """Description of the file of a network in this form, as JSON has it.

    Keys: `input`; `outputs`, by name; `suppression`, what is left to do with boxes; `names`, where
    the classes have names.
    """
    graph = onnx_graph(spec, form)
    ((name, image),) = graph.inputs.items()
    channels = spec.input_shape[0]
    document: dict[str, Any] = {
        "input": {
            "name": name,
            "dtype": image.dtype,
            "layout": "NCHW",
            "shape": list(image.shape),
            **({"color": _COLORS[channels]} if channels in _COLORS else {}),
            "range": [0, 1],
            **_resize(spec),
        },
        "outputs": {
            name: {"shape": list(value.shape)} | _content(name)
            for name, value in graph.outputs.items()
        },
    }
    if not form.decoded:
        shapes = layer_shapes(spec)
        for head in spec.heads:
            _, height, width = shapes[head.index]
            document["outputs"][raw_map(head)] |= _head(head, spec, height, width)
    if spec.heads:
        document["suppression"] = {
            "applied": False,
            "score_threshold": SCORE_THRESHOLD,
            "iou_threshold": IOU_THRESHOLD,
            "per_class": True,
        }
    if form.names is not None:
        document["names"] = list(form.names)
    return document


def metadata(document: Mapping[str, Any]) -> dict[str, str]:
    """An interface as the `metadata_props` of a file."""
    return {key: json.dumps(value, ensure_ascii=False) for key, value in document.items()}


def interface_lines(document: Mapping[str, Any]) -> list[str]:
    """An interface in sentences, one a line."""
    given = document["input"]
    *_, height, width = given["shape"]
    color = f"{given['color']}, " if "color" in given else ""
    lines = [
        f"Input `{given['name']}`: {given['dtype']} {_shape(given['shape'])}, {color}values from 0 "
        "to 1 (bytes divided by 255)."
    ]
    if given["resize"] == "stretch":
        lines.append(f"An image is stretched to {width}x{height}, bilinearly.")
    else:
        lines.append(
            f"An image is resized bilinearly into {width}x{height} with its aspect ratio kept, "
            f"centered on {given['fill']:g}."
        )
    for name, value in document["outputs"].items():
        lines.append(f"Output `{name}`: {_shape(value['shape'])}{_sentence(value)}.")
    if (left := document.get("suppression")) is not None:
        lines.append(
            "Boxes that overlap are not suppressed yet: drop scores up to "
            f"{left['score_threshold']:g}, then within each class the boxes whose IoU with a "
            f"better one is above {left['iou_threshold']:g}."
        )
    if "names" in document:
        lines.append(f"Classes: {', '.join(document['names'])}.")
    return lines


def form_lines(network: Model, form: OnnxForm) -> list[str]:
    """What a network's file in this form wants and gives, in sentences, one a line.

    Raises `UsageError` for a network that came as an .onnx: it has no other form.
    """
    document = network.document
    if not isinstance(document, DarknetDocument):
        raise UsageError(
            f"{document.title}: came as an .onnx and is written as one: leave out `onnx`, which is "
            "for Darknet networks"
        )
    return interface_lines(interface(document.spec, form))


def _resize(spec: NetworkSpec) -> dict[str, Any]:
    if darknet_preprocess(spec) == DARKNET_LETTERBOX:
        return {"resize": "letterbox", "fill": 0.5}
    return {"resize": "stretch"}


def _content(name: str) -> dict[str, str]:
    known = {
        "boxes": "left, top, right, bottom in pixels of the input",
        "scores": "objectness times class probability, 0 to 1",
    }
    return {"content": known[name]} if name in known else {}


def _head(head: AnyHead, spec: NetworkSpec, height: int, width: int) -> dict[str, Any]:
    """What has to be known to decode a raw map."""
    stride = spec.input_shape[2] / width, spec.input_shape[1] / height
    anchors = head.anchors
    if isinstance(head, Region):
        anchors = tuple((w * stride[0], h * stride[1]) for w, h in anchors)
    return {
        "head": head.section.name,
        "classes": head.classes,
        "anchors": [list(anchor) for anchor in anchors],
        "stride": list(stride),
        "scale_x_y": getattr(head, "scale_x_y", 1.0),
        "new_coords": getattr(head, "new_coords", False),
    }


def _sentence(value: Mapping[str, Any]) -> str:
    if "content" in value:
        return f", {value['content']}"
    if "head" in value:
        anchors = " ".join(f"{w:g}x{h:g}" for w, h in value["anchors"])
        stride = "x".join(f"{s:g}" for s in value["stride"])
        return (
            f", raw map of a [{value['head']}] head: {len(value['anchors'])} anchors ({anchors} "
            f"pixels), {value['classes']} classes, a cell of {stride} pixels, "
            f"scale_x_y {value['scale_x_y']:g}{', new_coords' if value['new_coords'] else ''}"
        )
    return ""


def _shape(shape: list[int | str]) -> str:
    return f"({', '.join(map(str, shape))})"

"""Data sets as the tools that people label with write them.

Each has two classes, "left hand" and "foot", and one object of the first class in every image of
96x64 pixels: (20, 16) to (60, 48).
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

NAMES = ("left hand", "foot")
BOX = (20 / 96, 16 / 64, 60 / 96, 48 / 64)
LINE = f"0 {40 / 96} 0.5 {40 / 96} 0.5\n"
POLYGON = f"0 {20 / 96} 0.25 {60 / 96} 0.25 {60 / 96} 0.75 {30 / 96} 0.6\n"


def image(path: Path) -> None:
    """An image of noise that no other has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)


def text(path: Path, content: str) -> None:
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def ultralytics(root: Path) -> Path:
    """data.yaml beside images/<split> and labels/<split>, polygons among the boxes."""
    for split in ("train", "val"):
        for number, line in enumerate((LINE, POLYGON)):
            image(root / f"images/{split}/{split}{number}.jpg")
            text(root / f"labels/{split}/{split}{number}.txt", line)
    text(root / "data.yaml", f"path: {root}\ntrain: images/train\nval: images/val\n"
         "names:\n  0: left hand\n  1: foot\n")  # fmt: skip
    return root / "data.yaml"


def ultralytics_lists(root: Path) -> Path:
    """data.yaml with lists of images, from another machine."""
    ultralytics(root)
    for split in ("train", "val"):
        text(root / f"{split}.txt", "".join(f"./images/{split}/{split}{n}.jpg\n" for n in (0, 1)))
    text(root / "data.yaml", "path: /content/datasets/hands\ntrain: train.txt\nval: [val.txt]\n"
         "nc: 2\nnames: ['left hand', foot]\n")  # fmt: skip
    return root


def roboflow_yolo(root: Path) -> Path:
    """<split>/images and <split>/labels, in a data.yaml whose paths start a folder too high."""
    for split in ("train", "valid"):
        for number in range(2):
            image(root / f"{split}/images/{split}{number}_jpg.rf.0a1b.jpg")
            text(root / f"{split}/labels/{split}{number}_jpg.rf.0a1b.txt", LINE)
    text(root / "data.yaml", "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n"
         "\nnc: 2\nnames: ['left hand', 'foot']\n\nroboflow:\n  workspace: x\n")  # fmt: skip
    text(root / "README.roboflow.txt", "hands\n")
    return root


def roboflow_darknet(root: Path) -> Path:
    """Images and label files in one folder a split, with the names in each."""
    for split in ("train", "valid"):
        for number in range(2):
            image(root / f"{split}/{split}{number}.jpg")
            text(root / f"{split}/{split}{number}.txt", LINE)
        text(root / f"{split}/_darknet.labels", "left hand\nfoot\n")
    return root


def roboflow_voc(root: Path) -> Path:
    """XML beside the images of each split."""
    for split in ("train", "valid"):
        for number in range(2):
            image(root / f"{split}/{split}{number}.jpg")
            text(root / f"{split}/{split}{number}.xml", xml(f"{split}{number}.jpg"))
    text(root / "train.names", "left hand\nfoot\n")
    return root


def roboflow_coco(root: Path) -> Path:
    """A COCO file beside the images of each split, with a category over all others."""
    categories = [{"id": 0, "name": "hands", "supercategory": "none"}]
    categories += [{"id": n, "name": c, "supercategory": "hands"} for n, c in enumerate(NAMES, 1)]
    for split in ("train", "valid"):
        files = [f"{split}{number}.jpg" for number in range(2)]
        for file in files:
            image(root / split / file)
        text(root / split / "_annotations.coco.json", coco(files, categories))
    return root


def cvat_yolo(root: Path) -> Path:
    """CVAT's "YOLO 1.1": names that start from a folder `data` above, which may not be there."""
    for number in range(2):
        image(root / f"obj_train_data/frame_{number:06}.PNG")
        text(root / f"obj_train_data/frame_{number:06}.txt", LINE)
    text(root / "train.txt", "".join(f"data/obj_train_data/frame_{n:06}.PNG\n" for n in (0, 1)))
    text(root / "obj.names", "left hand\nfoot\n")
    text(root / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n"
         "backup = backup/\n")  # fmt: skip
    return root


def cvat_ultralytics(root: Path) -> Path:
    """CVAT's "Ultralytics YOLO Detection"."""
    for number in range(2):
        image(root / f"images/train/frame_{number}.png")
        text(root / f"labels/train/frame_{number}.txt", LINE)
    text(root / "train.txt", "".join(f"data/images/train/frame_{n}.png\n" for n in (0, 1)))
    text(root / "data.yaml", "names:\n  0: left hand\n  1: foot\npath: .\ntrain: train.txt\n")
    return root


def cvat_coco(root: Path) -> Path:
    """CVAT's "COCO 1.0"."""
    files = [f"frame_{number}.png" for number in range(2)]
    for file in files:
        image(root / "images/default" / file)
    categories = [{"id": n, "name": c, "supercategory": ""} for n, c in enumerate(NAMES, 1)]
    text(root / "annotations/instances_default.json", coco(files, categories))
    return root


def cvat_voc(root: Path) -> Path:
    """CVAT's "Pascal VOC 1.1"."""
    for number in range(2):
        image(root / f"JPEGImages/frame_{number}.png")
        text(root / f"Annotations/frame_{number}.xml", xml(f"frame_{number}.png"))
    text(root / "ImageSets/Main/default.txt", "frame_0\nframe_1\n")
    text(root / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\n"
         "left hand:1,2,3::\nfoot:4,5,6::\n")  # fmt: skip
    return root


def label_studio_yolo(root: Path) -> Path:
    """Label Studio's YOLO export."""
    for number in range(2):
        image(root / f"images/1f2e3d4c-photo_{number}.jpg")
        text(root / f"labels/1f2e3d4c-photo_{number}.txt", LINE)
    text(root / "classes.txt", "left hand\nfoot\n")
    notes = {"categories": [{"id": n, "name": c} for n, c in enumerate(NAMES)], "info": {}}
    text(root / "notes.json", json.dumps(notes))
    return root


def label_studio_coco(root: Path) -> Path:
    """Label Studio's COCO export."""
    files = [f"images/1f2e3d4c-photo_{number}.jpg" for number in range(2)]
    for file in files:
        image(root / file)
    text(root / "result.json", coco(files, [{"id": n, "name": c} for n, c in enumerate(NAMES)]))
    return root


def labelimg(root: Path) -> Path:
    """labelImg's YOLO files, beside the images."""
    for number in range(2):
        image(root / f"photo {number}.jpg")
        text(root / f"photo {number}.txt", LINE)
    text(root / "classes.txt", "left hand\nfoot\n")
    return root


def darknet(root: Path) -> Path:
    """The layout of scripts/voc_label.py."""
    for split in ("train", "valid"):
        for number in range(2):
            image(root / f"VOC2007/JPEGImages/{split}{number}.jpg")
            text(root / f"VOC2007/labels/{split}{number}.txt", LINE)
        files = (f"{root}/VOC2007/JPEGImages/{split}{number}.jpg\n" for number in range(2))
        text(root / f"{split}.txt", "".join(files))
    text(root / "voc.names", "left hand\nfoot\n")
    text(root / "voc.data", "; hands\nclasses= 2\ntrain  = train.txt\nvalid  = valid.txt\n"
         "names = voc.names\nbackup =\nvalid = train.txt\n")  # fmt: skip
    return root / "voc.data"


def voc(root: Path) -> Path:
    """Pascal VOC with splits, corners of 0 and of the width + 1, and a size of 0."""
    for number in range(4):
        image(root / f"JPEGImages/{number}.jpg")
    text(root / "Annotations/0.xml", xml("0.jpg"))
    text(root / "Annotations/1.xml", xml("1.jpg").replace("96", "0").replace("64", "0"))
    text(root / "Annotations/2.xml", xml("2.jpg"))
    text(root / "Annotations/3.xml", xml("3.jpg", edges=(0, 0, 97, 65), name="foot"))
    for split, keys in {"train": "01", "val": "23", "trainval": "0123"}.items():
        text(root / f"ImageSets/Main/{split}.txt", "".join(f"{key}\n" for key in keys))
    text(root / "voc.names", "left hand\nfoot\n")
    return root


def coco_train2017(root: Path) -> Path:
    """COCO's own layout, with the boxes of no height that train2017 has."""
    categories = [{"id": 1, "name": "left hand"}, {"id": 9, "name": "foot"}]
    for split in ("train", "val"):
        files = [f"{split}{number}.jpg" for number in range(2)]
        for file in files:
            image(root / f"{split}2017" / file)
        document = json.loads(coco(files, categories))
        odd = {"id": 918, "image_id": 1, "category_id": 9, "bbox": [29.65, 38.33, 1.03, 0.0]}
        document["annotations"].append(odd | {"iscrowd": 0, "area": 0.0})
        text(root / f"annotations/instances_{split}2017.json", json.dumps(document))
        text(root / f"annotations/captions_{split}2017.json", "{}")
    return root


def coco(files: list[str], categories: list[dict[str, object]]) -> str:
    """A COCO file; the objects are of the category "left hand"."""
    (identity,) = [c["id"] for c in categories if c["name"] == NAMES[0]]
    images = [{"id": n, "file_name": f, "width": 96, "height": 64} for n, f in enumerate(files)]
    annotations = [
        {"id": n, "image_id": n, "category_id": identity, "bbox": [20, 16, 40, 32], "iscrowd": 0,
         "area": 1280, "segmentation": []}
        for n in range(len(files))
    ]  # fmt: skip
    return json.dumps({"images": images, "categories": categories, "annotations": annotations})


def xml(
    filename: str, edges: tuple[int, int, int, int] = (21, 17, 60, 48), name: str = NAMES[0]
) -> str:
    """A Pascal VOC annotation of one object; pixels count from 1."""
    sides = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    return (
        f"<annotation><filename>{filename}</filename><size><width>96</width><height>64</height>"
        f"<depth>3</depth></size><object><name>{name}</name><bndbox>{box}</bndbox></object>"
        "</annotation>"
    )


LAYOUTS: dict[str, Callable[[Path], Path]] = {
    builder.__name__: builder
    for builder in (
        ultralytics,
        ultralytics_lists,
        roboflow_yolo,
        roboflow_darknet,
        roboflow_voc,
        roboflow_coco,
        cvat_yolo,
        cvat_ultralytics,
        cvat_coco,
        cvat_voc,
        label_studio_yolo,
        label_studio_coco,
        labelimg,
        darknet,
        voc,
        coco_train2017,
    )
}

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.originals import write_image
from yoloprune.data.check import check_dataset
from yoloprune.data.dataset import Fault
from yoloprune.data.read import read_dataset, read_raw
from yoloprune.errors import DatasetError


def document() -> dict[str, Any]:
    """Two images, categories 7 and 3 (out of order), three objects and a crowd."""
    return {
        "images": [
            {"id": 20, "file_name": "b.jpg", "width": 100, "height": 90},
            {"id": 10, "file_name": "a.jpg", "width": 100, "height": 90},
        ],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": 7, "bbox": [10, 20, 30, 40], "iscrowd": 0,
             "area": 1200},
            {"id": 2, "image_id": 10, "category_id": 3, "bbox": [90.5, 80.25, 20, 20],
             "iscrowd": 0, "area": 400},
            {"id": 3, "image_id": 10, "category_id": 3, "bbox": [0, 0, 100, 90], "iscrowd": 1,
             "area": 9000},
            {"id": 4, "image_id": 20, "category_id": 3, "bbox": [0, 0, 1.5, 90], "iscrowd": 0,
             "area": 135},
        ],
    }  # fmt: skip


def save(root: Path, content: object, name: str = "instances_val2017.json") -> Path:
    file = root / "annotations" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    save(tmp_path, document())
    for name in "ab":
        write_image(tmp_path / "val2017" / f"{name}.jpg")
    return tmp_path


def test_objects_are_what_pycocotools_reads(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools.coco import COCO

    file = root / "annotations" / "instances_val2017.json"
    coco = COCO(str(file))
    dataset = read_dataset(file, classes=2)
    assert dataset.names == tuple(c["name"] for c in coco.loadCats(sorted(coco.getCatIds())))
    assert [image.path.name for image in dataset.images] == ["b.jpg", "a.jpg"]
    for image in dataset.images:
        (entry,) = [e for e in coco.loadImgs(coco.getImgIds()) if e["file_name"] == image.path.name]
        found = coco.loadAnns(coco.getAnnIds(imgIds=entry["id"], iscrowd=False))
        categories = sorted(coco.getCatIds())
        assert image.labels.tolist() == [categories.index(a["category_id"]) for a in found]
        size = np.array((entry["width"], entry["height"]))
        for box, annotation in zip(image.boxes, found, strict=True):
            left, top, width, height = annotation["bbox"]
            low = np.array((left, top))
            high = np.minimum((left + width, top + height), size)  # cut at the border
            assert box[:2] * size == pytest.approx(low)
            assert box[2:] * size == pytest.approx(high)


def test_splits_are_files_of_a_folder(root: Path) -> None:
    training = document()
    training["images"] = [{"id": 1, "file_name": "c.jpg", "width": 9, "height": 9}]
    training["annotations"] = []
    save(root, training, "instances_train2017.json")
    save(root, {"images": [], "annotations": []}, "captions_val2017.json")
    write_image(root / "train2017" / "c.jpg", 9, 9)
    assert len(read_dataset(root, classes=2).images) == 2
    assert len(read_dataset(root, classes=2, split="train").images) == 1
    assert len(read_dataset(root, classes=2, limit=1).images) == 1
    with pytest.raises(DatasetError, match=r"no split 'test' \(splits: train, val\)"):
        read_dataset(root, classes=2, split="test")
    save(root, training, "instances_val2014.json")
    with pytest.raises(DatasetError, match="several files for one split"):
        read_dataset(root, classes=2)


@pytest.mark.parametrize("place", ["annotations", "annotations/images", "images", "val", "."])
def test_images_are_found_where_they_are(place: str, root: Path) -> None:
    (root / place).mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.jpg"):
        (root / "val2017" / name).rename(root / place / name)
    file = root / "annotations" / "instances_val2017.json"
    assert read_dataset(file, classes=2).images[0].path.resolve() == (root / place / "b.jpg")


def test_images_can_be_given(root: Path, tmp_path: Path) -> None:
    (root / "val2017").rename(root / "elsewhere")
    file = root / "annotations" / "instances_val2017.json"
    with pytest.raises(DatasetError, match=r"instances_val2017\.json: image .*b\.jpg not found"):
        read_dataset(file, classes=2)
    assert read_dataset(file, classes=2, images=root / "elsewhere").object_count == 3


@pytest.mark.parametrize("name", ["../../secret.jpg", "/etc/secret.jpg", "..\\secret.jpg"])
def test_file_names_do_not_lead_out(name: str, root: Path) -> None:
    content = document()
    content["images"][0]["file_name"] = name
    write_image(root / "val2017" / "secret.jpg")
    file = save(root, content)
    assert read_dataset(file, classes=2).images[0].path == root / "val2017" / "secret.jpg"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("\x00\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not in COCO's form: expected an object"),
        ("{}", "not in COCO's form: 'categories' must be a list of objects"),
        ('{"categories": [1]}', "not in COCO's form: 'categories' must be a list of objects"),
        ('{"categories": [{"id": 1}]}', "categories[0] must have an integer 'id' and a text"),
        ('{"categories": [{"id": "1", "name": "x"}]}', "categories[0] must have an integer"),
        (
            '{"categories": [{"id": 1, "name": "x"}, {"id": 1, "name": "y"}]}',
            "categories[1] repeats the id 1",
        ),
        ('{"categories": [], "images": [{"id": 1, "file_name": ""}]}', "images[0] must have"),
        ('{"categories": [], "images": []}', "not in COCO's form: 'annotations' must be a list"),
    ],
)
def test_other_files_are_refused(text: str, problem: str, root: Path) -> None:
    file = save(root, text)
    with pytest.raises(DatasetError) as caught:
        read_dataset(file, classes=2)
    assert str(caught.value).startswith(f"{file}: {problem}")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("image_id", 99, "annotation 1: no image has the id 99"),
        ("image_id", [10], "annotation 1: no image has the id [10]"),
        ("category_id", None, "annotation 1: no category has the id None"),
        ("bbox", [1, 2, 3], "annotation 1: bbox is not four numbers"),
        ("bbox", [1, 2, 3, "4"], "annotation 1: bbox is not four numbers"),
        ("bbox", [1, 2, 3, float("nan")], "annotation 1: bbox is not four numbers"),
    ],
)
def test_a_faulty_annotation_is_named(key: str, value: object, problem: str, root: Path) -> None:
    content = document()
    content["annotations"][0][key] = value
    file = save(root, content)
    with pytest.raises(DatasetError) as caught:
        read_dataset(file, classes=2)
    assert str(caught.value).startswith(f"{file}: {problem}")


@pytest.mark.parametrize("bbox", [[1, 2, 0, 5], [1, 2, -5, 5], [100, 2, 5, 5]])
def test_boxes_without_area_are_left_out_and_counted(bbox: list[int], root: Path) -> None:
    # As two of train2017: github.com/cocodataset/cocoapi/issues/355.
    content = document()
    content["annotations"][0]["bbox"] = bbox
    dataset = read_dataset(save(root, content), classes=2)
    assert (len(dataset.images), dataset.object_count) == (2, 2)
    ((fault, count),) = [(r.fault, r.count) for r in dataset.remarks if r.fault is Fault.NO_AREA]
    assert (fault, count) == (Fault.NO_AREA, 1)


def test_ids_may_be_whole_numbers_of_any_kind(root: Path) -> None:
    content = document()
    for annotation in content["annotations"]:
        annotation["image_id"] = float(annotation["image_id"])
    assert read_dataset(save(root, content), classes=2).object_count == 3


def test_polygons_stand_in_for_missing_boxes(root: Path) -> None:
    content = document()
    del content["annotations"][0]["bbox"]
    content["annotations"][0]["segmentation"] = [[10, 20, 40, 20, 40, 60], [10, 20, 12, 60, 10, 60]]
    dataset = read_dataset(save(root, content), classes=2)
    assert dataset.images[1].boxes[0] == pytest.approx([0.1, 20 / 90, 0.4, 60 / 90])
    assert [r.fault for r in dataset.remarks] == [Fault.OUTSIDE, Fault.IGNORED, Fault.POLYGON]


def test_a_category_over_all_others_is_no_class(root: Path) -> None:
    # Roboflow's files: github.com/roboflow/roboflow-100-benchmark/issues/45.
    content = document()
    content["categories"] = [
        {"id": 0, "name": "pets", "supercategory": "none"},
        *({**category, "supercategory": "pets"} for category in content["categories"]),
    ]
    assert read_dataset(save(root, content), classes=2).names == ("cat", "dog")
    content["annotations"][0]["category_id"] = 0
    assert read_dataset(save(root, content), classes=3).names == ("pets", "cat", "dog")


@pytest.mark.parametrize("width", [None, 0, -1, "100", 1.5])
def test_an_image_needs_a_size(width: object, root: Path) -> None:
    content = document()
    content["images"][0]["width"] = width
    save(root, content)
    with pytest.raises(DatasetError, match="image 20: width and height must be positive integers"):
        read_dataset(root, classes=2)


def test_the_number_of_classes_must_fit(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"2 classes \(cat, dog\), but the network has 80"):
        read_dataset(root, classes=80)
    with pytest.raises(DatasetError, match="neither a folder, nor a data"):
        read_dataset(root / "gone.json", classes=2)


def test_references_may_be_texts(root: Path) -> None:
    content = document()
    for annotation in content["annotations"]:
        annotation["image_id"] = str(annotation["image_id"])
    assert read_dataset(save(root, content), classes=2).object_count == 3


def test_an_image_that_may_have_lost_its_objects_is_no_background(root: Path) -> None:
    content = document()
    content["annotations"][3]["image_id"] = 99
    file = save(root, content)
    with pytest.raises(DatasetError, match="no image has the id 99"):
        read_dataset(file, classes=2)
    dataset = read_dataset(file, classes=2, allow_faulty=True)
    assert [image.path.name for image in dataset.images] == ["a.jpg"]
    assert [len(c.labeled.labels) for c in check_dataset(read_raw(file)).images] == [2]


def test_an_image_listed_twice_is_one_with_the_objects_of_both(root: Path) -> None:
    content = document()
    content["images"].append(content["images"][1] | {"id": 30})
    content["annotations"][0]["image_id"] = 30
    dataset = read_dataset(save(root, content), classes=2)
    assert {i.path.name: len(i.labels) for i in dataset.images} == {"b.jpg": 1, "a.jpg": 2}


def test_images_of_one_name_in_two_folders_are_not_each_other(root: Path) -> None:
    content = document()
    content["images"][1]["file_name"] = "siteA/a.jpg"
    assert read_dataset(save(root, content), classes=2).images[1].path.name == "a.jpg"
    content["images"].append(content["images"][1] | {"id": 30, "file_name": "siteB/a.jpg"})
    with pytest.raises(DatasetError, match=r"siteA/a\.jpg not found"):
        read_dataset(save(root, content), classes=2)


@pytest.mark.parametrize("name", [".", "./", "/", "\ud800"])
def test_a_name_that_is_none_is_an_image_that_is_missing(name: str, root: Path) -> None:
    content = document()
    content["images"][0]["file_name"] = name
    with pytest.raises(DatasetError, match="not found"):
        read_dataset(save(root, content), classes=2)
    assert len(check_dataset(read_raw(root)).images) == 1


def test_classes_are_the_same_in_every_split(root: Path) -> None:
    content = document()
    content["categories"] = [
        {"id": 0, "name": "pet", "supercategory": "none"},
        *({**category, "supercategory": "pet"} for category in document()["categories"]),
    ]
    save(root, content)
    training = json.loads(json.dumps(content))
    training["annotations"][0]["category_id"] = 0
    save(root, training, "instances_train2017.json")
    (root / "train2017").symlink_to(root / "val2017")
    for split in ("train", "val"):
        assert read_dataset(root, classes=3, split=split).names == ("pet", "cat", "dog")

from pathlib import Path

import pytest

from tests.data.originals import write_image
from yoloprune.data.dataset import Dataset, Fault
from yoloprune.data.formats.voc import parse_xml
from yoloprune.data.read import read_dataset
from yoloprune.errors import DatasetError


def thing(name: str, *sides: object, difficult: int = 0) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    box = "".join(f"<{tag}>{side}</{tag}>" for tag, side in tags)
    # Parts have boxes of their own, which are not the object's.
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>"
    return (
        f"<object>{part}<name>{name}</name><difficult>{difficult}</difficult>"
        f"<bndbox>{box}</bndbox></object>"
    )


def annotate(root: Path, stem: str, *objects: str, filename: str | None = None) -> Path:
    file = root / "Annotations" / f"{stem}.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"<annotation><filename>{filename or stem + '.jpg'}</filename>"
        "<size><width>100</width><height>50</height><depth>3</depth></size>"
        f"{''.join(objects)}</annotation>"
    )
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of 100x50: a dog and a cat, and a dog that is difficult."""
    annotate(tmp_path, "a", thing("dog", 11, 6, 30, 25), thing("cat", 1, 1, 100, 50))
    annotate(tmp_path, "b", thing("dog", 2, 2, 9, 9, difficult=1))
    for stem in "ab":
        write_image(tmp_path / "JPEGImages" / f"{stem}.jpg", 100, 50)
    return tmp_path


def corners(dataset: Dataset, index: int = 0) -> list[list[float]]:
    """Left, top, right, bottom in pixels of an image of 100x50."""
    pixels = dataset.images[index].boxes * (100, 50, 100, 50)
    return [[round(value, 9) for value in box] for box in pixels.tolist()]


def test_pixels_count_from_1_and_belong_to_the_box(root: Path) -> None:
    dataset = read_dataset(root, classes=2)
    assert corners(dataset) == [[10, 5, 30, 25], [0, 0, 100, 50]]
    assert dataset.names == ("cat", "dog")
    assert dataset.images[0].labels.tolist() == [1, 0]
    assert dataset.images[0].path == root / "JPEGImages" / "a.jpg"
    assert len(dataset.images[1].labels) == 0  # difficult objects are left out
    assert dataset.unlabeled == 0


def test_boxes_are_cut_at_the_border(root: Path) -> None:
    annotate(root, "a", thing("dog", -5, 6.5, 120, 70), thing("cat", 1, 1, 2, 2))
    assert corners(read_dataset(root, classes=2))[0] == [0, 5.5, 100, 50]


def test_splits_come_from_lists(root: Path) -> None:
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    (lists / "cat_val.txt").write_text("a -1\n")
    assert read_dataset(root, classes=2).images[0].path.stem == "b"
    assert read_dataset(root, classes=2, split="train").images[0].path.stem == "a"
    with pytest.raises(DatasetError, match=r"no split 'test' \(splits: train, val\)"):
        read_dataset(root, classes=2, split="test")
    (lists / "val.txt").write_text("b\ngone\n")
    with pytest.raises(DatasetError, match=r"gone\.xml: listed in a split, but not there"):
        read_dataset(root, classes=2)


def test_a_names_file_orders_the_classes(root: Path) -> None:
    (root / "voc.names").write_text("horse\ndog\ncat\n")
    assert read_dataset(root, classes=3).images[0].labels.tolist() == [1, 2]
    (root / "voc.names").write_text("horse\ndog\n")
    with pytest.raises(DatasetError, match=r"a\.xml: class 'cat' is not in the \.names file"):
        read_dataset(root, classes=2)


def test_images_are_found_where_they_are(root: Path, tmp_path: Path) -> None:
    for folder in ("images", ".", "Annotations"):
        (root / "JPEGImages").rename(root / "moved")
        (root / folder).mkdir(exist_ok=True)
        for image in (root / "moved").iterdir():
            image.rename(root / folder / image.name)
        (root / "moved").rmdir()
        assert read_dataset(root, classes=2).object_count == 2
        (root / "JPEGImages").mkdir()
        for stem in "ab":
            (root / folder / f"{stem}.jpg").rename(root / "JPEGImages" / f"{stem}.jpg")
    elsewhere = tmp_path / "elsewhere"
    (root / "JPEGImages").rename(elsewhere)
    assert read_dataset(root, classes=2, images=elsewhere).object_count == 2
    with pytest.raises(DatasetError, match=r"a\.xml: image .*a\.jpg not found"):
        read_dataset(root, classes=2)


def test_paths_of_another_machine_are_only_names(root: Path) -> None:
    (root / "JPEGImages" / "a.jpg").rename(root / "JPEGImages" / "x.png")
    annotate(root, "a", thing("dog", 1, 1, 9, 9), thing("cat", 1, 1, 9, 9),
             filename="C:\\Users\\me\\..\\x.png")  # fmt: skip
    assert read_dataset(root, classes=2).images[0].path == root / "JPEGImages" / "x.png"


def test_the_number_of_classes_must_fit(root: Path) -> None:
    with pytest.raises(DatasetError, match=r"2 classes \(cat, dog\), but the network has 20"):
        read_dataset(root, classes=20)


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not well-formed XML"),
        ("<annotation>", "not well-formed XML"),
        ("<html/>", "expected <annotation>, found <html>"),
        (BOMB, "a DOCTYPE is not allowed"),
        (BOMB.encode("utf-16"), "a DOCTYPE is not allowed"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "a DOCTYPE is not allowed"),
        ("<annotation/>", "<size/width> of <annotation> is missing"),
        (
            "<annotation><size><width>wide</width><height>1</height></size></annotation>",
            "<size/width> of <annotation> is 'wide', not a number",
        ),
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "not well-formed XML"),
        (b"\xff\xfe\x00", "not well-formed XML"),
    ],
)
def test_a_malformed_file_is_named(text: str | bytes, problem: str, root: Path) -> None:
    file = root / "Annotations" / "a.xml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    (root / "voc.names").write_text("cat\ndog\n")
    with pytest.raises(DatasetError) as caught:
        read_dataset(root, classes=2)
    assert str(caught.value).startswith(f"{file}: {problem}")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("<xmin>11</xmin>", "", "<bndbox/xmin> of <object> is missing"),
        ("<xmin>11</xmin>", "<xmin>nan</xmin>", "<bndbox/xmin> of <object> is 'nan', not a number"),
        ("<name>dog</name>", "<name> </name>", "an object has no <name>"),
    ],
)
def test_a_malformed_object_is_named(old: str, new: str, problem: str, root: Path) -> None:
    file = root / "Annotations" / "a.xml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    (root / "voc.names").write_text("cat\ndog\n")
    with pytest.raises(DatasetError) as caught:
        read_dataset(root, classes=2)
    assert str(caught.value).startswith(f"{file}: {problem}")


def test_character_references_and_comments_are_plain_xml() -> None:
    assert parse_xml(b"<a><!-- no --><b>x &amp; &#121;</b></a>").findtext("b") == "x & y"


def test_an_unpacked_archive_says_where_the_data_is(root: Path) -> None:
    inner = root / "VOCdevkit" / "VOC2012"
    for folder in ("Annotations", "JPEGImages"):
        (inner / folder).parent.mkdir(parents=True, exist_ok=True)
        (root / folder).rename(inner / folder)
    for given in (root, root / "VOCdevkit"):
        with pytest.raises(DatasetError, match=r"is in .*VOCdevkit/VOC2012: give that folder"):
            read_dataset(given, classes=2)
    assert read_dataset(inner, classes=2).object_count == 2


def test_an_image_is_found_by_the_id_before_its_old_name(root: Path) -> None:
    annotate(root, "a", thing("dog", 1, 1, 9, 9), thing("cat", 1, 1, 9, 9), filename="b.jpg")
    assert [i.path.stem for i in read_dataset(root, classes=2).images] == ["a", "b"]


def test_difficult_objects_are_counted(root: Path) -> None:
    remarks = read_dataset(root, classes=2).remarks
    assert [(r.fault, r.count) for r in remarks] == [(Fault.IGNORED, 1)]


def test_boxes_of_no_object_are_no_background(root: Path) -> None:
    file = annotate(root, "b", "<Object><name>dog</name><bndbox><xmin>1</xmin></bndbox></Object>")
    with pytest.raises(DatasetError, match="boxes that belong to no <object>"):
        read_dataset(root, classes=2)
    assert file.exists()


def test_suffixes_count_in_any_case_and_a_listed_image_once(root: Path) -> None:
    (root / "Annotations" / "a.xml").rename(root / "Annotations" / "a.XML")
    assert read_dataset(root, classes=2).object_count == 2
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("a\na\na.jpg\n")
    assert len(read_dataset(root, classes=2).images) == 1


def test_a_label_file_among_xml_files_is_not_passed_over(tmp_path: Path) -> None:
    for stem in "abc":
        write_image(tmp_path / "train" / f"{stem}.jpg", 100, 50)
    for stem in "ab":
        annotate(tmp_path, stem, thing("dog", 1, 1, 9, 9)).rename(
            tmp_path / "train" / f"{stem}.xml"
        )
    (tmp_path / "Annotations").rmdir()
    (tmp_path / "train" / "c.txt").write_text("0 .5 .5 .2 .2\n")
    with pytest.raises(DatasetError, match=r"c\.txt: a label file among XML files"):
        read_dataset(tmp_path, classes=1)

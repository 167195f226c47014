"""Numbers of things in messages."""

from yoloprune.counting import counted


def test_one_is_one_and_many_are_many() -> None:
    assert [counted(n, "image") for n in (0, 1, 2048)] == ["0 images", "1 image", "2,048 images"]
    assert [counted(n, "class") for n in (1, 2)] == ["1 class", "2 classes"]
    assert counted(1, "training image") == "1 training image"

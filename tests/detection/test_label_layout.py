from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from yoloprune.detection.label_layout import Rectangle, place_labels

HEIGHT = 10


@st.composite
def crowds(
    draw: st.DrawFn,
) -> tuple[list[Rectangle], list[tuple[int, int]], tuple[int, int]]:
    """Boxes in a picture, and the sizes of their labels, which may not fit at all."""
    width, height = draw(st.integers(1, 200)), draw(st.integers(1, 100))
    boxes, sizes = [], []
    for _ in range(draw(st.integers(0, 25))):
        left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        right = draw(st.integers(left + 1, width))
        boxes.append((left, top, right, draw(st.integers(top + 1, height))))
        sizes.append((draw(st.integers(5, 60)), HEIGHT))
    return boxes, sizes, (width, height)


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


@settings(max_examples=60)
@given(crowds())
def test_labels_stay_in_the_picture_and_apart(
    crowd: tuple[list[Rectangle], list[tuple[int, int]], tuple[int, int]],
) -> None:
    boxes, sizes, picture = crowd
    places = place_labels(boxes, sizes, picture)
    found = [place for place in places if place is not None]
    assert not any(overlap(a, b) for a, b in combinations(found, 2))
    for (width, height), place in zip(sizes, places, strict=True):
        if place is not None:
            left, top, right, bottom = place
            assert (right - left, bottom - top) == (width, height)
            assert min(left, top) >= 0 and right <= picture[0] and bottom <= picture[1]
    # The first one is in nobody's way: only a picture that is too small leaves it out.
    if sizes and sizes[0][0] <= picture[0] and sizes[0][1] <= picture[1]:
        assert places[0] is not None


def test_a_label_stands_above_its_box_where_nothing_is_in_the_way() -> None:
    assert place_labels([(50, 40, 90, 80)], [(30, 10)], (200, 100)) == [(50, 30, 80, 40)]
    # At the right border it moves into the picture, at the top into the box.
    assert place_labels([(180, 40, 200, 80)], [(30, 10)], (200, 100)) == [(170, 30, 200, 40)]
    assert place_labels([(50, 5, 90, 80)], [(30, 10)], (200, 100)) == [(50, 5, 80, 15)]


def test_a_small_object_is_not_hidden_behind_a_label() -> None:
    boxes = [(50, 40, 90, 80), (52, 31, 60, 39)]
    (place, _) = place_labels(boxes, [(30, 10), (5, 10)], (200, 100))
    assert place is not None and not overlap(place, boxes[1])


def test_equal_boxes_are_all_labeled_as_near_as_there_is_room() -> None:
    box = (90, 40, 110, 60)
    places = place_labels([box] * 30, [(30, 10)] * 30, (200, 100))
    found = [place for place in places if place is not None]
    assert len(found) == 30
    assert found[0] == (90, 30, 120, 40)
    gaps = [
        max(box[0] - right, left - box[2], 0) ** 2 + max(box[1] - bottom, top - box[3], 0) ** 2
        for left, top, right, bottom in found
    ]
    assert gaps == sorted(gaps) and gaps[7] == 0


def test_a_full_picture_leaves_the_rest_out_quickly() -> None:
    places = place_labels([(0, 0, 10, 10)] * 1000, [(40, 20)] * 1000, (200, 100))
    assert 15 <= sum(place is not None for place in places) <= 25

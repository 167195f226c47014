"""The teacher's term, against values computed by hand."""

import math

import pytest
import torch

from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import Yolo
from yoloprune.training.distill import distillation_loss

X, Y, W, H, OBJECTNESS, FIRST, SECOND = range(7)
"""What the seven entries of an anchor are, with two classes."""


def head(new_coords: int = 0) -> Yolo:
    spec = parse_cfg(
        "[net]\nwidth=64\nheight=64\nchannels=3\n"
        "[convolutional]\nfilters=14\nsize=1\nstride=32\nactivation=linear\n"
        "[yolo]\nmask=0,1\nanchors=10,12, 20,24\nclasses=2\nnum=2\n"
        f"new_coords={new_coords}\n"
    )
    (found,) = spec.heads
    assert isinstance(found, Yolo)
    return found


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def maps(entries: dict[int, float]) -> torch.Tensor:
    """(1, 14, 2, 2), zero but for these entries of the second anchor in the upper right cell."""
    t = torch.zeros(1, 2, 7, 2, 2)
    for entry, value in entries.items():
        t[0, 1, entry, 0, 1] = value
    return t.reshape(1, 14, 2, 2)


def loss(
    student: dict[int, float],
    teacher: dict[int, float],
    normalizer: float = 1.0,
    new_coords: int = 0,
) -> float:
    found = distillation_loss([head(new_coords)], [maps(student)], [maps(teacher)], normalizer)
    assert found.shape == () and found.dtype == torch.float32
    return found.item()


def random_maps(seed: int) -> torch.Tensor:
    return torch.randn(3, 14, 4, 5, generator=torch.Generator().manual_seed(seed))


def test_the_teacher_itself_has_no_loss() -> None:
    own = random_maps(0)
    assert distillation_loss([head(), head(1)], [own, own], [own, own], 1.0) == 0


def test_objectness_counts_by_its_square_whatever_the_belief() -> None:
    for student, teacher in ((0.9, 0.1), (0.1, 0.9)):
        found = loss({OBJECTNESS: logit(student)}, {OBJECTNESS: logit(teacher)})
        assert found == pytest.approx(0.8**2)


@pytest.mark.parametrize(
    ("entry", "student", "teacher", "square"),
    [
        (X, logit(0.5), logit(0.75), 0.25**2),
        (Y, logit(0.9), logit(0.2), 0.7**2),
        (W, 0.5, -1.0, 1.5**2),
        (H, 2.0, 0.0, 2.0**2),
        (FIRST, logit(0.3), logit(0.6), 0.3**2),
        (SECOND, logit(0.3), logit(0.2), 0.1**2),
    ],
)
def test_boxes_and_classes_count_by_the_belief_of_the_teacher(
    entry: int, student: float, teacher: float, square: float
) -> None:
    belief = {OBJECTNESS: logit(0.2)}
    found = loss({entry: student} | belief, {entry: teacher} | belief)
    assert found == pytest.approx(0.2 * square, rel=1e-5)
    # The student's own belief plays no part but in its objectness.
    sure = {OBJECTNESS: logit(0.9)}
    found = loss({entry: student} | sure, {entry: teacher} | belief)
    assert found == pytest.approx(0.7**2 + 0.2 * square, rel=1e-5)


def test_new_coords_are_compared_as_they_are() -> None:
    # The convolution before such a head has the logistic function itself.
    student = {X: 0.5, W: 0.25, OBJECTNESS: 0.75, FIRST: 1.0}
    teacher = {X: 0.25, W: 0.75, OBJECTNESS: 0.5, FIRST: 0.5}
    expected = 0.25**2 + 0.5 * (0.25**2 + 0.5**2 + 0.5**2)
    assert loss(student, teacher, new_coords=1) == pytest.approx(expected)


def test_the_normalizer_divides_the_sum_over_heads() -> None:
    one = loss({OBJECTNESS: 2.0}, {}) + loss({FIRST: 1.0}, {})
    student, teacher = [maps({OBJECTNESS: 2.0}), maps({FIRST: 1.0})], [maps({}), maps({})]
    found = distillation_loss([head(), head()], student, teacher, 4.0)
    assert found.item() == pytest.approx(one / 4)


@pytest.mark.parametrize("new_coords", [0, 1])
def test_the_gradient_pushes_every_entry_towards_the_teacher(new_coords: int) -> None:
    student, teacher = random_maps(1).sigmoid(), random_maps(2).sigmoid()
    student.requires_grad_()
    distillation_loss([head(new_coords)], [student], [teacher], 1.0).backward()  # type: ignore[no-untyped-call]
    assert student.grad is not None
    assert (student.grad * (student - teacher) > 0).all()


def test_half_precision_maps_are_compared_in_single_precision() -> None:
    student, teacher = random_maps(1), random_maps(2)
    expected = distillation_loss([head()], [student.half().float()], [teacher.half().float()], 1.0)
    found = distillation_loss([head()], [student.half()], [teacher.half()], 1.0)
    assert torch.equal(found, expected)

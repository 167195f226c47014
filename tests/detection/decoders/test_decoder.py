import pytest
import torch

from yoloprune.detection.decoders.decoder import Surface, scored


def test_the_best_score_stands_for_objectness_and_none_for_none() -> None:
    scores = torch.tensor([[[0.2, 0.8], [0.0, 0.0]]])
    found = scored(torch.zeros(1, 2, 4), scores, suppressed=True)
    assert found.objectness.tolist() == [[pytest.approx(0.8), 0]]
    assert torch.equal(found.objectness[..., None] * found.classes, scores)
    assert found.suppressed


def test_a_surface_has_as_many_classes_as_names() -> None:
    named = Surface(size=(8, 8), outputs={"y": (1, 5), "z": ()}, metadata={}, names=("a", "b"))
    unnamed = Surface(size=(8, 8), outputs={"y": (1, 5)}, metadata={})
    assert [named.has_classes(count) for count in (-1, 0, 1, 2, 3)] == [False] * 3 + [True, False]
    assert [unnamed.has_classes(count) for count in (-1, 0, 1, 80)] == [False] * 2 + [True] * 2
    assert str(named) == "y (1, 5), z ()"

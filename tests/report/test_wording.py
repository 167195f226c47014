from dataclasses import replace

import numpy as np
import pytest

from tests.report import studies
from tests.report.published import PUBLISHED, study_of
from yoloprune.report.study import DatasetSummary
from yoloprune.report.table import amount, file_size
from yoloprune.report.wording import average, dataset_sentence, headline, plain, timed


def test_the_outcome_in_a_sentence() -> None:
    assert headline(PUBLISHED) == (
        "The fine-tuned network has 10.9M of 61.5M parameters, needs 9.6B of 32.8B MACs (29%), "
        "takes 7.7ms instead of 15.0ms for an image and reaches mAP@0.5 0.775 (protocol "
        "case-study) where the original has 0.7692."
    )
    assert headline(study_of(PUBLISHED.measurements[0])).startswith("The study has not")


def test_the_outcome_with_its_uncertainty() -> None:
    study = studies.filled_study()
    dense, slim = (study.named(name) for name in ("Original", "Fine-tuned"))
    assert dense is not None and slim is not None
    before, after = (row.accuracy["case-study"].details for row in (dense, slim))
    assert before is not None and after is not None
    low, high = np.quantile(after.draws - before.draws, (0.025, 0.975))
    assert high - low < 0.03, "the draws that both have are the same"
    sentence = headline(study)
    assert "reaches mAP@0.5 0.76 where the original has 0.77: a change of -0.01" in sentence
    assert abs(high) < 0.005
    assert f"between {low:+.2f} and 0.00 with 95% confidence" in sentence
    assert "bootstrap over 821 test images" in sentence and "in ONNX Runtime" in sentence
    assert study.dataset is not None
    nothing = replace(study, dataset=replace(study.dataset, images={}, objects={}))
    assert "bootstrap over 0 test images" in headline(nothing)


def test_from_an_original_that_finds_nothing_nothing_follows() -> None:
    study = studies.filled_study()
    blind = [
        replace(
            row,
            accuracy={name: replace(each, map50=0.0) for name, each in row.accuracy.items()},
        )
        for row in study.measurements
    ]
    sentence = headline(replace(study, measurements=blind))
    assert "nothing follows from it: the original finds nothing" in sentence
    assert "confidence" not in sentence


def test_names_of_classes_do_not_turn_the_text_around() -> None:
    data = DatasetSummary(name="a", images={}, objects={}, classes=("\u202egniht",))
    study = replace(PUBLISHED, dataset=data)
    assert "\\u202egniht" in dataset_sentence(study)


@pytest.mark.parametrize(
    ("name", "words"),
    [("finetune_epochs", "Fine-tuning epochs"), ("packages.torch", "Packages: torch")],
)
def test_settings_in_words(name: str, words: str) -> None:
    assert plain(name) == words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (amount(61_523_734), "61.5M"),
        (amount(999_960), "1.0M"),
        (amount(812), "812"),
        (file_size(1_234_000_000), "1.2GB"),
        (file_size(43_600), "43.6KB"),
        (timed(0.42), "0.42ms"),
        (average(0.5), "0.500"),
        (average(0.77216), "0.7722"),
    ],
)
def test_numbers(text: str, expected: str) -> None:
    assert text == expected


def test_images_without_labels_are_not_said_to_be_empty() -> None:
    data = DatasetSummary(
        name="street", images={"test": 2, "unlabeled": 3}, objects={"test": 0}, classes=("car",)
    )
    sentence = "street: images 2 test (0 objects), 3 unlabeled; 1 class: car."
    assert dataset_sentence(replace(PUBLISHED, dataset=data)) == sentence
    many = replace(data, classes=tuple("abcdefghij"))
    assert dataset_sentence(replace(PUBLISHED, dataset=many)).endswith("f, g, h and 2 more.")

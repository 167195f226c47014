"""Which images are chosen, and what becomes of those that cannot be read."""

from pathlib import Path

import pytest
import torch

from tests.color_detector import color_spec, color_state
from tests.reporters import Heard
from yoloprune.data.calibration import (
    UNSEEN,
    ImageFiles,
    given_calibration,
    proof_images,
    read_calibration,
)
from yoloprune.errors import CfgError, DatasetError, UsageError
from yoloprune.frontends.darknet.document import model
from yoloprune.frontends.darknet.initialization import random_state
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.graph.model import Model


@pytest.fixture
def network() -> Model:
    return model(color_spec(), color_state(), title="net")


def test_a_seed_chooses_images_and_sets_others_apart(network: Model, photos: Path) -> None:
    first, again, other = (read_calibration(network, photos, 4, seed) for seed in (0, 0, 1))
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, other.images)
    assert first.images.shape == (4, 3, 32, 32)
    assert first.unseen.shape == (UNSEEN, 3, 32, 32)
    for unseen in first.unseen:
        assert not any(torch.equal(unseen, image) for image in first.images)
    for (path, placement, shape), image in zip(first.samples, first.images, strict=True):
        assert path.parent == photos
        assert (placement.scale, shape, image.max() <= 1) == ((0.5, 0.5), (64, 64), True)


def test_of_many_images_some_are_read_again(
    network: Model, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_calibration(network, photos, 10, 0)
    monkeypatch.setattr("yoloprune.data.calibration.HELD_BYTES", 5 * whole.images[:1].nbytes)
    found = read_calibration(network, photos, 10, 0)
    assert isinstance(found.images, ImageFiles)
    assert (len(found.images), found.images.held.shape[0]) == (10, 5)
    for first, last in ((0, 10), (0, 4), (3, 7), (6, 9), (8, 20), (10, 12)):
        assert torch.equal(found.images[first:last], whole.images[first:last])
    assert torch.equal(found.unseen, whole.unseen) and found.samples == whole.samples
    assert found.on(torch.device("cpu")).images[:].shape == (10, 3, 32, 32)
    found.samples[7][0].write_bytes(b"")
    with pytest.raises(DatasetError, match=found.samples[7][0].name):
        found.images[5:]


def test_where_none_are_unseen_the_first_are_measured_on(network: Model, photos: Path) -> None:
    found = read_calibration(network, photos, 100, 0)
    assert torch.equal(found.measured, found.images[:])
    found = read_calibration(network, photos, 8, 0)
    assert found.measured is found.unseen


def test_what_cannot_be_read_is_skipped_and_counted(network: Model, photos: Path) -> None:
    heard = Heard()
    found = read_calibration(network, photos, 100, 0, heard)
    assert (len(found.images), len(found.unseen), found.skipped) == (12, 0, 1)
    assert heard.warnings == ["1 image could not be read: skipped"]
    for path in photos.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DatasetError, match="none of its 13 images can be read"):
        read_calibration(network, photos, 4, 0)


def test_a_proof_is_on_noise_and_on_the_first_images(network: Model, photos: Path) -> None:
    ((name, noise),) = proof_images(network, None).items()
    ((again, images),) = proof_images(network, photos).items()
    assert name == again
    assert (noise.shape[0], images.shape[0], images.dtype) == (1, 4, torch.float64)
    assert torch.equal(images[:1], noise)
    assert not torch.equal(images[1], images[2])


def test_what_is_no_detector_is_proven_on_noise_alone(photos: Path) -> None:
    spec = parse_cfg("[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\n")
    network = model(spec, random_state(spec), title="net")
    assert len(proof_images(network, None)) == 1
    with pytest.raises(CfgError, match="only detectors can be fed with images"):
        proof_images(network, photos)


def test_no_inputs_are_none_to_learn_from() -> None:
    with pytest.raises(UsageError, match=r"of shape \(0, 3, 8, 8\) are none to learn from"):
        given_calibration(torch.zeros(0, 3, 8, 8))

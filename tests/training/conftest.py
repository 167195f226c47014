"""What the tests of training start from."""

from pathlib import Path

import pytest

from tests.training.painted import paint


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Painted rectangles: to be read, not changed."""
    return paint(tmp_path_factory.mktemp("painted"), train=48, test=16)

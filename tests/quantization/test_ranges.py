import logging

import numpy as np
import pytest

from tests.quantization.networks import depthwise_network, images, outputs
from yoloprune.quantization.prepare import prepared
from yoloprune.quantization.ranges import METHODS, in_silence, ranges


@pytest.mark.parametrize("method", METHODS)
def test_ranges_are_those_that_occur(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    network, seen = prepared(depthwise_network()), images(6)
    found = np.array([outputs(network, image) for image in seen])
    low, high = (float(np.ravel(end)[0]) for end in ranges(network, seen, method)["y"].range_value)
    if method == "minmax":
        assert (low, high) == pytest.approx((found.min(), found.max()), abs=1e-5)
    # Bins have a width.
    assert found.min() - 0.05 <= low < high <= found.max() + 0.05
    assert capsys.readouterr().out == ""


def test_warnings_come_back(caplog: pytest.LogCaptureFixture) -> None:
    with in_silence():
        logging.warning("unheard")
    logging.warning("heard")
    assert [record.message for record in caplog.records] == ["heard"]

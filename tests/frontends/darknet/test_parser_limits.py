"""Networks that no machine holds are refused by line."""

import tracemalloc

import pytest

from tests.frontends.darknet.sections import NET, conv
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.parser import parse_cfg


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NET.format(8) + conv(65536) + conv(65536, 11), "f.cfg:10: layer 1 [convolutional]: with "
         "it the network is too large: 519,691,239,424 weights"),
        # Each fits, but all together do not.
        (NET.format(8) + conv(40000) * 9, "layer 3 [convolutional]: with it the network is too"),
        (NET.format(8) + conv(1, 65535), "too large: 12,884,508,675 weights"),
        (NET.format(8) + conv(1, 65536, "groups=3\n"), "is not a multiple of groups=3"),
        (NET.format(60000) + conv(8), "f.cfg:4: the input of 60000x60000x3 is too large"),
        (NET.format(8000) + conv(64), "its output of 8000x8000x64 is too large"),
        (NET.format(2000) + conv(100) * 100, "too large: its maps have 34,400,000,000 values"),
        (NET.format(1) + conv(65536) + "[route]\nlayers=0,0\n", "1x1x131072 is too large"),
        (NET.format(1) + conv(65536) + "[route]\nlayers=0\n" * 200, "it has 8,454,147 channels"),
        (NET.format(64) + conv(8) + "[reorg3d]\nstride=64\n" * 2, "is not a multiple of stride"),
        (NET.format(8) + "[upsample]\nstride=65536\n" + conv(8), "too large"),
    ],
)  # fmt: skip
def test_unreal_networks_are_refused_by_line(text: str, words: str) -> None:
    tracemalloc.start()
    with pytest.raises(CfgError) as caught:
        parse_cfg(text, "f.cfg")
    assert words in str(caught.value)
    assert str(caught.value).startswith("f.cfg:")
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()

import numpy as np

from yoloprune.frontends.darknet.edits import applied
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg
from yoloprune.graph.edits import ArrayCut, Edits

TEXT = (
    "[net]\nheight=8\nwidth=8\nchannels=3\n"
    "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n"
    "[convolutional]\nfilters=4\ngroups=4\nsize=3\npad=1\nactivation=leaky\nstopbackward=1\n"
    "[convolutional]\nfilters=2\nsize=1\nactivation=linear\n"
)


def test_filters_and_groups_follow_and_all_else_stays() -> None:
    left = ArrayCut(blocks=({0: np.array([0, 2, 3])},))
    edits = Edits(
        arrays={("layer_0.conv", 1): left, ("layer_1.conv", 1): left},
        constants={},
        attributes={"layer_1.conv": {"group": 3}},
    )
    spec = parse_cfg(TEXT)
    slim = applied(spec, edits)
    expected = TEXT.replace("filters=4", "filters=3").replace("groups=4", "groups=3")
    assert slim == parse_cfg(expected)
    assert "stopbackward=1" in format_cfg(slim)
    assert slim.layers[2] is spec.layers[2]


def test_without_edits_it_is_the_same_network() -> None:
    spec = parse_cfg(TEXT)
    assert applied(spec, Edits(arrays={}, constants={}, attributes={})) == spec

from dataclasses import replace

import pytest

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.cfg import Option
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg
from yoloprune.frontends.darknet.spec import (
    class_count,
    resized,
    with_input_size,
    with_option,
)

NET = "[net]\nchannels=3\nheight=32\nwidth=32\n"


CONV = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n"


def test_digest_follows_the_arithmetic_alone():
    spec = parse_cfg(NET + CONV)
    assert parse_cfg(NET + "learning_rate=1\n" + CONV + "stopbackward=1\n").digest() == (
        spec.digest()
    )
    assert parse_cfg(NET + CONV.replace("leaky", "mish")).digest() != spec.digest()
    assert parse_cfg(NET.replace("32", "64") + CONV).digest() != spec.digest()


def test_resized_layers_write_their_new_numbers():
    spec = parse_cfg(NET + CONV + CONV + "groups=8\n")
    convs = [resized(spec.convs[0], filters=4, groups=1),
             resized(spec.convs[1], filters=4, groups=4)]  # fmt: skip
    slim = replace(spec, layers=tuple(convs))
    assert parse_cfg(format_cfg(slim)) == slim
    assert "filters=4\nsize=3\nstride=1\npad=1\nactivation=leaky\ngroups=4" in format_cfg(slim)


def test_input_size_can_be_changed():
    spec = with_input_size(parse_cfg(NET + CONV), 64, 96)
    assert spec.input_shape == (3, 64, 96)
    assert parse_cfg(format_cfg(spec)) == spec


def test_options_are_changed_in_their_place_or_added() -> None:
    options = (Option(key="a", value="1"), Option(key="b", value="2"))
    changed = with_option(options, "a", "3")
    assert [(option.key, option.value) for option in changed] == [("a", "3"), ("b", "2")]
    assert [option.key for option in with_option(options, "c", "3")] == ["a", "b", "c"]


def test_numbers_of_the_net_end_before_a_comment() -> None:
    spec = parse_cfg("[net]\nchannels=3\nheight=32\nwidth=32\nmomentum=0.9 # usual\n" + CONV)
    assert spec.net_option("momentum") == "0.9"
    assert spec.net_option("decay") is None


def test_classes_are_those_of_all_heads() -> None:
    with pytest.raises(CfgError, match="no detection head"):
        class_count(parse_cfg(NET + CONV))
    conv = "[convolutional]\nfilters=7\nactivation=linear\n"
    head = f"{conv}[yolo]\nanchors=1,1\nclasses=2\nnum=1\n"
    assert class_count(parse_cfg(NET + head)) == 2

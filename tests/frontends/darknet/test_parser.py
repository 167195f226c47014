"""Sections to spec: what is understood, and what is kept without being understood."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings

from tests.architectures import ARCHITECTURES
from tests.random_networks import network_texts
from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.options import ACTIVATIONS
from yoloprune.frontends.darknet.parser import format_cfg, parse_cfg, read_cfg, write_cfg
from yoloprune.frontends.darknet.spec import (
    INPUT,
    Conv,
    GaussianYolo,
    Layer,
    MaxPool,
    NetworkSpec,
    Region,
    Reorg,
    Route,
    Shortcut,
    Yolo,
)
from yoloprune.frontends.darknet.zoo import NETWORKS

NET = "[net]\nchannels=3\nheight=32\nwidth=32\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n"


def layers(*sections: str) -> tuple[Layer, ...]:
    return parse_cfg(NET + "".join(sections), "f.cfg").layers


def all_builders() -> dict[str, Callable[..., NetworkSpec]]:
    return NETWORKS | ARCHITECTURES


@pytest.mark.parametrize("name", all_builders())
def test_written_specs_read_back(name, tmp_path):
    spec = all_builders()[name](classes=2, width=0.25)
    write_cfg(tmp_path / "a.cfg", spec)
    again = read_cfg(tmp_path / "a.cfg")
    assert again == spec
    assert again.digest() == spec.digest()
    assert format_cfg(again) == (tmp_path / "a.cfg").read_text()


@settings(max_examples=100)
@given(network_texts())
def test_random_specs_read_back(text):
    spec = parse_cfg(text)
    assert parse_cfg(format_cfg(spec)) == spec
    # Nothing else is in these texts: no comment, no blank inside a section.
    assert format_cfg(spec) == text


def test_options_without_a_meaning_here_are_kept_as_they_were_written():
    text = (
        "[net]\nchannels=3\nheight=32\nwidth=32\nletter_box=1\npolicy=steps\nscales=.1, .1\n\n"
        + CONV.replace("filters=8", "filters=8\nlearning_rate=0.10\nstopbackward=1")
        + "\n[convolutional]\nfilters=24\nactivation=linear\n\n"
        + "[yolo]\nmask = 1,2,0\nanchors = 1,2, 3.50,4,  5,6\nclasses=3\nnum=3\njitter=.30\n"
        + "nms_kind=diounms\nmax=200\n"
    )
    spec = parse_cfg(text)
    kept = [line for line in text.replace(" = ", "=").splitlines() if line]
    assert [line for line in format_cfg(spec).splitlines() if line] == kept
    assert spec.heads[0].anchors == ((3.5, 4.0), (5.0, 6.0), (1.0, 2.0))
    assert spec.net_option("letter_box") == "1"
    assert spec.net_option("absent") is None


def test_defaults_are_those_of_darknet():
    conv, pool, drop, reorg = layers(
        "[convolutional]\n", "[maxpool]\nstride=2\n", "[dropout]\n", "[reorg3d]\n"
    )
    assert isinstance(conv, Conv)
    assert (conv.filters, conv.size, conv.stride_x, conv.padding, conv.groups) == (1, 1, 1, 0, 1)
    assert (conv.activation, conv.batch_normalize) == ("logistic", False)
    assert isinstance(pool, MaxPool)
    assert (pool.size, pool.stride_x, pool.stride_y, pool.padding) == (2, 2, 2, 1)
    assert drop.probability == 0.2
    assert isinstance(reorg, Reorg)
    assert (reorg.stride, reorg.mixes_channels) == (1, False)
    shortcut = layers(CONV, CONV, "[shortcut]\nfrom=-2\n")[2]
    assert isinstance(shortcut, Shortcut)
    assert shortcut.activation == "linear"


@pytest.mark.parametrize(
    ("pad", "size", "padding"),
    [("pad=1", 3, 1), ("pad=1", 2, 1), ("pad=1", 1, 0), ("padding=2", 3, 2), ("pad=0", 3, 0),
     ("pad=1\npadding=0", 5, 2)],
)  # fmt: skip
def test_pad_wins_over_padding(pad, size, padding):
    (conv,) = layers(f"[convolutional]\nsize={size}\n{pad}\n")
    assert isinstance(conv, Conv)
    assert conv.padding == padding


def test_dilation_widens_the_padding_too():
    (conv,) = layers(CONV + "dilation=3\n")
    assert isinstance(conv, Conv)
    assert (conv.dilation, conv.padding) == (3, 3)
    (conv,) = layers("[convolutional]\nsize=1\ndilation=3\n")
    assert isinstance(conv, Conv)
    assert conv.dilation == 1


def test_zero_switches_batch_normalize_off():
    (conv,) = layers(CONV.replace("batch_normalize=1", "batch_normalize=0"))
    assert isinstance(conv, Conv)
    assert not conv.batch_normalize
    (conv,) = layers("[convolutional]\ncbn=1\n")
    assert isinstance(conv, Conv)
    assert conv.batch_normalize


def test_strides_may_differ():
    conv, pool = layers(CONV + "stride_x=2\n", "[maxpool]\nsize=3\nstride=2\nstride_y=1\n")
    assert isinstance(conv, Conv)
    assert (conv.stride_x, conv.stride_y) == (2, 1)
    assert isinstance(pool, MaxPool)
    assert (pool.stride_x, pool.stride_y) == (2, 1)


def test_references_become_absolute():
    parsed = layers(CONV, CONV, CONV, "[route]\nlayers = -1, 0,-3\n", CONV,
                    "[shortcut]\nfrom=-5, 1\n")  # fmt: skip
    assert parsed[0].sources == (INPUT,)
    assert parsed[3].sources == (2, 0, 0)
    assert parsed[5].sources == (4, 0, 1)
    route = layers(CONV, "[route]\nlayers=0\ngroups=2\ngroup_id=1\n")[1]
    assert isinstance(route, Route)
    assert (route.groups, route.group_id) == (2, 1)


@pytest.mark.parametrize("alias", ["conv", "convolutional"])
def test_aliases_of_sections(alias):
    spec = parse_cfg(f"[network]\nchannels=1\nheight=8\nwidth=8\n[{alias}]\n[max]\nsize=2\n[avg]\n")
    assert [type(layer).__name__ for layer in spec.layers] == ["Conv", "MaxPool", "AvgPool"]
    # The names stay as written, the first one is darknet's usual one.
    assert f"[{alias}]" in format_cfg(spec)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_every_activation_is_known(activation):
    assert layers(f"[convolutional]\nactivation={activation}\n")[0].activation == activation


def test_heads_and_what_they_read():
    def head(filters: int, section: str) -> Layer:
        return layers(f"[convolutional]\nfilters={filters}\nactivation=linear\n", section)[1]

    yolo = head(16, "[yolo]\nmask=1,0\nanchors=1,2, 3,4\nclasses=3\nnum=2\nscale_x_y=1.05\n")
    assert isinstance(yolo, Yolo)
    assert (yolo.anchors, yolo.scale_x_y, yolo.new_coords) == (((3, 4), (1, 2)), 1.05, False)
    assert yolo.channels == 16
    unmasked = head(16, "[yolo]\nanchors=1,2, 3,4, 5,6\nclasses=3\nnum=2\n")
    assert isinstance(unmasked, Yolo)
    assert unmasked.anchors == ((1, 2), (3, 4))
    gaussian = head(12, "[Gaussian_yolo]\nmask=0\nanchors=1,2\nclasses=3\nnum=1\n")
    assert isinstance(gaussian, GaussianYolo)
    region = head(16, "[region]\nanchors=.5,1.5, 3,4\nclasses=3\nnum=2\nsoftmax=1\n")
    assert isinstance(region, Region)
    assert region.anchors == ((0.5, 1.5), (3, 4))


def test_anchors_may_be_0_and_more_than_num():
    # darknet reads the first `num` pairs, and a box of an anchor of 0 has no width.
    section = "[yolo]\nmask=1,0\nanchors=0,3, 2,5, 7,8,\nclasses=3\nnum=2\n"
    head = layers("[convolutional]\nfilters=16\nactivation=linear\n", section)[1]
    assert isinstance(head, Yolo)
    assert head.anchors == ((2, 5), (0, 3))


def test_suppression_is_no_part_of_the_arithmetic():
    conv = "[convolutional]\nfilters=8\nactivation=linear\n"
    yolo = "[yolo]\nmask=0\nanchors=1,2\nclasses=3\nnum=1\n"
    digests = {
        parse_cfg(NET + conv + yolo + more).digest()
        for more in ("", "nms_kind=greedynms\n", "nms_kind=diounms\nbeta_nms=.7\n")
    }
    assert len(digests) == 1


def test_repeated_option_is_fine_when_both_agree():
    (conv,) = layers(CONV + "size=3\n")
    assert isinstance(conv, Conv)
    assert conv.size == 3


def test_numbers_take_blanks_and_signs():
    (conv,) = layers("[convolutional]\nfilters=  8 \nsize = +3\n")
    assert isinstance(conv, Conv)
    assert (conv.filters, conv.size) == (8, 3)


def test_read_cfg_names_the_file(tmp_path):
    path = tmp_path / "bad.cfg"
    path.write_text(NET + CONV + "[lstm]\n")
    with pytest.raises(CfgError, match=r"bad\.cfg:12: layer 1 \[lstm\]"):
        read_cfg(path)


def test_crlf_and_byte_order_mark_change_nothing(tmp_path):
    text = NET + CONV
    path = tmp_path / "windows.cfg"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_cfg(path) == parse_cfg(text)

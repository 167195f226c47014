"""What a cfg may not ask for, and how it is told: file, line, layer and what is wrong."""

import pytest

from yoloprune.errors import CfgError
from yoloprune.frontends.darknet.parser import parse_cfg
from yoloprune.frontends.darknet.spec import Layer

NET = "[net]\nchannels=3\nheight=32\nwidth=32\n"
CONV = "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n"
HEAD = "[yolo]\nmask=0\nanchors=10,14\nclasses=3\nnum=1\n"


def layers(*sections: str) -> tuple[Layer, ...]:
    return parse_cfg(NET + "".join(sections), "f.cfg").layers


def refused(*sections: str, net: str = NET) -> str:
    with pytest.raises(CfgError) as caught:
        parse_cfg(net + "".join(sections), "f.cfg")
    message = str(caught.value)
    assert message.startswith("f.cfg:")
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "option",
    ["xnor=1", "binary=1", "bin_output=1", "antialiasing=1", "share_index=0", "share_index=-3",
     "flipped=1", "coordconv=1", "sway=1", "rotate=1", "stretch=1", "stretch_sway=1",
     "deform=1"],
)  # fmt: skip
def test_convolutions_that_compute_something_else_are_refused(option):
    key = option.split("=")[0]
    message = refused(CONV, CONV + option + "\n")
    assert f"layer 1 [convolutional] option {option} changes the arithmetic" in message
    assert message.startswith("f.cfg:19:")
    if key != "share_index":
        layers(CONV + f"{key}=0\n")


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ("[maxpool]\nsize=2\nmaxpool_depth=1\n", "maxpool_depth=1"),
        ("[maxpool]\nsize=2\nantialiasing=1\n", "antialiasing=1"),
        ("[maxpool]\nsize=2\nmaxpool_zero_nonmax=1\n", "maxpool_zero_nonmax=1"),
        ("[maxpool]\nsize=2\npadding=3\n", "padding=3 puts whole windows"),
        ("[reorg]\nstride=2\nreverse=1\n", "reverse=1"),
        ("[reorg3d]\nstride=2\nflatten=1\n", "flatten=1"),
        ("[reorg]\nstride=2\nextra=1\n", "extra=1"),
        ("[shortcut]\nfrom=0\nweights_type=per_feature\n", "weights_type=per_feature"),
        ("[scale_channels]\nfrom=0\nscale_wh=1\n", "scale_wh=1"),
        ("[upsample]\nscale=2\n", "option scale"),
        ("[convolutional]\ndontload=1\n", "dontload=1 tells darknet not to read its weights"),
        ("[convolutional]\ndontloadscales=1\n", "dontloadscales=1 tells darknet not to read"),
        ("[sam]\nfrom=0\nactivation=mish\n", "activation 'mish' is not supported"),
        ("[avgpool]\n[scale_channels]\nfrom=0\nactivation=swish\n", "'swish' is not supported"),
        ("[dropout]\nprobability=1\n", "probability=1.0 must be in"),
        ("[convolutional]\nsize=3\ndilation=2\n", "dilation=2 needs"),
        ("[convolutional]\nsize=2\npad=1\ndilation=2\n", "dilation=2 needs"),
        ("[convolutional]\nactivation=maxout\n", "activation 'maxout' is not supported"),
        ("[convolutional]\nactivation=normalize_channels\n", "is not supported"),
        ("[convolutional]\nfilters=8\ngroups=3\n", "filters=8 is not a multiple of groups=3"),
        ("[convolutional]\nfilters=9\ngroups=3\n", "8 input channels do not divide into 3"),
        ("[route]\nlayers=0\ngroups=2\ngroup_id=2\n", "group_id=2 must be below groups=2"),
        ("[route]\nlayers=0\ngroups=3\n", "8 channels do not divide into 3 groups"),
        ("[scale_channels]\nfrom=0,0\n", "from takes exactly one layer"),
    ],
)
def test_what_this_package_does_not_compute_is_refused(section, word):
    assert word in refused(CONV, section)


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ("[region]\nanchors=1,2\nclasses=3\nnum=1\n", "only softmax=1"),
        ("[region]\nanchors=1,2\nclasses=3\nnum=1\nsoftmax=1\ncoords=5\n", "only coords=4"),
        ("[region]\nanchors=1,2\nclasses=3\nnum=2\nsoftmax=1\n", "has 1 anchors but num=2"),
        ("[region]\nanchors=1,2\nclasses=3\nsoftmax=1\ntree=x\n", "tree=x"),
        ("[region]\nanchors=1,2\nclasses=3\nsoftmax=1\nbackground=1\n", "background=1"),
        ("[Gaussian_yolo]\nanchors=1,2\nclasses=3\nyolo_point=left_top\n", "yolo_point=left_top"),
        ("[region]\nanchors=1,2,3,4\nclasses=3\nsoftmax=1\n", "has 2 anchors but num=1"),
        ("[region]\nanchors=1,2\nclasses=3\nsoftmax=1\ntree=0\n", "tree=0"),
        ("[yolo]\nmask=1\nanchors=1,2\nclasses=3\n", "mask 1 is beyond num=1"),
        ("[yolo]\nmask=0,3\nanchors=1,2,1,2,1,2,1,2\nclasses=3\nnum=3\n", "mask 3 is beyond num=3"),
        ("[yolo]\nmask=-1\nanchors=1,2\nclasses=3\n", "mask -1 is beyond num=1"),
        ("[yolo]\nmask=1\nanchors=1,2\nclasses=3\nnum=2\n", "anchor 1 is beyond the 1 anchors"),
        ("[yolo]\nanchors=1,2\nclasses=3\nnum=2\n", "anchor 1 is beyond the 1 anchors"),
        ("[Gaussian_yolo]\nmask=0\nanchors=1,2,3,4\nclasses=3\n", "has 2 anchors but num=1"),
        ("[yolo]\nmask=0\nanchors=1,2,3\nclasses=3\n", "pairs of positive numbers"),
        ("[yolo]\nmask=0\nanchors=1,-2\nclasses=3\n", "pairs of positive numbers"),
        ("[yolo]\nmask=0\nanchors=1,nan\nclasses=3\n", "option anchors='nan' is out of range"),
        ("[yolo]\nmask=0\nclasses=3\n", "needs the option 'anchors'"),
        ("[yolo]\nmask=0\nanchors=1,2\nclasses=0\n", "classes=0 must be at least 1"),
        ("[yolo]\nmask=0,\nanchors=1,2\nclasses=3\n", "option mask='' is not an integer"),
    ],
)
def test_heads_that_cannot_be_read_are_refused(section, word):
    assert word in refused("[convolutional]\nfilters=8\n", section)


@pytest.mark.parametrize(
    ("filters", "section", "needed"),
    [
        (18, HEAD, 8),
        (8, "[Gaussian_yolo]\nmask=0\nanchors=10,14\nclasses=3\n", 12),
        (8, "[region]\nanchors=1,2,3,4\nclasses=3\nnum=2\nsoftmax=1\n", 16),
    ],
)
def test_filters_before_a_head_must_match_it(filters, section, needed):
    message = refused(f"[convolutional]\nfilters={filters}\nactivation=linear\n", section)
    assert f"need {needed} channels, but the layer before gives {filters}" in message


def test_unknown_section_is_named_with_its_line():
    message = refused(CONV, "[connected]\noutput=10\n")
    assert message.startswith("f.cfg:12: layer 1 [connected] is not supported (known: ")
    assert "convolutional" in message


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ("[route]\nlayers=1\n", "layers=1 points to layer 1: only earlier layers (0 to 0)"),
        ("[route]\nlayers=7\n", "layers=7 points to layer 7"),
        ("[route]\nlayers=-2\n", "layers=-2 points to layer -1"),
        ("[route]\n", "needs the option 'layers'"),
        ("[route]\nlayers=\n", "option layers='' is not an integer"),
        ("[route]\nlayers=-1,\n", "option layers='' is not an integer"),
        ("[route]\nlayers=conv1\n", "option layers='conv1' is not an integer"),
        ("[shortcut]\nfrom=5\n", "from=5 points to layer 5"),
        ("[shortcut]\nfrom=-9\n", "from=-9 points to layer -8"),
        ("[shortcut]\n", "needs the option 'from'"),
        ("[sam]\nfrom=1\n", "from=1 points to layer 1"),
    ],
)
def test_references_must_point_to_earlier_layers(section, word):
    assert word in refused(CONV, section)


@pytest.mark.parametrize(
    "section", ["[shortcut]\nfrom=-1\n", HEAD, "[route]\nlayers=-1\n", "[dropout]\n"]
)
def test_first_layer_cannot_look_back(section):
    assert "is the first layer" in refused(section)


@pytest.mark.parametrize(
    "reader",
    [CONV, "[route]\nlayers=1\n", "[shortcut]\nfrom=0\n", "[upsample]\n",
     CONV.replace("size=3", "size=1")],
)  # fmt: skip
def test_output_of_a_head_cannot_be_read(reader):
    message = refused("[convolutional]\nfilters=8\n", HEAD, reader)
    assert "reads layer 1 [yolo]: a head's output cannot be read" in message


@pytest.mark.parametrize(
    ("sections", "word"),
    [
        (["[maxpool]\nsize=2\nstride=2\n", "[route]\nlayers=0,1\n"], "cannot join 32x32x8 and 16x"),
        (["[maxpool]\nsize=2\nstride=2\n", "[shortcut]\nfrom=0\n"], "16x16x8 and 32x32x8 do not"),
        (["[convolutional]\nfilters=4\n", "[sam]\nfrom=0\n"], "32x32x4 and 32x32x8 do not match"),
        (["[scale_channels]\nfrom=0\n"], "cannot scale 32x32x8 by 32x32x8"),
        (["[avgpool]\n", "[reorg]\nstride=2\n"], "1x1 is not a multiple of stride 2"),
        (["[convolutional]\nfilters=6\n", "[reorg]\nstride=2\n"], "6 channels are not a multiple"),
        (["[avgpool]\n", "[convolutional]\nsize=3\n"], "its output is empty"),
        (["[upsample]\nstride=60000\n"], "is too large"),
        (["[maxpool]\nsize=60000\nstride=1\n"], "its input with padding=59999 is too large"),
    ],
)
def test_layers_that_do_not_fit_are_named(sections, word):
    message = refused(CONV, *sections)
    assert word in message
    assert f"layer {len(sections)} [" in message


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("filters=abc", "option filters='abc' is not an integer"),
        ("filters=1.5", "option filters='1.5' is not an integer"),
        ("filters=1_6", "option filters='1_6' is not an integer"),
        ("filters=\u0663", "is not an integer"),
        ("filters=", "option filters='' is not an integer"),
        ("filters=0", "option filters=0 must be at least 1"),
        ("filters=-8", "option filters=-8 must be at least 1"),
        ("filters=99999999999", "option filters='99999999999' is out of range"),
        ("filters=70000", "option filters=70000 must be at most 65536"),
        ("filters=" + "9" * 5000, "is not an integer"),
        ("size=0", "option size=0 must be at least 1"),
        ("stride=0", "option stride=0 must be at least 1"),
        ("stride_x=-1", "option stride_x=-1 must be at least 1"),
        ("groups=0", "option groups=0 must be at least 1"),
        ("padding=-1", "option padding=-1 must be at least 0"),
        ("batch_normalize=yes", "option batch_normalize='yes' is not an integer"),
    ],
)
def test_bad_numbers_name_option_and_line(option, word):
    message = refused(CONV, f"[convolutional]\n{option}\n")
    assert word in message
    assert message.startswith("f.cfg:13: layer 1 [convolutional] ")
    assert len(message) < 200


@pytest.mark.parametrize(
    ("net", "word"),
    [
        ("channels=3\nheight=32\nwidth=1000000000", "width='1000000000' is out of range"),
        ("channels=3\nheight=65536\nwidth=65536", "f.cfg:4: the input of 65536x65536x3 is too"),
        ("channels=3\nheight=32\nwidth=32\nletter_box=no", "letter_box='no' is not an integer"),
        ("channels=3\nheight=0\nwidth=32", "height=0 must be at least 1"),
        ("channels=3\nheight=32", "needs the option 'width'"),
        ("channels=3\nheight=32\nwidth=32\ntime_steps=4", "time_steps above 1"),
        ("channels=3\nheight=32\nwidth=32\nwidth=64", "gives 'width' twice with different values"),
    ],
)
def test_bad_input_sizes_are_refused(net, word):
    assert word in refused(CONV, net=f"[net]\n{net}\n")


def test_option_given_twice_with_different_values_is_refused():
    # darknet takes the first, OpenCV the last.
    message = refused(CONV + "filters=16\n")
    assert message.startswith("f.cfg:7: layer 0 [convolutional] gives 'filters' twice")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (CONV, r"f\.cfg:1: the first section must be \[net\], found \[convolutional\]"),
        (NET, r"f\.cfg: the network has no layers"),
        (NET + "[maxpool]\nsize=2\n", r"f\.cfg: the network has no \[convolutional\] layer"),
        (NET + CONV + NET, r"f\.cfg:12: layer 1 \[net\] is not supported"),
    ],
)
def test_networks_without_the_necessary_sections_are_refused(text, word):
    with pytest.raises(CfgError, match=word):
        parse_cfg(text, "f.cfg")

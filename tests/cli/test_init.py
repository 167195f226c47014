from pathlib import Path

from tests.cli.commands import refused, run
from tests.cli.conftest import Pair
from yoloprune.frontends.darknet.parser import read_cfg
from yoloprune.frontends.darknet.weights import read_weights


def test_init_is_seeded(pair: "Pair", tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        run("init", pair.cfg, "--out", tmp_path / name, "--seed", seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
    read_weights(tmp_path / "a", read_cfg(pair.cfg))


def test_a_cfg_that_asks_for_too_much_is_refused(tmp_path: Path) -> None:
    net = "[net]\nheight=8\nwidth=8\nchannels=3\n[convolutional]\nfilters=2\nactivation=linear\n"
    doubling = tmp_path / "doubling.cfg"
    doubling.write_text(net + 34 * "[route]\nlayers=-1,-1\n")
    assert "too large" in refused("inspect", doubling)
    wide = tmp_path / "wide.cfg"
    wide.write_text(net.replace("filters=2", "filters=2\nsize=65535\npad=1"))
    assert "too large" in refused("init", wide, "--out", tmp_path / "wide.weights")

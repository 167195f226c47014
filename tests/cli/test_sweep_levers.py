from pathlib import Path

from tests.cli.commands import refused, run
from tests.color_detector import GREEN_OBJECT, paint
from tests.workflows.detectors import cfg, data  # noqa: F401


def test_levers(cfg: Path, data: Path, tmp_path: Path) -> None:  # noqa: F811
    command = ["sweep", cfg, cfg.with_suffix(".weights"), "--data", data, "--levers", "input"]
    assert "--levers needs --images, --data and --out" in refused(*command)
    paint(tmp_path / "seen/a.png", (32, 32), {(0, 1): GREEN_OBJECT})
    out = tmp_path / "levers"
    result = run(*command, "--images", tmp_path / "seen", "--out", out)
    assert "fastest within 0.02 of the dense network's mAP: #0" in result.stdout
    assert {path.name for path in out.iterdir()} >= {"sweep.json", "sweep.png", "32x32-1"}
    odd = [*command[:-1], "colour", "--images", tmp_path / "seen", "--out", out]
    assert "lever 'colour' is unknown" in refused(*odd)
    network = cfg, cfg.with_suffix(".weights")
    taken = ["prune", *network, "--out", tmp_path / "taken"]
    run(*taken, "--from", f"{out}/sweep.json#0")
    assert (tmp_path / "taken/slim.weights").exists()
    for point in ("", "#", "#-1", "#\N{SUPERSCRIPT TWO}", "#" + "9" * 5000):
        assert "name a file and a number in it" in refused(
            *taken, "--from", f"{out}/sweep.json{point}"
        )
    both = refused(*taken, "--from", f"{out}/sweep.json#0", "--keep-macs", 0.5, "--seed", 0)
    assert both == (
        "--from writes what the sweep made, without --keep-macs, --seed: it goes with --out, "
        "--json and --quiet alone"
    )
    assert refused(*command, "--criterion", "l1", "--round-to", 8, "--images", tmp_path) == (
        "--levers has no use for --criterion, --multiple-of"
    )
    assert refused(*command, "--keep-macs", 0.9, "--keep-ms", 0.9, 0.5).startswith(
        "'0.5' may be of --keep-macs or of --keep-ms: repeat the option for each fraction"
    )
    assert "shares of time to keep must be in (0, 1), not [0.5, 1.5]" in refused(
        *command, "--images", tmp_path / "seen", "--out", out, "--keep-ms", 0.5, 1.5
    )
    assert "--levers is what goes with --keep-ms" in refused(*command[:-2], "--keep-ms", 0.5)
    assert "--levers is what goes with --threads" in refused(*command[:-2], "--threads", 2)

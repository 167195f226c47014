"""Two runs into one folder: the second is refused, whatever the command."""

from pathlib import Path

import pytest

from tests.cli.commands import refused
from tests.processes import holding


@pytest.mark.parametrize(
    "command", ["train", "finetune", "iterate", "case-study", "sweep", "detect"]
)
def test_a_folder_in_use_is_refused(folder: Path, tmp_path: Path, command: str) -> None:
    out = tmp_path / "out"
    pair = (folder / "run" / "best.cfg", folder / "run" / "best.weights")
    data = ("--data", folder / "data")
    arguments: dict[str, tuple[object, ...]] = {
        "train": (folder / "net.cfg", *data, "--batch-size", 4),
        "finetune": (folder / "run", *data, "--batch-size", 4),
        "iterate": (*pair, *data, "--keep-macs", 0.5, "--step", 0.25, "--batch-size", 4),
        "case-study": ("--preset", "demo", *data),
        "sweep": (*pair, *data, "--split", "test", "--criterion", "l2"),
        "detect": (*pair, folder / "data" / "images" / "test"),
    }
    with holding(out):
        message = refused(command, *arguments[command], "--out", out, "--quiet")
    assert message.startswith(f"{out}: another process is working in this folder: ")
    assert list(out.iterdir()) == []

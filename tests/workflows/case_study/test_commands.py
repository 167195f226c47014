import json
import shlex
from dataclasses import asdict, replace
from pathlib import Path

from tests.workflows.case_study.tiny import TINY
from yoloprune.files import write_json
from yoloprune.pruning.budget import Budget
from yoloprune.workflows.case_study.commands import commands
from yoloprune.workflows.case_study.data import Summary
from yoloprune.workflows.case_study.subject import Subject


def test_a_given_network_is_read_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    summary = Summary(
        path="/my hands", names=("hand",), anchors=((1.0, 2.0),), images={}, objects={},
        sha256={}, warnings=(),
    )  # fmt: skip
    (tmp_path / "data" / "data.json").write_text(json.dumps(asdict(summary)))
    given = Subject(
        preset="demo",
        settings=replace(TINY, controls=("random",), seed=5, keep_macs=0.25, distill_steps=0),
        data=Path("/my hands"),
        dense=(Path("a.cfg"), Path("a.weights")),
    )
    lines = {command.stage: shlex.split(command.line) for command in commands(tmp_path, given)}
    assert list(lines) == [
        "everything", "pruning", "re-fitting", "fine-tuning", "random pruning", "random re-fitting",
        "random", "evaluation", "latency",
    ]  # fmt: skip
    assert lines["pruning"][:6] == [
        "yoloprune", "prune", "a.cfg", "a.weights", "--keep-macs", "0.25"
    ]  # fmt: skip
    # What looks at images re-fits, unless it is told not to: that is a row of its own.
    seen = replace(given, settings=replace(given.settings, criterion="reconstruction"))
    words = {command.stage: shlex.split(command.line) for command in commands(tmp_path, seen)}
    assert "--no-refit" in words["pruning"] and "--no-refit" not in words["random pruning"]
    # Nothing is trained so long.
    assert not {"--epochs", "--learning-rate"} & {*lines["everything"]}
    halved = replace(given, settings=replace(given.settings, controls=("half",)))
    assert {"--epochs", "--learning-rate"} < {*shlex.split(commands(tmp_path, halved)[0].line)}
    assert lines["latency"][2:4] == ["a.cfg", "a.weights"]
    assert lines["latency"][-2:] == ["--threads", "1"]
    data = lines["fine-tuning"].index("--data")
    assert lines["fine-tuning"][data + 1] == "/my hands"
    seeds = {command.stage: command.seed for command in commands(tmp_path, given)}
    assert (seeds["random pruning"], seeds["pruning"]) == (5, None)
    assert "--multiple-of" not in lines["pruning"] + lines["everything"]
    # Where it was left to the engines, the plan says what they were found to compute fastest.
    (tmp_path / "pruned").mkdir()
    write_json(
        tmp_path / "pruned" / "plan.json", {"budget": asdict(Budget(limits={}, multiple_of=16))}
    )
    for command in commands(tmp_path, given)[:2]:
        suited = shlex.split(command.line)
        assert suited[suited.index("--multiple-of") + 1] == "16"
    rounded = replace(given, settings=replace(given.settings, multiple_of=4))
    words = {command.stage: shlex.split(command.line) for command in commands(tmp_path, rounded)}
    for stage in ("pruning", "random pruning"):
        assert words[stage][words[stage].index("--multiple-of") + 1] == "4"
    controls = replace(given.settings, controls=("uniform", "half"), multiple_of=4)
    words = {
        command.stage: shlex.split(command.line)
        for command in commands(tmp_path, replace(given, settings=controls))
    }
    for stage, multiple in (("a uniform network", "4"), ("a half network", "1")):
        assert words[stage][words[stage].index("--multiple-of") + 1] == multiple
    distilled = replace(given, settings=replace(given.settings, distill_steps=3))
    words = {command.stage: shlex.split(command.line) for command in commands(tmp_path, distilled)}
    assert words["re-fitting and distillation"][-2:] == ["--distill-steps", "3"]
    trained = commands(tmp_path, replace(given, dense=None))
    assert [command.stage for command in trained][1:3] == ["the network", "the original"]

import json
from pathlib import Path

from tests.cli.commands import refused, run


def test_tools_are_compared_on_noise_where_there_is_nothing_else(net: Path) -> None:
    options = ("--budgets", "0.6, 0.8", "--tools", "l2, uniform", "--runs", 1)
    found = run("compare", net, *options, "--json")
    assert found.exit_code == 0, found.output
    document = json.loads(found.stdout)
    assert document["images"] == "noise" and document["judged_on"] is None
    assert [(row["tool"], row["share"]) for row in document["rows"]] == [
        ("l2", 0.8), ("uniform", 0.8), ("l2", 0.6), ("uniform", 0.6)
    ]  # fmt: skip


def test_bad_words_are_refused(net: Path) -> None:
    assert "--budgets '' is no fraction of MACs" in refused("compare", net, "--budgets", "0.5,")
    assert "shares of the MACs in (0, 1), not [1.5]" in refused("compare", net, "--budgets", 1.5)

"""The lecture's notebook runs, on small settings, and shows what it showed when it was measured."""

import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOK = Path(__file__).parents[2] / "docs" / "lecture" / "lecture.ipynb"
TINY = {"EPOCHS": 4, "TUNING": 1, "STEP": 0.4, "RUNS": 1, "WIDTH": 0.0625}


def tables(printed: str) -> list[list[list[str]]]:
    """The Markdown tables in a text: their cells by row, the header first."""
    found: list[list[list[str]]] = [[]]
    for line in printed.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [table[:1] + table[2:] for table in found if table]


@pytest.fixture(scope="module")
def code() -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_its_cells_run_and_give_the_tables_that_are_kept(
    code: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # What else is installed here has no column in the tables that are kept.
    usual = ("torch", "onnxruntime")
    monkeypatch.setattr("yoloprune.engines.benchmark.default_engines", lambda: usual)
    names: dict[str, Any] = {}
    seen = 0
    for cell in code:
        exec(compile("".join(cell["source"]), "cell", "exec"), names)
        if cell["metadata"].get("tags") == ["parameters"]:
            assert names.keys() >= TINY.keys()
            names |= TINY
        found = tables(capsys.readouterr().out)
        kept = tables("".join(text for output in cell["outputs"] for text in output["text"]))
        assert [table[0] for table in found] == [table[0] for table in kept]
        assert [len(table) for table in found] == [len(table) for table in kept]
        seen += len(found)
    assert seen == 5
    accuracies = {row[0]: float(row[1]) for row in found[0][1:]}
    assert accuracies["dense"] > 0.8, "what is pruned has learned something"
    assert accuracies["one-shot, re-fit"] > accuracies["one-shot"]


def test_what_is_kept_was_measured_on_the_whole_networks(code: list[dict[str, Any]]) -> None:
    texts = [
        "".join(text for output in cell["outputs"] for text in output["text"]) for cell in code
    ]
    sizes = tables(texts[2])[0]
    assert [row[:3] for row in sizes[1:]] == [
        ["alexnet", "61,100,840", "244.4MB"],
        ["squeezenet-1.0", "1,248,424", "5.0MB"],
    ]
    page = (NOTEBOOK.parent / "index.md").read_text(encoding="utf-8")
    assert tables(page)[1] == tables(texts[-1])[0], "the page says what the notebook measured"

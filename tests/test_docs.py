"""The documentation is whole: its pages are listed, and what they point to is there."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import yoloprune

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *PAGES]

LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
PATH = re.compile(r"`((?:yoloprune|tests|docs|examples|tools|weights)/[\w/.]+)`")


def entries(nav: object) -> list[str]:
    """Files that a part of mkdocs.yml's nav names."""
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [name for part in parts for name in entries(part)]  # type: ignore[attr-defined]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    titles = HEADING.findall(FENCED.sub("", page.read_text(encoding="utf-8")))
    words = (re.sub(r"[^\w\- ]", "", title.lower()) for title in titles)
    return {title.strip().replace(" ", "-") for title in words}


def test_every_page_is_in_the_navigation_once() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(entries(nav)) == [str(page.relative_to(DOCS)) for page in PAGES]


@pytest.mark.parametrize("page", TEXTS, ids=[str(page.relative_to(ROOT)) for page in TEXTS])
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if link.startswith(("https://", "http://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        if page.is_relative_to(DOCS):
            assert target.is_relative_to(DOCS), f"{link} leads out of the built pages"
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", TEXTS, ids=[str(page.relative_to(ROOT)) for page in TEXTS])
def test_paths_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [name for name in PATH.findall(text) if not (ROOT / name).exists()]
    assert not [name for name in missing if not name.endswith("/NAME.py")]


def test_the_reference_has_every_public_name() -> None:
    shown = set(re.findall(r"^::: [\w.]+\.(\w+)$", (DOCS / "api.md").read_text("utf-8"), re.M))
    assert set(yoloprune.__all__) - shown == {"YoloPruneError"}  # Shown with its module.


ADDING = sorted((DOCS / "extend").glob("[!i]*.md"))


@pytest.mark.parametrize("page", ADDING, ids=[page.stem for page in ADDING])
def test_an_addition_touches_three_files_at_most(page: Path) -> None:
    _, _, table = page.read_text(encoding="utf-8").partition("| File | What to do |\n|---|---|\n")
    files = table.partition("\n\n")[0].splitlines()
    assert 1 <= len(files) <= 3


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert str(citation["version"]) == project["version"]
    assert citation["license"] == project["license"]

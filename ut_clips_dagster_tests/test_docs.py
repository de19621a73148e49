"""What the README and the guides lead to is there, and the settings they tell of are the settings there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ut_clips_dagster.settings import Settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = {str(field.validation_alias) for field in Settings.model_fields.values()} | {"DAGSTER_HOME"}
MAX_PICTURE = 200_000


def anchors(page: Path) -> set[str]:
    """What a `#…` may lead to: headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / path if path else page, anchor) for path, anchor in links]

    assert [str(target) for target, _ in targets if not target.exists()] == []
    assert [anchor for target, anchor in targets if anchor and anchor not in anchors(target)] == []


def test_every_guide_can_be_found_from_the_readme() -> None:
    seen, todo = set(), {README}
    while todo:
        seen |= todo
        found = {(page.parent / link).resolve() for page in todo for link in
                 re.findall(r"\]\((?!https?://)([^)#]+\.md)", page.read_text(encoding="utf-8"))}  # fmt: skip
        todo = found - seen

    assert {page.name for page in PAGES} == {page.name for page in seen}


def test_the_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").glob("*.png")}

    assert sizes.keys() == {"gallery.png", "graph.png", "session.png", "terminal.png"}
    assert {name for name, size in sizes.items() if size > MAX_PICTURE} == set()


def test_readme_and_example_name_every_setting_once() -> None:
    table = re.findall(r"^\| (`.*?`) \|", README.read_text(encoding="utf-8"), re.MULTILINE)
    told = [name for cell in table for name in re.findall(r"`([A-Z][A-Z_]+)`", cell)]
    example = re.findall(r"^#?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(told) == sorted(SETTINGS)
    assert sorted(example) == sorted(SETTINGS)

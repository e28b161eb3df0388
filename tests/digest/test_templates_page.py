"""docs/templates.md names every name and filter a template may use, and no other."""

import re
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
from jinja2 import Environment, meta
from jinja2.defaults import DEFAULT_FILTERS, DEFAULT_NAMESPACE

from digest.letter.note import Stationery
from digest.letter.page import Page, Publication
from digest.letter.render import _Holes, _Workshop
from digest.letter.shown import Picture, Shown
from digest.letter.theme import Colours, Theme
from digest.web.archive import Entry
from digest.web.pages import Pages
from tests.conftest import ROOT
from tests.digest.conftest import page_with, publication

DOC = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
#: what the pages have in common
COMMON = {"publication", "language", "direction", "say", "style"}


@cache
def workshop() -> _Workshop:
    return _Workshop(Theme(), None, "0" * 16, page_with(1))


@cache
def stationery() -> Stationery:
    return Stationery(publication(), Theme(), None)


@cache
def pages() -> Pages:
    return Pages(publication(), Theme(), None)


def section(heading: str) -> str:
    found = re.search(rf"(?ms)^##+ {re.escape(heading)}$\n(.*?)(?=^##|\Z)", DOC)
    assert found, heading
    return found[1]


def rows(heading: str) -> list[list[str]]:
    """The cells of the section's table, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def names(heading: str) -> list[str]:
    return [row[0].strip("`") for row in rows(heading)]


def own(environment: Environment) -> tuple[set[str], set[str]]:
    """The filters and the global names that are not Jinja's."""
    return set(environment.filters) - set(DEFAULT_FILTERS), set(environment.globals) - set(DEFAULT_NAMESPACE)


def fields_of(kind: Any) -> list[str]:
    """The fields, and what is worked out of them."""
    made = [name for name, value in vars(kind).items() if isinstance(value, property)]
    return [field.name for field in fields(kind)] + made


def test_the_names_of_a_letters_templates_are_all_there() -> None:
    assert sorted(names("Names in every template of a letter")) == sorted(workshop()._context(page_with(1)))


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("`page`", Page),
        ("`publication`", Publication),
        ("A card", Shown),
        ("A card's picture", Picture),
        ("`hole`", _Holes),
        ("`theme`", Theme),
    ],
)
def test_what_each_of_them_has_is_all_there(heading: str, kind: type) -> None:
    assert sorted(names(heading)) == sorted(fields_of(kind))


def test_the_filters_are_all_there_with_where_they_are() -> None:
    filters = {
        "letters": own(workshop()._environment)[0],
        "notes": own(stationery()._environment)[0],
        "pages": own(pages()._templates)[0],
    }

    assert {
        where: {row[0].strip("`") for row in rows("Filters") if where in row[1]} for where in filters
    } == filters


def test_the_names_of_the_notes_are_all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    shop, given = stationery(), set(own(stationery()._environment)[1])
    filled = shop._filled

    def noted(template: str, values: dict[str, str]) -> str:
        given.update(values)
        return filled(template, values)

    monkeypatch.setattr(shop, "_filled", noted)
    shop.written("confirm", "/c/x", page_with(1).cards[0].published_at)  # type: ignore[arg-type]

    before = section("Notes").partition("| name")[0]
    assert given == set(names("Notes")) | set(re.findall(r"`(\w+)`", before))


def test_the_names_of_every_page_are_all_there() -> None:
    environment, told = pages()._templates, {row[0]: row[1] for row in rows("Pages")}
    assert own(environment)[1] == COMMON
    for path in sorted((ROOT / "templates" / "web").glob("*.*ml")):
        name = f"web/{path.name}"
        tree = environment.parse(path.read_text(encoding="utf-8"))
        wanted = meta.find_undeclared_variables(tree) - COMMON - {"who"}
        plain = re.sub(r"\([^)]*\)", "", told.get(f"`{name}`", "")).partition(":")[0]
        assert (name, wanted) == (name, set(re.findall(r"`(\w+)`", plain)))
    assert re.findall(r"`(\w+)`", rows("Pages")[-2][1]) == ["issues", *fields_of(Entry)]
    assert all((ROOT / "templates" / row[0].strip("`")).is_file() for row in rows("Pages"))


def test_the_colours_are_those_that_are_shipped() -> None:
    theme = Theme()
    table = {row[0]: row[1:3] for row in rows("Colours and fonts: `theme.toml`")}

    assert table == {
        f"`{field.name}`": [f"`{getattr(theme.light, field.name)}`", f"`{getattr(theme.dark, field.name)}`"]
        for field in fields(Colours)
    }


def test_every_shipped_language_is_named_in_the_docs() -> None:
    from babel import Locale

    for path in (ROOT / "templates" / "words").glob("*.po"):
        assert Locale(path.stem).get_language_name("en") in section("Words")

"""What clients lack: the table agrees with the data it was taken from, and what is allowed is used."""

import json
from functools import cache
from pathlib import Path

import pytest

from digest.lint import clients
from digest.lint.check import check
from digest.lint.clients import CLIENTS, IN_BLOCKS, IN_HTML, LACKING, uses
from digest.lint.finding import Finding
from digest.lint.markup import FORBIDDEN
from digest.lint.opened import opened
from digest.lint.tree import Tree, parsed
from tests.digest import letters

#: the letters of the table, as the data name clients
NAMES = {
    "a": "apple-mail macos",
    "h": "apple-mail ios",
    "g": "gmail desktop-webmail",
    "p": "gmail ios",
    "d": "gmail android",
    "b": "gmail mobile-webmail",
    "w": "outlook windows",
    "o": "outlook outlook-com",
    "m": "outlook macos",
    "i": "outlook ios",
    "n": "outlook android",
    "y": "yahoo desktop-webmail",
    "s": "yahoo ios",
    "r": "yahoo android",
}
#: what the table leaves out, and why: each is some other point's, or no program of ours can see it
LEFT_OUT = {
    "amp": "a part of its own, which point structure refuses",
    "bimi": "a record of the DNS",
    "css-at-import": "style-block refuses it",
    "css-nesting": "style-block refuses it",
    "css-border-inline-block-individual": "told as css-border-inline-block",
    "css-border-inline-block-longhand": "told as css-border-inline-block",
    "css-border-radius-logical": "told as css-border-radius",
    "css-inert-attribute": "only what can be acted on in place can be inert",
    "css-margin-block-start-end": "told as css-margin-inline-block",
    "css-margin-inline-start-end": "told as css-margin-inline-block",
    "css-padding-block-start-end": "told as css-padding-inline-block",
    "css-padding-inline-start-end": "told as css-padding-inline-block",
    "css-max-block-size": "told as css-max-inline-size",
    "css-min-block-size": "told as css-max-inline-size",
    "css-min-inline-size": "told as css-max-inline-size",
    "css-pseudo-class-checked": "forbidden-elements refuses what can be checked",
    "css-pseudo-class-default": "forbidden-elements refuses what can be a default",
    "css-pseudo-element-placeholder": "forbidden-elements refuses fields",
    "css-resize": "forbidden-elements refuses what can be resized",
    "css-selector-grouping": "rules are read apart; html-style is lacking in the same client",
    "css-text-emphasis-position": "told as css-text-emphasis",
    "css-text-justify": "justified text is told by no client's lack of a finer way",
    "image-base64": "link-scheme refuses it",
    "image-hdr": "no ending names it",
    "image-mp4": "no img holds one",
    "html-image-maps": "no letter has use for one",
    "html-meter": "no letter has use for one",
    "html-progress": "no letter has use for one",
    "html-required": "forbidden-elements refuses fields",
}


def is_refused(feature: str) -> bool:
    """Whether point forbidden-elements refuses the element *feature* is about."""
    return feature.startswith("html-") and feature.split("-")[1] in FORBIDDEN


@pytest.fixture(scope="module")
def data(shared_data: Path) -> dict[str, str]:
    """feature -> the letters of the clients that lack it, as the data have it."""
    found = {}
    for feature, entry in json.loads((shared_data / "caniemail.json").read_text()).items():
        lacking = ""
        for letter, name in NAMES.items():
            family, platform = name.split()
            versions = list(entry["stats"].get(family, {}).get(platform, {}).values())
            lacking += letter if versions and versions[-1].startswith("n") else ""
        found[feature] = lacking
    return found


def test_the_table_says_what_the_data_say(data: dict[str, str]) -> None:
    assert {feature: data.get(feature) for feature in LACKING} == LACKING


def test_what_the_table_leaves_out_has_a_reason(data: dict[str, str]) -> None:
    missing = {f for f, lacking in data.items() if lacking and f not in LACKING and not is_refused(f)}

    assert missing == set(LEFT_OUT)


@cache
def trees() -> list[Tree]:
    """Letters that between them hold everything of the templates."""
    found = []
    for issue in (letters.page(6), letters.page(8, titles_only=3), letters.arabic(), letters.page(0)):
        html = opened(letters.letters(issue)[0]).part("text/html")
        assert html is not None
        found.append(parsed(html.text))
    return found


def test_all_that_is_allowed_is_used_and_has_a_reason() -> None:
    """An allowance that nothing needs any more would hide the next use."""
    used = {(use.feature, use.in_block) for tree in trees() for use in uses(tree)}

    assert {feature for feature, in_block in used if in_block} == set(IN_BLOCKS)
    assert {feature for feature, in_block in used if not in_block} == set(IN_HTML)
    assert all(reason.endswith(".") for reason in (IN_BLOCKS | IN_HTML).values())
    assert set(IN_BLOCKS) | set(IN_HTML) <= set(LACKING)


def test_every_client_is_named() -> None:
    assert set(CLIENTS) == set(NAMES) == set("".join(LACKING.values()))


def findings(html: str) -> list[Finding]:
    return list(clients.support(parsed(f"<!DOCTYPE html><title>x</title><body>{html}")))


#: what is put into a letter -> what is found
USES = {
    '<p style="color:#1d1b18;border-top-left-radius:4px">x</p>': "css-border-radius",
    '<p style="display:inline-flex">x</p>': "css-display-flex",
    '<p style="width:calc(1px + 2rem)">x</p>': "css-unit-calc",
    '<p style="width:2rem">x</p>': "css-unit-rem",
    '<p style="color:rgba(1,2,3,.4)">x</p>': "css-rgba",
    '<p style="background:linear-gradient(#111111,#222222)">x</p>': "css-linear-gradient",
    '<p style="--a:1px">x</p>': "css-variables",
    '<p style="color:oklch(40% 0.2 30)">x</p>': "css-modern-color",
    '<p style="width:max(1px,2px)">x</p>': "css-function-max",
    '<p style="left:3px">x</p>': "css-left-right-top-bottom",
    "<p hidden>x</p>": "html-hidden",
    '<p aria-live="polite">x</p>': "html-aria-live",
    '<a href="#top" target="_blank">x</a>': "html-anchor-links",
    "<section>x</section>": "html-semantics",
    '<img src="https://x.example/a.webp?w=1" alt="">': "image-webp",
    '<img src="https://x.example/a.heic" alt="">': "image-heif",
    "<bdi>x</bdi>": "html-bdi",
    "<style>p:first-child{color:#111111}</style>": "css-pseudo-class-first-child",
    "<style>p::before{content:'x'}</style>": "css-pseudo-element-before",
    "<style>p>a{color:#111111}</style>": "css-selector-child",
    "<style>.a.b{color:#111111}</style>": "css-selector-chaining",
    "<style>@font-face{font-family:x}</style>": "css-at-font-face",
    "<style>@media (hover:hover){a{color:#111111}}</style>": "css-at-media-hover",
}


@pytest.mark.parametrize("html", USES)
def test_what_clients_lack_is_found_where_it_is_used(html: str) -> None:
    found = findings(html)

    assert USES[html] in {finding.place.rpartition(" ")[2] for finding in found}
    assert all(finding.mend and finding.message.endswith(".") for finding in found)


def test_a_finding_names_the_clients_and_comes_once() -> None:
    found = findings('<p style="border-radius:4px">x</p><p style="border-radius:4px">y</p>')

    assert [finding.message for finding in found] == ["border-radius is unknown to Outlook for Windows."]
    assert "Gmail, Gmail on iOS, Gmail on Android and 9 more" in findings("<bdi>x</bdi>")[0].message


def test_what_is_allowed_in_a_style_block_is_not_allowed_in_the_markup() -> None:
    """No allowance reaches further than its reason."""
    assert findings("<style>a:hover{color:#111111}</style>") == []
    assert findings('<p style="color-scheme:dark">x</p>') != []


def test_the_letter_uses_nothing_a_client_lacks() -> None:
    """Point 41."""
    mine, other, page = letters.letters(letters.page(6))

    assert [f for f in check(mine, other=other, page=page) if f.point == "client-support"] == []

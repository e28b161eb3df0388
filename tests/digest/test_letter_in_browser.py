"""The letter as a browser shows it, under every condition of `visual`, and what the lint computes of it.

A picture of each condition is kept in .pytest_cache/d/letters, with an index.html for the eye.
"""

from collections.abc import Iterator
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from digest.letter import render
from digest.letter.theme import Theme, inverted
from digest.lint.looks import Scheme, looks, texts
from digest.lint.tree import parsed
from digest.samples_site import PICTURES
from tests.digest import letters
from tests.digest.visual import (
    DOUBLE,
    INVERT,
    OUTLOOK_COM,
    TURN,
    Condition,
    answer,
    as_hex,
    as_word,
    faults,
    pairs,
    shown,
    without_style,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (320, 375, 414, 600, 800, 1200)
DEMO = "the demo"
ISSUES = {
    "ten posts": partial(letters.page, 10),
    "no post": partial(letters.page, 0),
    "one post": partial(letters.page, 1),
    "30 posts": partial(letters.page, 30),
    "60 posts": partial(letters.page, 60),
    "Arabic": letters.arabic,
    "Hebrew": letters.hebrew,
    "many scripts": letters.many_scripts,
    "words of 300 letters": letters.long_words,
}
C = Condition
#: the issues, and what each is shown under
CONDITIONS: dict[str, list[Condition]] = {
    DEMO: [C(width=320), C(width=600, axe=True), C(width=1200, dark=True)],
    "ten posts": [
        *(C(width=width) for width in WIDTHS),
        *(C(width=width, dark=True, axe=width == 600) for width in (320, 600, 1200)),
        *(C(width=width, pictures=False, axe=width == 600) for width in (320, 600, 1200)),
        *(C(width=width, change=without_style, axe=width == 600) for width in (320, 600, 1200)),
        C(width=320, change=without_style, dark=True),
        *(C(width=width, script=DOUBLE) for width in (320, 600, 1200)),
        *(C(width=width, change=as_word) for width in (800, 1200)),
        *(C(width=width, script=TURN) for width in (320, 600)),
        C(width=600, script=OUTLOOK_COM),
        *(C(width=600, forced=True, dark=dark) for dark in (False, True)),
        C(width=800, media="print"),
    ],
    "no post": [C(width=320), C(width=600)],
    "one post": [C(width=320), C(width=600)],
    "30 posts": [C(width=320), C(width=600)],
    "60 posts": [C(width=320), C(width=600)],
    "Arabic": [
        *(C(width=width, axe=width == 600) for width in (320, 600, 1200)),
        C(width=600, dark=True),
        C(width=320, change=without_style),
        C(width=320, script=DOUBLE),
        C(width=800, change=as_word),
        C(width=600, script=OUTLOOK_COM),
    ],
    "Hebrew": [C(width=320), C(width=600, axe=True), C(width=800, change=as_word)],
    "many scripts": [C(width=320), C(width=600), C(width=1200, dark=True), C(width=320, script=DOUBLE)],
    "words of 300 letters": [
        C(width=320),
        C(width=600),
        C(width=320, pictures=False),
        C(width=320, change=without_style),
        C(width=320, script=DOUBLE),
        C(width=600, script=DOUBLE),
    ],
}


@cache
def html_of(name: str) -> str:
    """The HTML of an issue; rendered when the first test asks for it."""
    return letters.rendered(ISSUES[name]())[0].html


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    pictures = {path.name: path for path in PICTURES.iterdir()}
    page.route("**/*", lambda route: answer(route, pictures))
    yield page
    page.close()


@pytest.fixture(scope="module")
def gallery(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the pictures are kept; every process that made some writes their index."""
    cache = pytestconfig.cache
    folder = cache.mkdir("letters") if cache else tmp_path_factory.mktemp("letters")
    yield folder
    figures = (
        f'<figure><img src="{escape(path.name)}" alt=""><figcaption>{escape(path.stem)}</figcaption></figure>'
        for path in sorted(folder.glob("*.jpg"))
    )
    style = "body{columns:4 260px;background:#888}figure{margin:0 0 16px;break-inside:avoid}img{width:100%}"
    (folder / "index.html").write_text(f"<!DOCTYPE html><style>{style}</style>{''.join(figures)}")


def test_there_are_enough_conditions() -> None:
    assert sum(map(len, CONDITIONS.values())) >= 55
    for conditions in CONDITIONS.values():
        assert len({condition.name for condition in conditions}) == len(conditions)


@pytest.mark.parametrize("name", sorted(CONDITIONS))
def test_the_letter_fits_and_can_be_read(name: str, tab: Page, gallery: Path, request: Any) -> None:
    """Points 22 and 24 as computed by the browser: nothing beside the window, sizes, contrast, leaving."""
    if name == DEMO:
        preview = request.getfixturevalue("demo") / "message.html"
        html = preview.read_text(encoding="utf-8").replace("/u/", "/unsubscribe/")
    else:
        html = html_of(name)
    found = {
        condition.name: wrong
        for condition in CONDITIONS[name]
        if (wrong := faults(tab, html, condition, gallery / f"{name}, {condition.name}.jpg"))
    }

    assert found == {}


def test_what_is_wrong_with_a_letter_is_noticed(tab: Page) -> None:
    """Each of the faults is named, so that none is missed by a slip of the harness."""
    html = html_of("one post")
    spoilt = html.replace("<h1 ", '<div style="width:500px">x</div><p style="font-size:9px">small</p><h1 ', 1)
    spoilt = spoilt.replace("color:#1d1b18", "color:#cccccc").replace("display:none", "display:block")
    spoilt = spoilt.replace('alt="', 'data-alt="').replace("https://unsubscribe", "https://elsewhere")

    found = " / ".join(faults(tab, spoilt, Condition(width=320, axe=True, script=TURN)))

    for fault in (
        "stands out: DIV",
        "scrolls to",
        "the preheader is seen",
        "0 links to unsubscribe",
        "9 px: small",
        "#cccccc on #fbfaf7",
        "inverted: ",
        "axe: image-alt",
    ):
        assert fault in found


def test_outlook_com_in_the_dark_shows_the_dark_theme(tab: Page) -> None:
    dark = Theme().dark
    for name in ("ten posts", "Arabic"):
        found = shown(tab, html_of(name), Condition(width=600, script=OUTLOOK_COM))

        around = tab.evaluate("getComputedStyle(document.body).backgroundColor")

        assert {as_hex(around), *(ground for _, ground in pairs(found))} == {dark.paper}
        assert {colour for colour, _ in pairs(found)} == {dark.ink, dark.muted, dark.accent}


#: of each picture beside its text: how far it is from the margin, and from the words
PLACES = """() => [...document.querySelectorAll('.pair')].map(pair => {
  const [row, picture, words] = [pair, pair.querySelector('img'), pair.querySelector('.words')]
    .map(element => element.getBoundingClientRect());
  return picture.left > words.left
    ? ['right', row.right - picture.right, picture.left - words.right]
    : ['left', picture.left - row.left, words.left - picture.right];
})"""


def test_a_picture_beside_its_text_stands_at_the_outer_edge(tab: Page) -> None:
    """On the left where the text begins at the right, in either kind of letter; 24 px from the words."""
    for name in ("Hebrew", "many scripts"):
        shown(tab, html_of(name), Condition(width=600))

        places = [tuple(place) for place in tab.evaluate(PLACES)]

        assert set(places) == {("left", 0, 24), ("right", 0, 24)}


def test_inlining_changes_no_pixel(tab: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point 40: the page as the templates make it, and as premailer leaves it."""
    pages: list[str] = []
    inlined = render.inlined

    def noted(html: str, **holes: Any) -> str:
        pages.extend([html, inlined(html, **holes)])
        return pages[-1]

    monkeypatch.setattr(render, "inlined", noted)
    render.render(letters.page(6, titles_only=1), theme=Theme(), templates_dir=None, nonce=letters.NONCE)
    for condition in (
        C(width=320),
        C(width=375, dark=True),
        C(width=600),
        C(width=600, dark=True),
        C(width=1200),
    ):
        taken = []
        for html in pages:
            shown(tab, html, condition)
            taken.append(tab.screenshot(full_page=True))

        assert taken[0] == taken[1], condition.name
    assert pages[0] != pages[1]


@pytest.mark.parametrize("name", ["ten posts", "Arabic"])
def test_the_lint_computes_what_the_browser_computes(tab: Page, name: str) -> None:
    """Sizes, lines and colours that the lint reads off the styles are those that are painted."""
    tree = parsed(html_of(name))
    for scheme in Scheme:
        width = 320 if scheme is Scheme.PHONE else 800
        found = shown(tab, html_of(name), Condition(width=width, dark=scheme is Scheme.DARK))

        computed = [
            (" ".join(piece.split()), look.colour, look.background, look.size, look.leading)
            for _, piece, look in texts(tree, looks(tree, scheme))
        ]

        painted = [
            (
                " ".join(node["text"].split()),
                as_hex(node["colour"]),
                as_hex(node["behind"]),
                node["size"],
                pytest.approx(float(node["line"].removesuffix("px")) / node["size"], abs=0.01)
                if node["line"] != "normal"
                else None,
            )
            for node in found["nodes"]
        ]
        assert computed == painted


def test_the_lint_inverts_colours_as_the_browser_does(tab: Page) -> None:
    colours = ["#fbfaf7", "#1d1b18", "#625c52", "#8f2d14", "#ff0077", "#00aaff", "#7f7f7f"]
    tab.set_content("<p>x</p>")

    painted = tab.evaluate(INVERT, colours)

    for colour, channels in zip(colours, painted, strict=True):
        assert list(bytes.fromhex(inverted(colour)[1:])) == pytest.approx(channels, abs=2)

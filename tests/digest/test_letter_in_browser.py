"""The letter as a browser shows it: at every width, in the dark, without pictures, without <style>, doubled.

No network: pictures come from the route handler. What no browser shows, Word
above all, stays to be looked at by people.
"""

import base64
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from digest.letter import render
from digest.letter.theme import TEXT_CONTRAST, Theme, contrast
from digest.lint.looks import Scheme, inverted, looks, texts
from digest.lint.tree import parsed
from tests.digest import letters

pytestmark = [pytest.mark.browser, pytest.mark.slow]

#: a grey picture of one pixel; the letter gives it its size
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGOoBwAAgQCAOeBV1AAAAABJRU5ErkJggg=="
)
SMALLEST = 14  # CSS pixels

ISSUES = {
    "ten posts": letters.page(10),
    "no post": letters.page(0),
    "one post": letters.page(1),
    "as many as fit": letters.page(30),
    "Arabic": letters.arabic(),
    "a word of 300 letters": letters.page(
        (
            letters.card(0, title="W" * 300, author="W" * 300, category="W" * 300),
            letters.card(1, excerpt="W" * 300, picture_alt="W" * 300),
        )
    ),
}

#: what each text node looks like: where it is, its size, its colour and what is behind it
MEASURE = """() => {
  const nodes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)';
  };
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim(), parent = node.parentElement, style = getComputedStyle(parent);
    if (!text || !parent.getClientRects().length) continue;
    nodes.push({text, size: parseFloat(style.fontSize), line: style.lineHeight,
                colour: style.color, behind: behind(parent)});
  }
  const width = document.documentElement.clientWidth;
  const beyond = [...document.body.querySelectorAll('*')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && (box.right > width + 0.5 || box.left < -0.5);
  }).map(e => e.tagName + ' ' + e.className);
  const preheader = document.querySelector('.preheader');
  return {width, scroll: document.documentElement.scrollWidth, beyond, nodes,
          preheader: preheader ? preheader.getBoundingClientRect().height : 0,
          tall: document.body.scrollHeight};
}"""

#: doubles what is written in pixels, as a phone's text size does
DOUBLE = """() => {
  const all = [...document.body.querySelectorAll('*')].map(e => [e, getComputedStyle(e)])
    .map(([e, s]) => [e, parseFloat(s.fontSize), parseFloat(s.lineHeight)]);
  for (const [e, size, line] of all) {
    e.style.setProperty('font-size', 2 * size + 'px', 'important');
    if (line) e.style.setProperty('line-height', 2 * line + 'px', 'important');
  }
}"""

#: colours as the filter of a forced dark mode makes them, by the browser itself
INVERT = """colours => {
  const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  context.filter = 'invert(1) hue-rotate(180deg)';
  return colours.map(colour => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  });
}"""


@cache
def html_of(name: str) -> str:
    """The HTML of an issue; rendered when the first test asks for it."""
    return letters.rendered(ISSUES[name])[0].html


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    page.route("**/*", _answer)
    yield page
    page.close()


def _answer(route: Route) -> None:
    if route.request.resource_type == "image":
        route.fulfill(body=PIXEL, content_type="image/png")
    else:
        route.abort()


@pytest.fixture
def looked_at(tab: Page) -> Iterator[Page]:
    """The tab, with pictures and in the light again afterwards."""
    yield tab
    tab.unroute("**/*.jpg")
    tab.emulate_media(color_scheme="light")


def shown(tab: Page, html: str, width: int, *, dark: bool = False) -> dict[str, Any]:
    """What is measured of *html* in a window of *width* pixels."""
    tab.set_viewport_size({"width": width, "height": 800})
    tab.emulate_media(color_scheme="dark" if dark else "light")
    tab.set_content(html)
    found: dict[str, Any] = tab.evaluate(MEASURE)
    return found


def fits(found: dict[str, Any]) -> bool:
    """Whether nothing stands out to either side, and the preheader takes no room."""
    assert found["beyond"] == []
    assert found["scroll"] <= found["width"]
    assert found["preheader"] == 0
    return found["tall"] > 100 and bool(found["nodes"])


def as_hex(colour: str) -> str:
    return "#" + bytes(int(channel) for channel in re.findall(r"\d+", colour)[:3]).hex()


WIDTHS = [(width, False) for width in (320, 375, 414, 600, 800, 1200)] + [(w, True) for w in (320, 600, 1200)]


@pytest.mark.parametrize(("width", "dark"), WIDTHS)
def test_the_letter_fits_and_can_be_read(looked_at: Page, width: int, dark: bool) -> None:
    """Points 22 and 24: sizes and contrast as computed, the latter also where a client inverts colours."""
    found = shown(looked_at, html_of("ten posts"), width, dark=dark)

    assert fits(found)
    assert [node for node in found["nodes"] if node["size"] < SMALLEST] == []
    pairs = {(as_hex(node["colour"]), as_hex(node["behind"])) for node in found["nodes"]}
    assert [pair for pair in pairs if contrast(*pair) < TEXT_CONTRAST] == []
    if not dark:
        turned = [looked_at.evaluate(INVERT, list(pair)) for pair in sorted(pairs)]
        hexes = [[f"#{bytes(channels).hex()}" for channels in pair] for pair in turned]
        assert [pair for pair in hexes if contrast(*pair) < TEXT_CONTRAST] == []


@pytest.mark.parametrize("name", sorted(set(ISSUES) - {"ten posts"}))
@pytest.mark.parametrize("width", [320, 600])
def test_every_kind_of_issue_fits(looked_at: Page, name: str, width: int) -> None:
    assert fits(shown(looked_at, html_of(name), width))


@pytest.mark.parametrize("name", ["ten posts", "a word of 300 letters"])
@pytest.mark.parametrize("width", [320, 600, 1200])
def test_the_letter_fits_without_pictures(looked_at: Page, name: str, width: int) -> None:
    looked_at.route("**/*.jpg", lambda route: route.abort())

    assert fits(shown(looked_at, html_of(name), width))


@pytest.mark.parametrize("name", ["ten posts", "Arabic", "a word of 300 letters"])
@pytest.mark.parametrize(("width", "dark"), [(320, False), (600, False), (1200, False), (320, True)])
def test_the_letter_fits_and_can_be_read_without_style_blocks(
    looked_at: Page, name: str, width: int, dark: bool
) -> None:
    """Gmail shows a letter so where the account is another provider's; in the dark as well."""
    html = re.sub(r"(?s)<style.*?</style>", "", html_of(name))

    found = shown(looked_at, html, width, dark=dark)

    assert fits(found)
    pairs = {(as_hex(node["colour"]), as_hex(node["behind"])) for node in found["nodes"]}
    assert [pair for pair in pairs if contrast(*pair) < TEXT_CONTRAST] == []


@pytest.mark.parametrize("name", ["ten posts", "Arabic", "a word of 300 letters"])
@pytest.mark.parametrize("width", [320, 600, 1200])
def test_the_letter_fits_when_text_is_twice_as_large(looked_at: Page, name: str, width: int) -> None:
    shown(looked_at, html_of(name), width)
    looked_at.evaluate(DOUBLE)

    assert fits(looked_at.evaluate(MEASURE))


def test_a_letter_that_is_too_wide_is_noticed(looked_at: Page) -> None:
    html = html_of("one post").replace("<h1 ", '<div style="width:500px">x</div><h1 ')

    with pytest.raises(AssertionError):
        fits(shown(looked_at, html, 320))


@pytest.mark.parametrize(
    ("width", "dark"), [(320, False), (375, True), (600, False), (600, True), (1200, False)]
)
def test_inlining_changes_no_pixel(
    looked_at: Page, monkeypatch: pytest.MonkeyPatch, width: int, dark: bool
) -> None:
    """Point 40: the page as the templates make it, and as premailer leaves it."""
    pages: list[str] = []
    inlined = render.inlined

    def noted(html: str, **holes: Any) -> str:
        pages.extend([html, inlined(html, **holes)])
        return pages[-1]

    monkeypatch.setattr(render, "inlined", noted)
    render.render(letters.page(6), theme=Theme(), templates_dir=None, nonce=letters.NONCE)
    pictures = []
    for html in pages:
        shown(looked_at, html, width, dark=dark)
        pictures.append(looked_at.screenshot(full_page=True))

    assert pages[0] != pages[1]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("name", ["ten posts", "Arabic"])
@pytest.mark.parametrize("scheme", Scheme)
def test_the_lint_computes_what_the_browser_computes(looked_at: Page, name: str, scheme: Scheme) -> None:
    """Sizes, lines and colours that the lint reads off the styles are those that are painted."""
    width = 320 if scheme is Scheme.PHONE else 800
    found = shown(looked_at, html_of(name), width, dark=scheme is Scheme.DARK)
    tree = parsed(html_of(name))

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


def test_the_lint_inverts_colours_as_the_browser_does(looked_at: Page) -> None:
    colours = ["#fbfaf7", "#1d1b18", "#625c52", "#8f2d14", "#ff0077", "#00aaff", "#7f7f7f"]
    looked_at.set_content("<p>x</p>")

    painted = looked_at.evaluate(INVERT, colours)

    for colour, channels in zip(colours, painted, strict=True):
        assert list(bytes.fromhex(inverted(colour)[1:])) == pytest.approx(channels, abs=2)

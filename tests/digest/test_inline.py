"""The fences around premailer: each of these fails where its fence is taken down."""

import http.server
import re
import threading
import warnings
from collections.abc import Iterator

import css_inline
import cssutils
import cssutils.util
import premailer.cache
import pytest
import tinycss2
from lxml import etree
from premailer import Premailer

from digest.errors import UsageError
from digest.letter import inline
from digest.letter.inline import DOCTYPE, END, fenced, inlined

LINK = "https://unsubscribe-0123456789abcdef.invalid/"
TEXT = "zq0123456789abcdefaddressqz"


def a_page(body: str = "", css: str = "", head: str = "") -> str:
    styles = f"<style>\n{css}\n</style>\n" if css else ""
    return (
        f'{DOCTYPE}<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>T</title>\n'
        f"{head}{styles}</head>\n"
        f"<body>\n{body}\n{END}\n</body>\n</html>\n"
    )


def style_of(html: str, tag: str) -> str:
    found = re.search(rf"<{tag}\b[^>]*\bstyle=\"([^\"]*)\"", html)
    assert found, html
    return found[1]


def test_plain_rules_become_style_attributes_and_their_block_goes() -> None:
    html = inlined(a_page('<p class="a">x</p>', "p { margin: 0 }\n.a { color: #123456 }"))

    assert '<p class="a" style="margin:0;color:#123456">x</p>' in html
    assert "<style" not in html


def test_nothing_else_of_the_page_changes() -> None:
    page = a_page(
        "<p>&copy; Ріка · 日本 · كلمة · 👩‍👩‍👧 &amp; &lt;b&gt;</p>\n"
        '<img src="https://example.org/a.jpg?x=1&amp;y=%20z" alt="a &quot;b&quot; \'c\'" width="552">\n'
        '<!--[if mso]><table width="600"><tr><td style="x"><![endif]-->\n'
        "<!--[if !mso]><!--><p>y</p><!--<![endif]-->"
    )

    assert inlined(page) == page.replace("&copy;", "©")


@pytest.mark.parametrize(
    "start", ["<!doctype html>\n", "\ufeff" + DOCTYPE, "<!-- x -->" + DOCTYPE, "", "<!DOCTYPE html>"]
)
def test_every_doctype_but_the_exact_one_is_refused(start: str) -> None:
    with pytest.raises(UsageError, match="must begin with"):
        inlined(start + a_page().removeprefix(DOCTYPE))


def test_the_doctype_comes_first_and_once() -> None:
    html = inlined(a_page("<p>x</p>", "p { margin: 0 }"))

    assert html.startswith(DOCTYPE + "<html")
    assert html.lower().count("<!doctype") == 1


@pytest.mark.parametrize(
    "page",
    [
        a_page().replace(END, ""),
        a_page(END),
        a_page().replace(END, f"{END}<p>after the end</p>"),
    ],
)
def test_a_page_without_its_end_mark_at_the_end_is_refused(page: str) -> None:
    with pytest.raises(UsageError, match="must end with"):
        inlined(page)


def test_a_tail_the_parser_drops_is_noticed() -> None:
    deep = "<div>" * 300 + "x" + "</div>" * 300

    with pytest.raises(UsageError, match="end of the letter was lost"):
        inlined(a_page(deep + "<p>unsubscribe</p>"))


@pytest.mark.parametrize(
    ("page", "told"),
    [
        (a_page(head='<link rel="stylesheet" href="https://example.org/a.css">\n'), "<link>"),
        (a_page(head="<link>\n"), "<link>"),
        (a_page(css="@import url(https://example.org/a.css);"), "@import"),
        (a_page(head='<style data-premailer="ignore">@IMPORT "a.css";</style>'), "@import"),
        (a_page(css="/* why */ p { margin: 0 }"), "no comments"),
        (a_page(head='<style data-premailer="ignore">/* why */</style>'), "no comments"),
        (a_page('<p style="color: red">x</p>'), "<p style=…>"),
        (a_page(css="@media print { p { margin: 0 } }"), "cannot be inlined"),
        (a_page(css="a:hover { margin: 0 }"), "cannot be inlined"),
        (a_page(css="p > a { margin: 0 }"), "cannot be inlined"),
        (a_page(css="* { margin: 0 }"), "cannot be inlined"),
        (a_page(css="p[lang] { margin: 0 }"), "cannot be inlined"),
        (a_page(css="p { margin: 0 !important }"), "!important"),
        (a_page(head='<style media="print">p { margin: 0 }</style>'), "no attribute"),
        (a_page(head='<style data-premailer="other">p { margin: 0 }</style>'), "no attribute"),
        (a_page("<![if !mso]><p>x</p><![endif]>"), "<![if"),
    ],
)
def test_what_premailer_would_fetch_lose_or_mangle_is_refused(page: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        inlined(page)


@pytest.mark.parametrize("css", ["p { color red }", "p { color: }", "p { margin: 0 } }"])
def test_what_a_css_parser_drops_is_told_every_time(css: str) -> None:
    for _ in range(2):
        with pytest.raises(UsageError, match="cannot be read"):
            inlined(a_page("<p>x</p>", css))


def test_a_block_to_be_left_alone_passes_byte_for_byte() -> None:
    block = (
        "\n:root { color-scheme: light dark }\n@media (max-width: 480px) {\n"
        ".a { padding: 0.5px !important; color: #FFF !important }\n}\n"
    )
    html = inlined(
        a_page('<p class="a">x</p>', "p { margin: 0 }", f'<style data-premailer="ignore">{block}</style>\n')
    )

    assert f"<style>{block}</style>" in html
    assert "data-premailer" not in html


@pytest.mark.parametrize(
    ("css", "told"),
    [
        ("p { padding: 10px } .x { padding-left: 5px } .y { padding: 1px }", "padding and padding-left"),
        ("p { border: 0 } .x { border-top: 1px solid #000000 }", "border and border-top"),
        ("p { font: 16px serif } .x { font-size: 18px }", "font and font-size"),
    ],
)
def test_a_shorthand_beside_its_longhand_is_refused(css: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        inlined(a_page('<p class="x y">x</p>', css))


def test_properties_that_only_share_a_beginning_are_no_clash() -> None:
    html = inlined(a_page("<p>x</p>", "p { border: 0; border-collapse: collapse; border-radius: 2px }"))

    assert style_of(html, "p") == "border:0;border-collapse:collapse;border-radius:2px"


def test_colours_keep_six_digits() -> None:
    html = inlined(
        a_page(
            "<p>#fff stays #fff</p>",
            "p { color: #ffffff; border: 1px solid #aabbcc; background-color: #abcdef }",
        )
    )

    assert style_of(html, "p") == "color:#ffffff;border:1px solid #aabbcc;background-color:#abcdef"
    assert "#fff stays #fff" in html


def test_font_names_stay_without_quotes() -> None:
    html = inlined(a_page("<p>x</p>", "p { font-family: -apple-system, Segoe UI, Arial, sans-serif }"))

    assert style_of(html, "p") == "font-family:-apple-system,Segoe UI,Arial,sans-serif"


def test_attributes_word_needs_are_not_overwritten() -> None:
    html = inlined(
        a_page(
            '<img class="a" src="https://example.org/a.jpg" alt="" width="552">'
            '<table width="100%"><tr><td class="a">x</td></tr></table>',
            ".a { width: 100%; height: auto; text-align: start; vertical-align: top;"
            " background-color: #abcdef }",
        )
    )

    assert 'width="552"' in html
    assert not re.search(r'height="|align="|bgcolor="', html)


def test_holes_survive_in_their_places() -> None:
    body = f'<p>for {TEXT}, <b>x</b> {TEXT}</p><a href="{LINK}">leave</a>'
    html = inlined(a_page(body, "p { margin: 0 }"), links=[LINK], texts=[TEXT])

    assert (html.count(TEXT), html.count(f'href="{LINK}"')) == (2, 1)


@pytest.mark.parametrize(
    "body",
    [
        f"<!-- {LINK} -->",
        f'<a href="{LINK}?x=1">x</a>',
        f"<p>{LINK}</p>",
        f'<img src="{LINK}" alt="">',
        f'<a title="{LINK}" href="{LINK}">x</a>',
        f"<!-- {TEXT} -->",
        f'<p title="{TEXT}">x</p>',
        f'<a href="https://example.org/{TEXT}">x</a>',
        f"<!--[if mso]><p>{TEXT}</p><![endif]-->",
    ],
)
def test_a_hole_in_any_other_place_is_refused(body: str) -> None:
    with pytest.raises(UsageError, match="hole"):
        inlined(a_page(body), links=[LINK], texts=[TEXT])


@pytest.mark.parametrize(
    "head",
    [
        f"<style>.{TEXT} {{ margin: 0 }}</style>",
        f'<style data-premailer="ignore">.{TEXT} {{ margin: 0 }}</style>',
        f"<meta name='{TEXT}'>",
    ],
)
def test_a_hole_in_the_head_is_refused(head: str) -> None:
    with pytest.raises(UsageError, match="hole"):
        inlined(a_page("<p>x</p>", head=head), texts=[TEXT])


@pytest.fixture
def hits() -> Iterator[tuple[str, list[str]]]:
    """A server's address, and the paths that were asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a.css", asked
        server.shutdown()
        thread.join()


def test_inside_the_fence_nothing_can_be_fetched(hits: tuple[str, list[str]]) -> None:
    """Even if an @import came past the check of the text."""
    address, asked = hits
    with fenced(), pytest.raises(UsageError, match="must not load"):
        cssutils.parseString(f"@import url({address});")

    assert asked == []


def test_after_the_fence_the_libraries_are_as_they_were() -> None:
    before = (cssutils.util._defaultFetcher, cssutils.log._log)
    with pytest.raises(UsageError, match="cannot be read"):
        inlined(a_page("<p>x</p>", "p { color red }"))

    assert (cssutils.util._defaultFetcher, cssutils.log._log) == before


@pytest.fixture
def poison() -> Iterator[None]:
    """Takes away what a test leaves in premailer's own cache, or later tests would meet it."""
    yield
    premailer.cache.cache.clear()


@pytest.mark.usefixtures("poison")
def test_a_poisoned_cache_of_the_process_does_no_harm() -> None:
    """premailer keys the selector h2 and the style "h2" alike, and a sheet and a rule of the same text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            Premailer(
                '<style>h1 { margin: 0 }</style><h1 style="h2">x</h1>', cssutils_logging_level=100
            ).transform()
            with fenced():
                Premailer('<style>h1 { margin: 0 }</style><h1 style="h2">x</h1>').transform()

            Premailer("<style>margin:1px</style><p>x</p>", disable_validation=True).transform()

    assert style_of(inlined(a_page("<h2>x</h2>", "h2 { margin: 1px }")), "h2") == "margin:1px"


def test_two_renders_never_run_at_once() -> None:
    done = threading.Event()

    def render() -> None:
        inlined(a_page("<p>x</p>", "p { margin: 0 }"))
        done.set()

    with inline._lock:
        thread = threading.Thread(target=render)
        thread.start()
        assert not done.wait(0.2)
    thread.join(10)
    assert done.is_set()


def test_the_same_page_gives_the_same_bytes_from_many_threads() -> None:
    page = a_page("<p class='a'>x</p>" * 50, "p { margin: 0 } .a { color: #123456; padding: 0.5px }")
    expected, found = inlined(page), []
    threads = [threading.Thread(target=lambda: found.append(inlined(page))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [expected] * 8


def test_another_inliner_comes_to_the_same_styles() -> None:
    page = a_page(
        '<div class="a"><p class="b c">x</p><ul><li class="c">y</li></ul></div><p>z</p>',
        ".a p { margin: 1px } p { margin: 0; color: #111111 } .c { color: #222222 } .b { font-size: 17px }\n"
        "li { color: #333333 } .a .b { font-size: 18px } div { padding: 2px }",
    )

    assert declarations(inlined(page)) == declarations(css_inline.inline(page))


def declarations(html: str) -> list[tuple[str, dict[str, str]]]:
    root = etree.fromstring(html, etree.HTMLParser())
    return [
        (
            str(element.tag),
            {
                node.lower_name: tinycss2.serialize(node.value).strip()
                for node in tinycss2.parse_blocks_contents(element.get("style", ""), skip_whitespace=True)
            },
        )
        for element in root.iter(etree.Element)
        if element.get("style")
    ]

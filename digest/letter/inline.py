"""Styles into style attributes, once per issue: premailer, fenced in.

Mail programs that ignore <style> still read style attributes, so the plain rules of a letter are
written into every element. premailer 3.10.0 does it, has had no release since 2021, and was made for
trusted pages in a process of their own. What it does wrong is closed from outside::

    read      our own parse; an exact doctype; nothing it would fetch, choke on or drop is let in
    fenced    its shared cache and its way to the network are taken away, under a lock
    compared  the tail, the holes and the blocks it was told to leave are as they were

Whatever is refused is refused with UsageError: the page comes from templates a publication may
change. Nothing here is done per recipient.
"""

import functools
import logging
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import cssutils
import cssutils.util
import premailer.merge_style
import premailer.premailer
from lxml import etree
from lxml.cssselect import CSSSelector
from premailer import Premailer

from digest.errors import UsageError

DOCTYPE = "<!DOCTYPE html>\n"
#: the last thing in the body: where it is missing, the parser has dropped the end of the letter
END = "<!--end-->"
#: a block premailer passes on as it is
IGNORED = "data-premailer"
#: element, class and descendant selectors; premailer gets nothing else right
SIMPLE_SELECTORS = re.compile(r"[\w\s.,-]+")
#: shorthands and the names they speak for
SHORTHANDS = {
    "margin": r"margin-.+",
    "padding": r"padding-.+",
    "border": r"border-(top|right|bottom|left|width|style|color)",
    "font": r"font-.+",
    "background": r"background-.+",
    "list-style": r"list-style-.+",
}

# cssutils' serialiser and premailer's caches belong to the process: two renders at a time have been
# seen to change each other's output (14 of 288).
_lock = threading.Lock()


def _plain(function: Any) -> Any:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    return function


# One cache serves three functions of premailer and is keyed by their arguments alone: <h1 style="h2">
# makes every later page with the selector h2 fail, in the whole process. These are one for each.
_sheet = functools.lru_cache(maxsize=64)(cssutils.parseString)
_selector = functools.lru_cache(maxsize=512)(CSSSelector)
_pairs = functools.lru_cache(maxsize=512)(_plain(premailer.merge_style.csstext_to_pairs))
# The original looks for its lock on whatever bears its name.
_pairs._lock = threading.RLock()  # type: ignore[attr-defined]
_parse = Premailer._parse_style_rules


@functools.lru_cache(maxsize=64)
def _rules(css: str, place: int) -> tuple[list[Any], list[Any]]:
    """The rules of a sheet as premailer orders them; making them takes longer than applying them."""
    rules, left = _parse(_stock(etree.Element("html")), css, place)
    return rules, left


def _stock(root: etree._Element) -> Premailer:
    # `disable_basic_attributes`: it would overwrite <img width="600"> with width="100%", which
    # Word takes for nothing. What a table cell needs as an attribute stands in the templates.
    return Premailer(
        root,
        disable_link_rewrites=True,
        strip_important=False,
        disable_validation=True,
        align_floating_images=False,
        allow_network=False,
        disable_basic_attributes=["width", "height", "align", "valign", "bgcolor"],
    )


def inlined(html: str, *, links: Collection[str] = (), texts: Collection[str] = ()) -> str:
    """*html* with the rules of its plain <style> in style attributes and everything else unchanged.

    *links* must each be the whole href of an <a>, *texts* must stand in running text; both are as
    often in the result as before. UsageError says what in the page cannot be inlined safely.
    """
    root = _read(html)
    kept = [style.text for style in root.iter("style") if style.get(IGNORED) == "ignore"]
    with _lock, fenced() as complaints:
        _stock(root).transform()
    if complaints:
        raise UsageError(f"the letter's <style> cannot be read: {complaints[0]}")
    left = [style.text for style in root.iter("style")]
    assert left == kept, "premailer touched a block that it was told to leave"
    for element in root.iter(etree.Element):
        _mend(element)
    result = DOCTYPE + etree.tostring(root, encoding="unicode", method="html", with_tail=False) + "\n"
    _compare(html, result, root, links, texts)
    return result


@contextmanager
def fenced() -> Iterator[list[str]]:
    """premailer without its shared cache and without a way to the network, until the block ends.

    Gives the list that cssutils' complaints are put into. To be held by one thread at a time.
    """
    complaints: list[str] = []
    replaced = [
        (premailer.premailer, "_cache_parse_css_string", _sheet),
        (premailer.premailer, "_create_cssselector", _selector),
        (premailer.premailer, "csstext_to_pairs", _pairs),
        (premailer.merge_style, "csstext_to_pairs", _pairs),
        (Premailer, "_parse_style_rules", lambda _self, css, place: _rules(css or "", place)),
        # allow_network=False does not reach it: @import was fetched, by any scheme urllib knows.
        (cssutils.util, "_defaultFetcher", _refused),
        # cssutils drops what it cannot read, and says so only here.
        (cssutils.log, "_log", _listener(complaints)),
    ]
    saved = [getattr(owner, name) for owner, name, _ in replaced]
    try:
        for owner, name, value in replaced:
            setattr(owner, name, value)
        yield complaints
    finally:
        for (owner, name, _), value in zip(replaced, saved, strict=True):
            setattr(owner, name, value)
        if complaints:
            # A sheet that was read once is not complained of again.
            _sheet.cache_clear()
            _rules.cache_clear()
            _pairs.cache_clear()


def _refused(url: str) -> None:
    raise UsageError(f"the letter's <style> must not load anything, and asks for {url}")


def _listener(complaints: list[str]) -> logging.Logger:
    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(record.getMessage())

    # Not from getLogger: a logger of one's own is not kept for ever and has no parent to pass on to.
    logger = logging.Logger("css", logging.WARNING)
    logger.addHandler(Listener())
    return logger


def _read(html: str) -> etree._Element:
    """The parsed page, once nothing in it can harm."""
    if not html.startswith(DOCTYPE):
        # premailer drops every other doctype, and the browser then guesses at old page rules.
        raise UsageError(f"the letter must begin with exactly {DOCTYPE.strip()} and a line break")
    if "<![if" in html:
        raise UsageError(
            "write <!--[if !mso]><!--> … <!--<![endif]--> instead of <![if …]>, which lxml alters"
        )
    if html.count(END) != 1 or not re.search(rf"{END}\s*</body>\s*</html>\s*$", html):
        raise UsageError(f"the letter must end with {END}, </body> and </html>")
    root = etree.fromstring(html, etree.HTMLParser())
    for element in root.iter(etree.Element):
        _admit(element)
    return root


def _admit(element: etree._Element) -> None:
    if element.tag == "link":
        raise UsageError("the letter must not have a <link>: premailer would load it")
    if element.get("style") is not None:
        # It would win over the rules of the theme, and a careless one breaks premailer's parser.
        raise UsageError(f"<{element.tag} style=…>: give it a class and write a rule in the first <style>")
    if element.tag == "style":
        _admit_rules(element)


def _admit_rules(style: etree._Element) -> None:
    css = style.text or ""
    if "/*" in css or "@import" in css.lower():
        # A rule after a comment is ignored in one client, and @import loads.
        raise UsageError("the letter's <style> must have no comments and no @import")
    if style.get(IGNORED) == "ignore":
        return
    if style.attrib:
        raise UsageError(f'a <style> has no attribute, or {IGNORED}="ignore" alone: it has {style.attrib}')
    for selector in re.findall(r"([^{}]*)\{", css):
        if not SIMPLE_SELECTORS.fullmatch(selector):
            raise UsageError(
                f"{selector.strip()!r} cannot be inlined: write elements, classes and spaces only,"
                f' or move the rule to a <style {IGNORED}="ignore">'
            )
    if "!important" in css:
        raise UsageError(f'!important belongs into a <style {IGNORED}="ignore">: inlined, it is lost')


def _mend(element: etree._Element) -> None:
    """Undoes cssutils' shortening of colours, and refuses what premailer cascades wrongly."""
    style = element.get("style")
    if style is None:
        return
    mended, both = _mended(style)
    if both:
        # An overridden property keeps its old place: padding:1px; padding-left:5px comes out
        # where padding:1px was meant to win.
        where = f'<{element.tag} class="{element.get("class", "")}">'
        raise UsageError(f"{where} gets both {both[0]} and {both[1]}: write one or the other")
    element.set("style", mended)


@functools.lru_cache(maxsize=512)
def _mended(style: str) -> tuple[str, tuple[str, str] | None]:
    """*style* as it is to be, and a shorthand that stands in it beside a name it speaks for."""
    names = [declaration.partition(":")[0].strip() for declaration in style.split(";")]
    for short, long in SHORTHANDS.items():
        if short in names and (found := next((name for name in names if re.fullmatch(long, name)), None)):
            return style, (short, found)
    # Notes and some others misread #fff. The spaces are 3 KB in a letter of 30 posts.
    style = re.sub(r"#([0-9a-fA-F])([0-9a-fA-F])([0-9a-fA-F])\b", r"#\1\1\2\2\3\3", style)
    return re.sub(r"([;,]) ", r"\1", style), None


def _compare(
    before: str, after: str, root: etree._Element, links: Collection[str], texts: Collection[str]
) -> None:
    # Not by counting text: in an attribute, where no < is escaped any more, an author may have written it.
    if sum(comment.text == END.strip("<!->") for comment in root.iter(etree.Comment)) != 1:
        # Deeper than 254 elements or longer than 10 MB, and libxml2 drops the rest without a word.
        raise UsageError("the end of the letter was lost: it nests too deep or a text in it is too long")
    for place in (*links, *texts):
        found = _hrefs(root, place) if place in links else _mentions(root, place)
        if not before.count(place) == after.count(place) == found:
            kind = "the whole href of a link" if place in links else "running text"
            raise UsageError(f"a hole of the letter stands elsewhere than in {kind}: {place}")


def _hrefs(root: etree._Element, link: str) -> int:
    return sum(element.get("href") == link for element in root.iter("a"))


def _mentions(root: etree._Element, text: str) -> int:
    body = root.find("body")
    assert body is not None
    return sum(
        ((element.text or "").count(text) if isinstance(element.tag, str) else 0)
        + (element.tail or "").count(text)
        for element in body.iter()
        if element.tag != "style"
    )

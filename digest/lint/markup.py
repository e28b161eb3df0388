"""The letter's HTML: what it is made of, and whether every client can take it."""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from digest.letter.page import Page
from digest.lint.finding import Finding, error, shortened, warning
from digest.lint.tree import Tree, style_of

DEPTH_LIMIT = 60  # elements; lxml 4.9 loses what is deeper than about 254, and Word is slower than that
IMAGE_WIDTH = 600  # CSS pixels
FORBIDDEN = frozenset(
    {"script", "iframe", "frame", "frameset", "form", "input", "button", "select", "textarea", "link"}
    | {"map", "area", "marquee", "blink"}
    | {"base", "svg", "math", "video", "audio", "object", "embed", "applet", "canvas", "picture", "dialog"}
)
TEMPLATE = "Correct the template."
FILE_NAME = re.compile(r"(?i)^[\w\s().%+-]+\.(?:jpe?g|png|gif|webp|avif|bmp|tiff?|svg)$")
CAMERA_NAME = re.compile(r"(?i)^(?:img|dsc|dscn|pxl|image|screenshot|photo)[\s_-]?\d+(?:[\s_-]\d+)*$")


def document(tree: Tree, page: Page) -> Iterator[Finding]:
    """Points doctype, html5, language, title, metas, depth."""
    if not re.match(r"<!DOCTYPE html>\s*<html\b", tree.source):
        message = "The HTML does not begin with <!DOCTYPE html> and <html>; clients then use quirks mode."
        yield error("doctype", "HTML", message, "Begin the template with exactly <!DOCTYPE html>.")
    for fault in tree.errors:
        yield error("html5", f"HTML, {fault.partition(':')[0]}", f"A browser must repair: {fault}.", TEMPLATE)
    yield from _language(tree, page.publication.language)
    titles = ["".join(title.itertext()) for title in tree.all("title")]
    if titles != [page.subject]:
        # SpamAssassin's HTML_TITLE_SUBJ_DIFF, up to 2.2 points.
        message = f"The title is {', '.join(titles) or 'missing'!r}; the subject is {page.subject!r}."
        yield error("title", "HTML: title", message, "Let the template's title be the subject.")
    yield from _metas(tree)
    depth = max(sum(1 for _ in tree.ancestors(element)) + 1 for element in tree.elements)
    if depth > DEPTH_LIMIT:
        message = f"Elements nest {depth} deep; {DEPTH_LIMIT} are safe."
        yield error("depth", "HTML", message, TEMPLATE)


def _language(tree: Tree, language: str) -> Iterator[Finding]:
    """Clients strip the attributes of html, so the wrapper repeats them."""
    wrappers = [e for e in tree.elements if e.get("role") == "article"]
    if not wrappers:
        message = "No element has role=article, which names the letter to screen readers."
        yield error("language", "HTML: body", message, "Put everything into one div with role=article.")
    for element in (tree.root, *wrappers[:1]):
        for name in ("lang", "dir"):
            if not element.get(name):
                message = f"It has no {name}."
                yield error("language", f"HTML: {element.tag}", message, f"Give it {name}.")
        if element.get("lang", language).lower() != language.lower():
            message = f"Its lang is {element.get('lang')!r}; the publication is written in {language!r}."
            yield error("language", f"HTML: {element.tag}", message, "Let it be {{ language }}.")
        if element.get("dir", "ltr") not in ("ltr", "rtl"):
            message = f"Its dir is {element.get('dir')!r}, not ltr or rtl."
            yield error("language", f"HTML: {element.tag}", message, "Let it be {{ direction }}.")


def _metas(tree: Tree) -> Iterator[Finding]:
    metas = tree.all("meta")
    named = {meta.get("name", "").lower(): meta.get("content", "") for meta in metas}
    if [meta.get("charset", "").lower() for meta in metas if meta.get("charset")] != ["utf-8"]:
        yield error("metas", "HTML: head", "There is no <meta charset=utf-8>.", TEMPLATE)
    wanted = {
        "viewport": "width=device-width",
        "x-apple-disable-message-reformatting": "",
        "format-detection": "telephone=no",
        "color-scheme": "light dark",
        "supported-color-schemes": "light dark",
    }
    for name, content in wanted.items():
        if name not in named or content not in named[name]:
            message = f"There is no meta {name}{' with ' + content if content else ''}."
            yield error("metas", "HTML: head", message, TEMPLATE)
    if re.search(r"user-scalable\s*=\s*(no|0)|maximum-scale", named.get("viewport", "")):
        yield error(
            "metas", "HTML: viewport", "The viewport forbids zooming.", "Leave zooming to the reader."
        )


def refused(tree: Tree) -> Iterator[Finding]:
    """Points forbidden-elements and event-handlers."""
    for element in tree.all(*FORBIDDEN):
        message = f"<{element.tag}> does not work in mail, or is taken for an attack."
        yield error("forbidden-elements", f"HTML: {element.tag}", message, "Take it out of the template.")
    for element in tree.all("meta"):
        if element.get("http-equiv", "").lower() not in ("", "content-type", "x-ua-compatible"):
            message = f"<meta http-equiv={element.get('http-equiv')}> acts by itself."
            yield error("forbidden-elements", "HTML: meta", message, "Take it out of the template.")
    for element in tree.elements:
        for name in element.attrib:
            if name.startswith("on"):
                message = f"The attribute {name} runs a script."
                yield error("event-handlers", f"HTML: {element.tag}", message, "Take it out of the template.")


def word(tree: Tree) -> Iterator[Finding]:
    """Point conditional-comments, and the tables that only Word sees."""
    source = tree.source
    if re.search(
        r"<!\[(if|endif)", re.sub(r"<!--\[if[^\]]*\]><!-->|<!--<!\[endif\]-->|<!\[endif\]-->", "", source)
    ):
        message = "<![if …]> without dashes is destroyed on the way."
        yield error(
            "conditional-comments", "HTML", message, "Write <!--[if !mso]><!--> and <!--<![endif]-->."
        )
    opened = 0
    for mark in re.finditer(r"<!--\[if[^\]]*\]>|<!\[endif\]-->", source):
        opened += 1 if mark[0].startswith("<!--[if") else -1
        if opened not in (0, 1):
            break
    if opened:
        message = "A conditional comment is not closed, or closed twice."
        yield error("conditional-comments", "HTML", message, TEMPLATE)
    elif (fault := _unbalanced(as_word_sees(source))) is not None:
        message = f"With the parts for Word put in, {fault}."
        yield error("conditional-comments", "HTML", message, TEMPLATE)
    for comment in tree.comments:
        if comment.startswith("[if"):
            for tag in re.findall(r"<table\b[^>]*>", comment):
                attributes = dict(re.findall(r"([\w-]+)\s*=\s*[\"']?([^\"'\s>]*)", tag))
                yield from _table(attributes, "HTML: a table for Word")


def as_word_sees(source: str) -> str:
    """The HTML with what is for Word put in and what is for the others taken out."""
    source = re.sub(r"(?s)<!--\[if !mso[^\]]*\]><!-->.*?<!--<!\[endif\]-->", "", source)
    source = re.sub(r"<!--\[if[^\]]*\]>|<!\[endif\]-->", "", source)
    return re.sub(r"(?s)<!--.*?-->", "", source)


def _unbalanced(source: str) -> str | None:
    """What is wrong with the nesting of tables, rows and cells; None where nothing is."""
    stack: list[str] = []
    for closing, name in re.findall(r"<(/?)(table|tr|td|th)\b", source):
        if not closing:
            stack.append(name)
        elif not stack or stack.pop() != name:
            return f"a </{name}> closes something else"
    return f"<{stack[-1]}> is not closed" if stack else None


def tables(tree: Tree) -> Iterator[Finding]:
    """Point tables, of those that every client sees."""
    for table in tree.all("table"):
        yield from _table(dict(table.items()), "HTML: table")


def _table(attributes: dict[str, str], place: str) -> Iterator[Finding]:
    if attributes.get("role") not in ("presentation", "none"):
        message = "A table without role=presentation is read aloud cell by cell."
        yield error("tables", place, message, "Give the table role=presentation.")
    for name in ("cellpadding", "cellspacing", "border"):
        if attributes.get(name) != "0":
            message = f"A table without {name}=0 gets gaps."
            yield error("tables", place, message, f"Give the table {name}=0.")


def images(tree: Tree) -> Iterator[Finding]:
    """Points images and image-alt."""
    for image in tree.all("img"):
        place = f"HTML: image {shortened(image.get('src', ''))}"
        width, height = image.get("width", ""), image.get("height")
        if image.get("alt") is None:
            yield error("images", place, "It has no alt attribute.", "Give it alt text, or alt empty.")
        if not re.fullmatch(r"\d+", width) or not 1 < int(width) <= IMAGE_WIDTH:
            message = f"Its width is {width or 'missing'!r}; Word needs pixels, at most {IMAGE_WIDTH}."
            yield error("images", place, message, TEMPLATE)
        if height is not None and not re.fullmatch(r"\d+", height):
            yield error("images", place, f"Its height is {height!r}, not pixels.", TEMPLATE)
        if style_of(image).get("display") != "block":
            yield error("images", place, "Without display:block a gap opens below it.", TEMPLATE)
        yield from _alt(tree, image, place)


def _alt(tree: Tree, image: Element, place: str) -> Iterator[Finding]:
    alt = (image.get("alt") or "").strip()
    link = next((e for e in tree.ancestors(image) if e.tag == "a"), None)
    if not alt and link is not None and not tree.text(link):
        message = "The image is all there is of a link, and has no alt text."
        yield error("image-alt", place, message, "Let the alt text say where the link goes.")
    if FILE_NAME.match(alt) or CAMERA_NAME.match(alt):
        message = f"Its alt text is a file name, {shortened(alt)!r}."
        yield warning("image-alt", place, message, "Describe the picture where the post was written.")


def headings(tree: Tree) -> Iterator[Finding]:
    """Point headings."""
    found = tree.all("h1", "h2", "h3", "h4", "h5", "h6")
    firsts = sum(1 for heading in found if heading.tag == "h1")
    if firsts != 1:
        message = f"There are {firsts} h1; a letter has one, its masthead."
        yield error("headings", "HTML", message, TEMPLATE)
    level = 0
    for heading in found:
        place = f"HTML: {heading.tag} {shortened(tree.text(heading))}".rstrip()
        if not tree.text(heading) and not any(image.get("alt") for image in heading.iter("img")):
            yield error("headings", place, "The heading is empty.", TEMPLATE)
        if int(heading.tag[1]) > level + 1:
            before = f"h{level}" if level else "nothing"
            yield error("headings", place, f"It follows {before}: a level is skipped.", TEMPLATE)
        level = int(heading.tag[1])

"""The lint: a good letter has no finding, and each point is caught where just that is broken.

The good letter stands in tests/data/lint; BROKEN changes one thing of it at a time. What a real issue
looks like to the lint is in the last section.
"""

import base64
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.letter.headers import mailbox
from digest.letter.page import Card, Page, Publication
from digest.letter.personalise import quoted_printable
from digest.lint.check import MOST_OF_A_POINT, check
from digest.lint.finding import POINTS, Finding, Severity, proposed_title
from digest.lint.links import scheme_fault
from digest.lint.recipient import first_difference
from digest.month import Month
from subscribers.tokens import Keyring, Purpose

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "100"))
ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent.parent / "data" / "lint"
ZONE = ZoneInfo("Europe/Berlin")
KEYRING = Keyring([b"k" * 32])

PUBLICATION = Publication(
    name="Harbour Notes",
    url="https://harbour.example",
    language="en",
    zone=ZONE,
    sender_name="Harbour Notes",
    sender_address="notes@harbour.example",
    reply_to=None,
    postal_address="Harbour Notes, Quay 4\n20457 Hamburg",
    base_url="https://news.harbour.example",
)


def card(title: str, slug: str, excerpt: str) -> Card:
    return Card(
        title=title,
        url=f"https://harbour.example/{slug}",
        author=None,
        published_at=datetime(2015, 9, 12, 10, tzinfo=UTC),
        excerpt=excerpt,
        picture_url=None,
        picture_alt="",
        picture_width=None,
        picture_height=None,
        category=None,
        language=None,
        direction="ltr",
    )


PAGE = Page(
    publication=PUBLICATION,
    month=Month(2015, 9, ZONE),
    number=9,
    subject="Harbour Notes: September 2015",
    preheader="What the tide left, and two more pieces of one month by the sea",
    intro_html='<p>A short word from the desk, with <a href="https://harbour.example/about">a look behind'
    " the notes</a>.</p>",
    intro_text="A short word from the desk, with a look behind the notes: https://harbour.example/about",
    cards=(
        card("What the tide left", "tide", "Shells, rope and one boot: …"),
        card("Lamps of the old pier", "lamps", "Who lit them, …"),
    ),
    titles_only=0,
    left_out=0,
    archive_url="https://news.harbour.example/archive/2015-09",
)

#: the headers of a letter to subscriber {id}; {one_click} is its token
HEADERS = """\
From: Harbour Notes <notes@harbour.example>
{to}
Subject: Harbour Notes: September 2015
Date: Thu, 01 Oct 2015 09:00:00 +0200
Message-ID: <2015-09.{id}@harbour.example>
List-Id: Harbour Notes <notes.harbour.example>
List-Unsubscribe: <https://news.harbour.example/u/{one_click}>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
Feedback-ID: 2015-09:digest:notes:0123456789
Precedence: bulk
MIME-Version: 1.0
Content-Type: multipart/alternative; boundary="=_b"
"""


def in_base64(raw: bytes) -> bytes:
    return base64.encodebytes(raw).replace(b"\n", b"\r\n")


@dataclass(frozen=True)
class Draft:
    """A letter that can still be broken, and the page it is checked against."""

    html: str = (DATA / "letter.html").read_text()
    text: str = (DATA / "letter.txt").read_text()
    headers: str = HEADERS
    #: done to the finished bytes
    bytes_too: Callable[[bytes], bytes] = bytes
    #: of both parts
    encoding: str = "quoted-printable"
    page: Page = field(default=PAGE)
    #: what the other recipient's HTML has in addition
    only_other: str = ""

    def swapped(self, old: str, new: str, count: int = -1) -> "Draft":
        """The same with *old* replaced in the HTML."""
        assert old in self.html, old
        return replace(self, html=self.html.replace(old, new, count))

    def letter(self, id: int = 7, name: str = "Ann", address: str = "ann@reader.example") -> bytes:
        """Its bytes for one recipient."""
        values = {
            "READER": name,
            "ADDRESS": address,
            "LEAVE": KEYRING.sign(Purpose.LEAVE, id),
            "PREFERENCES": KEYRING.sign(Purpose.PREFERENCES, id),
        }
        head = self.headers.format(
            to=mailbox("To", name, address).wire.decode().strip(),
            id=id,
            one_click=KEYRING.sign(Purpose.ONE_CLICK, id),
            leave=values["LEAVE"],
            foreign=KEYRING.sign(Purpose.ONE_CLICK, id + 100),
        )
        encoded = quoted_printable if self.encoding == "quoted-printable" else in_base64
        parts = []
        for kind, part in (("plain", self.text), ("html", self.html)):
            told = values if kind == "plain" else {hole: escape(value) for hole, value in values.items()}
            filled = re.sub("|".join(told), lambda match, told=told: told[match[0]], part)  # type: ignore[misc]
            parts.append(
                f"--=_b\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
                f"Content-Transfer-Encoding: {self.encoding}\r\n\r\n".encode()
                + encoded(filled.encode())
            )
        body = b"\r\n".join([*parts, b"--=_b--\r\n"])
        return self.bytes_too(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n" + body)

    def checked(self) -> list[Finding]:
        """What the lint finds in it."""
        elsewhere = self.swapped("</body>", f"{self.only_other}</body>")
        other = elsewhere.letter(8, "Annabel", "annabel@reader.example")
        return check(self.letter(), other=other, page=self.page)


GOOD = Draft()


def test_a_good_letter_has_no_finding() -> None:
    assert GOOD.checked() == []


def test_a_good_letter_in_base64_has_no_finding() -> None:
    assert replace(GOOD, encoding="base64").checked() == []


def html(old: str, new: str, count: int = -1) -> Draft:
    return GOOD.swapped(old, new, count)


def text(old: str, new: str) -> Draft:
    assert old in GOOD.text, old
    return replace(GOOD, text=GOOD.text.replace(old, new))


def header(old: str, new: str) -> Draft:
    assert old in GOOD.headers, old
    return replace(GOOD, headers=GOOD.headers.replace(old, new))


def wire(old: bytes, new: bytes, count: int = -1) -> Draft:
    return replace(GOOD, bytes_too=lambda letter: letter.replace(old, new, count))


def page(**changes: object) -> Draft:
    return replace(GOOD, page=replace(PAGE, **changes))  # type: ignore[arg-type]


def publication(**changes: object) -> Draft:
    return page(publication=replace(PUBLICATION, **changes))  # type: ignore[arg-type]


PHONE = "@media (max-width:480px){"
IMAGE = 'width="552" height="310"'

ABOUT = 'href="https://harbour.example/about"'
LAMPS = 'href="https://harbour.example/lamps"'
CONTENTS = "<p>In this issue</p>"
SIDE = "padding-left:24px"
TABLE = '<table role="presentation" cellpadding="0" cellspacing="0" border="0" width="100%"'
SHELLS = "Shells, rope and one boot: a morning walk along the north wall after the\nfirst storm."
OTHER_WORDS = (
    "Nine ships came home laden deep with salt while gulls circled above\n"
    "chimneys and nobody on shore could say whose they were."
)

#: point, number in the acceptance list or requirement, what is broken
BROKEN: list[tuple[str, str, Draft]] = [
    ("structure", "1: another type", wire(b"multipart/alternative", b"multipart/mixed")),
    ("structure", "1: html first", wire(b"text/plain; charset=utf-8", b"text/html; charset=utf-8", 1)),
    ("structure", "1: another charset", wire(b"text/html; charset=utf-8", b"text/html; charset=iso-8859-1")),
    ("structure", "1: a MIME defect", wire(b"--=_b--", b"")),
    ("bytes", "2: a byte above 127", wire(b"Dear", b"D\xe9ar", 1)),
    ("bytes", "2: a lone LF", wire(b"Dear", b"Dear\n", 1)),
    ("bytes", "2: a lone CR", wire(b"Dear", b"Dear\r", 1)),
    ("bytes", "2: a long body line", wire(b"Dear", b"Dear" + b"x" * 77, 1)),
    ("bytes", "2: a long header", header("Precedence: bulk", "Precedence: bulk" + "x" * 999)),
    ("transfer-encoding", "3: none", wire(b"Content-Transfer-Encoding: quoted-printable\r\n", b"", 1)),
    (
        "transfer-encoding",
        "3: base64 around ASCII",
        replace(GOOD, encoding="base64", text=GOOD.text.replace("·", "-")),
    ),
    ("headers", "H-1: one is missing", header("List-Id: Harbour Notes <notes.harbour.example>\n", "")),
    ("headers", "H-1: one is there twice", header("Precedence: bulk", "Precedence: bulk\nTo: <x@y.example>")),
    ("headers", "H-1: a Bcc", header("Precedence: bulk", "Bcc: x@y.example")),
    ("headers", "H-1: from somebody else", header("From: Harbour Notes <notes@", "From: Pier <pier@")),
    ("headers", "H-1: no date", header("Thu, 01 Oct 2015 09:00:00 +0200", "yesterday")),
    ("headers", "H-1: a bare Message-ID", header("<2015-09.{id}@harbour.example>", "2015-09.{id}")),
    ("encoded-words", "H-14: where none is read", header("Precedence: bulk", "Precedence: =?utf-8?q?bulk?=")),
    ("encoded-words", "H-14: in quotes", header("From: Harbour Notes", 'From: "=?utf-8?q?Harbour?= Notes"')),
    ("encoded-words", "H-14: in Latin-1", header("List-Id: Harbour", "List-Id: =?iso-8859-1?q?Harbour?=")),
    ("encoded-words", "H-14: cut off", header("Subject: Harbour", "Subject: =?utf-8?q?Harbour")),
    ("encoded-words", "H-14: broken base64", header("Subject: Harbour", "Subject: =?utf-8?b?SGFyY?=")),
    ("encoded-words", "H-14: too long", header("Subject: Harbour", f"Subject: =?utf-8?q?{'x' * 64}?=")),
    ("encoded-words", "H-14: half a character", header("Subject: Harbour", "Subject: =?utf-8?q?=C3?=")),
    ("encoded-words", "H-14: a line break", header("Subject: Harbour", "Subject: =?utf-8?q?=0A?=")),
    ("subject", "H-14: another subject", header("Subject: Harbour", "Subject: Pier")),
    (
        "subject",
        "H-14: a long one",
        replace(
            header("Subject: Harbour Notes: September 2015", f"Subject: {'x' * 121}"),
            html=GOOD.html.replace("<title>Harbour Notes: September 2015", f"<title>{'x' * 121}"),
            page=replace(PAGE, subject="x" * 121),
        ),
    ),
    ("unsubscribe-header", "H-6: an encoded word", header("<https://news", "=?utf-8?q?<https://news?=")),
    ("unsubscribe-header", "H-6: mailto first", header("<https:", "<mailto:x@y.example>, <https:")),
    (
        "unsubscribe-header",
        "H-6: elsewhere",
        header("<https://news.harbour.example/u", "<https://x.example/u"),
    ),
    ("unsubscribe-header", "H-6: folded inside", header("/u/{one", "/u/\n {one")),
    ("unsubscribe-header", "35, H-7: no one-click", header("Post: List-Unsubscribe=One", "Post: One")),
    (
        "unsubscribe-header",
        "35: one token for both",
        replace(GOOD, headers=HEADERS.replace("{one_click}", "{leave}")),
    ),
    (
        "unsubscribe-header",
        "35: somebody else's token",
        replace(GOOD, headers=HEADERS.replace("{one_click}", "{foreign}")),
    ),
    ("recipient-values", "36: a word", replace(GOOD, only_other="<p>Welcome back</p>")),
    ("recipient-values", "36: a post's link", html('/tide" style', '/tide?r=ADDRESS.x" style')),
    ("recipient-values", "36: a header", header("notes:0123456789", "notes:{id}123456789")),
    ("recipient-values", "36, H-3: one Message-ID", header("2015-09.{id}", "2015-09.1")),
    ("size", "4: 92,161 bytes", html("Who lit them", "Who lit them " + "oil and light " * 6_400, 1)),
    ("encoded-size", "4: encoded", html("Who lit them", "Who lit them " + "свет і дим " * 2_000, 1)),
    ("doctype", "6: in lower case", html("<!DOCTYPE html>", "<!doctype html>")),
    ("html5", "7: a stray end tag", html(CONTENTS, "<p>In this issue</p></span>")),
    ("language", "8: on html", html('<html lang="en" dir="ltr"', "<html")),
    ("language", "8: on the wrapper", html('2015" lang="en" dir="ltr"', '2015" lang="en"')),
    ("language", "8: no wrapper", html('role="article"', 'role="main"')),
    ("language", "8: another language", html('2015" lang="en"', '2015" lang="de"')),
    ("language", "8: no direction", html('<html lang="en" dir="ltr"', '<html lang="en" dir="left"')),
    ("title", "9: another title", html("<title>Harbour", "<title>Pier")),
    ("metas", "10: no charset", html('<meta charset="utf-8">', "")),
    ("metas", "10: no viewport", html('name="viewport"', 'name="port"')),
    ("metas", "10: reformatting", html('<meta name="x-apple-disable-message-reformatting">', "")),
    ("metas", "10: format detection", html("telephone=no,", "")),
    ("metas", "10: light only", html('content="light dark"', 'content="light"')),
    ("metas", "10: no zoom", html("initial-scale=1", "user-scalable=no")),
    ("style-block", "5: in the body", html("</p>", "</p><style>.ink{color:#000000}</style>", 1)),
    ("style-block", "5: too long", html(":root{", ".ink{color:#8f2d14}" * 500 + ":root{")),
    ("style-block", "5: a comment", html(":root{", "/* first */:root{")),
    ("style-block", "5: an import", html(":root{", '@import "https://x.example/a.css";:root{')),
    ("style-block", "5: colours with spaces", html("#a8a196 !", "rgb(168 161 150) !")),
    ("style-block", "5: does not parse", html("a:hover{text-decoration:none}", "a:hover{text-decoration}")),
    (
        "style-block",
        "5: nested",
        html(PHONE, "@media (max-width:480px){@media (min-width:1px){.ink{color:#000000 !important}}"),
    ),
    ("media-queries", "27: nothing for phones", html("(max-width:480px)", "(min-width:480px)")),
    (
        "media-queries",
        "27: nothing for the dark",
        html("prefers-color-scheme:dark", "prefers-color-scheme:light"),
    ),
    ("media-queries", "27: not important", html("left:16px !important", "left:16px")),
    ("style-classes", "28: a class nobody has", html(PHONE, PHONE + ".gone{width:100% !important}")),
    (
        "conditional-comments",
        "11: not closed",
        html("</td></tr></table><![endif]-->", "</td></tr></table>-->"),
    ),
    ("conditional-comments", "11: without dashes", html("<p>In this", "<![if !mso]><p>In this")),
    (
        "conditional-comments",
        "11: a table left open",
        html("<!--[if mso]></td></tr></table>", "<!--[if mso]></td></tr>"),
    ),
    ("forbidden-elements", "12: a script", html(CONTENTS, "<script>1</script>")),
    ("forbidden-elements", "12: an image map", html(CONTENTS, '<map name="m"></map>')),
    ("forbidden-elements", "12: a blinking text", html(CONTENTS, "<blink>In this issue</blink>")),
    ("forbidden-elements", "12: a form", html(CONTENTS, "<form></form>")),
    (
        "forbidden-elements",
        "12: a refresh",
        html("<title>", '<meta http-equiv="refresh" content="1"><title>'),
    ),
    ("event-handlers", "13: onclick", html(CONTENTS[:-4], '<p onclick="x()">In this issue')),
    ("tables", "16: a role", html(TABLE, TABLE.replace('role="presentation" ', ""))),
    (
        "tables",
        "16: a gap, for Word only",
        html('cellspacing="0" border="0" width="600"', 'border="0" width="600"'),
    ),
    ("images", "17: no alt", html(' alt="Nets drying on the quay"', "")),
    ("images", "17: a width in per cent", html(IMAGE, 'width="100%" height="310"')),
    ("images", "17: too wide", html(IMAGE, 'width="640" height="310"')),
    ("images", "17: height auto", html(IMAGE, 'width="552" height="auto"')),
    ("images", "17: inline", html("display:block;width:100%;max", "width:100%;max")),
    ("image-alt", "18: alone in a link", html("Nets drying on the quay", "")),
    ("image-alt", "18: a file name", html("Nets drying on the quay", "DSC_0042.jpg")),
    ("image-alt", "18: a camera's name", html("Nets drying on the quay", "IMG 20150912")),
    ("headings", "19: two h1", html(CONTENTS, "<h1>In this issue</h1>")),
    ("headings", "19: a skipped level", html(CONTENTS, "<h3>In this issue</h3>")),
    ("headings", "19: an empty one", html(CONTENTS, "<h2> </h2><p>In this issue</p>")),
    ("depth", "30: 61 deep", html(CONTENTS, "<div>" * 61 + "x" + "</div>" * 61)),
    ("end", "30: the marker is lost", html("<!--end-->", "")),
    ("end", "30: the footer is not last", html("</div>\n<!--end-->", "<h2>More</h2></div>\n<!--end-->")),
    ("link-scheme", "14: relative", html(ABOUT, 'href="/about"')),
    ("link-scheme", "14: javascript", html(ABOUT, 'href="javascript:x()"')),
    (
        "link-scheme",
        "14: a data image",
        html("https://harbour.example/tide.jpg", "data:image/gif;base64,R0lG"),
    ),
    ("link-scheme", "14: a mailto to no address", html(ABOUT, 'href="mailto:desk"')),
    ("link-scheme", "14: no host", html(ABOUT, 'href="https:///about"')),
    (
        "insecure-link",
        "14: our own",
        html("https://news.harbour.example/archive", "http://news.harbour.example/archive"),
    ),
    ("insecure-link", "14: the publication's", html(ABOUT, 'href="http://harbour.example"')),
    ("insecure-link", "14: a stranger's", html(ABOUT, 'href="http://other.example/"')),
    ("insecure-link", "14: a post's", html("https://harbour.example/tide", "http://harbour.example/tide")),
    (
        "unreachable-link",
        "14: loopback",
        html("https://harbour.example/tide.jpg", "https://localhost/tide.jpg"),
    ),
    ("unreachable-link", "14: a private network", html(ABOUT, 'href="https://192.168.1.4/"')),
    (
        "redirect-link",
        "36: our own counter",
        html(ABOUT, 'href="https://news.harbour.example/r?to=https://harbour.example"'),
    ),
    (
        "redirect-link",
        "36: a stranger's",
        html(ABOUT, 'href="https://c.example/?u=https://harbour.example/about"'),
    ),
    ("redirect-link", "36: a pixel", html(IMAGE, 'width="1" height="1"')),
    ("link-text", "20: none", html(">a look behind the notes<", "><")),
    ("link-text", "20: generic", html(">a look behind the notes<", ">Read more<")),
    ("link-host", "21: another host", html(">a look behind the notes<", ">https://bank.example<")),
    (
        "link-host",
        "21: in the middle of a text",
        html(">a look behind the notes<", ">at www.bank.example, a look behind the notes<"),
    ),
    ("link-host", "21: a bare name", html(">a look behind the notes<", ">bank.com/login<")),
    ("link-host", "21: a post's", html(">Read What the tide left<", ">https://bank.example<")),
    ("filter-rules", "1.7: http shown", html(">a look behind the notes<", ">http://harbour.example/about<")),
    (
        "filter-rules",
        "1.7: a post's http shown",
        html(">Read What the tide left<", ">http://harbour.example/tide<"),
    ),
    ("filter-rules", "1.7: a number for a host", html(ABOUT, 'href="https://8.8.8.8/about"')),
    ("filter-rules", "1.7: a name before a host", html(ABOUT, 'href="https://harbour.example@x.example/"')),
    ("filter-rules", "1.7: a broken word", html("Shells, rope", "She<!-- -->lls, rope")),
    ("filter-rules", "1.7: an empty element in a word", html("Shells, rope", "She<b></b>lls, rope")),
    ("filter-rules", "1.7: a stuffed word", html("Shells, rope", "S\u200bh\u200be\u200bl\u200bls, rope")),
    (
        "filter-rules",
        "1.7: pictures only",
        replace(
            GOOD, html=re.sub(r"(?s)<body.*</body>", f'<body><img {IMAGE} alt="Nets"></body>', GOOD.html)
        ),
    ),
    ("same-links", "32: not in the text", text("https://harbour.example/about", "our pages")),
    (
        "same-links",
        "32: not in the HTML",
        text("In this issue", "In this issue https://harbour.example/more"),
    ),
    ("font-size", "22: 13 px", html("font-size:14px;line-height:22px", "font-size:13px;line-height:22px")),
    ("font-size", "22: on a phone", html(PHONE, PHONE + ".muted{font-size:12px !important}")),
    ("font-size", "22: tight lines", html("line-height:27px", "line-height:18px")),
    ("hidden-text", "23: a second block", html(CONTENTS, '<p style="display:none">In this issue</p>')),
    ("hidden-text", "23: by its size", html(CONTENTS[:-4], '<p style="font-size:1px">In this issue')),
    ("hidden-text", "23: out of sight", html(CONTENTS[:-4], '<p style="text-indent:-999px">In this issue')),
    ("hidden-text", "23: by visibility", html(CONTENTS[:-4], '<p style="visibility:hidden">In this issue')),
    ("hidden-text", "23: by height", html(CONTENTS[:-4], '<p style="max-height:0">In this issue')),
    (
        "hidden-text",
        "23, 1.6: a long run",
        html("&#847;&zwnj;&nbsp;</div>", "&#847;&zwnj;&nbsp;" * 480 + "</div>"),
    ),
    (
        "preheader",
        "1.6: not first",
        html('<div style="display:none">What', '<p>Hello</p><div style="display:none">What'),
    ),
    ("preheader", "1.6: short", page(preheader="What the tide left")),
    (
        "contrast-light",
        "24: a pale ink",
        html("color:#625c52;font-size:14px;line-height:20px", "color:#a09a90"),
    ),
    (
        "contrast-light",
        "24: an unstyled cell",
        html("color:#1d1b18;font-family", "color:#fbfaf7;font-family"),
    ),
    ("contrast-dark", "24: a class forgotten", html(f'class="ink" {ABOUT}', ABOUT)),
    ("contrast-dark", "24: a dark accent", html("#a8a196 !", "#625c52 !")),
    (
        "contrast-inverted",
        "24: a pink, which inverts badly",
        html("<p>In this", '<p style="color:#1d1b18;background-color:#ff0077">In this'),
    ),
    ("inline-style", "25: three digits", html("color:#8f2d14", "color:#822", 1)),
    ("inline-style", "25: a name", html("color:#8f2d14", "color:maroon", 1)),
    ("inline-style", "25: rgba", html("color:#8f2d14", "color:rgba(143,45,20,1)", 1)),
    ("inline-style", "25: var", html(SIDE, "padding-left:var(--side)")),
    ("inline-style", "25: calc", html(SIDE, "padding-left:calc(20px + 4px)")),
    ("inline-style", "25: important", html("color:#8f2d14", "color:#8f2d14 !important", 1)),
    ("inline-style", "25: position", html(SIDE, "position:relative")),
    ("inline-style", "25: float", html("display:block;width", "display:block;float:right;width")),
    ("inline-style", "25: flex", html(SIDE, "display:flex")),
    (
        "inline-style",
        "25: a negative margin",
        html("margin:0;font-size:32px", "margin:0 0 -8px;font-size:32px"),
    ),
    ("inline-syntax", "26: no value", html(SIDE, "padding-left")),
    ("inline-syntax", "26: twice", html(SIDE, "padding-left:24px;padding-left:16px")),
    (
        "button-size",
        "38: a low link",
        html(ABOUT, f'{ABOUT} data-x="" ').swapped(
            'data-x=""  style="color:#8f2d14"', 'style="color:#fbfaf7;background-color:#8f2d14"'
        ),
    ),
    ("client-support", "41: rounded corners", html(SIDE, "border-radius:4px")),
    ("client-support", "41: a font that is fetched", html(":root{", "a:first-child{color:#1d1b18}:root{")),
    (
        "paired-colours",
        "39: no text colour",
        html("background-color:#fbfaf7;color:#1d1b18;font-family", "background-color:#fbfaf7;font-family"),
    ),
    (
        "paired-colours",
        "39: no bgcolor",
        html('class="column paper" bgcolor="#fbfaf7"', 'class="column paper"'),
    ),
    ("text-lines", "31: 79 columns", text("Sundays.", "word " * 16)),
    ("text-lines", "31: 80 columns of Chinese", text("Sundays.", "海 " * 27)),
    ("text-markup", "31: a tag", text("Sundays.", "Sundays.<br>")),
    ("text-markup", "31: an entity", text("Sundays.", "Sundays&nbsp;")),
    ("text-markup", "31: filler", text("Sundays.", "Sundays\u034f\u200c\u00a0")),
    ("word-overlap", "33: another text", text(SHELLS, OTHER_WORDS)),
    ("holes", "15: a sentinel", html(CONTENTS[:-4], "<p>zq0123456789abcdefaddressqz In this issue")),
    ("holes", "15: a sentinel in the text", text("Sundays.", "zq0123456789abcdefnameqz")),
    ("holes", "15: a tag of a template", html(CONTENTS[:-4], "<p>{{ title }} In this issue")),
    ("holes", "15: premailer's mark", html("<style>", '<style data-premailer="ignore">')),
    ("holes", "15: None", html(CONTENTS[:-4], "<p>None</p><p>In this issue")),
    ("holes", "15: None in the text", text("Sundays.", "Sundays.\nBy: None")),
    ("holes", "15: a host that cannot exist", html(ABOUT, 'href="https://later.invalid/"')),
    ("drafts", "15: lorem ipsum", html(CONTENTS[:-4], "<p>Lorem ipsum. In this issue")),
    ("drafts", "15: TK", text("Sundays.", "Sundays TK.")),
    ("drafts", "15: a comment", html(CONTENTS, CONTENTS + "<!-- ask Ann first -->")),
    ("characters", "29: read in a wrong charset", text("Sundays.", "Sundays, cafÃ©.")),
    ("characters", "29: C1", html(CONTENTS[:-4], "<p>In this\u0092s issue")),
    ("characters", "29: reversed", html(CONTENTS[:-4], "<p>In \u202ethis issue")),
    ("characters", "29: private use", text("Sundays.", "Sundays \ue000")),
    ("characters", "29: not composed", text("Sundays.", "Sundays cafe\u0301")),
    (
        "footer",
        "34: no way out",
        html("https://news.harbour.example/u/LEAVE", "https://news.harbour.example/help"),
    ),
    ("footer", "34: not in the text", text("https://news.harbour.example/u/LEAVE", "by answering")),
    ("footer", "34: a hidden way out", html('/u/LEAVE" style="', '/u/LEAVE" style="display:none;')),
    (
        "footer",
        "34: no browser",
        html("https://news.harbour.example/archive/2015-09", "https://news.harbour.example/all"),
    ),
    ("postal-address", "H-13: none set", publication(postal_address=None)),
    ("postal-address", "H-13: blank", publication(postal_address=" \n")),
    ("postal-address", "34: not in the HTML", html("Harbour Notes, Quay 4, 20457 Hamburg", "")),
    ("postal-address", "34: not in the text", text("20457 Hamburg", "")),
    ("posts", "37: one is missing", page(cards=(*PAGE.cards, card("A third one", "third", "…")))),
    ("posts", "37: in another order", page(cards=PAGE.cards[::-1])),
    ("posts", "37: one too many", html(CONTENTS, f"<h2><a {LAMPS}>Again</a></h2>")),
    (
        "posts",
        "37: not in the contents",
        html(f'<p>2. <a class="ink" {LAMPS} style="color:#8f2d14">Lamps of the old pier</a></p>', ""),
    ),
]
#: of these, what an editor is only told
WARNINGS = {
    "4: encoded",
    "14: a post's",
    "14: a stranger's",
    "15: lorem ipsum",
    "15: TK",
    "18: a file name",
    "18: a camera's name",
    "20: generic",
    "1.7: a post's http shown",
    "1.7: a stuffed word",
    "1.7: pictures only",
    "21: a bare name",
    "21: a post's",
    "29: private use",
    "29: not composed",
    "H-14: a long one",
    "15: a comment",
    "29: read in a wrong charset",
    "36: a stranger's",
    "41: rounded corners",
    "41: a font that is fetched",
    "1.6: short",
}


@pytest.mark.parametrize(("point", "what", "draft"), BROKEN, ids=[f"{p}-{w}" for p, w, _ in BROKEN])
def test_a_letter_with_one_fault_is_caught_at_its_point(point: str, what: str, draft: Draft) -> None:
    severity = Severity.WARNING if what in WARNINGS else Severity.ERROR

    found = {(finding.point, finding.severity) for finding in draft.checked()}

    assert (point, severity) in found


ESCAPED = str.maketrans({"<": "&lt;", ">": "&gt;"})
#: points that are told of the issue: test_budget.py, test_online.py, and below
NOT_OF_THE_BYTES = {"cut", "link-answers", "picture-answers", "proposed-title"}
#: points of the acceptance list that no letter's bytes can show, and where they are held
ELSEWHERE = {
    "40": "test_letter_in_browser.py",
    "42": "the last section of this file",
    "43": "the last section of this file",
}


def test_every_point_of_the_lint_and_of_the_acceptance_list_is_broken_here() -> None:
    broken = {point for point, _, _ in BROKEN}
    numbers = {number for _, what, _ in BROKEN for number in re.findall(r"\b\d+\b", what.split(":")[0])}

    assert broken | NOT_OF_THE_BYTES == set(POINTS)
    assert {str(n) for n in range(1, 44)} <= numbers | set(ELSEWHERE)


def test_the_page_for_editors_lists_every_point() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    rows = [f"| `{point}` | {holds.translate(ESCAPED)} |" for point, holds in POINTS.items()]

    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


def test_a_proposed_title_is_a_warning() -> None:
    finding = proposed_title("A walk along the north wall, after the")

    assert (finding.severity, finding.point) == (Severity.WARNING, "proposed-title")
    assert "A walk along" in finding.place


def test_errors_come_first_and_each_says_what_to_do() -> None:
    findings = html("Nets drying on the quay", "DSC_0042.jpg").swapped(CONTENTS, "<h1>x</h1>").checked()

    assert [finding.severity for finding in findings] == sorted(finding.severity for finding in findings)
    assert all(finding.message.endswith((".", "!")) and finding.mend for finding in findings)


@pytest.mark.parametrize(
    ("count", "more"), [(5, ""), (6, " The same in 1 more place."), (30, " The same in 25 more places.")]
)
def test_many_faults_of_one_kind_are_told_as_five(count: int, more: str) -> None:
    wrong = "".join(f'<a href="part-{number}">Part {number}</a>' for number in range(count))
    findings = html(CONTENTS, f"<p>In this issue {wrong}</p>").checked()

    told = [finding.message for finding in findings if finding.point == "link-scheme"]

    fault = "is not an absolute https, mailto or tel address."
    places = range(MOST_OF_A_POINT)
    assert told == [f"part-{place} {fault}{more if place == places[-1] else ''}" for place in places]


def at_home(**changes: str) -> list[Finding]:
    """What is found of the good letter where its pages, and what else is named, are this machine's."""
    local = "http://127.0.0.1:8025"
    base = GOOD.page.publication.base_url
    draft = replace(
        GOOD,
        html=GOOD.html.replace(base, local),
        text=GOOD.text.replace(base, local),
        headers=GOOD.headers.replace(base, local),
        page=replace(
            PAGE,
            publication=replace(PUBLICATION, base_url=local, **changes),  # type: ignore[arg-type]
            archive_url=f"{local}/archive/2015-09",
        ),
    )
    return draft.checked()


def test_a_letter_may_link_to_loopback_where_every_host_is_loopback() -> None:
    """The demo: there is no other host to link to."""
    assert at_home(url="http://localhost:8025") == []


def test_a_letter_of_a_public_site_may_not_link_to_loopback() -> None:
    found = at_home()

    assert {(f.point, f.severity) for f in found} == {("unreachable-link", Severity.ERROR)}
    assert all("DIGEST_BASE_URL" in f.mend for f in found)


def test_a_post_about_templates_and_tags_may_say_what_it_is_about() -> None:
    """What a post itself writes is no hole and no markup that slipped through."""
    title = "{{ name }} and <br> in 100 %% of letters"
    old = "What the tide left"
    draft = GOOD.swapped(old, "{{ name }} and &lt;br&gt; in 100 %% of letters")
    draft = replace(
        draft,
        text=draft.text.replace(old, title),
        page=replace(
            PAGE,
            cards=(replace(PAGE.cards[0], title=title), PAGE.cards[1]),
            preheader=PAGE.preheader.replace(old, title),
        ),
    )

    assert draft.checked() == []


def test_a_post_on_our_own_host_may_be_http_and_is_only_warned_about() -> None:
    tide, plain = "https://harbour.example/tide", "http://news.harbour.example/tide"
    draft = replace(
        GOOD.swapped(f'href="{tide}"', f'href="{plain}"'),
        text=GOOD.text.replace(tide, plain),
        page=replace(PAGE, cards=(replace(PAGE.cards[0], url=plain), PAGE.cards[1])),
    )

    assert {(f.point, f.severity) for f in draft.checked()} == {("insecure-link", Severity.WARNING)}


@pytest.mark.parametrize("name", ["", "a", "Ann", "Annabel Ann", "READER", "<b>&\"'"])
def test_any_name_of_a_recipient_is_recognised_as_theirs(name: str) -> None:
    findings = check(GOOD.letter(7, name), other=GOOD.letter(8, "Annabel"), page=PAGE)

    assert findings == []


@given(
    st.lists(st.text("0123456789 |"), max_size=6),
    st.lists(st.text("abc", max_size=4), min_size=4, max_size=4, unique=True),
)
@settings(max_examples=EXAMPLES)
def test_texts_that_differ_in_their_values_only_are_alike(pieces: list[str], values: list[str]) -> None:
    """Point 36: one value may begin with another, or be empty."""
    pairs = [(values[0], values[1]), (values[2], values[3])]

    def filled(side: int) -> str:
        return "".join(f"{piece}|{pairs[n % 2][side]}|" for n, piece in enumerate(pieces))

    assert first_difference(filled(0), filled(1), pairs) is None


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
@settings(max_examples=EXAMPLES)
def test_no_bytes_make_the_lint_fail(junk: bytes) -> None:
    findings = check(junk, other=GOOD.letter(), page=PAGE)
    inside = replace(GOOD, html=GOOD.html.replace(CONTENTS, junk.decode("utf-8", "replace")))

    assert findings
    check(inside.letter(), other=junk, page=PAGE)


@pytest.mark.parametrize("url", ["mailto:?subject=Look", "mailto:desk@example.org", "tel:+38044"])
def test_what_a_link_may_begin_with(url: str) -> None:
    assert scheme_fault(url) is None

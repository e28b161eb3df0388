"""What asking the web tells: of links, of pictures, and when the web cannot be asked."""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digest.letter.page import Page
from digest.letter.shown import harmless
from digest.lint.check import check
from digest.lint.finding import Severity
from digest.lint.online import Answer, answering, asked, form_of, is_offline, links_of
from digest.sources.fetch import Fetched
from digest.sources.pictures import measured, named_format
from digest.sources.wire import NotFetched
from tests.digest import letters


def png(width: int, height: int) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = zlib.compress((b"\0" + b"\x80" * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


#: the beginning of a JPEG of 640 x 427 taken with the camera on its side (Exif orientation 6)
EXIF = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
JPEG = (
    b"\xff\xd8\xff\xe1"
    + struct.pack(">H", len(EXIF) + 2)
    + EXIF
    + b"\xff\xc0\x00\x11\x08"
    + struct.pack(">HH", 427, 640)
    + b"\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xd9"
)
GIF = b"GIF89a" + struct.pack("<HH", 300, 200) + b"\0\0\0;"
WEBP = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4)
WEBP += (1103).to_bytes(3, "little") + (619).to_bytes(3, "little")
SVG = b'<?xml version="1.0"?>\n<!-- drawn --><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'


@pytest.mark.parametrize(
    ("body", "format", "width", "height"),
    [
        (png(1104, 620), "png", 1104, 620),
        (JPEG, "jpg", 427, 640),
        (GIF, "gif", 300, 200),
        (WEBP, "webp", 1104, 620),
        (SVG, "svg", None, None),
        (b"\0\0\0\x1cftypavif", "avif", None, None),
        (b"\x89PNG\r\n\x1a\n", "png", None, None),
        (b"<!DOCTYPE html><p>Not here</p>", "", None, None),
        (b"", "", None, None),
    ],
)
def test_a_picture_is_known_by_its_bytes(
    body: bytes, format: str, width: int | None, height: int | None
) -> None:
    found = measured(body)

    assert (found.format, found.width, found.height, found.size) == (format, width, height, len(body))


@given(
    st.sampled_from([b"", JPEG[:30], WEBP[:20], GIF[:6], png(2, 2)[:16], b"\0\0\0\x1cftypavif"]), st.binary()
)
def test_no_bytes_make_measuring_fail(start: bytes, rest: bytes) -> None:
    found = measured(start + rest)

    assert (found.width is None) == (found.height is None)


@pytest.mark.parametrize(
    ("url", "format"),
    [
        ("https://x.example/a.JPEG?w=1", "jpg"),
        ("https://x.example/a.webp", "webp"),
        ("https://x.example/a.svgz#b", "svg"),
        ("https://x.example/a.php", ""),
        ("https://x.example/", ""),
        ("https://[x", ""),
    ],
)
def test_an_address_may_tell_a_format(url: str, format: str) -> None:
    assert named_format(url) == format


PAGE = harmless(letters.page(2, intro_html='<p><a href="https://a.example/?b=1&amp;c=2">us</a></p>'))


def web(answers: Mapping[str, bytes | NotFetched]) -> dict[str, Answer]:
    """What is found where the web answers so, and with a page wherever nothing else is said."""

    def get(url: str) -> Fetched:
        answer = answers.get(url, b"<p>A page</p>")
        if isinstance(answer, NotFetched):
            raise answer
        return Fetched(url=url, status=200, body=answer)

    pictures = [card.picture_url for card in PAGE.cards if card.picture_url]
    return asked(links_of(PAGE), pictures, get)


def gone(status: int | None = 404) -> NotFetched:
    return NotFetched("is not to be had", status=status)


def test_what_is_asked_for_are_the_links_everybody_has_and_the_form() -> None:
    """The page of the issue is not there yet, and a reader's own links are theirs."""
    assert links_of(PAGE) == [
        "https://slowwater.example.org/",
        "https://letters.slowwater.example.org/subscribe",
        "https://a.example/?b=1&c=2",
        "https://slowwater.example.org/2015/09/part-0/",
        "https://slowwater.example.org/2015/09/part-1/",
    ]


POST = "https://slowwater.example.org/2015/09/part-1/"


@pytest.mark.parametrize(
    ("url", "answer", "severity"),
    [
        (POST, gone(404), Severity.ERROR),
        (POST, gone(410), Severity.ERROR),
        (POST, gone(403), Severity.WARNING),
        (POST, gone(None), Severity.WARNING),
        ("https://a.example/?b=1&c=2", gone(404), Severity.ERROR),
        (form_of(PAGE), gone(502), Severity.ERROR),
    ],
)
def test_a_link_that_does_not_answer_is_told(url: str, answer: NotFetched, severity: Severity) -> None:
    found = list(answering(PAGE, web({url: answer})))

    assert [(one.point, one.severity) for one in found] == [("link-answers", severity)]
    assert url in found[0].message
    assert ("Lamps of the old pier" in found[0].place) == (url == POST)


def test_links_that_answer_are_not_told() -> None:
    assert list(answering(PAGE, web({}))) == []
    assert list(answering(PAGE, {})) == []


def test_a_machine_without_a_way_out_is_told_once() -> None:
    urls = [*links_of(PAGE), *(card.picture_url or "" for card in PAGE.cards)]
    answers = web(dict.fromkeys(urls, gone(None)))

    found = list(answering(PAGE, answers))

    assert is_offline(answers)
    assert [one.severity for one in found] == [Severity.WARNING]
    assert not is_offline(web({}))
    assert not is_offline({})


def test_a_picture_is_asked_for_once_and_looked_at() -> None:
    first, second = (card.picture_url or "" for card in PAGE.cards)

    answers = web({first: png(600, 400), second: SVG})

    assert answers[first].picture is not None
    assert (answers[first].picture.width, answers[first].problem) == (600, "")
    assert answers[second].problem == "is SVG, which many mail programs do not show"
    assert "picture" in web({first: b"<p>Please log in</p>"})[first].problem


def with_picture(name: str, **changes: object) -> Page:
    url = f"https://slowwater.example.org/pictures/{name}"
    return letters.page(
        (letters.card(0), letters.card(1, picture_url=url, **changes), letters.card(2)), intro_html=""
    )


@pytest.mark.parametrize("name", ["drawing.svg", "photo.heic", "scan.tiff"])
def test_a_picture_of_a_format_that_mail_lacks_is_left_out(name: str) -> None:
    assert name not in letters.rendered(with_picture(name))[0].html


def test_a_picture_is_left_out_by_what_it_is_whatever_it_is_called() -> None:
    assert "a.png" not in letters.rendered(with_picture("a.png", picture_format="svg"))[0].html
    assert "a.png" in letters.rendered(with_picture("a.png", picture_format="png"))[0].html


@pytest.mark.parametrize("place", [0, 1], ids=["above", "beside"])
def test_word_gets_no_picture_it_cannot_show_and_no_room_for_one(place: int) -> None:
    cards = list(letters.page(3).cards)
    cards[place] = replace(cards[place], picture_url="https://slowwater.example.org/pictures/a.webp")
    mine, other, page = letters.letters(letters.page(tuple(cards)))
    html = letters.rendered(letters.page(tuple(cards)))[0].html

    before, _, after = html.partition("a.webp")

    assert before.rindex("<!--[if !mso]><!-->") > before.rindex('<tr><td class="item')
    assert "<!--<![endif]-->" in after[: after.index("</h2>") if place == 0 else after.index('class="words')]
    assert check(mine, other=other, page=page) == []

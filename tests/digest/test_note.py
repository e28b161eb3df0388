"""The mails about a subscription: whole in every language, sound on the wire, with one link each."""

import re
from email import message_from_bytes
from email.policy import default

import html5lib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.letter.headers import reread
from digest.letter.note import Stationery
from digest.letter.theme import Theme
from digest.sending.parcel import Mail, faultless
from subscribers.wishes import NoteKind
from tests.conftest import ROOT
from tests.digest.website import BASE, NOW, publication

LANGUAGES = ["en", *sorted(path.stem for path in (ROOT / "templates" / "words").glob("*.po"))]
LINK = "/c/abcdefghijklmnopqrstuv"


def stationery(**changes: str) -> Stationery:
    return Stationery(publication(**changes), Theme(), None)


def mail_of(shop: Stationery, kind: str, to: str = "anna@example.org") -> bytes:
    return shop.mail(shop.written(kind, LINK, NOW), to, shop.message_id("r4nd0m"), NOW)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_mail_is_whole_in_every_language(language: str) -> None:
    """U-7, H-12: two parts that say the same, one link, nothing left to fill in, lines that fit."""
    shop = stationery(language=language)
    for kind in NoteKind:
        content = mail_of(shop, kind)
        faultless(Mail("letters@example.org", "anna@example.org", content))
        assert max(map(len, content.split(b"\r\n"))) <= 76
        mail = message_from_bytes(content, policy=default)
        assert mail.defects == []
        text, html = (mail.get_body((one,)).get_content() for one in ("plain", "html"))
        for part in (mail["Subject"], text, html.partition("<body")[2]):
            assert not re.search(r"[{}]|\bnote\.", part)
        for part in (text, html):
            assert part.count(BASE + LINK) == 1
            assert "Quay 7" in part
        assert "Slow & Water" in mail["Subject"]
        assert max(map(len, text.splitlines())) <= 78
        html5lib.HTMLParser(strict=True).parse(html)
        direction = "rtl" if language in ("ar", "he") else "ltr"
        assert f'<html lang="{language}" dir="{direction}"' in html
        assert not re.search(r"<(img|script|form|link|iframe)\b", html)


def test_a_mail_says_that_a_program_wrote_it_and_offers_no_one_click() -> None:
    """H-11, H-7: RFC 3834; a List-Unsubscribe-Post here would unsubscribe who never subscribed."""
    head = mail_of(stationery(), "confirm").partition(b"\r\n\r\n")[0] + b"\r\n"
    names = dict(reread(head))
    assert names["Auto-Submitted"] == "auto-generated"
    assert names["Message-ID"] == "<note.r4nd0m@example.org>"
    assert not [name for name in names if name.startswith("List-") or name == "Precedence"]


def test_replies_go_where_the_publication_reads_them() -> None:
    content = mail_of(stationery(reply_to="The desk <desk@example.org>"), "confirm")
    assert message_from_bytes(content, policy=default)["Reply-To"] == "The desk <desk@example.org>"


@settings(max_examples=30)
@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_whatever_a_publication_is_called_its_mails_are_sound(name: str) -> None:
    """H-14."""
    if not name.strip() or not name.isprintable():
        return
    content = mail_of(stationery(name=name, sender_name=name), "manage")
    faultless(Mail("letters@example.org", "anna@example.org", content))
    assert message_from_bytes(content, policy=default).get_body(("html",)) is not None

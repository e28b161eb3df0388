"""The header block: its golden bytes, what may never get into it, and that two readers agree on it."""

import email
import email.policy
import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from digest.letter.headers import (
    LINE,
    PLACE,
    Head,
    Header,
    ascii_domain,
    ascii_url,
    block,
    legible,
    list_id,
    mailbox,
    reread,
    subject,
    uris,
    verbatim,
    wire_address,
)
from digest.letter.rendered import Rendered

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "300"))
AT = datetime(2015, 10, 1, 9, 0, tzinfo=timezone(timedelta(hours=3)))
RENDERED = Rendered(
    month="2015-09",
    number=9,
    subject="September: five new pieces",
    html="",
    text="",
    archive="",
    nonce="0123456789abcdef",
    publication="Slow Water",
    language="en",
    sender_name="Slow Water",
    sender_address="letters@example.org",
    reply_to="editors@example.org",
    base_url="https://letters.example.org",
)
TOKEN = "t" * 36
PLACES = [f"https://letters.example.org/u/{PLACE}", f"mailto:u+{PLACE}@bounces.example.org"]
LINKS = [one.replace(PLACE, TOKEN) for one in PLACES]
INJECTION = "=?utf-8?q?Hi=0D=0ABcc:_thief@example.net?="
HOSTILE = [
    "\r\nBcc: thief@example.net\r\n\r\nbody",
    "\rBcc: thief@example.net",
    "\nBcc: thief@example.net",
    "\x85Bcc: thief@example.net",
    "\u2028Bcc: thief@example.net\u2029",
    "\x0b\x0c\x1c\x1d\x1e",
    "a\x00b\x9f\x92\x7f",
    INJECTION,
    "=\x00?utf-8?b?QmNjOiB0aGllZkBleGFtcGxlLm5ldA==?=",
    "=?",
    "?= =?utf-8?q?x?=",
    '"',
    "\\",
    '\\"',
    "a, b; c: d (e) <f@example.net>",
    "\u202egnp.exe\u202d",
    "👩‍👩‍👧‍👦🇺🇦",
    "  two  spaces  ",
    "\xa0no break\u3000",
    "\ud800 alone",
    "Щедрик, щедрик, щедрівочка, прилетіла ластівочка",
    "مرحبا بالعالم",
    "w" * 300,
    "é" * 300,
    "",
]
texts = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30)), max_size=4).map("".join)


def sent(rendered: Rendered = RENDERED, name: str = "", address: str = "ann@example.com") -> bytes:
    head = Head(rendered, "=_0123456789abcdef01234567", PLACES)
    return head.block(mailbox("To", name, address), AT, head.word("7"), TOKEN)


def names(written: bytes) -> list[str]:
    return [name for name, _ in reread(written)]


def parsed(written: bytes) -> Message:
    return email.message_from_bytes(written + b"\r\n", policy=email.policy.compat32)


def decoded(raw: str) -> str:
    return str(make_header(decode_header(raw.replace("\r\n", ""))))


def mailbox_of(raw: str) -> tuple[str, str]:
    name, address = parseaddr(raw.replace("\r\n", ""))
    return decoded(name), address


ALLOWED = [
    *("From", "To", "Reply-To", "Subject", "Date", "Message-ID", "List-Id", "List-Unsubscribe"),
    *("List-Unsubscribe-Post", "Feedback-ID", "Precedence", "X-Auto-Response-Suppress"),
    *("MIME-Version", "Content-Type"),
]


def test_the_whole_block_is_this() -> None:
    """H-15, and in it H-1, H-4, H-5, H-7, H-10, H-11."""
    assert sent(name="Ann Reader").decode("ascii").split("\r\n") == [
        "From: Slow Water <letters@example.org>",
        "To: Ann Reader <ann@example.com>",
        "Reply-To: editors@example.org",
        "Subject: September: five new pieces",
        "Date: Thu, 01 Oct 2015 09:00:00 +0300",
        "Message-ID: <2015-09.te7lyg3gmwjbocnmtucne37txf@example.org>",
        "List-Id: Slow Water <letters.example.org>",
        f"List-Unsubscribe: <{LINKS[0]}>,",
        f" <{LINKS[1]}>",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click",
        "Feedback-ID: 2015-09:digest:letters:bfabc3743295",
        "Precedence: bulk",
        "X-Auto-Response-Suppress: OOF, AutoReply",
        "MIME-Version: 1.0",
        'Content-Type: multipart/alternative; boundary="=_0123456789abcdef01234567"',
        "",
    ]


def test_a_block_in_another_script_is_this() -> None:
    """H-15, one golden per language family."""
    rendered = replace(
        RENDERED,
        subject="Вересень: п'ять нових текстів, і всі вони про воду та тишу",
        publication="Тиха вода",
        sender_name="Тиха вода",
        sender_address="лист@приклад.укр",
        reply_to='"Redaktion, Ufer" <büro@straße.example>',
    )
    assert sent(rendered, name="Zoë O’Hara").decode().split("\r\n")[:10] == [
        "From: =?utf-8?b?0KLQuNGF0LAg0LLQvtC00LA=?= <лист@xn--80aikifvh.xn--j1amh>",
        "To: =?utf-8?b?Wm/DqyBP4oCZSGFyYQ==?= <ann@example.com>",
        'Reply-To: "Redaktion, Ufer" <büro@xn--strae-oqa.example>',
        "Subject: =?utf-8?b?0JLQtdGA0LXRgdC10L3RjDog0L8n0Y/RgtGMINC90L7QstC40YUg?=",
        " =?utf-8?b?0YLQtdC60YHRgtGW0LIsINGWINCy0YHRliDQstC+0L3QuCDQv9GA?=",
        " =?utf-8?b?0L4g0LLQvtC00YMg0YLQsCDRgtC40YjRgw==?=",
        "Date: Thu, 01 Oct 2015 09:00:00 +0300",
        "Message-ID: <2015-09.rkxrus6ceb673bqtgaywqjzfzk@xn--80aikifvh.xn--j1amh>",
        "List-Id: =?utf-8?b?0KLQuNGF0LAg0LLQvtC00LA=?=",
        " <digest.xn--80aikifvh.xn--j1amh>",
    ]


@settings(max_examples=EXAMPLES)
@given(title=texts, name=texts, publication=texts)
@example(title=INJECTION, name=INJECTION, publication=INJECTION)
@example(title='"quoted" title', name='"', publication="\\")
def test_no_title_or_name_makes_a_header_or_is_read_as_anything_else(
    title: str, name: str, publication: str
) -> None:
    """H-14, S-1, bar 4: the same names for every text, and two readers see what was put in."""
    # A lone surrogate cannot be in what is approved: the fingerprint is over UTF-8.
    title, publication = (text.encode(errors="ignore").decode() for text in (title, publication))
    rendered = replace(RENDERED, subject=title, publication=publication, sender_name=publication)

    written = sent(rendered, name=name)

    assert names(written) == ALLOWED
    stdlib = parsed(written)
    assert stdlib.keys() == ALLOWED
    assert decoded(stdlib["Subject"]) == legible(title)
    assert mailbox_of(stdlib["To"]) == (legible(name), "ann@example.com")
    assert mailbox_of(stdlib["From"]) == (legible(publication), "letters@example.org")
    assert mailbox_of(stdlib["List-Id"]) == (legible(publication), "letters.example.org")
    assert not re.search(rb"[^\r\n\x20-\x7e]|\r(?!\n)|(?<!\r)\n", written)


@pytest.mark.parametrize("text", HOSTILE)
def test_every_hostile_text_survives_as_far_as_it_is_legible(text: str) -> None:
    header = subject(text)

    assert (
        decoded(header.wire.decode("ascii").removeprefix("Subject:").strip()) == header.value == legible(text)
    )
    assert max(map(len, header.wire.split(b"\r\n"))) <= LINE


@settings(max_examples=EXAMPLES)
@given(texts)
def test_what_is_legible_is_one_line_without_controls_and_stays_so(text: str) -> None:
    once = legible(text)

    assert len(once.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]|  |^ | $", once)
    assert legible(once) == once


@settings(max_examples=EXAMPLES)
@given(name=texts)
def test_no_line_is_longer_than_76_characters(name: str) -> None:
    for header in (subject(name), mailbox("Reply-To", name, "a@example.org"), list_id(name, "a.example.org")):
        lines = header.wire.removesuffix(b"\r\n").split(b"\r\n")
        assert max(map(len, lines)) <= LINE
        assert all(line.strip() for line in lines)


@pytest.mark.parametrize(
    ("display", "wire"),
    [
        ("Slow Water", b"To: Slow Water <a@b.example>\r\n"),
        ("Water, Inc.", b'To: "Water, Inc." <a@b.example>\r\n'),
        ('Ann "the" \\ Reader', b'To: "Ann \\"the\\" \\\\ Reader" <a@b.example>\r\n'),
        ("thief@example.net", b'To: "thief@example.net" <a@b.example>\r\n'),
        ("Zoë", b"To: =?utf-8?q?Zo=C3=AB?= <a@b.example>\r\n"),
        ("Оля", b"To: =?utf-8?b?0J7Qu9GP?= <a@b.example>\r\n"),
        ("=?x", b"To: =?utf-8?b?PT94?= <a@b.example>\r\n"),
        ("", b"To: a@b.example\r\n"),
    ],
)
def test_a_display_name_is_encoded_only_where_it_must_be(display: str, wire: bytes) -> None:
    header = mailbox("To", display, "a@b.example")

    assert header.wire == wire
    assert block([header]) == wire


def test_a_subject_in_ascii_is_left_as_it_is() -> None:
    assert subject('"September": 5 new, (a) <b>').wire == b'Subject: "September": 5 new, (a) <b>\r\n'


@pytest.mark.parametrize("length", [*range(40, 120), 200, 300, 400])
@pytest.mark.parametrize("with_mailto", [False, True])
def test_the_unsubscribe_header_is_never_encoded_or_broken_inside_a_uri(
    length: int, with_mailto: bool
) -> None:
    """H-6; the standard library encodes it from 75 characters on."""
    url = "https://letters.example.org/u/".ljust(length, "t")
    targets = [url, *LINKS[1:]] if with_mailto else [url]

    written = block([uris("List-Unsubscribe", targets)])

    assert b"=?" not in written
    assert written.decode("ascii") == (
        f"List-Unsubscribe: <{url}>,\r\n <{LINKS[1]}>\r\n"
        if with_mailto
        else f"List-Unsubscribe: <{url}>\r\n"
    )
    assert re.findall(r"<([^>]*)>", parsed(written)["List-Unsubscribe"]) == targets


@pytest.mark.parametrize(
    "targets",
    [
        [],
        ["https://a.example/u/\r\nBcc:"],
        ["https://a.example/u/ x"],
        ["https://a.example/>,<x"],
        ["https://bücher.example/u"],
        ["https://a.example/=?utf-8?q?x?="],
        ["javascript:alert(1)"],
    ],
)
def test_a_uri_that_could_be_read_as_more_is_refused(targets: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot carry"):
        uris("List-Unsubscribe", targets)


def test_message_ids_stay_and_differ_where_they_must() -> None:
    """H-3."""
    head = Head(RENDERED, "b", PLACES)
    ids = {head.message_id(head.word(str(number))) for number in range(10_000)}

    assert len(ids) == 10_000
    assert all(re.fullmatch(r"<2015-09\.[a-z2-7]{26}@example\.org>", one) for one in ids)
    assert Head(RENDERED, "other", PLACES).word("7") == head.word("7")
    assert Head(replace(RENDERED, html="changed"), "b", PLACES).word("7") != head.word("7")


def test_the_list_keeps_its_id_whatever_it_is_called() -> None:
    """H-5."""
    renamed = replace(RENDERED, publication="Fast, Wild Water", sender_name="Other", subject="Other")

    found = dict(reread(sent(renamed)))

    assert found["List-Id"] == "Fast, Wild Water <letters.example.org>"
    assert b'List-Id: "Fast, Wild Water" <letters.example.org>\r\n' in sent(renamed)


@pytest.mark.parametrize(
    ("address", "identifier"),
    [
        ("monthly.letters+digest@Example.ORG", "monthly-letters-digest.example.org"),
        ("лист@example.org", "digest.example.org"),
    ],
)
def test_the_id_of_a_list_is_made_of_safe_letters(address: str, identifier: str) -> None:
    """H-5."""
    found = dict(reread(sent(replace(RENDERED, sender_address=address))))

    assert found["List-Id"] == f"Slow Water <{identifier}>"


def test_the_feedback_id_has_four_fields_and_is_the_same_for_everybody() -> None:
    """H-10."""
    found = {dict(reread(sent(address=f"r{n}@example.com")))["Feedback-ID"] for n in range(3)}

    assert len(found) == 1
    assert re.fullmatch(r"\d{4}-\d{2}:digest:[a-z0-9-]+:[a-z0-9]{5,15}", found.pop())


def test_without_a_reply_address_there_is_no_such_header() -> None:
    assert names(sent(replace(RENDERED, reply_to=None))) == [n for n in ALLOWED if n != "Reply-To"]


def test_a_date_without_a_zone_is_refused() -> None:
    """H-4."""
    head = Head(RENDERED, "b", PLACES)
    with pytest.raises(ValueError, match="time zone"):
        head.block(mailbox("To", "", "a@example.org"), datetime(2015, 10, 1), "a" * 26, TOKEN)  # noqa: DTZ001
    in_utc = head.block(mailbox("To", "", "a@example.org"), AT.astimezone(UTC), "a" * 26, TOKEN)
    assert b"\r\nDate: Thu, 01 Oct 2015 06:00:00 +0000\r\n" in in_utc
    elsewhere = head.block(mailbox("To", "", "a@example.org"), AT, "a" * 26, TOKEN)
    assert b"\r\nDate: Thu, 01 Oct 2015 09:00:00 +0300\r\n" in elsewhere


@pytest.mark.parametrize(
    "address",
    [
        "b@x.example>\r\nRCPT TO:<evil@x.example",
        "a b@x.example",
        "a@x.example ",
        "<a@x.example>",
        '"a b"@x.example',
        "a,b@x.example",
        "=?utf-8?q?a?=@x.example",
        "a@[127.0.0.1]",
        "a@x..example",
        "a@x_y.example",
        ".a@x.example",
        "a\u200b@x.example",
        "a\u2028@x.example",
        "@x.example",
        "a@",
        "",
        "a@" + "x" * 64 + ".example",
    ],
)
def test_what_could_be_somebody_elses_address_is_refused(address: str) -> None:
    """W-9."""
    with pytest.raises(ValueError, match=r"address|domain|label|Label|Domain"):
        wire_address(address)


def test_international_domains_travel_as_a_labels_and_local_parts_as_they_are() -> None:
    """W-8."""
    assert wire_address("Ann@Bücher.Example") == "Ann@xn--bcher-kva.example"
    assert wire_address("лист@приклад.укр") == "лист@xn--80aikifvh.xn--j1amh"
    # IDNA 2003, the standard library's, would send this to strasse.example: another owner.
    assert ascii_domain("straße.example") == "xn--strae-oqa.example"


def test_a_web_address_becomes_ascii() -> None:
    assert ascii_url("https://bücher.example:8443/läse%20mich") == (
        "https://xn--bcher-kva.example:8443/l%C3%A4se%20mich"
    )
    assert ascii_url("https://letters.example.org/a") == "https://letters.example.org/a"


@pytest.mark.parametrize(
    "wire",
    [
        b"Subject: a\r\nBcc: thief@example.net\r\n",
        b"Subject: b\r\n",
        b"subject: a\r\n",
        b"Subject: a\r\n\r\n",
        b"Subject: a",
        b"Subject: \ra\r\n",
        b"Subject: a\x00\r\n",
        b"Subject: a\r\nX\r\n",
        b" Subject: a\r\n",
        b"Subject: a\r\n b\r\n",
        b"Subject: =?utf-8?q?b?=\r\n",
        b"Subject: \xff\r\n",
        b"",
    ],
)
def test_a_block_that_reads_differently_from_what_was_meant_is_refused(wire: bytes) -> None:
    """H-14: the check stands, even if the writer should one day be wrong."""
    with pytest.raises(ValueError, match=r"header|utf-8"):
        block([Header("Subject", "a", wire)])


@pytest.mark.parametrize("value", ["a\r\nBcc: b", "a\n", " a", "é", "=?utf-8?q?a?=", "a\x00"])
def test_a_value_of_the_programs_own_is_one_ascii_line(value: str) -> None:
    with pytest.raises(ValueError, match="cannot carry"):
        verbatim("Precedence", value)

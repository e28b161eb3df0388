"""Letters by splicing: that they are what direct substitution gives, whatever is in them."""

import email
import email.policy
import html
import json
import os
import re
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from digest.letter.headers import legible, reread
from digest.letter.personalise import Letter, Stencil, quoted_printable, stencil
from digest.letter.rendered import Hole, Rendered, sentinel
from subscribers.audience import Recipient
from subscribers.tokens import NOBODY, Keyring, Purpose, Signed

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "300"))
NONCE = "0123456789abcdef"
OTHER = "fedcba9876543210"
AT = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
RING = Keyring([b"k" * 32])
BASE = "https://letters.example.org"
UNSUBSCRIBE, PREFERENCES, ADDRESS, NAME = (sentinel(hole, NONCE) for hole in Hole)
HTML = f"""<!DOCTYPE html>
<html><head><title>{{title}}</title></head><body>
<p>Dear {NAME},</p>
<h2>{{title}}</h2>
{{excerpt}}
<p title="{NAME}">You get this as {ADDRESS}:
<a href="{UNSUBSCRIBE}">unsubscribe</a> · <a href='{PREFERENCES}'>preferences</a>{NAME}{ADDRESS}</p>
</body></html>
"""
TEXT = f"""{NAME}
{{title}}

{{excerpt}}

--\x20
You get this as {ADDRESS}
Unsubscribe: {UNSUBSCRIBE}
Preferences: {PREFERENCES}
"""
FILLERS = {"latin": "Naïve water = slow water. ", "cyrillic": "Щедрик, ластівочка. ", "cjk": "緩やかな水。"}
HOSTILE = [
    "\r\n.\r\n",
    "\n.\nFrom the start\n..\n",
    ".",
    "From ",
    "\r\n\r\nContent-Type: text/html\r\n",
    "--=_",
    "=",
    "=3D=\n=",
    "trailing \t\n \n",
    "\r",
    "\x00\x01\x1b\x7f\x85\x92\u2028\u2029",
    "=?utf-8?q?Hi=0D=0ABcc:_thief@example.net?=",
    "\"'><script>alert(1)</script>",
    "&amp; & \\",
    "\u202egnp.exe",
    "👩‍👩‍👧‍👦🇺🇦",
    "y" * 300,
    "ї" * 120,
    sentinel(Hole.UNSUBSCRIBE, OTHER),
    sentinel(Hole.ADDRESS, OTHER),
    "zqaddressqz {{ name }} %%T%%",
]
texts = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40)), max_size=5).map("".join)


def issue(title: str = "A title", excerpt: str = "An excerpt.", base_url: str = BASE) -> Rendered:
    return Rendered(
        month="2015-09",
        number=9,
        subject=title,
        html=HTML.format(title=html.escape(title), excerpt=html.escape(excerpt)),
        text=TEXT.format(title=title, excerpt=excerpt),
        archive="",
        nonce=NONCE,
        publication="Slow Water",
        language="en",
        sender_name="Slow Water",
        sender_address="letters@example.org",
        reply_to=None,
        base_url=base_url,
    )


def ann(name: str = "Ann", address: str = "ann@example.com", version: int = 3) -> Recipient:
    return Recipient(7, address, name, version)


def letter_of(rendered: Rendered, recipient: Recipient, bounce_domain: str | None = None) -> Letter:
    return stencil(rendered, RING, bounce_domain).letter(recipient, AT)


def headers_of(letter: Letter) -> dict[str, str]:
    found = reread(letter.content.partition(b"\r\n\r\n")[0] + b"\r\n")
    assert len(dict(found)) == len(found) == 13
    return dict(found)


# ---- two readers and an oracle, none of which shares code with the splice


def by_stdlib(content: bytes) -> list[str]:
    """The text and HTML the standard library's parser finds, without a single complaint."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    assert [part.get_content_charset() for part in parts] == ["utf-8", "utf-8"]
    assert [part.defects for part in (message, *parts)] == [[], [], []]
    assert not message.preamble
    assert not message.epilogue
    return [part.get_payload(decode=True).decode().replace("\r\n", "\n") for part in parts]  # type: ignore[union-attr]


def by_hand(content: bytes) -> list[str]:
    """The same by RFC 2045 and 2046 read to the letter: split at the boundary, decode each body."""
    head, _, body = content.partition(b"\r\n\r\n")
    boundary = re.search(rb'boundary="([^"]+)"', head)
    assert boundary is not None
    preamble, *parts, end = re.split(rb"(?:^|\r\n)--" + re.escape(boundary[1]), body)
    assert (preamble, end) == (b"", b"--\r\n")
    return [decoded_part(part.removeprefix(b"\r\n")) for part in parts]


def decoded_part(part: bytes) -> str:
    head, _, body = part.partition(b"\r\n\r\n")
    if b"Content-Transfer-Encoding: base64" in head:
        text = b64decode(body.replace(b"\r\n", b""), validate=True).decode()
        # RFC 2045, section 6.8: a line break is CRLF before it is encoded.
        assert not re.search(r"(?<!\r)\n|\r(?!\n)", text)
        return text.replace("\r\n", "\n")
    assert b"Content-Transfer-Encoding: quoted-printable" in head
    assert not re.search(rb"=(?![0-9A-F]{2}|\r\n)|[ \t]\r\n|[ \t]$", body)
    joined = body.replace(b"=\r\n", b"").replace(b"\r\n", b"\n")
    return re.sub(rb"=([0-9A-F]{2})", lambda octet: bytes.fromhex(octet[1].decode()), joined).decode()


def substituted(rendered: Rendered, recipient: Recipient) -> list[str]:
    """What the parts must say: every sentinel replaced, slowly, in the text itself."""
    who = recipient.subscriber_id, recipient.token_version
    values = {
        UNSUBSCRIBE: f"{rendered.base_url}/u/{RING.sign(Purpose.LEAVE, *who)}",
        PREFERENCES: f"{rendered.base_url}/p/{RING.sign(Purpose.PREFERENCES, *who)}",
        ADDRESS: legible(recipient.address),
        NAME: legible(recipient.name),
    }
    escaped = {stands: html.escape(value) for stands, value in values.items()}
    return [replaced(rendered.text, values), replaced(rendered.html, escaped)]


def replaced(part: str, values: dict[str, str]) -> str:
    filled = re.sub("|".join(map(re.escape, values)), lambda found: values[found[0]], part)
    return re.sub(r"\r\n?", "\n", filled)


def assert_fit_for_the_wire(content: bytes) -> None:
    """H-12, and that nothing needs to be stuffed or guarded on the way."""
    assert content.endswith(b"\r\n")
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|[^\t\r\n\x20-\x7e]", content)
    head, _, body = content.partition(b"\r\n\r\n")
    assert max(map(len, body.split(b"\r\n"))) <= 76
    assert not re.search(rb"^(?:\.|From )", content, re.MULTILINE)
    assert all(
        len(line) <= 76 for line in head.split(b"\r\n") if not line.startswith((b"List-Unsub", b" <mailto"))
    )


# ---- the letter


@settings(max_examples=EXAMPLES)
@given(
    title=texts,
    name=texts,
    excerpt=texts,
    filler=st.sampled_from(sorted(FILLERS)),
    padding=st.integers(0, 99),
)
@example(title="=?utf-8?q?a?=", name=".", excerpt="From ", filler="latin", padding=0)
@example(title="", name="", excerpt="", filler="cyrillic", padding=57)
def test_a_letter_is_what_direct_substitution_gives(
    title: str, name: str, excerpt: str, filler: str, padding: int
) -> None:
    """Bar 4: hostile titles, names and excerpts make no header and break no part; the text round-trips."""
    rendered = issue(title, excerpt + FILLERS[filler] * 20 + "x" * padding)
    recipient = ann(name)

    letter = letter_of(rendered, recipient)

    content = letter.content
    expected = substituted(rendered, recipient)
    assert by_stdlib(content) == expected
    assert by_hand(content) == expected
    assert_fit_for_the_wire(content)
    assert headers_of(letter)["Subject"] == legible(title)
    assert headers_of(letter)["To"].endswith("ann@example.com" if not legible(name) else "<ann@example.com>")
    assert NONCE.encode() not in content


@pytest.mark.parametrize(
    ("filler", "encoding"), [("latin", "quoted-printable"), ("cyrillic", "base64"), ("cjk", "base64")]
)
def test_each_part_takes_the_smaller_encoding(filler: str, encoding: str) -> None:
    made = stencil(issue(excerpt=FILLERS[filler] * 40), RING, None)

    assert (made.text.encoding, made.html.encoding) == (encoding, encoding)


def test_a_part_in_ascii_is_never_base64() -> None:
    """Filters take base64 around plain ASCII for hiding something, even where it would be smaller."""
    assert stencil(issue(excerpt="=" * 2000), RING, None).text.encoding == "quoted-printable"


@pytest.mark.parametrize("filler", sorted(FILLERS))
def test_a_value_of_any_length_fits_at_every_place_of_a_line(filler: str) -> None:
    """Every phase of base64 and every length of a quoted-printable line, in order and again."""
    rendered = issue(excerpt=FILLERS[filler] * 20)
    made = stencil(rendered, RING, None)
    for length in [*range(180), *range(0, 180, 7)]:
        recipient = ann("n" * length)
        assert by_hand(made.letter(recipient, AT).content) == substituted(rendered, recipient)


@settings(max_examples=EXAMPLES)
@given(st.one_of(texts.map(str.encode), st.binary(max_size=200)))
@example(b" ")
@example(b"." * 80 + b"F" * 200)
def test_quoted_printable_is_undone_by_its_rules(raw: bytes) -> None:
    written = quoted_printable(raw)

    lines = written.split(b"\r\n")
    assert max(map(len, lines)) <= 76
    assert not any(line.startswith((b".", b"F")) or line.endswith((b" ", b"\t")) for line in lines)
    joined = written.replace(b"=\r\n", b"").replace(b"\r\n", b"\n")
    assert re.sub(rb"=([0-9A-F]{2})", lambda octet: bytes.fromhex(octet[1].decode()), joined) == raw


def test_a_name_that_is_a_sentinel_itself_stays_a_name() -> None:
    rendered, recipient = issue(), ann(name=UNSUBSCRIBE)

    assert f"Dear {UNSUBSCRIBE}," in by_stdlib(letter_of(rendered, recipient).content)[1]


def test_every_link_belongs_to_its_reader_and_does_only_its_own_thing() -> None:
    """T-2, H-6, H-7, B-1: four tokens, four purposes, one subscriber."""
    letter = letter_of(issue(), ann(), bounce_domain="Bounces.Example.org")
    text, _ = by_stdlib(letter.content)
    headers = headers_of(letter)

    one_click = re.fullmatch(
        rf"<{BASE}/u/([\w-]{{36}})>, <mailto:u\+\1@bounces\.example\.org>", headers["List-Unsubscribe"]
    )
    leave = re.search(rf"^Unsubscribe: {BASE}/u/([\w-]{{36}})$", text, re.MULTILINE)
    preferences = re.search(rf"^Preferences: {BASE}/p/([\w-]{{36}})$", text, re.MULTILINE)
    bounce = re.fullmatch(r"b\+([\w-]{36})@bounces\.example\.org", letter.mail_from)

    assert one_click is not None
    assert leave is not None
    assert preferences is not None
    assert bounce is not None
    assert RING.read(Purpose.ONE_CLICK, one_click[1]) == Signed(7, 3)
    assert RING.read(Purpose.LEAVE, leave[1]) == Signed(7, 3)
    assert RING.read(Purpose.PREFERENCES, preferences[1]) == Signed(7, 3)
    assert RING.read(Purpose.BOUNCE, bounce[1]) == Signed(7, 2015 * 12 + 8)
    assert headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert len(letter.mail_from.partition("@")[0]) <= 64


def test_without_a_bounce_domain_bounces_go_to_the_sender_and_nobody_is_told_to_write() -> None:
    """H-6."""
    letter = letter_of(issue(), ann())

    assert letter.mail_from == "letters@example.org"
    assert b"mailto:" not in letter.content


def test_a_letter_carries_what_its_service_gives_back_and_nothing_for_others() -> None:
    """B-10: whether or not there is a bounce domain."""
    carried = stencil(issue(), RING, None, ["ses", "postmark", "mailgun", "sendgrid"]).letter(ann(), AT)
    headers = dict(reread(carried.content.partition(b"\r\n\r\n")[0] + b"\r\n"))
    tokens = {headers["X-PM-Metadata-digest"], json.loads(headers["X-SMTPAPI"])["unique_args"]["digest"]}
    assert [RING.read(Purpose.BOUNCE, token) for token in tokens] == [Signed(7, 2015 * 12 + 8)]
    assert stencil(issue(), RING, None, ["ses", "mailgun"]).letter(ann(), AT) == letter_of(issue(), ann())


def test_the_same_recipient_and_instant_give_the_same_bytes() -> None:
    """H-3, H-4: a retry after a crash sends the same letter."""
    assert letter_of(issue(), ann()) == letter_of(issue(), ann())


def test_two_letters_differ_only_in_what_is_their_readers_own() -> None:
    recipients = [ann(), Recipient(8, "bob@example.net", "Bob", 0)]
    made = stencil(issue(excerpt=FILLERS["latin"] * 40), RING, "bounces.example.org")
    letters = [made.letter(recipient, AT) for recipient in recipients]

    neutral = []
    for letter, recipient in zip(letters, recipients, strict=True):
        said = "".join(by_hand(letter.content)) + str(headers_of(letter))
        for own in (recipient.address, recipient.name, letter.message_id):
            said = said.replace(own, "OWN")
        neutral.append(re.sub(r"(/u/|/p/|u\+)[\w-]{36}", r"\1OWN", said))

    assert neutral[0] == neutral[1]


def test_neither_address_nor_number_nor_nonce_can_be_read_off_the_message_id() -> None:
    """H-3."""
    made = stencil(issue(), RING, None)
    ids = [made.letter(Recipient(n, f"reader{n}@example.com", "", 0), AT).message_id for n in range(1, 200)]

    assert len(set(ids)) == 199
    assert all(re.fullmatch(r"<2015-09\.[a-z2-7]{26}@example\.org>", one) for one in ids)
    assert all(
        one.encode() in made.letter(Recipient(n, "a@b.example", "", 0), AT).content
        for n, one in enumerate(ids, 1)
    )


def test_the_letters_of_a_sample_belong_to_nobody_and_each_is_a_letter_of_its_own() -> None:
    """H-7: its links are genuine and unsubscribe nobody; a mailbox does not drop the second sample."""
    made = stencil(issue(), RING, "bounces.example.org")
    nobody = Recipient(NOBODY, "desk@example.org", "", 0)
    samples = [made.letter(nobody, AT + timedelta(minutes=minute)) for minute in range(2)]

    tokens = re.findall(r"/[up]/([\w-]{36})", "".join(by_stdlib(samples[0].content)))
    assert len(tokens) == 4
    read = [RING.read(purpose, token) for token in tokens for purpose in Purpose]
    assert {signed for signed in read if signed} == {Signed(NOBODY, 0)}
    assert samples[0].message_id != samples[1].message_id
    assert samples[0] == made.letter(nobody, AT)


def test_only_a_local_part_beyond_ascii_needs_smtputf8() -> None:
    """W-8."""
    made = stencil(issue(), RING, None)
    plain = made.letter(ann(name="Оля", address="olja@приклад.укр"), AT)
    beyond = made.letter(ann(address="оля@приклад.укр"), AT)

    assert (plain.rcpt_to, plain.needs_smtputf8) == ("olja@xn--80aikifvh.xn--j1amh", False)
    assert (beyond.rcpt_to, beyond.needs_smtputf8) == ("оля@xn--80aikifvh.xn--j1amh", True)
    assert "You get this as оля@приклад.укр\n" in by_hand(beyond.content)[0]
    own = stencil(replace(issue(), sender_address="лист@example.org"), RING, None)
    assert own.letter(ann(), AT).needs_smtputf8
    assert [one.is_ascii for one in (plain, beyond)] == [True, False]
    assert [one.content.isascii() for one in (plain, beyond)] == [True, False]


def test_an_address_that_could_be_read_as_another_gets_no_letter() -> None:
    """W-9."""
    with pytest.raises(ValueError, match="not an address"):
        letter_of(issue(), ann(address="a@x.example>\r\nRCPT TO:<b@x.example"))


def test_an_international_base_url_becomes_ascii_everywhere() -> None:
    content = letter_of(issue(base_url="https://приклад.укр/листи"), ann()).content

    base = "https://xn--80aikifvh.xn--j1amh/%D0%BB%D0%B8%D1%81%D1%82%D0%B8"
    assert f"List-Unsubscribe: <{base}/u/".encode() in content
    assert f'href="{base}/u/' in by_stdlib(content)[1]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ({"text": f"{ADDRESS} and no link"}, "no unsubscribe link"),
        ({"html": f"<p>{PREFERENCES} {ADDRESS}</p>"}, "no unsubscribe link"),
        ({"html": f'<a href="{UNSUBSCRIBE}?x=1">leave</a>'}, "whole of its href"),
        ({"html": f'<a href="{UNSUBSCRIBE}">{UNSUBSCRIBE}</a>'}, "whole of its href"),
        ({"html": f'<a href="{UNSUBSCRIBE}">x</a> zq{NONCE}unknownqz'}, "nonce"),
        ({"html": f'<a href="{UNSUBSCRIBE}">x</a> {ADDRESS.upper()}'}, "nonce"),
        ({"subject": f"For {NAME}"}, "nonce"),
        ({"publication": NAME}, "nonce"),
        ({"sender_address": "Slow Water <a@example.org>"}, "not an address"),
        ({"sender_address": "a@b@example.org"}, "not an address"),
        ({"base_url": "javascript:alert(1)"}, "cannot carry"),
        ({"month": "2015-09\r\nBcc"}, "cannot carry|invalid literal"),
    ],
)
def test_an_issue_that_would_make_a_broken_letter_makes_none(damage: dict[str, str], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        stencil(replace(issue(), **damage), RING, None)


@pytest.mark.parametrize("filler", FILLERS)
def test_letters_made_together_are_those_made_one_by_one(filler: str) -> None:
    """In either encoding, whatever the names are, each with its own Date."""
    ready = stencil(issue(excerpt=FILLERS[filler] * 200), RING, "bounces.example.org", ["postmark"])
    names = ["", "Ann", "Ann <&> Bob", "Änne"] * 10
    wanted = [
        (Recipient(n, f"r{n}@example.com", name, n % 3), AT + timedelta(hours=n))
        for n, name in enumerate(names, start=1)
    ]
    assert ready.letters(wanted) == [ready.letter(*one) for one in wanted]
    assert ready.letters([]) == []


@pytest.mark.parametrize("filler", ["latin", "cyrillic"])
def test_several_threads_may_use_one_stencil(filler: str) -> None:
    rendered = issue(excerpt=FILLERS[filler] * 200)
    recipients = [Recipient(n, f"r{n}@example.com", "n" * (n % 97), 0) for n in range(1, 400)]
    alone = stencil(rendered, RING, None)
    expected = [alone.letter(recipient, AT) for recipient in recipients]

    shared = stencil(rendered, RING, None)
    with ThreadPoolExecutor(4) as pool:
        letters = list(pool.map(lambda recipient: shared.letter(recipient, AT), recipients))

    assert letters == expected
    assert all(one.content != other.content for one, other in pairwise(letters))
    assert isinstance(shared, Stencil)

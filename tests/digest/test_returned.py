"""What came back: read whatever its form, and about nobody but whom a signature names."""

import os
import random
import re
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from quopri import encodestring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.returns.classes import Class
from digest.returns.parts import LONGEST, opened
from digest.returns.returned import Kind, Returned, read
from digest.sending.replies import KEPT
from subscribers.tokens import NOBODY, Keyring, Purpose
from tests.digest.reports import BOUNCE, DOMAIN, FIELDS, LEAVE, MESSAGE_ID, RING, complaint, dsn, in_words

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
#: mutated reports, over all samples; 0.4 ms to 60 ms each
MUTATIONS = int(os.environ.get("PROVE_MUTATIONS", "460"))
#: seconds of a processor for one message (B-4)
LONGEST_READING = 2.0
SEED = int(os.environ.get("PROVE_SEED", "1"))


def reading(raw: bytes, envelope_to: str = "") -> Returned:
    return read(raw, RING, DOMAIN, envelope_to)


def told(raw: bytes) -> list[tuple[str, Class]]:
    return [(one.recipient, one.klass) for one in reading(raw).results]


RECIPIENT = "Final-Recipient: rfc822; ann@example.net\n"
STATUS = "Content-Type: message/delivery-status\n"
DEAD = [("ann@example.net", Class.HARD)]


# The forms a report comes in.


def test_a_report_says_what_became_of_the_letter_and_its_signed_address_whose_it_was() -> None:
    """B-1, B-2."""
    found = reading(dsn())
    assert found.kind is Kind.REPORT
    assert (found.subscriber_id, found.issue, found.klass) == (7, "2015-09", Class.HARD)
    assert found.message_ids == (MESSAGE_ID,)
    assert found.for_person == ""
    [result] = found.results
    assert (result.recipient, result.status) == ("ann@example.net", "5.1.1")
    assert result.diagnostic == "smtp; 550 5.1.1 <ann@example.net>: no such user here"


@pytest.mark.parametrize(
    "raw",
    [
        dsn().replace(b"\n", b"\r\n"),
        dsn().replace(b"\n", b"\r"),
        b"\n\n" + dsn(),
        b"From MAILER-DAEMON Thu Oct  1 09:00:00 2015\n" + dsn(),
        dsn(declared="another"),
        dsn(declared=None),
        dsn(declared=""),
        dsn(kind="MESSAGE/Delivery-Status"),
        dsn(kind="message/global-delivery-status"),
        dsn(kind="message/delivery-status; name=details.txt"),
        dsn(kind="text/plain"),
        dsn(b64encode(FIELDS.encode()).decode(), encoding="base64"),
        dsn(b64encode(FIELDS.encode()).decode().rstrip("="), encoding="BASE64"),
        dsn(encodestring(FIELDS.encode(), quotetabs=True).decode(), encoding="quoted-printable"),
        dsn(encodestring(FIELDS.encode(), quotetabs=True).decode(), kind="text/plain"),
        dsn(FIELDS.upper().replace("ANN@EXAMPLE.NET", "ann@example.net")),
        dsn(FIELDS.replace("; ", ";\n\t")),
        dsn(FIELDS.replace("\n\nFinal", "\nFinal")),
        dsn(FIELDS.replace("Action", "ction")),
        dsn(FIELDS.replace("Action: failed\n", "")),
        dsn("X-Gateway:\nnot folded:: at all\n" + FIELDS),
        dsn(FIELDS.replace("rfc822; ann", "LOCAL;<ann").replace(".net\nA", ".net>\nA")),
        dsn(FIELDS.replace(RECIPIENT, "") + RECIPIENT),
        dsn().replace(b"Content-Type: multipart/report", b"Content-Type: multipart/mixed"),
        dsn().replace(b"Content-Type: multipart/report", b"X: multipart/report"),
        dsn(f"--deeper\n{STATUS}\n{FIELDS}\n--deeper--", kind='multipart/mixed; boundary="deeper"'),
    ],
)
def test_a_broken_report_is_read_like_a_whole_one(raw: bytes) -> None:
    """B-4."""
    assert told(raw) == DEAD


@pytest.mark.parametrize(
    "said",
    [
        "Sorry, I wasn't able to deliver your message.\n\n<ann@example.net>:\n550 5.1.1 no such user",
        "This is a permanent error.\n\n  ann@example.net\n    550 unknown user",
        "Your mail was not delivered to <ann@example.net>, no such user",
        "Delivery has failed:\n\n\t* [ann@example.net]: 550 no such user\n\nOriginal message details:\n\nx",
        "Intended recipient: ann@example.net\n\nno such user: not delivered",
    ],
)
def test_a_report_in_words_is_read(said: str) -> None:
    assert told(in_words(said)) == DEAD


def test_what_a_report_in_words_returns_names_the_letter() -> None:
    """B-1."""
    copy = f"--- This is a copy of the message.\n\nSubject: x\nMessage-Id:\n {MESSAGE_ID}\n\nThe issue."
    found = reading(in_words(f"<ann@example.net>:\n550 no such user\n\n{copy}", to="news@example.org"))
    assert (found.subscriber_id, found.message_ids, found.for_person) == (None, (MESSAGE_ID,), "")


def test_an_envelopes_name_names_the_letter() -> None:
    """B-1."""
    name = MESSAGE_ID.strip("<>").replace("-", "+2D")
    raw = dsn(f"Original-Envelope-Id: {name}\n{FIELDS}").replace(b"Message-ID: <", b"X: <")
    assert reading(raw).message_ids == (MESSAGE_ID,)


def test_each_recipient_has_a_class_and_the_mildest_is_the_letters() -> None:
    second = "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.2.2\n"
    for between in ("\n", ""):
        raw = dsn(FIELDS + between + second)
        assert told(raw) == [*DEAD, ("bob@example.net", Class.SOFT)]
        assert reading(raw).klass is Class.SOFT


def test_the_address_we_wrote_to_is_preferred_to_where_it_was_forwarded() -> None:
    forwarded = FIELDS.replace("Action", "Original-Recipient: rfc822; bob@example.net\nAction")
    assert told(dsn(forwarded)) == [("bob@example.net", Class.HARD)]


@pytest.mark.parametrize(
    "final", ["|/usr/bin/filter ann@example.net", "/var/mail/ann", "@example.net", "x y"]
)
def test_a_recipient_that_is_no_address_is_named_by_nobody_or_by_the_header(final: str) -> None:
    raw = dsn(FIELDS.replace("ann@example.net\nA", f"{final}\nA"))
    assert told(raw) == [("", Class.HARD)]
    assert told(b"X-Failed-Recipients: ann@example.net\n" + raw) == DEAD


@pytest.mark.parametrize(
    "raw",
    [
        dsn(FIELDS.replace("failed", "delayed")),
        dsn(FIELDS.replace("Action: failed\n", ""), said="Your letter has been delayed."),
        in_words("Delivery to ann@example.net has been delayed.\n\n<ann@example.net>: no such user"),
        in_words("THIS IS A WARNING MESSAGE ONLY.\n\nfatal errors: <ann@example.net> 421\n"),
    ],
)
def test_what_is_still_tried_has_not_failed(raw: bytes) -> None:
    """B-9."""
    found = reading(raw)
    assert (found.klass, found.for_person) == (Class.DELAYED, "")


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_what_arrived_has_not_failed(action: str) -> None:
    """B-9."""
    assert told(dsn(FIELDS.replace("failed", action))) == [("ann@example.net", Class.NONE)]


def test_codes_that_say_nothing_are_filled_up_from_the_text() -> None:
    fields = "Final-Recipient: rfc822; ann@example.net\nAction: failed\nStatus: 5.0.0\n"
    assert told(dsn(fields)) == [("ann@example.net", Class.SOFT)]
    assert told(dsn(fields, said="ann@example.net\n  550 no such user\n")) == DEAD


# What is none.


@pytest.mark.parametrize(
    ("header", "kind"),
    [
        ("Auto-Submitted: auto-replied", Kind.AUTOMATIC),
        ("X-Auto-Response-Suppress: All", Kind.AUTOMATIC),
        ("Precedence: auto_reply", Kind.AUTOMATIC),
        ("Subject: Automatic reply: September", Kind.AUTOMATIC),
        ("Subject: Out of office", Kind.AUTOMATIC),
        ("Subject: no such user, 550 5.1.1", Kind.MAIL),
        ("Auto-Submitted: no", Kind.MAIL),
        ("Content-Type: multipart/report; report-type=disposition-notification; boundary=d", Kind.MAIL),
    ],
)
def test_an_answer_that_quotes_a_report_is_none(header: str, kind: Kind) -> None:
    """B-9: nor does a letter that quotes one, and comes back in somebody's holiday note."""
    quoted = f"--d\nContent-Type: message/delivery-status\n\n{FIELDS}"
    raw = f"From: Ann <ann@example.net>\nTo: {BOUNCE}\n{header}\n\nAway!\n\n{quoted}".encode()
    if "disposition" in header:
        raw = raw.replace(b"message/delivery-status", b"message/disposition-notification")
        kind = Kind.AUTOMATIC
    found = reading(raw)
    assert (found.kind, found.results, found.klass) == (kind, (), Class.NONE)
    assert bool(found.for_person) is (kind is Kind.MAIL)


def test_a_report_that_our_letter_quotes_is_not_read() -> None:
    """B-9: a post may hold whatever its author likes."""
    soft = FIELDS.replace("5.1.1", "5.2.2").replace("no such user", "mailbox full")
    post = f"The issue.\n\n--evil\nContent-Type: message/delivery-status\n\n{FIELDS}"
    raw = dsn(soft).replace(b"The issue.", post.encode())
    assert told(raw) == [("ann@example.net", Class.SOFT)]


def test_a_system_that_says_nothing_known_is_for_a_person() -> None:
    found = reading(in_words("Hello.", sender="postmaster@example.net").replace(b"failure notice", b"Hello"))
    assert (found.kind, found.results) == (Kind.MAIL, ())
    assert found.for_person


def test_a_question_is_for_a_person_and_costs_nobody() -> None:
    """B-9."""
    found = reading(dsn(FIELDS.replace("smtp; 550", "X-Boxbe-Notice;")))
    assert (found.klass, found.for_person) == (Class.NONE, "a mailbox asks who the sender is")


def test_a_complaint_that_our_letter_quotes_is_none() -> None:
    """B-9."""
    post = "The issue.\n\n--evil\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\n"
    assert told(dsn().replace(b"The issue.", post.encode())) == DEAD
    away = f"From: ann@example.net\nTo: {BOUNCE}\nAuto-Submitted: auto-replied\n\n{post}"
    assert reading(away.encode()).kind is Kind.AUTOMATIC


def test_a_message_id_that_our_letter_quotes_names_nothing() -> None:
    """B-2."""
    raw = dsn().replace(b"The issue.", b"Message-ID: <other@example.org>")
    assert reading(raw).message_ids == (MESSAGE_ID,)


# Complaints.


@pytest.mark.parametrize("kind", ["abuse", "fraud", " ABUSE "])
def test_a_complaint_names_the_letter(kind: str) -> None:
    """B-1."""
    found = reading(complaint(kind))
    assert (found.kind, found.klass) == (Kind.COMPLAINT, Class.COMPLAINT)
    assert [one.recipient for one in found.results] == ["ann@example.net"]
    assert (found.message_ids, found.for_person) == ((MESSAGE_ID,), "")


@pytest.mark.parametrize("kind", ["auth-failure", "not-spam", "dmarc", "", "opt-out"])
def test_no_other_feedback_is_a_complaint(kind: str) -> None:
    """B-9."""
    found = reading(complaint(kind))
    assert (found.kind, found.results, found.for_person) == (Kind.AUTOMATIC, (), "")


def test_the_older_form_of_a_complaint_is_one() -> None:
    raw = complaint().replace(b"FW: September", b"complaint about message from 192.0.2.1")
    raw = raw.replace(b"feedback-report", b"x")
    assert reading(raw.replace(b"192.0.2.1", b"a reader")).kind is not Kind.COMPLAINT
    found = reading(raw)
    assert (found.kind, found.klass, found.message_ids) == (Kind.COMPLAINT, Class.COMPLAINT, (MESSAGE_ID,))


# Who it is about.


@pytest.mark.parametrize("header", ["Delivered-To", "X-Original-To", "Envelope-To", "To", "Cc"])
@pytest.mark.parametrize("form", ["{}", "<{}>", '"Ann, A." <{}>', "bob@example.net, {}"])
def test_a_signed_address_is_found_wherever_mail_servers_write_it(header: str, form: str) -> None:
    """B-1, B-2."""
    raw = f"{header}: {form.format(BOUNCE)}\n".encode() + dsn(to="news@example.org")
    assert reading(raw).subscriber_id == 7


def test_the_envelope_names_it_too_and_a_domain_has_no_case() -> None:
    """B-1, B-2."""
    raw = dsn(to="news@example.org")
    assert reading(raw).subscriber_id is None
    assert reading(raw, BOUNCE).subscriber_id == 7
    assert reading(raw, BOUNCE.replace(DOMAIN, DOMAIN.upper())).subscriber_id == 7


OTHER = Keyring([b"o" * 32])


@pytest.mark.parametrize(
    "to",
    [
        f"b+{OTHER.sign(Purpose.BOUNCE, 7)}@{DOMAIN}",
        f"b+{RING.sign(Purpose.ONE_CLICK, 7)}@{DOMAIN}",
        f"b+{RING.sign(Purpose.LEAVE, 7)}@{DOMAIN}",
        f"u+{RING.sign(Purpose.BOUNCE, 7)}@{DOMAIN}",
        BOUNCE.replace(DOMAIN, "bounces.example.com"),
        BOUNCE.replace(DOMAIN, f"{DOMAIN}.evil.example"),
        BOUNCE.lower(),
        f"x{BOUNCE}",
        f"news+{BOUNCE}",
        "ann@example.net",
    ],
)
def test_no_other_address_names_anybody(to: str) -> None:
    """B-2, S-21."""
    found = reading(dsn(to=to).replace(b"Message-ID", b"X"))
    assert (found.subscriber_id, found.issue) == (None, "")
    assert found.for_person == "no signed address and no Message-ID says whom it is about"


@settings(max_examples=EXAMPLES)
@given(st.integers(0, 26), st.integers(0, 255))
def test_a_forged_report_about_a_known_address_names_nobody(place: int, change: int) -> None:
    """B-2, S-21: whatever else it says, with one byte of its token changed."""
    token = bytearray(RING.sign(Purpose.BOUNCE, 7).encode())
    changed = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[change % 64]
    if token[place] != changed:
        token[place] = changed
        assert reading(dsn(to=f"b+{token.decode()}@{DOMAIN}")).subscriber_id is None


def test_two_signed_addresses_name_nobody() -> None:
    """B-2."""
    other = f"b+{RING.sign(Purpose.BOUNCE, 8, 1)}@{DOMAIN}"
    found = reading(dsn(to=f"{BOUNCE}, {other}"))
    assert (found.subscriber_id, len(found.signed)) == (None, 2)
    assert found.for_person == "it came to the signed addresses of several readers"
    assert reading(dsn(to=f"{BOUNCE}, {BOUNCE}")).subscriber_id == 7


def test_what_is_of_no_issue_or_of_nobody_says_so() -> None:
    """B-1."""
    note = reading(dsn(to=f"b+{RING.sign(Purpose.BOUNCE, 7)}@{DOMAIN}"))
    assert (note.subscriber_id, note.issue) == (7, "")
    assert reading(dsn(to=f"b+{RING.sign(Purpose.BOUNCE, NOBODY, 5)}@{DOMAIN}")).subscriber_id == NOBODY


def test_without_a_domain_of_our_own_no_address_is_signed() -> None:
    assert read(dsn(), RING, "").signed == ()


# Leaving by mail.


@pytest.mark.parametrize("headers", ["Subject: unsubscribe", "", "Auto-Submitted: auto-generated"])
@pytest.mark.parametrize("by_envelope", [True, False])
def test_a_mail_to_the_unsubscribe_address_is_a_wish_to_leave_whatever_it_says(
    headers: str, by_envelope: bool
) -> None:
    """U-5."""
    to = "someone@example.org" if by_envelope else LEAVE
    raw = f"From: ann@example.net\nTo: {to}\n{headers}\n\n".encode()
    found = reading(raw, LEAVE if by_envelope else "")
    assert (found.kind, found.subscriber_id, found.issue, found.for_person) == (Kind.LEAVE, 7, "", "")


@pytest.mark.parametrize(
    "to", [LEAVE.replace("u+", "b+"), LEAVE[:-20] + "@example.org", f"u+{'A' * 36}@{DOMAIN}"]
)
def test_without_a_token_nobody_leaves(to: str) -> None:
    """U-5."""
    found = reading(f"From: ann@example.net\nTo: {to}\nSubject: unsubscribe ann@example.net\n\n".encode())
    assert (found.kind, found.subscriber_id) == (Kind.MAIL, None)
    assert found.for_person


def test_a_report_on_the_unsubscribe_address_makes_nobody_leave() -> None:
    """U-5: we never write from it, so somebody else did."""
    assert reading(dsn(to=LEAVE)).kind is Kind.REPORT


# Whatever the bytes.


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=3000))
def test_any_bytes_are_read(octets: bytes) -> None:
    """B-4."""
    assert reading(octets).klass is Class.NONE


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=500), st.text(max_size=500))
def test_what_is_shown_of_a_report_is_one_printable_line(recipient: str, diagnostic: str) -> None:
    """B-8."""
    fields = f"Final-Recipient: rfc822; {recipient}\nDiagnostic-Code: smtp; {diagnostic * 9}\nStatus: 5.1.1"
    for raw in (dsn(fields, to=BOUNCE), in_words(f"not delivered\n<{recipient}@x>: {diagnostic}")):
        check_bounded(reading(raw))


def check_bounded(found: Returned) -> None:
    for one in found.results:
        for shown in (one.recipient, one.status, one.diagnostic):
            assert shown.isprintable()
            assert len(shown) <= KEPT
    for name in found.message_ids:
        assert re.fullmatch(r"<[!-~]+>", name)


def test_what_lies_beyond_a_mebibyte_is_not_looked_at() -> None:
    """B-4."""
    head = b"From: MAILER-DAEMON@x\nSubject: x\n\n"
    assert told(head + b"x" * LONGEST + b"\nmail failed\n<ann@example.net>: no such user") == []
    parts = opened(dsn() + b"--=_b\nContent-Type: text/plain\n\n" * 100_000).parts
    assert len(parts) <= 101


NESTED = b'--=_b\nContent-Type: multipart/mixed; boundary="=_n"\n\n--=_n\n\n'
MEBIBYTE = {
    "lines": dsn() + b"\n" * LONGEST,
    "one line": in_words("not delivered") + b"a@" * LONGEST,
    "brackets": in_words("not delivered") + b"<a@b " * (LONGEST // 5),
    "tags": in_words("x").replace(b"\n\n", b"\nContent-Type: text/html\n\n") + b"<" * LONGEST,
    "boundaries": dsn() + b"--=_b\n" * (LONGEST // 6),
    "recipients": dsn(FIELDS * (LONGEST // len(FIELDS))),
    "headers": b"a: b\n" * (LONGEST // 5),
    "a folded header": b"a: b\n" + b" c\n" * (LONGEST // 3),
    "tokens": b"To: " + b",".join([f"b+{'A' * 36}@x.org".encode()] * 25_000),
    "a content type": b"Content-Type: multipart/report; " + b"boundary =" * (LONGEST // 10),
    "a diagnostic": dsn(FIELDS + " 5.1" * (LONGEST // 4)),
    "base64": dsn("QUJD" * (LONGEST // 4), encoding="base64"),
    "commas": in_words("not delivered\n" + ", a@" * (LONGEST // 4)),
    "parts in parts": dsn() + NESTED * (LONGEST // len(NESTED)),
    "every part another": dsn() + b"".join(NESTED.replace(b"=_n", b"%d" % n) for n in range(12_000)),
    "quoted-printable": dsn("=41=\n" * (LONGEST // 5), encoding="quoted-printable"),
    "fields in quoted-printable": in_words("not delivered\n" + "Final-Recipient=3D=20" * (LONGEST // 21)),
    "lines for every reader": in_words("not delivered\n" + f"{'x' * 240}@{'y.' * 120}z <\n" * 2000),
    "spaces": in_words("not delivered\n" + (" " * 499 + "\n") * 2000),
    "recipients that failed": b"X-Failed-Recipients: a@b.example\n" * 30_000 + in_words("not delivered"),
    "addresses to tell apart": in_words("not delivered\n" + "".join(f"<a{n}@b.cd>\n" for n in range(9**5))),
    "carriage returns": in_words("not delivered") + b"\r" * LONGEST,
    "a complaint": complaint().replace(b"Version", b"Original-Rcpt-To: a@b.example\n" * 30_000 + b"Version"),
}


@pytest.mark.parametrize("name", MEBIBYTE)
def test_a_mebibyte_made_to_be_slow_takes_no_longer_than_any(name: str) -> None:
    """B-4."""
    began = time.process_time()
    check_bounded(reading(MEBIBYTE[name]))
    assert time.process_time() - began < LONGEST_READING


# Real reports.


@pytest.fixture(scope="module")
def samples(shared_data: Path) -> dict[str, bytes]:
    """The reports that were read by hand, by file name."""
    return {path.name: path.read_bytes() for path in sorted((shared_data / "bounces").glob("*.eml"))}


#: in the manifest's words: it knows no policy, and calls everything that costs nothing "other"
AS_THE_MANIFEST_SAYS = {Class.HARD: "hard", Class.SOFT: "soft", Class.POLICY: "soft"}


def test_real_reports_are_read_as_people_read_them(samples: dict[str, bytes], shared_data: Path) -> None:
    """B-7, B-9: nobody is called dead who is not, nobody is named who is not meant."""
    seen: Counter[str] = Counter()
    manifest = (shared_data / "bounces" / "manifest.tsv").read_text(encoding="utf-8")
    for row in manifest.splitlines()[1:]:
        name, *_, expected = row.split("\t")[:5]
        results = reading(samples[name]).results
        found = {one.recipient.lower(): AS_THE_MANIFEST_SAYS.get(one.klass, "other") for one in results}
        if expected == "none":
            seen["false hit"] += bool(found)
            continue
        for one in expected.split(";"):
            spellings, klass = one.rsplit("=", 1)
            hit = [found[address] for address in spellings.lower().split("|") if address in found]
            seen["addresses"] += 1
            seen["found"] += bool(hit)
            seen["right"] += klass in hit
            seen["wrongly hard"] += klass != "hard" and "hard" in hit
    assert (seen["wrongly hard"], seen["false hit"]) == (0, 0)
    assert seen["addresses"] == 47
    assert seen["found"] == 47
    assert seen["right"] == 47


def test_no_real_report_names_anybody_of_ours(samples: dict[str, bytes]) -> None:
    """B-2."""
    assert [name for name, raw in samples.items() if reading(raw).signed] == []


def test_real_reports_are_read_however_they_are_damaged(samples: dict[str, bytes]) -> None:
    """B-4: bytes changed, cut, doubled, moved and mixed with another's."""
    chance = random.Random(SEED)
    raws = list(samples.values())
    for number in range(MUTATIONS):
        raw = mutated(raws[number % len(raws)], chance.choice(raws), chance)
        began = time.process_time()
        check_bounded(reading(raw))
        assert time.process_time() - began < LONGEST_READING, f"seed {SEED}, mutation {number}"


def mutated(raw: bytes, other: bytes, chance: random.Random) -> bytes:
    changed = bytearray(raw)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice((1, 1, 2, 8, 60, 400))
        match chance.randrange(6):
            case 0:
                changed[at : at + length] = chance.randbytes(length)
            case 1:
                del changed[at : at + length]
            case 2:
                changed[at:at] = changed[at : at + length] * chance.choice((1, 2, 50))
            case 3:
                start = chance.randrange(len(other))
                changed[at : at + length] = other[start : start + length]
            case 4:
                changed[at:at] = chance.choice(
                    (b"\n\n", b"\r", b"--", b"\0", b"<", b";", b"\xff", b": ", b"=\n")
                )
            case _:
                del changed[at:]
    return bytes(changed)

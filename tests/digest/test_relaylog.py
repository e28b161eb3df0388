"""A relay's log and lists: the forms lines come in, what they prove, and what must not fool or break it."""

import gzip
import io
import json
import random
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digest.errors import DigestError
from digest.sending.parcel import Mail
from digest.sending.relaylog import LONGEST_LINE, PostfixLog, Seen, Word, instant, lines_of, read_list
from digest.sending.smtp import connect
from tests.digest.postfix_relay import NOWHERE, REFUSED, postfix
from tests.digest.sending import relay_at

NAME = "<2015-09.abc@example.org>"
OTHER = "<2015-09.def@example.org>"
NOW = datetime(2015, 10, 2, tzinfo=UTC)
ID = "4bQx1r0zyz2m"


def told(*logs: str | bytes, zone: ZoneInfo | None = None) -> PostfixLog:
    """What these logs, named 0, 1, …, say of the two letters."""
    log = PostfixLog([NAME, OTHER], zone or ZoneInfo("UTC"), NOW)
    raw = [one.encode() if isinstance(one, str) else one for one in logs]
    log.read([(str(number), lines_of(io.BytesIO(one))) for number, one in enumerate(raw)])
    return log


def line(text: str, second: int = 1, tag: str = "postfix/cleanup", host: str = "relay") -> str:
    return f"Oct  1 09:00:{second:02} {host} {tag}[7]: {text}\n"


def cleanup(queue_id: str = ID, name: str = NAME, **more: object) -> str:
    return line(f"{queue_id}: message-id={name}", **more)  # type: ignore[arg-type]


def active(queue_id: str = ID, **more: object) -> str:
    more = {"tag": "postfix/qmgr", **more}
    return line(f"{queue_id}: from=<l@example.org>, size=999, nrcpt=1 (queue active)", **more)  # type: ignore[arg-type]


def delivery(status: str, queue_id: str = ID, service: str = "smtp") -> str:
    text = f"{queue_id}: to=<a@example.org>, relay=mx[192.0.2.1]:25, dsn=2.0.0, status={status} (said so)"
    return line(text, tag=f"postfix/{service}")


# --- what lines prove ---------------------------------------------------------------------------------


def test_a_letter_in_the_queue_is_taken_whatever_came_of_it() -> None:
    """R-4."""
    seen = told(cleanup() + active() + delivery("deferred") + delivery("bounced")).seen
    assert seen == {NAME: Seen(datetime(2015, 10, 1, 9, 0, 1, tzinfo=UTC), ID, "0", {}, False, "bounced")}


@pytest.mark.parametrize(
    "service", ["smtp", "lmtp", "local", "virtual", "pipe", "error", "discard", "relay/smtp"]
)
def test_any_delivery_shows_that_it_is_taken(service: str) -> None:
    found = told(cleanup() + delivery("sent", service=service)).seen[NAME]
    assert (found.queue_id, found.fate) == (ID, "sent")


def test_what_only_came_in_is_not_taken() -> None:
    """cleanup names a letter before its final dot: the connection may have been lost then."""
    lost = line("lost connection after DATA (4096 bytes) from localhost[127.0.0.1]", tag="postfix/smtpd")
    assert told(cleanup() + lost).seen[NAME].queue_id == ""


def test_what_is_handed_on_after_it_was_put_off_was_sent_at_last() -> None:
    assert told(cleanup() + active() + delivery("deferred") + delivery("sent")).seen[NAME].fate == "sent"
    expired = line(f"{ID}: from=<l@example.org>, status=expired, returned to sender", tag="postfix/qmgr")
    assert told(cleanup() + active() + delivery("deferred") + expired).seen[NAME].fate == "expired"


@pytest.mark.parametrize(
    "refusal",
    [
        "milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 5.7.1 spam; from=<l@example.org>",
        "milter-discard: END-OF-MESSAGE from localhost[127.0.0.1]: milter triggers DISCARD action;",
        "reject: header Subject: x from localhost[127.0.0.1]; from=<l@example.org>: 5.7.1 no",
        "discard: body x from localhost[127.0.0.1]; from=<l@example.org>",
    ],
)
def test_what_is_turned_down_at_its_end_is_not_taken(refusal: str) -> None:
    found = told(cleanup() + line(f"{ID}: {refusal}", 2)).seen[NAME]
    assert (found.queue_id, list(found.turned_down.values())) == (
        "",
        [datetime(2015, 10, 1, 9, 0, 2, tzinfo=UTC)],
    )


REFUSAL = line(f"{ID}: reject: END-OF-MESSAGE from localhost[127.0.0.1]: 554 5.7.1 no", tag="postfix/smtpd")


def test_a_refusal_may_stand_before_the_name() -> None:
    """As Postfix 3.7 writes it: smtpd refuses before cleanup has read what is buffered."""
    assert len(told(REFUSAL + cleanup()).seen[NAME].turned_down) == 1
    # … and is not taken for the next letter's, which has the same short queue id.
    assert told(REFUSAL + cleanup(name="<x@y>") + cleanup()).seen[NAME].turned_down == {}
    begun = line(f"{ID}: client=localhost[127.0.0.1]", tag="postfix/smtpd")
    assert told(REFUSAL + begun + cleanup()).seen[NAME].turned_down == {}


def test_the_same_refusal_in_two_copies_of_a_log_is_one() -> None:
    copy = REFUSAL + cleanup()
    assert len(told(copy, copy).seen[NAME].turned_down) == 1


def test_what_is_on_hold_is_neither() -> None:
    found = told(cleanup() + line(f"{ID}: hold: header Subject: x from localhost[127.0.0.1]")).seen[NAME]
    assert (found.queue_id, found.is_on_hold) == ("", True)
    released = line(f"{ID}: released from hold", tag="postfix/postsuper")
    assert told(cleanup() + line(f"{ID}: hold: header x") + released).seen[NAME].queue_id == ID


def test_a_queue_id_that_is_used_again_tells_of_the_next_letter() -> None:
    short = "8858F242282"
    # Its connection was lost, so that it never was removed; then somebody else's letter has its id.
    lines = cleanup(short) + cleanup(short, "<x@y>") + active(short)
    assert told(lines).seen[NAME].queue_id == ""
    removed = line(f"{short}: removed", tag="postfix/qmgr")
    lines = cleanup(short) + active(short) + removed + delivery("bounced", short)
    assert told(lines).seen[NAME].fate == ""


@pytest.mark.parametrize("more", [{"host": "another"}, {"tag": "postfix-in/qmgr"}])
def test_the_same_queue_id_elsewhere_is_another_letter(more: dict[str, str]) -> None:
    """Logs of several hosts or instances in one file."""
    assert told(cleanup() + active(**more)).seen[NAME].queue_id == ""


def test_a_letter_that_comes_back_from_a_content_filter_is_taken_once() -> None:
    lines = cleanup() + active() + delivery("sent") + cleanup("4bQx9r0zyz2m", second=3)
    assert (
        told(lines + active("4bQx9r0zyz2m") + delivery("bounced", "4bQx9r0zyz2m")).seen[NAME].fate
        == "bounced"
    )
    assert told(lines).seen[NAME].queue_id == ID


def test_a_letter_may_go_on_in_the_next_log_in_whatever_order_they_are_given() -> None:
    older, newer = cleanup(second=58), active(second=59) + delivery("sent")
    assert told(newer, older).seen[NAME].log == "0"
    assert told(older, newer).seen[NAME].log == "1"


def test_what_strangers_write_proves_nothing() -> None:
    """A line is what its beginning says; what follows may be a subject, an address, an answer."""
    forged = active().strip()
    assert (
        told(cleanup() + line(f"4bQx2r0zyz2m: warning: header Subject: {forged}")).seen[NAME].queue_id == ""
    )
    assert told(cleanup() + line(forged, tag="sshd")).seen[NAME].queue_id == ""
    assert told(line(f"{ID}: warning: header Subject: message-id={NAME}") + active()).seen == {}
    assert told(cleanup() + "a line of something else " + active()).seen[NAME].queue_id == ""
    said = f"{ID}: to=<a@example.org>, status=sent"
    assert told(
        cleanup() + line(f"4bQx2r0zyz2m: to=<x@y>, status=bounced (x: {said})", tag="postfix/smtp")
    ).seen[NAME] == Seen(datetime(2015, 10, 1, 9, 0, 1, tzinfo=UTC))


# --- the forms of lines -------------------------------------------------------------------------------

STORY = [
    ("postfix-out/cleanup", f"{ID}: message-id={NAME}"),
    ("postfix-out/qmgr", f"{ID}: from=<l@example.org>, size=1 (queue active)"),
]
MICROSECONDS = 1443690001_000000


def as_json(tag: str, text: str) -> str:
    raw: object = text if "message-id" in text else list(text.encode())
    stamp = {"__REALTIME_TIMESTAMP": str(MICROSECONDS), "_HOSTNAME": "relay"}
    return json.dumps({**stamp, "SYSLOG_IDENTIFIER": tag, "MESSAGE": raw}) + "\n"


FORMS = {
    "traditional": lambda tag, text: f"Oct  1 09:00:01 relay {tag}[7]: {text}\n",
    "with microseconds": lambda tag, text: f"Oct  1 09:00:01.123456 relay {tag}[7]: {text}\n",
    "with a priority": lambda tag, text: f"<22>Oct  1 09:00:01 relay {tag}[7]: {text}\r\n",
    "RFC 3339": lambda tag, text: f"2015-10-01T12:00:01.123456+03:00 relay {tag}[7]: {text}\n",
    "RFC 3339, Z": lambda tag, text: f"2015-10-01T09:00:01Z relay {tag}[7]: {text}\n",
    "journalctl -o short-iso": lambda tag, text: f"2015-10-01T12:00:01+0300 relay {tag}[7]: {text}\n",
    "journalctl -o json": as_json,
    "journalctl -o export": lambda tag, text: (
        f"__CURSOR=s=1\n__REALTIME_TIMESTAMP={MICROSECONDS}\n_HOSTNAME=relay\nSYSLOG_IDENTIFIER={tag}\n"
        f"MESSAGE={text}\n\n"
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_line_says_the_same_in_every_form(form: str) -> None:
    log = told("".join(FORMS[form](tag, text) for tag, text in STORY))
    assert (log.seen[NAME].queue_id, log.lines, log.names) == (ID, 2, 1)
    assert log.first_at == log.last_at == log.seen[NAME].seen_at
    assert log.first_at is not None
    assert log.first_at.replace(microsecond=0) == datetime(2015, 10, 1, 9, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("stamp", "zone", "now", "expected"),
    [
        (b"Oct  1 09:00:01", "Europe/Kyiv", "2015-10-02T00:00Z", "2015-10-01T06:00:01Z"),
        (b"Dec 31 23:59:59", "UTC", "2016-01-01T00:10Z", "2015-12-31T23:59:59Z"),
        (b"Jan  1 00:00:05", "UTC", "2015-12-31T23:59Z", "2016-01-01T00:00:05Z"),
        (b"Feb 29 10:00:00", "UTC", "2015-03-01T00:00Z", "2012-02-29T10:00:00Z"),
        (b"2015-10-01T09:00:01", "Europe/Kyiv", "2015-10-02T00:00Z", "2015-10-01T06:00:01Z"),
    ],
)
def test_a_stamp_without_a_year_or_a_zone(stamp: bytes, zone: str, now: str, expected: str) -> None:
    found = instant(stamp, ZoneInfo(zone), datetime.fromisoformat(now))
    assert found == datetime.fromisoformat(expected)


def test_the_hour_that_comes_twice_is_read_so_that_a_log_reaches_over_less() -> None:
    """Clocks in Kyiv went back from 04:00 to 03:00 on 25 October 2015."""
    night = "Oct 25 03:30:00 relay postfix/anvil[7]: x\n"
    log = PostfixLog([], ZoneInfo("Europe/Kyiv"), datetime(2015, 10, 26, tzinfo=UTC))
    log.read([("a", [night.encode()])])
    assert (log.first_at, log.last_at) == (
        datetime(2015, 10, 25, 1, 30, tzinfo=UTC),
        datetime(2015, 10, 25, 0, 30, tzinfo=UTC),
    )


# --- odd bytes, and much of them ----------------------------------------------------------------------


#: what reading says of bytes that begin as gzip and go on as something else; the command catches these
TORN = (OSError, EOFError, zlib.error)


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([cleanup().encode(), active().encode()]))))
def test_no_bytes_break_it(pieces: list[bytes]) -> None:
    with suppress(*TORN):
        told(b"".join(pieces))


NASTY = {
    "deep JSON": b'{"MESSAGE":' + b"[" * 60_000,
    "JSON that is no record": b'{"MESSAGE":1,"SYSLOG_IDENTIFIER":"postfix/qmgr"}\n{}\n{"MESSAGE":[999]}\n',
    "an instant beyond time": f'{{"__REALTIME_TIMESTAMP":"{"9" * 5000}","_HOSTNAME":"","MESSAGE":"",'
    f'"SYSLOG_IDENTIFIER":"postfix/qmgr"}}\n'.encode(),
    "a day that is none": b"Xyz 99 99:99:99 relay postfix/qmgr[7]: A: removed\n"
    b"2015-99-99T99:99:99Z relay postfix/qmgr[7]: A: removed\n",
    "NUL and escapes": b"Oct  1 09:00:01 relay postfix/qmgr[7]: \x00\x1b[2J\xff: removed\n" * 3,
    "one long line": b"x" * (3 * LONGEST_LINE),
    "nothing after the colon": b"Oct  1 09:00:01 relay postfix/cleanup[7]: A: message-id=\n",
}


@pytest.mark.parametrize("case", NASTY)
def test_nasty_lines_are_passed_over(case: str) -> None:
    log = told(NASTY[case] + b"\n" + (cleanup() + active()).encode())
    assert log.seen[NAME].queue_id == ID


def test_of_a_line_that_is_too_long_only_the_beginning_is_read() -> None:
    hidden = b"x" * LONGEST_LINE + (cleanup() + active()).encode()
    assert next(lines_of(io.BytesIO(hidden))) == b"x" * LONGEST_LINE
    assert told(hidden).seen == {}


def much(megabytes: int) -> Iterator[bytes]:
    """A busy relay's log: other people's letters, some of them lost or refused half-way."""
    chance = random.Random(1)
    length = 0
    while length < megabytes << 20:
        queue_id = f"{chance.randrange(16**10):010X}"
        story = cleanup(queue_id, f"<{queue_id}@elsewhere>") + active(queue_id) + delivery("sent", queue_id)
        refused = REFUSAL.replace(ID, queue_id)
        yield from (one.encode() for one in (story + refused).splitlines(keepends=True))
        length += len(story) + len(refused)


@pytest.mark.slow
def test_a_long_log_takes_no_more_memory_than_a_short_one() -> None:
    peaks = []
    for megabytes in (1, 4):
        log = PostfixLog([NAME], None, NOW)
        tracemalloc.start()
        log.read([("long", much(megabytes))])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 200_000  # bytes; 4 MB hold 8,000 letters


def test_a_packed_log_is_unpacked_whatever_its_name() -> None:
    assert told(gzip.compress((cleanup() + active()).encode())).seen[NAME].queue_id == ID


# --- Postfix itself -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("long_queue_ids", [True, False])
def test_postfix_writes_what_is_read_here(long_queue_ids: bool) -> None:
    """R-4: taken, bounced, refused after the dot, cut off before it: each is told apart in its own log."""
    hosts = {"sent": "example.net", "bounced": NOWHERE, "refused": REFUSED, "cut": "example.net"}
    names = {what: f"<2015-09.{what}@example.org>" for what in hosts}
    with postfix(long_queue_ids=long_queue_ids) as relay:
        for what, host in hosts.items():
            content = f"Message-ID: {names[what]}\r\nSubject: x\r\n\r\n".encode() + b"Hello\r\n" * 3000
            wire = connect(relay_at(relay.port))
            mail = Mail(mail_from="l@example.org", rcpt_to=f"a@{host}", content=content)
            # Before the dot the connection is cut, as a kill would do it.
            wire.send(mail, wire.sever if what == "cut" else lambda: None)
            wire.quit()
            time.sleep(0.2)
        lines = relay.settled()
    log = PostfixLog(names.values(), None, datetime.now(UTC))
    log.read([("mail.log", [f"{one}\n".encode() for one in lines])])
    found = {what: log.seen.get(name) for what, name in names.items()}
    assert [bool(one and one.queue_id) for one in found.values()] == [True, True, False, False]
    assert [one and one.fate for one in found.values()] == ["sent", "bounced", "", ""]
    assert [len(one.turned_down) for one in found.values() if one] == [0, 0, 1, 0]
    assert log.first_at is not None
    assert abs((log.first_at - datetime.now(UTC)).total_seconds()) < 120


# --- lists --------------------------------------------------------------------------------------------


def listed(text: str) -> dict[str, tuple[Word, int]]:
    found = read_list(lines_of(io.BytesIO(text.encode())), [NAME, OTHER])
    return {name: (one.word, one.line) for name, one in found.items()}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("accepted", Word.TAKEN),
        ("Delivered", Word.TAKEN),
        ("SENT", Word.TAKEN),
        ("bounced", Word.TAKEN),
        ("failed", Word.TAKEN),
        ("rejected", Word.REFUSED),
        ("not_found", Word.NOT_FOUND),
        ("not-found", Word.NOT_FOUND),
        (" unknown ", Word.UNKNOWN),
    ],
)
def test_each_word_of_a_list_has_one_meaning(status: str, word: Word) -> None:
    assert listed(f"message-id,status\n{NAME},{status}\n") == {NAME: (word, 2)}


def test_of_several_lines_about_one_letter_the_safest_counts() -> None:
    """Whoever says the relay has it is believed, then who cannot tell; only then it may be sent again."""
    text = f"status,to,message_id\nrejected,a,{NAME}\nsent,a,{NAME}\nnot found,b,{OTHER}\nunknown,b,{OTHER}\n"
    assert listed(text) == {NAME: (Word.TAKEN, 3), OTHER: (Word.UNKNOWN, 5)}


def test_names_are_known_without_brackets_and_in_any_case() -> None:
    assert listed(f'\ufeff"Message ID","Status"\r\n"{NAME.strip("<>").upper()}","sent"\r\n\r\n') == {
        NAME: (Word.TAKEN, 2)
    }


@given(st.binary(max_size=300))
def test_a_list_is_read_or_is_one_line_of_complaint(content: bytes) -> None:
    for head in (b"", b"message-id,status\n"):
        with suppress(DigestError, *TORN):
            read_list(lines_of(io.BytesIO(head + content)), [NAME])

"""Replies: read from any bytes within limits, and judged by whom they are about."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.sending.replies import (
    LONGEST_LINE,
    LONGEST_REPLY,
    Garbled,
    Phase,
    Verdict,
    judge,
    reply,
    take_reply,
)

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))

texts = st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"").replace(b"\r", b"")), min_size=1)


def wire(code: int, lines: list[bytes], end: bytes = b"\r\n") -> bytes:
    marks = [b"-"] * (len(lines) - 1) + [b" "]
    return b"".join(b"%d%s%s%s" % (code, mark, line, end) for mark, line in zip(marks, lines, strict=True))


@settings(max_examples=EXAMPLES)
@given(st.integers(200, 599), texts, st.sampled_from([b"\r\n", b"\n"]), st.binary(max_size=20))
def test_a_reply_is_read_back_as_written_and_what_follows_is_kept(
    code: int, lines: list[bytes], end: bytes, rest: bytes
) -> None:
    """W-11."""
    assert take_reply(wire(code, lines, end) + rest) == (code, lines, rest)


@settings(max_examples=EXAMPLES)
@given(st.integers(200, 599), texts, st.data())
def test_a_part_of_a_reply_asks_for_more(code: int, lines: list[bytes], data: st.DataObject) -> None:
    """W-11."""
    whole = wire(code, lines)
    cut = data.draw(st.integers(0, len(whole) - 1))
    assert take_reply(whole[:cut]) is None


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=3000))
def test_any_bytes_are_a_reply_or_garbled_or_unfinished(octets: bytes) -> None:
    """W-11."""
    try:
        found = take_reply(octets)
    except Garbled:
        return
    assert found is None or 200 <= found[0] <= 599


@pytest.mark.parametrize(
    "octets",
    [
        b"hello\r\n",
        b"99 no\r\n",
        b"600 no\r\n",
        b"2500 no\r\n",
        b"250-one\r\n251 two\r\n",
        b"\r\n",
        b"2" * LONGEST_LINE,
        b"250-" + b"a" * LONGEST_LINE,
        b"250-a\r\n" * (LONGEST_REPLY // 7 + 1),
        b"\xff\xfe\r\n",
    ],
)
def test_what_is_no_reply_is_garbled_as_soon_as_that_is_certain(octets: bytes) -> None:
    """W-11."""
    with pytest.raises(Garbled):
        take_reply(octets)


def test_a_line_with_nothing_but_the_code_is_a_reply() -> None:
    assert take_reply(b"250\r\n") == (250, [b""], b"")


def test_a_reply_becomes_one_printable_line_with_its_enhanced_code() -> None:
    found = reply(550, [b"5.1.1 no\x1b[31m such", b"5.1.1 \xffuser\x00"], Phase.RCPT)
    assert (found.enhanced, found.text) == ("5.1.1", "5.1.1 no [31m such 5.1.1 \ufffduser")
    assert str(found) == "550 5.1.1 no [31m such 5.1.1 \ufffduser (after RCPT TO)"
    assert reply(550, [b"5.1.10000 no"], Phase.RCPT).enhanced == ""


@pytest.mark.parametrize(
    ("phase", "answer", "verdict"),
    [
        (Phase.MAIL, "250 2.1.0 ok", None),
        (Phase.MAIL, "451 4.3.0 later", Verdict.UNSENT),
        (Phase.MAIL, "421 4.7.0 closing", Verdict.UNSENT),
        (Phase.MAIL, "550 5.1.8 bad sender", Verdict.REFUSED),
        (Phase.MAIL, "552 5.3.4 too big", Verdict.REFUSED),
        (Phase.MAIL, "530 5.7.0 must use TLS", Verdict.REFUSED),
        (Phase.RCPT, "534 5.5.0 another way to log in", Verdict.REFUSED),
        (Phase.RCPT, "538 5.5.0 only with TLS", Verdict.REFUSED),
        (Phase.RSET, "250 ok", None),
        (Phase.RSET, "451 4.3.0 later", Verdict.UNSENT),
        (Phase.RSET, "500 5.5.1 what", Verdict.REFUSED),
        (Phase.RCPT, "250 2.1.5 ok", None),
        (Phase.RCPT, "251 will forward", None),
        (Phase.RCPT, "450 4.2.1 busy", Verdict.DEFERRED),
        (Phase.RCPT, "451 4.7.1 greylisted", Verdict.DEFERRED),
        (Phase.RCPT, "452 4.2.2 full", Verdict.DEFERRED),
        (Phase.RCPT, "421 4.4.2 closing", Verdict.UNSENT),
        (Phase.RCPT, "550 5.1.1 unknown", Verdict.REJECTED),
        (Phase.RCPT, "550 no such user", Verdict.REJECTED),
        (Phase.RCPT, "552 5.2.2 full", Verdict.REJECTED),
        (Phase.RCPT, "553 5.1.7 sender", Verdict.REFUSED),
        (Phase.RCPT, "554 5.7.1 relay access denied", Verdict.REFUSED),
        (Phase.RCPT, "530 authentication required", Verdict.REFUSED),
        (Phase.DATA, "354 go", None),
        (Phase.DATA, "250 what", Verdict.UNSENT),
        (Phase.DATA, "451 4.3.0 later", Verdict.DEFERRED),
        (Phase.DATA, "554 5.5.1 no valid recipients", Verdict.REJECTED),
        (Phase.DOT, "250 2.0.0 queued as 4F2", Verdict.ACCEPTED),
        (Phase.DOT, "451 4.3.0 later", Verdict.DEFERRED),
        (Phase.DOT, "421 4.3.2 closing", Verdict.DEFERRED),
        (Phase.RCPT, "555 5.5.4 unsupported option: NOTIFY", Verdict.REFUSED),
        (Phase.RCPT, "550 5.5.0 mailbox unavailable", Verdict.REJECTED),
        (Phase.DOT, "552 5.3.4 too big", Verdict.REFUSED),
        (Phase.DOT, "554 5.6.0 content not wanted", Verdict.REFUSED),
        (Phase.DOT, "553 5.6.7 needs SMTPUTF8", Verdict.REJECTED),
        (Phase.DOT, "554 5.3.0 failed", Verdict.REJECTED),
        (Phase.DOT, "550 5.7.1 spam", Verdict.REFUSED),
        (Phase.DOT, "354 again?", Verdict.IN_DOUBT),
    ],
)
def test_each_answer_means_one_thing(phase: Phase, answer: str, verdict: Verdict | None) -> None:
    """W-5."""
    code, _, text = answer.partition(" ")
    assert judge(reply(int(code), [text.encode()], phase)) == verdict

"""The wire against servers that drop, lie, stall and strip: what became of the letter is always known."""

import os
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.errors import UsageError
from digest.sending.parcel import Mail, faultless, mail_command, rcpt_command, stuffed
from digest.sending.relay import Relay, RelayRefused, RelayUnavailable, Security, Timeouts
from digest.sending.replies import Verdict
from digest.sending.smtp import Sent, Wire, connect, deliver
from tests.digest.evil_server import (
    DROP,
    RESET,
    Answer,
    Drip,
    EvilServer,
    Script,
    Slow,
    Then,
    certificate,
    free_port,
    serving,
    trusting,
)

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
#: RFC 5321's ten minutes after the dot are one second, for servers that are slow on purpose
SHORT = Timeouts().scaled(1 / 600)
#: … and 20 seconds for the others, on a machine that is busy
LONG = Timeouts().scaled(1 / 30)

BODY = b"From: a@example.org\r\nMessage-ID: <one@example.org>\r\n\r\nHello\r\n"
LETTER = Mail("b+1@example.org", "reader@example.net", BODY, "<one@example.org>")


def relay(port: int, **more: object) -> Relay:
    settings = {"security": Security.NONE, "timeouts": LONG, **more}
    return Relay(host="127.0.0.1", port=port, **settings)  # type: ignore[arg-type]


def fitting(script: Script) -> Timeouts:
    """The time-outs for a server of that script."""
    return SHORT if any(isinstance(answer, Slow | Drip) for answer in script.values()) else LONG


def sent_over(
    script: Script, letter: Mail = LETTER, offers: Sequence[str] = ()
) -> tuple[Sent, EvilServer, list[str]]:
    """What became of one letter, and whether it was marked before the dot."""
    marks: list[str] = []
    with EvilServer(script, offers) as server:
        wire = connect(relay(server.port, timeouts=fitting(script)))
        sent = wire.send(letter, lambda: marks.append("marked"))
        wire.quit()
    return sent, server, marks


def test_a_letter_is_accepted_with_the_relays_own_words() -> None:
    sent, server, marks = sent_over({})
    assert (sent.verdict, str(sent.reply)) == (
        Verdict.ACCEPTED,
        "250 2.0.0 queued as 4F2 (after the final dot)",
    )
    assert [caught.content for caught in server.letters] == [BODY]
    assert marks == ["marked"]
    assert server.lines[-1] == "QUIT"


#: what the server does, what becomes of the letter, whether it was marked
FAULTS: list[tuple[str, Answer, Verdict, bool]] = [
    ("MAIL", b"421 4.3.2 closing\r\n", Verdict.UNSENT, False),
    ("MAIL", b"451 4.3.0 later\r\n", Verdict.UNSENT, False),
    ("MAIL", b"550 5.1.8 bad sender\r\n", Verdict.REFUSED, False),
    ("MAIL", DROP, Verdict.UNSENT, False),
    ("MAIL", RESET, Verdict.UNSENT, False),
    ("MAIL", b"garbage\r\n", Verdict.UNSENT, False),
    ("MAIL", Slow(0.8, b"250 ok\r\n"), Verdict.UNSENT, False),
    ("RCPT", b"421 4.3.2 closing\r\n", Verdict.UNSENT, False),
    ("RCPT", b"451 4.7.1 greylisted\r\n", Verdict.DEFERRED, False),
    ("RCPT", b"550 5.1.1 unknown\r\n", Verdict.REJECTED, False),
    ("RCPT", b"554 5.7.1 relay access denied\r\n", Verdict.REFUSED, False),
    ("RCPT", DROP, Verdict.UNSENT, False),
    ("RCPT", b"250-a\r\n251 b\r\n", Verdict.UNSENT, False),
    ("DATA", b"451 4.3.0 later\r\n", Verdict.DEFERRED, False),
    ("DATA", b"554 5.5.1 no\r\n", Verdict.REJECTED, False),
    ("DATA", b"421 4.3.2 closing\r\n", Verdict.UNSENT, False),
    ("DATA", DROP, Verdict.UNSENT, False),
    ("DATA", RESET, Verdict.UNSENT, False),
    ("DATA", b"250 what?\r\n", Verdict.UNSENT, False),
    ("dot", b"451 4.3.0 later\r\n", Verdict.DEFERRED, True),
    ("dot", b"421 4.3.2 closing\r\n", Verdict.DEFERRED, True),
    ("dot", b"552 5.2.2 full\r\n", Verdict.REJECTED, True),
    ("dot", b"550 5.7.1 policy\r\n", Verdict.REFUSED, True),
    ("dot", DROP, Verdict.IN_DOUBT, True),
    ("dot", RESET, Verdict.IN_DOUBT, True),
    ("dot", b"garbage\r\n", Verdict.IN_DOUBT, True),
    ("dot", b"250-ok\r\n550 no\r\n", Verdict.IN_DOUBT, True),
    ("dot", Then(b"250"), Verdict.IN_DOUBT, True),
    ("dot", b"250 " + b"x" * 9000 + b"\r\n", Verdict.IN_DOUBT, True),
    ("dot", b"250-more\r\n" * 10_000, Verdict.IN_DOUBT, True),
    ("dot", Then(b"250 ok\r\n"), Verdict.ACCEPTED, True),
    ("dot", Slow(0.9, b"250 ok\r\n"), Verdict.ACCEPTED, True),
    ("dot", Slow(1.4, b"250 ok\r\n"), Verdict.IN_DOUBT, True),
    ("dot", Drip(0.12, b"250 slow and steady\r\n"), Verdict.IN_DOUBT, True),
    ("RCPT", Drip(0.06, b"250 slow and steady\r\n"), Verdict.UNSENT, False),
]


@pytest.mark.parametrize("offers", [(), ("PIPELINING",)], ids=["one by one", "pipelined"])
@pytest.mark.parametrize(("phase", "answer", "verdict", "marked"), FAULTS)
def test_whatever_the_server_does_the_fate_of_the_letter_is_known(
    phase: str, answer: Answer, verdict: Verdict, marked: bool, offers: Sequence[str]
) -> None:
    """W-3, W-5, W-11, F-13, F-14, F-15, F-16, F-18, F-19, F-20, F-21.

    The letter is marked if and only if the dot may have gone.
    """
    sent, server, marks = sent_over({phase: answer}, offers=offers)
    assert (sent.verdict, marks == ["marked"]) == (verdict, marked)
    assert bool(server.asked("dot")) == marked
    assert sent.why


def test_a_drop_in_the_middle_of_the_letter_leaves_no_doubt() -> None:
    big = replace(LETTER, content=BODY + b"x" * 70 + b"\r\n" * 2_000_000)
    sent, server, marks = sent_over({"body": RESET}, big)
    assert (sent.verdict, marks, server.letters) == (Verdict.UNSENT, [], [])


def test_a_server_that_stops_reading_runs_into_the_time_of_a_block() -> None:
    """W-3: three minutes for a block, here 0.3 seconds."""
    big = replace(LETTER, content=BODY + (b"x" * 70 + b"\r\n") * 500_000)
    sent, _, marks = sent_over({"body": Slow(1, b"")}, big)
    assert (sent.verdict, marks) == (Verdict.UNSENT, [])


def test_nothing_of_the_dot_is_out_while_the_mark_is_written() -> None:
    """R-3: the server has the whole letter and waits for the dot while before_dot runs."""
    with EvilServer() as server:
        wire = connect(relay(server.port))

        def before_dot() -> None:
            time.sleep(0.3)
            assert server.asked("dot") == 0

        assert wire.send(LETTER, before_dot).verdict is Verdict.ACCEPTED
        wire.quit()


def test_a_letter_that_is_marked_already_goes_with_its_dot_and_the_next_envelope() -> None:
    """R-3: not a byte of it is out before its mark."""
    happened: list[str] = []
    script: Script = {"body": b"", "dot": b"250 ok\r\n"}
    with EvilServer(script, offers=("PIPELINING",)) as server:
        wire = connect(relay(server.port))

        def marked() -> Mail:
            time.sleep(0.1)
            happened.append(f"marked, {server.asked('body')} letters begun")
            return following

        following = replace(LETTER, rcpt_to="next@example.net")
        sent = wire.send(LETTER, marked, at_once=True)
        happened.append(sent.verdict)
        assert wire.has_opened(following)
        assert wire.send(following, lambda: None, at_once=True).verdict is Verdict.ACCEPTED
        wire.quit()
    assert happened == ["marked, 0 letters begun", "accepted"]
    assert [caught.content for caught in server.letters] == [BODY, BODY]


def test_a_drop_in_the_middle_of_a_letter_that_goes_with_its_dot_leaves_no_doubt() -> None:
    # Of less, the kernels of both sides may take all before the server has looked at any.
    big = replace(LETTER, content=BODY + b"x" * 70 + b"\r\n" * 20_000_000)
    with EvilServer({"body": RESET}) as server:
        sent = connect(relay(server.port)).send(big, lambda: None, at_once=True)
    assert (sent.verdict, server.letters) == (Verdict.UNSENT, [])


def test_what_the_mark_raises_keeps_the_dot_back() -> None:
    class Refused(Exception):
        pass

    def before_dot() -> None:
        raise Refused

    with EvilServer() as server:
        wire = connect(relay(server.port))
        with pytest.raises(Refused):
            wire.send(LETTER, before_dot)
        assert not wire.is_open
        time.sleep(0.1)
    assert (server.asked("dot"), server.letters) == (0, [])


def test_after_a_refused_recipient_the_same_connection_goes_on() -> None:
    with EvilServer({"RCPT": [b"550 5.1.1 no\r\n", b"250 ok\r\n"]}) as server:
        wire = connect(relay(server.port))
        verdicts = [wire.send(LETTER, lambda: None).verdict for _ in range(2)]
        wire.quit()
    assert verdicts == [Verdict.REJECTED, Verdict.ACCEPTED]
    assert server.connections == 1
    assert [line for line in server.lines if line == "RSET"] == ["RSET"]


@pytest.mark.parametrize("leave", [DROP, RESET, b"421 4.7.0 enough for today\r\n"])
def test_a_server_may_end_a_connection_that_served_before_the_next_letter(leave: Answer) -> None:
    """W-4: some close without a word after some letters."""
    with EvilServer({"MAIL": [b"250 ok\r\n", leave]}) as server:
        wire = connect(relay(server.port))
        first = wire.send(LETTER, lambda: None)
        second = wire.send(LETTER, lambda: None)
    assert (first.verdict, first.was_let_go) == (Verdict.ACCEPTED, False)
    assert (second.verdict, second.was_let_go, wire.is_open) == (Verdict.UNSENT, True, False)


def test_a_connection_is_worn_after_its_letters() -> None:
    """W-4."""
    with EvilServer() as server:
        wire = connect(relay(server.port, letters_per_connection=2))
        worn = []
        for _ in range(2):
            worn.append(wire.is_worn)
            wire.send(LETTER, lambda: None)
        assert (worn, wire.is_worn) == ([False, False], True)
        wire.quit()


def test_a_severed_wire_wakes_at_once() -> None:
    with EvilServer({"dot": Slow(1.5, b"250 ok\r\n")}) as server:
        wire = connect(relay(server.port, timeouts=Timeouts()))
        threading.Timer(0.2, wire.sever).start()
        start = time.monotonic()
        assert wire.send(LETTER, lambda: None).verdict is Verdict.IN_DOUBT
        assert time.monotonic() - start < 1.2


# --- connecting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"greeting": b"554 5.3.2 no service\r\n"}, RelayRefused),
        ({"greeting": b"421 4.3.2 too busy\r\n"}, RelayUnavailable),
        ({"greeting": DROP}, RelayUnavailable),
        ({"greeting": b"SSH-2.0-OpenSSH_9.2\r\n"}, RelayUnavailable),
        ({"greeting": b"220-" + b"x" * 100_000}, RelayUnavailable),
        ({"greeting": b"220-and\r\n" * 20_000}, RelayUnavailable),
        ({"greeting": Drip(0.08, b"220 slow and steady\r\n")}, RelayUnavailable),
        ({"EHLO": b"550 5.7.1 go away\r\n"}, RelayRefused),
        ({"EHLO": b"421 4.3.2 closing\r\n"}, RelayUnavailable),
        ({"EHLO": DROP}, RelayUnavailable),
    ],
)
def test_a_relay_that_does_not_let_us_in_says_which_way(script: Script, error: type[Exception]) -> None:
    """W-5, W-11."""
    with EvilServer(script) as server:
        with pytest.raises(error) as told:
            connect(relay(server.port, timeouts=fitting(script)))
        assert "\n" not in str(told.value)
    assert not any(line.startswith("MAIL") for line in server.lines)


def test_a_relay_that_is_not_there_is_unavailable() -> None:
    with EvilServer() as gone:
        pass
    with pytest.raises(RelayUnavailable, match="Connection refused"):
        connect(relay(gone.port))


LOGIN = {"username": "letters", "password": "s3cret-word"}
OFFERING = b"250-evil\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"


def certified(name: str) -> Callable[[Path], tuple[ssl.SSLContext, ssl.SSLContext]]:
    def made(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        path = certificate(folder, name)
        return serving(path), trusting(path)

    return made


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_inside_tls_a_letter_goes_out_and_the_login_with_it(tmp_path: Path, security: Security) -> None:
    ours, theirs = certified("127.0.0.1")(tmp_path)
    with EvilServer({"EHLO": OFFERING}, tls=ours, at_once=security is Security.TLS) as server:
        wire = connect(relay(server.port, security=security, context=theirs, **LOGIN))
        assert wire.send(LETTER, lambda: None).verdict is Verdict.ACCEPTED
        wire.quit()
    assert any(line.startswith("AUTH PLAIN") for line in server.lines)
    # RFC 3207, section 4.2: what was offered in clear counts for nothing.
    hellos = [line for line in server.lines if line[:4].upper() == "EHLO"]
    assert len(hellos) == (2 if security is Security.STARTTLS else 1)


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.parametrize("flaw", ["self-signed", "wrong name", "old protocol"])
def test_no_letter_and_no_password_goes_to_whom_we_cannot_trust(
    tmp_path: Path, security: Security, flaw: str
) -> None:
    """W-1."""
    ours, theirs = certified("other.example.org" if flaw == "wrong name" else "127.0.0.1")(tmp_path)
    context = {} if flaw == "self-signed" else {"context": theirs}
    if flaw == "old protocol":
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            ours.minimum_version = ours.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        EvilServer({"EHLO": OFFERING}, tls=ours, at_once=security is Security.TLS) as server,
        pytest.raises((RelayRefused, RelayUnavailable)) as told,
    ):
        connect(relay(server.port, security=security, **context, **LOGIN))
    if flaw != "old protocol":
        assert isinstance(told.value, RelayRefused)
        assert "certificate" in str(told.value)
    assert not [line for line in server.lines if line[:4] in ("AUTH", "MAIL")]


@pytest.mark.parametrize(
    "script",
    [
        {"EHLO": b"250-evil\r\n250 AUTH PLAIN LOGIN\r\n"},
        {"EHLO": OFFERING, "STARTTLS": b"454 4.7.0 not now\r\n"},
        {"EHLO": OFFERING, "STARTTLS": b"501 what\r\n"},
        {"EHLO": OFFERING, "STARTTLS": b"220 go\r\n250 injected\r\n"},
        {"EHLO": OFFERING, "STARTTLS": b"250 go\r\n"},
    ],
    ids=["stripped", "454", "501", "injected", "250"],
)
def test_without_starttls_nothing_is_said(tmp_path: Path, script: Script) -> None:
    """W-1: STARTTLS stripped, refused, or with words smuggled in before it."""
    ours, theirs = certified("127.0.0.1")(tmp_path)
    with EvilServer(script, tls=ours) as server, pytest.raises(RelayRefused):
        connect(relay(server.port, security=Security.STARTTLS, context=theirs, **LOGIN))
    assert not [line for line in server.lines if line[:4] in ("AUTH", "MAIL")]


def test_what_is_said_before_tls_is_not_heard_inside_it(tmp_path: Path) -> None:
    ours, theirs = certified("127.0.0.1")(tmp_path)
    script: Script = {"EHLO": OFFERING, "STARTTLS": b"220 go\r\n250-injected\r\n250 AUTH PLAIN\r\n"}
    with EvilServer(script, tls=ours) as server, pytest.raises(RelayRefused, match="said more before TLS"):
        connect(relay(server.port, security=Security.STARTTLS, context=theirs))


def test_a_relay_that_closes_instead_of_starttls_is_tried_again(tmp_path: Path) -> None:
    ours, theirs = certified("127.0.0.1")(tmp_path)
    script: Script = {"EHLO": OFFERING, "STARTTLS": b"421 4.3.2 closing\r\n"}
    with EvilServer(script, tls=ours) as server, pytest.raises(RelayUnavailable, match="421"):
        connect(relay(server.port, security=Security.STARTTLS, context=theirs))


def test_a_plain_server_on_the_port_for_tls_is_refused() -> None:
    with EvilServer() as server, pytest.raises(RelayRefused, match="no TLS"):
        connect(relay(server.port, security=Security.TLS))


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"535 5.7.8 wrong password\r\n", RelayRefused),
        (b"454 4.7.0 not now\r\n", RelayRefused),
        (DROP, RelayUnavailable),
        (b"421 4.3.2 closing\r\n", RelayUnavailable),
        (b"334 !!!\r\n", RelayRefused),
    ],
)
def test_a_login_that_fails_ends_it_without_telling_the_password(
    answer: Answer, error: type[Exception]
) -> None:
    """W-5: our fault, so the run stops."""
    script: Script = {"EHLO": b"250-evil\r\n250 AUTH PLAIN\r\n", "AUTH": answer}
    with EvilServer(script) as server, pytest.raises(error) as told:
        connect(relay(server.port, **LOGIN))
    assert "s3cret" not in str(told.value)
    assert "s3cret" not in repr(relay(1, **LOGIN))


@pytest.mark.parametrize(
    ("ehlo", "login"),
    [
        (b"250 evil\r\n", LOGIN),
        (b"250-evil\r\n250 AUTH XOAUTH2\r\n", LOGIN),
        (b"250-evil\r\n250 AUTH PLAIN\r\n", {"username": "letters", "password": "pässword"}),
    ],
    ids=["no AUTH", "unknown AUTH", "password outside ASCII"],
)
def test_a_login_that_is_not_possible_is_refused(ehlo: bytes, login: dict[str, str]) -> None:
    with EvilServer({"EHLO": ehlo}) as server, pytest.raises(RelayRefused):
        connect(relay(server.port, **login))


@pytest.mark.parametrize("more", [{}, {"insecure": True, **LOGIN}])
def test_without_tls_no_relay_but_on_this_machine(more: dict[str, object]) -> None:
    """W-1: and a password not even with the insecure switch."""
    with pytest.raises(UsageError):
        Relay(host="smtp.example.org", port=25, security=Security.NONE, **more)  # type: ignore[arg-type]


def test_the_insecure_switch_lets_letters_go_in_clear() -> None:
    assert Relay(host="smtp.example.org", port=25, security=Security.NONE, insecure=True).username is None


# --- the envelope and the letter ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "b@example.org>\r\nRCPT TO:<evil@example.org",
        "b@x>",
        "<b@example.org>",
        "a b@example.org",
        "b@example.org\n",
        "b@example.org ",
        "b@exa mple.org",
        "b",
        "@example.org",
        "b@bücher.example",
        "ü@example.org",
        "a" * 250 + "@example.org",
        "a\x00@example.org",
        "",
    ],
)
def test_an_address_that_is_none_never_reaches_the_relay(address: str) -> None:
    """W-9; and W-8: a domain travels as A-labels."""
    with EvilServer() as server:
        wire = connect(relay(server.port))
        with pytest.raises(ValueError, match="address"):
            wire.send(replace(LETTER, rcpt_to=address), lambda: None)
        if address:
            with pytest.raises(ValueError, match="address"):
                wire.send(replace(LETTER, mail_from=address), lambda: None)
        wire.quit()
    assert [line for line in server.lines if line[:4] in ("MAIL", "RCPT")] == []


@pytest.mark.parametrize("body", [b"a\n.\nb", b"a\r.\rb", b"a\n.\r\nb", b"a\r\n.\nb", b"a\rb", b"\n"])
def test_a_bare_line_end_never_reaches_the_relay(body: bytes) -> None:
    """W-10: what two servers could read as two letters is no letter."""
    with pytest.raises(ValueError, match="bare"):
        faultless(replace(LETTER, content=BODY + body + b"\r\n"))


@settings(max_examples=EXAMPLES)
@given(st.lists(st.sampled_from([b".", b"..", b"", b"a.", b".b", b"a", b"QUIT"]), max_size=12), st.booleans())
def test_dots_arrive_as_they_were(lines: list[bytes], ended: bool) -> None:
    """W-10: unstuffing gives the letter back, and no line of it ends the letter."""
    content = b"\r\n".join(lines) + (b"\r\n" if ended and lines else b"")
    wire = stuffed(content)
    assert b"\r\n.\r\n" not in b"\r\n" + wire + (b"" if wire.endswith(b"\r\n") else b"\r\n")
    assert b"\r\n".join(line.removeprefix(b".") for line in wire.split(b"\r\n")) == content


@pytest.mark.parametrize("body", [b".\r\n", b"a\r\n.\r\nb\r\n", b"a\r\n..\r\n.", b"", b"no line end", b".."])
def test_a_letter_with_dots_is_one_letter_on_the_other_side(body: bytes) -> None:
    """W-10, over a real connection; two in a row, so that a second one would be seen."""
    content = BODY + body
    with EvilServer() as server:
        wire = connect(relay(server.port))
        for _ in range(2):
            assert wire.send(replace(LETTER, content=content), lambda: None).verdict is Verdict.ACCEPTED
        wire.quit()
    whole = content if content.endswith(b"\r\n") else content + b"\r\n"
    assert [caught.content for caught in server.letters] == [whole] * 2


def offering(*names: str) -> Callable[[str], bool]:
    return lambda name: name in names


def test_the_envelope_asks_only_for_what_is_offered_and_needed() -> None:
    """W-7, W-8."""
    plain = replace(LETTER, rcpt_to="a+b=c@example.net")
    assert mail_command(plain, offering()) == b"MAIL FROM:<b+1@example.org>"
    assert rcpt_command(plain, offering()) == b"RCPT TO:<a+b=c@example.net>"
    every = offering("size", "dsn", "8bitmime", "smtputf8")
    assert mail_command(plain, every) == (
        b"MAIL FROM:<b+1@example.org> SIZE=%d RET=HDRS ENVID=one@example.org" % len(BODY)
    )
    assert rcpt_command(plain, every) == (
        b"RCPT TO:<a+b=c@example.net> NOTIFY=FAILURE,DELAY ORCPT=rfc822;a+2Bb+3Dc@example.net"
    )
    # RFC 3461, section 4.4: an ENVID has at most 100 characters.
    for length, is_named in ((98, True), (101, False)):
        named = replace(LETTER, message_id=f"<{'x' * length}>")
        assert (b"ENVID" in mail_command(named, every)) is is_named
    wide = replace(LETTER, rcpt_to="ü@example.net", content="ü\r\n".encode(), needs_smtputf8=True)
    assert mail_command(replace(wide, message_id=""), every) == (
        b"MAIL FROM:<b+1@example.org> SIZE=4 SMTPUTF8 BODY=8BITMIME"
    )
    assert rcpt_command(wide, every) == "RCPT TO:<ü@example.net> NOTIFY=FAILURE,DELAY".encode()


def test_an_address_is_counted_in_octets() -> None:
    """RFC 5321, section 4.5.3.1.3."""
    domain = f"{'a' * 60}.example"
    fits = f"{'x' * (254 - len(domain) - 1)}@{domain}"
    faultless(replace(LETTER, rcpt_to=fits))
    with pytest.raises(ValueError, match="not an address"):
        faultless(replace(LETTER, rcpt_to=f"ü{fits[1:]}", needs_smtputf8=True))


def test_what_a_relay_does_not_offer_is_known_before_the_letter_goes() -> None:
    """W-8."""
    wide = replace(LETTER, rcpt_to="ü@example.net", needs_smtputf8=True)
    with EvilServer({"EHLO": b"250 evil\r\n"}) as server:
        wire = connect(relay(server.port))
        assert [wire.lacks(one) for one in (LETTER, wide, replace(LETTER, content=b"\xc3\xbc\r\n"))] == [
            "",
            "SMTPUTF8",
            "8BITMIME",
        ]
        with pytest.raises(ValueError, match="SMTPUTF8"):
            wire.send(wide, lambda: None)
        wire.quit()


# --- the good case, on a server not written by us -------------------------------------------------------


class Keeping:
    """What aiosmtpd was given."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, list[str], bytes]] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: object) -> str:
        content = envelope.content  # type: ignore[attr-defined]
        self.kept.append((envelope.mail_from, envelope.rcpt_tos, content))  # type: ignore[attr-defined]
        return "250 2.0.0 kept"


def test_a_real_server_gets_every_letter_as_it_is() -> None:
    """W-4: one recipient in each transaction, several on one connection."""
    keeping = Keeping()
    controller = Controller(keeping, hostname="127.0.0.1", port=(port := free_port()), enable_SMTPUTF8=True)
    controller.start()
    try:
        wire: Wire = connect(relay(port))
        letters = [replace(LETTER, rcpt_to=f"reader{n}@example.net") for n in range(3)]
        letters.append(replace(LETTER, rcpt_to="leserä@example.net", needs_smtputf8=True))
        assert {wire.send(letter, lambda: None).verdict for letter in letters} == {Verdict.ACCEPTED}
        wire.quit()
        deliver(relay(port), "desk@example.org", ["a@example.org", "b@example.org"], BODY)
    finally:
        controller.stop()
    expected = [("b+1@example.org", [letter.rcpt_to], BODY) for letter in letters]
    expected += [("desk@example.org", [f"{one}@example.org"], BODY) for one in "ab"]
    assert keeping.kept == expected


@dataclass(frozen=True)
class InPieces(Mail):
    """A letter as a stencil makes it: in pieces, and answered for."""

    is_clean: bool = True
    size: int = 1

    @property
    def pieces(self) -> list[bytes]:
        return [self.content[at : at + self.size] for at in range(0, len(self.content), self.size)]


@pytest.mark.parametrize("offers", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")])
@pytest.mark.parametrize(
    ("lines", "size"), [(9, 50), (60, 1), (60_000, 20_000)], ids=["some", "more than one call takes", "big"]
)
def test_a_letter_in_pieces_arrives_whole(lines: int, size: int, offers: Sequence[str]) -> None:
    """W-10: in order, whatever of it one call of the kernel takes."""
    content = BODY + b"".join(b"a line, and its number: %06d\r\n" % number for number in range(lines))
    letter = InPieces(LETTER.mail_from, LETTER.rcpt_to, content, size=size)
    with EvilServer(offers=offers) as server:
        wire = connect(relay(server.port))
        sent = wire.send_all([letter])[0] if wire.window else wire.send(letter, lambda: None)
        wire.quit()
    assert sent.verdict is Verdict.ACCEPTED
    assert [caught.content for caught in server.letters] == [content]


def test_a_mail_that_is_not_taken_is_told() -> None:
    script: Script = {"RCPT": b"550 5.1.1 unknown\r\n"}
    with EvilServer(script) as server, pytest.raises(RelayUnavailable, match="unknown"):
        deliver(relay(server.port), "desk@example.org", ["a@example.org"], BODY)

"""What is asked for on the pages is answered: durably, within limits, once; the editors hear of floods."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from digest.database import reading, writing
from digest.errors import DigestError
from digest.models import Notice, Outgoing
from digest.outbox import keep_asked
from subscribers.address import parse
from subscribers.arrivals import ask_all
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.models import Asked, Subscriber, Ticket, Wish
from subscribers.tokens import Purpose, Signed
from subscribers.wishes import wish
from tests.conftest import ROOT
from tests.digest.evil_server import DROP, GOOD, Answer, EvilServer
from tests.digest.website import NOW, RING, SECRET, Mailroom, answered, postroom, publication

FORM = Evidence(origin=Origin.PAGE, at=NOW, wording="Subscribe", ip="203.0.113.7")


def ask(engine: Engine, *names: str, ip: str = "203.0.113.7") -> None:
    with writing(engine) as session:
        for name in names:
            evidence = Evidence(origin=Origin.PAGE, at=NOW, wording="Subscribe", ip=ip)
            wish(session, Asked.SUBSCRIBE, parse(f"{name}@example.org"), evidence)


@pytest.fixture
def clock() -> list[timedelta]:
    return [timedelta()]


@pytest.fixture
def room(engine: Engine, clock: list[timedelta]) -> Iterator[Mailroom]:
    with answered(engine, publication(), lambda: NOW + clock[0]) as running:
        yield running


def run(engine: Engine, port: int) -> subprocess.Popen[bytes]:
    """A postroom at work in a process of its own."""
    url = engine.url.render_as_string(hide_password=False)
    script = str(Path(__file__).with_name("postroom_run.py"))
    return subprocess.Popen(
        [sys.executable, script, url, str(port)], env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


@pytest.mark.parametrize("phase", ["EHLO", "RCPT", "DATA", "dot"])
def test_no_mail_is_lost_by_a_kill_at_any_moment(engine: Engine, phase: str) -> None:
    """A crash between asking and the relay's yes: the mail goes later; after the dot it may go twice."""
    ask(engine, "anna")
    victim: list[subprocess.Popen[bytes]] = []

    def kill(_line: str) -> Answer:
        if victim[0].poll() is None:
            victim[0].send_signal(signal.SIGKILL)
            victim[0].wait()
            return "take and drop" if phase == "dot" else DROP
        return GOOD[phase]

    with EvilServer({phase: kill}) as relay:
        victim.append(run(engine, relay.port))
        assert victim[0].wait(30) == -signal.SIGKILL
        with reading(engine) as session:
            assert len(session.exec(select(Outgoing)).all()) == 1
        # Whoever took it up may still be at it: nobody else does for ten minutes.
        for minutes, sent in ((5, 0), (11, 1)):
            later = postroom(engine, publication(), relay.port)
            assert later.work(NOW + timedelta(minutes=minutes)) == sent
        assert len(relay.letters) == (2 if phase == "dot" else 1)
    with reading(engine) as session:
        assert session.exec(select(Outgoing)).all() == []
        assert len(session.exec(select(Subscriber)).all()) == 1


def test_several_at_once_send_a_mail_once(engine: Engine) -> None:
    """The web server and the tick, or two hosts."""
    ask(engine, "anna", "ben", "carl")
    with answered(engine, publication(), lambda: NOW) as room:
        threads = [threading.Thread(target=room.work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        to = sorted(mail["To"] for mail in room.mails())
    assert to == ["anna@example.org", "ben@example.org", "carl@example.org"]


def test_a_token_is_in_no_row_before_its_mail_and_as_a_hash_afterwards(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    """T-5."""
    ask(sqlite_engine, "anna")
    with answered(sqlite_engine, publication(), lambda: NOW) as room:
        path = room.link()
    token = path.removeprefix("/c/")
    assert len(token) == 22
    files = list(tmp_path.glob("digest.db*"))
    assert files
    assert not [file for file in files if token.encode() in file.read_bytes()]
    with reading(sqlite_engine) as session:
        assert len(session.exec(select(Ticket)).all()) == 1


def test_what_one_network_asks_for_beyond_the_limit_waits_and_the_editors_are_told_once(
    room: Mailroom, engine: Engine, clock: list[timedelta]
) -> None:
    """U-8: five an hour, the rest later; nobody real is lost."""
    ask(engine, *(f"reader{n}" for n in range(12)))
    assert [room.work(), room.work()] == [5, 0]
    with reading(engine) as session:
        events = [one.event for one in session.exec(select(Notice))]
    assert events == ["form:network:2015-10-01"]
    sent = []
    for hour in (1.1, 2.2, 3.3):
        clock[0] = timedelta(hours=hour)
        sent.append(room.work())
    assert sent == [5, 2, 0]


def test_more_than_the_rate_for_everybody_waits_its_turn(engine: Engine, clock: list[timedelta]) -> None:
    """U-8: DIGEST_SUBSCRIBE_RATE; a letter that is talked about loses no reader."""
    for network in range(9):
        ask(engine, f"reader{network}", ip=f"198.51.{network}.1")
    with answered(engine, publication(), lambda: NOW + clock[0], hourly=7) as room:
        assert [room.work(), room.work()] == [7, 0]
        clock[0] = timedelta(hours=2)
        assert room.work() == 2
    with reading(engine) as session:
        assert session.exec(select(Wish)).all() == []
        assert [one.event for one in session.exec(select(Notice))] == ["form:all:2015-10-01"]


def test_a_relay_that_cannot_be_reached_is_said_and_costs_nothing(engine: Engine) -> None:
    ask(engine, "anna")
    with answered(engine, publication(), lambda: NOW) as room:
        room.relay.script["greeting"] = b"554 no\r\n"
        with pytest.raises(DigestError):
            room.work()
    with reading(engine) as session:
        assert [one.tried for one in session.exec(select(Outgoing))] == [1]


def test_a_mail_that_waited_three_days_is_given_up(
    room: Mailroom, engine: Engine, clock: list[timedelta]
) -> None:
    ask(engine, "anna")
    room.relay.script["RCPT"] = b"451 4.3.0 later\r\n"
    tries = 0
    while clock[0] < timedelta(days=4):
        before = room.relay.asked("RCPT")
        room.work()
        tries += room.relay.asked("RCPT") - before
        clock[0] += timedelta(minutes=30)
    assert 8 <= tries <= 15
    with reading(engine) as session:
        assert session.exec(select(Outgoing)).all() == []


def test_whom_an_import_asks_gets_the_same_mail(room: Mailroom, engine: Engine) -> None:
    """I-3: only on explicit request; the limits of the form are not for editors."""
    ground = Evidence(origin=Origin.IMPORT, at=NOW, wording="a list of 2009")
    people = [parse(f"reader{n}@example.org") for n in range(8)]
    with writing(engine) as session:
        asked = ask_all(session, [Newcomer(one) for one in people], ground, SECRET)
        keep_asked(session, [(asked[one.key], one) for one in people], NOW)
    assert room.work() == 8
    assert {mail["Subject"] for mail in room.mails()} == {"Please confirm: Slow & Water"}


def test_a_mail_carries_what_its_service_gives_back(small: Mailroom, sqlite_engine: Engine) -> None:
    """B-10: else every mistyped address of the form would wait for a person."""
    ask(sqlite_engine, "anna")
    postage = replace(small.postroom.postage, services=["postmark"])
    assert replace(small.postroom, postage=postage).work(NOW) == 1
    (mail,) = small.mails()
    assert RING.read(Purpose.BOUNCE, mail["X-PM-Metadata-digest"]) == Signed(1, 0)


def test_nobody_who_was_forgotten_meanwhile_is_written_to(engine: Engine, room: Mailroom) -> None:
    ask(engine, "anna")
    room.relay.script["RCPT"] = b"451 4.3.0 later\r\n"
    room.work()
    room.relay.script.clear()
    with writing(engine) as session:
        one = session.exec(select(Subscriber)).one()
        one.address, one.address_key = "", "erased 1"
        session.add(one)
    with answered(engine, publication(), lambda: NOW + timedelta(hours=1)) as later:
        assert later.work() == 0
        assert later.mails() == []

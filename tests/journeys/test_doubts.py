"""Letters in doubt, settled from a relay's own log: with a real Postfix, and as an editor meets it."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from digest.database import open_engine, reading, writing
from digest.issue.approve import frozen_of
from digest.models import Delivered, Delivery, Issue
from digest.sending import ledger
from digest.sending.smtp import WINDOW
from digest.settings import load
from digest.wiring import press_of
from subscribers.audience import audience
from tests.digest.postfix_relay import Postfix, postfix

from .conftest import Publication

READERS = 250
KILLS = 3
DISPATCH = "from digest.cli.app import main; main()"


@pytest.fixture
def relay_with_log() -> Iterator[Postfix]:
    with postfix() as running:
        yield running


def taken(lines: list[str]) -> Counter[str]:
    """How often Postfix has each Message-ID in its queue, read another way than the program does."""
    names, copies = {}, Counter[str]()
    for line in lines:
        if found := re.search(r"/cleanup\[\d+\]: (\w+): message-id=(<2015-09\.[^>]+>)", line):
            names[found[1]] = found[2]
        elif (found := re.search(r"/qmgr\[\d+\]: (\w+): from=.* \(queue active\)", line)) and found[
            1
        ] in names:
            copies[names[found[1]]] += 1
    return copies


def killed_dispatch(publication: Publication, relay: Postfix) -> bool:
    """A dispatch has been killed in mid-run; False: it ended before."""
    enough = len(taken(relay.lines())) + 15
    arguments = ["--env", str(publication.folder / ".env"), "dispatch", "2015-09"]
    with subprocess.Popen(
        [sys.executable, "-c", DISPATCH, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as run:
        until = time.monotonic() + 60
        while len(taken(relay.lines())) < enough and run.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        os.kill(run.pid, signal.SIGKILL)
    return run.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_after_kills_postfixs_log_settles_what_is_in_doubt_and_nobody_gets_two(
    approved: Publication, relay_with_log: Postfix, tmp_path: Path
) -> None:
    """R-4: reconciled after each SIGKILL, everybody has exactly one copy at the end."""
    relay = relay_with_log
    people = tmp_path / "people.csv"
    people.write_text("address\n" + "".join(f"reader{number}@example.org\n" for number in range(READERS)))
    report = approved("subscribers", "import", str(people), "--json").json
    approved("subscribers", "import", str(people), "--apply", report["hash"])
    approved.set(SMTP_PORT=relay.port)
    # The relay has been there for long and will be: its log is whole around the run.
    around = [tmp_path / "mail.log.before", tmp_path / "mail.log.after"]
    for path, minutes in zip(around, (-30, 30), strict=True):
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        path.write_text(f"{at.isoformat()} relay postfix-1/anvil[7]: statistics: max cache size 1\n")
    logs = [word for path in (*around, relay.log) for word in ("--postfix-log", str(path))]
    sums = Counter[str]()
    for _ in range(KILLS):
        assert killed_dispatch(approved, relay)
        relay.settled()
        found = approved("reconcile", "2015-09", *logs, "--whole", "--json").json
        assert found["in_doubt"] == found["accepted"] + found["queued"]
        again = approved("reconcile", "2015-09", *logs, "--whole", "--json").json
        assert again["in_doubt"] == 0
        sums.update({word: found[word] for word in ("in_doubt", "accepted", "queued")})
    tally = approved("dispatch", "2015-09", "--json").json
    copies = taken(relay.settled())
    sys.stdout.write(f"{KILLS} kills: {dict(sums)}\n")
    assert (tally["accepted"], tally["in_doubt"], tally["balanced"]) == (READERS + 2, 0, True)
    assert (len(copies), max(copies.values())) == (READERS + 2, 1)
    assert 1 <= sums["in_doubt"] <= 4 * WINDOW * KILLS


class Store:
    """The publication's store, and two letters in doubt as a killed run leaves them."""

    def __init__(self, publication: Publication, at: datetime) -> None:
        self.settings = load(publication.folder / ".env")
        self.engine: Engine = open_engine(self.settings.database_url)
        with writing(self.engine) as session:
            issue = session.exec(select(Issue)).one()
            assert issue.id is not None
            ledger.freeze(session, issue.id, audience(), at)
            run_id = ledger.begin_run(session, issue.id, "host", 1, at)
            for one in ledger.lease(session, issue.id, run_id, at, 10):
                assert ledger.mark(session, run_id, {one.id: at}, at)
            stencil = press_of(self.settings).stencil(frozen_of(session, issue))
            self.names = [stencil.message_id(row.subscriber_id) for row in self.letters(session)]

    def letters(self, session: Any) -> list[Delivery]:
        return list(session.exec(select(Delivery).order_by(col(Delivery.id))))

    def states(self) -> list[Delivered]:
        with reading(self.engine) as session:
            return [row.state for row in self.letters(session)]

    def reasons(self) -> list[str]:
        with reading(self.engine) as session:
            return [row.reason for row in self.letters(session)]


@pytest.fixture
def doubted(approved: Publication) -> Iterator[Store]:
    store = Store(approved, datetime.now(UTC) - timedelta(hours=2))
    yield store
    store.engine.dispose()


def log_of(name: str, queue_id: str = "4bQx1r0zyz2m", status: str = "sent") -> str:
    return (
        f"Oct  1 09:00:01 relay postfix/cleanup[7]: {queue_id}: message-id={name}\n"
        f"Oct  1 09:00:01 relay postfix/qmgr[3]: {queue_id}: from=<l@quay.example>, size=9 (queue active)\n"
        f"Oct  1 09:00:02 relay postfix/smtp[9]: {queue_id}: to=<a@example.org>, "
        f"relay=mx.example.org[192.0.2.1]:25, delay=1, dsn=2.0.0, status={status} (250 ok)\n"
    )


def test_a_dry_run_says_what_would_be_and_changes_nothing(approved: Publication, doubted: Store) -> None:
    log = approved.folder / "mail.log"
    log.write_text(log_of(doubted.names[0], status="bounced"))
    said = approved("reconcile", "2015-09", "--postfix-log", str(log), "--dry-run").out
    assert said.splitlines() == [
        "2015-09: 2 in doubt: 1 would be accepted, 0 would be queued again, 1 would be left as they were",
        "  left, not in the log: 1",
        "  what came of the accepted: 1 bounced",
    ]
    assert doubted.states() == [Delivered.IN_DOUBT] * 2
    found = approved("reconcile", "2015-09", "--postfix-log", str(log), "--json").json
    assert found == {
        "in_doubt": 2,
        "accepted": 1,
        "queued": 0,
        "left": 1,
        "left_because": {"not in the log": 1},
        "fates": {"bounced": 1},
        "dry_run": False,
    }
    assert doubted.states() == [Delivered.ACCEPTED, Delivered.IN_DOUBT]
    assert doubted.reasons()[0] == "the relay's log mail.log has it as 4bQx1r0zyz2m"
    assert "mail.log" in approved("trace", "a@example.org").out


def test_packed_logs_and_standard_input_are_read_like_any(
    approved: Publication, doubted: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = approved.folder / "mail.log.2"
    packed.write_bytes(gzip.compress(log_of(doubted.names[0]).encode()))
    piped = io.TextIOWrapper(io.BytesIO(log_of(doubted.names[1]).encode()))
    monkeypatch.setattr(sys, "stdin", piped)
    logs = ("--postfix-log", str(packed), "--postfix-log", "-")
    assert approved("reconcile", "2015-09", *logs, "--json").json["accepted"] == 2
    assert doubted.reasons() == [
        "the relay's log mail.log.2 has it as 4bQx1r0zyz2m",
        "the relay's log standard input has it as 4bQx1r0zyz2m",
    ]
    assert "no letter is in doubt" in approved("reconcile", "2015-09", "--postfix-log", str(packed)).out


def test_a_list_settles_too_and_what_is_queued_again_is_sent(
    approved: Publication, doubted: Store, mailbox: Any
) -> None:
    csv = approved.folder / "list.csv"
    csv.write_text(f"Message-ID,Status\n{doubted.names[0]},delivered\n{doubted.names[1]},not found\n")
    said = approved("reconcile", "2015-09", "--csv", str(csv)).out
    assert "2 in doubt: 1 accepted, 1 queued again, 0 left as they were" in said
    assert "`digest dispatch 2015-09`" in said
    approved("dispatch", "2015-09")
    assert mailbox.recipients() == ["b@example.org"]
    assert approved("audit", "2015-09", "--json").json["accepted"] == 2


BAD = {
    "a word nobody knows": ("--csv", b"message-id,status\n<x@y>,perhaps\n", "line 2"),
    "no columns": ("--csv", b"<x@y>,sent\n", "line 1"),
    "an empty list": ("--csv", b"", "line 1"),
    "a torn row": ("--csv", b"message-id,status\n\n<x@y>\n", "line 3"),
    "a line without an end": ("--csv", b"message-id,status\n" + b"x" * 99_999, "line 2"),
    "no log": ("--postfix-log", b"message-id,status\n", "Postfix"),
    "an empty log": ("--postfix-log", b"", "Postfix"),
    "a torn archive": ("--postfix-log", gzip.compress(os.urandom(9999))[:5000], "cannot be read"),
    "a false archive": ("--postfix-log", b"\x1f\x8b" + os.urandom(99), "cannot be read"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_read_is_one_line_and_changes_nothing(
    approved: Publication, doubted: Store, case: str
) -> None:
    option, content, word = BAD[case]
    path = approved.folder / "given"
    path.write_bytes(content)
    answer = approved("reconcile", "2015-09", option, str(path), expect=1)
    assert word in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert doubted.states() == [Delivered.IN_DOUBT] * 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2),
        (["--postfix-log", "a", "--csv", "b"], 2),
        (["--csv", "b", "--whole"], 2),
        (["--postfix-log", "a", "--log-zone", "Europe/Nowhere"], 2),
        (["--postfix-log", "a", "--log-zone", "../../etc/passwd"], 2),
        (["--postfix-log", "nowhere.log"], 1),
        (["--postfix-log", "."], 1),
    ],
)
def test_wrong_use_says_so(approved: Publication, words: list[str], code: int) -> None:
    answer = approved("reconcile", "2015-09", *words, expect=code)
    assert answer.err
    assert "Traceback" not in answer.err


def test_a_month_that_was_never_sent_has_nothing_in_doubt(
    publication: Publication, approved: Publication
) -> None:
    log = approved.folder / "mail.log"
    log.write_text(log_of("<x@y>"))
    assert "no letter is in doubt" in approved("reconcile", "2015-09", "--postfix-log", str(log)).out
    assert "2015-08" in approved("reconcile", "2015-08", "--postfix-log", str(log), expect=1).err
    json.loads(approved("reconcile", "2015-09", "--postfix-log", str(log), "--json").out)

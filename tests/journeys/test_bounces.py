"""What came back, by the commands: through a pipe, from a mailbox by cron, looked at, taken back."""

import io
import re
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from digest import database
from digest.settings import load
from subscribers.tokens import Keyring, Purpose
from tests.digest import imap_server
from tests.digest.evil_server import certificate, serving
from tests.digest.reports import dsn
from tests.digest.returning import DEAD, FULL
from tests.journeys.conftest import Answer, Mailbox, Publication

DOMAIN = "bounces.quay.example"
HOSTILE = "From: x@example.com\nSubject: \x1b]0;owned\x07 \u202e<b>hi\n\nsee \x1b[31mme\n".encode()


@pytest.fixture
def sent(approved: Publication) -> Publication:
    """The publication whose September has gone out to a@ and b@."""
    approved.set(BOUNCE_DOMAIN=DOMAIN)
    approved("dispatch", "2015-09")
    return approved


def report(digest: Publication, subscriber_id: int, what: str = DEAD) -> bytes:
    """A report on that reader's letter of September."""
    ring = Keyring(load(digest.folder / ".env").keys)
    token = ring.sign(Purpose.BOUNCE, subscriber_id, 2015 * 12 + 8)
    return dsn(what, to=f"b+{token}@{DOMAIN}")


@pytest.fixture
def pipe(sent: Publication, monkeypatch: pytest.MonkeyPatch) -> "Pipe":
    """A mail server that hands messages to `digest bounces read -`."""
    return Pipe(sent, monkeypatch)


class Pipe:
    def __init__(self, digest: Publication, monkeypatch: pytest.MonkeyPatch) -> None:
        self.digest, self._monkeypatch = digest, monkeypatch

    def __call__(self, raw: bytes, expect: int = 0) -> Answer:
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        return self.digest("bounces", "read", "-", expect=expect)


def states(digest: Publication) -> dict[str, str]:
    return {one["address"]: one["state"] for one in digest("subscribers", "list", "--json").json}


def test_a_pipe_brings_a_dead_mailbox_and_undo_takes_it_back(pipe: Pipe) -> None:
    """B-7, B-6: told by trace, with what the server said; a dry run changes nothing."""
    digest = pipe.digest
    assert pipe(report(digest, 1)).out == ""
    pipe(report(digest, 1))
    assert states(digest) == {"a@example.org": "bounced", "b@example.org": "active"}
    told = digest("trace", "a@example.org").out
    assert "issue of 2015-09 came back, hard: smtp; 550 5.1.1 no such user here; bounced by it" in told
    kinds = [one["kind"] for one in digest("trace", "a@example.org", "--json").json["events"]]
    assert kinds.count("report") == 1
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    window = ("bounces", "undo", "--since", since)
    would = digest(*window, "--dry-run").out
    assert would.splitlines()[0] == "a@example.org: bounced -> active"
    assert states(digest)["a@example.org"] == "bounced"
    assert digest(*window, "--json").json["readers"] == [
        {"address": "a@example.org", "was": "bounced", "is": "active"}
    ]
    assert states(digest)["a@example.org"] == "active"
    assert "0 bounces" in digest(*window).out
    assert "write 2015-10-01T09:00" in digest("bounces", "undo", "--since", "noon", expect=2).err


def test_the_address_of_list_unsubscribe_takes_mail(pipe: Pipe, mailbox: Mailbox) -> None:
    """U-5: as the letter itself names it."""
    (letter,) = [content for to, content in mailbox.letters if to == "b@example.org"]
    unfolded = letter.replace(b"\r\n ", b" ")
    found = re.search(rb"List-Unsubscribe:.*<mailto:([^>]+)>", unfolded)
    assert found is not None
    pipe(b"From: b@example.org\nTo: " + found[1] + b"\nSubject: unsubscribe\n\n")
    assert states(pipe.digest) == {"a@example.org": "active", "b@example.org": "unsubscribed"}


def test_a_pipe_whose_message_cannot_be_kept_is_told_to_try_again(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-3: 75 is EX_TEMPFAIL; with any other code a mail server would give the report up."""
    digest = pipe.digest
    raw = report(digest, 1)
    monkeypatch.setattr(database, "BUSY_TIMEOUT", 100)
    with sqlite3.connect(digest.folder / "digest.db", isolation_level=None) as held:
        held.execute("BEGIN IMMEDIATE")
        assert "locked" in pipe(raw, expect=75).err
        held.execute("ROLLBACK")
    path = digest.folder / ".env"
    kept = path.read_text()
    path.write_text(kept.replace("DIGEST_SENDER=", "DIGEST_SENDRE="))
    assert "DIGEST_SENDRE" in pipe(raw, expect=75).err
    path.write_text(kept)
    pipe(raw)
    assert states(digest)["a@example.org"] == "bounced"


def test_what_waits_is_shown_without_harm_and_settled(pipe: Pipe) -> None:
    """B-2, B-8: nothing in it reaches a terminal that would act there."""
    digest = pipe.digest
    pipe(HOSTILE)
    listed = digest("bounces", "list").out
    number = listed.split("\t")[0]
    assert "somebody wrote" in listed
    for shown in (listed, digest("bounces", "show", number).out):
        assert all(c.isprintable() or c in "\n\t" for c in shown)
        assert "\u202e" not in shown
    document = digest("bounces", "list", "--json").json
    assert [one["from"] for one in document["messages"]] == ["x@example.com"]
    assert digest("bounces", "done", number).out == "1 wait no more\n"
    assert digest("bounces", "list").out == "nothing waits\n"
    assert "no message 99" in digest("bounces", "show", "99", expect=1).err


def test_cron_reads_the_mailbox_and_says_once_when_it_cannot(
    sent: Publication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contract's `digest run` reads bounces."""
    pem = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    with imap_server.running(serving(pem)) as server:
        server.put(report(sent, 1), report(sent, 2, FULL))
        account = {"USERNAME": imap_server.USERNAME, "PASSWORD": f"'{imap_server.PASSWORD}'"}
        names = {f"IMAP_{name}": value for name, value in account.items()}
        assert "not all of them are set" in sent("bounces", "read", "--imap", expect=2).err
        sent.set(IMAP_HOST="localhost", IMAP_PORT=server.port, **names)
        sent("run", expect=None)
        assert states(sent) == {"a@example.org": "bounced", "b@example.org": "active"}
        assert len(server.folders["Processed"]) == 2
        assert sent("bounces", "read", "--imap").out == "nothing came back\n"
    assert "cannot be read" in sent("run", expect=1).err
    assert sent("run").err == ""

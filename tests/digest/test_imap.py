"""A bounce mailbox on an IMAP server: over checked TLS only, moved and never deleted, kept first."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from digest.errors import DigestError
from digest.mailbox import Account
from digest.returns.imap import arrived_by_imap
from digest.returns.keeping import Collected, collect
from digest.returns.parts import LONGEST
from tests.digest import imap_server, returning
from tests.digest.evil_server import certificate, serving, trusting
from tests.digest.imap_server import PASSWORD, USERNAME, Server
from tests.digest.reports import dsn, in_words


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's certificate and key."""
    return certificate(tmp_path_factory.mktemp("imap"), "localhost")


@pytest.fixture
def server(pem: Path) -> Iterator[Server]:
    """A running server with two messages."""
    with imap_server.running(serving(pem)) as running:
        running.put(dsn(), in_words("Nobody knows."))
        yield running


def account(server: Server, pem: Path, password: str = PASSWORD) -> Account:
    return Account(
        host="localhost", port=server.port, username=USERNAME, password=password, trust=trusting(pem)
    )


def test_what_is_kept_is_moved_and_nothing_is_deleted(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime
) -> None:
    """B-3: what was not understood, too; nothing is marked as seen."""
    there = dict(server.folders["INBOX"])
    found = collect(sqlite_engine, arrived_by_imap(account(server, pem)), lambda: now)
    assert found == Collected(new=2, known=0)
    assert server.folders == {"INBOX": {}, "Processed": there}
    assert [one.raw for one in returning.messages(sqlite_engine)] == list(there.values())
    assert not [one for one in server.commands if "STORE" in one or "EXPUNGE" in one]
    server.put(dsn())
    found = collect(sqlite_engine, arrived_by_imap(account(server, pem)), lambda: now)
    assert found == Collected(new=0, known=1)
    assert len(server.folders["Processed"]) == 3


def test_folders_may_have_to_be_below_the_inbox(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime
) -> None:
    server.is_nested = True
    collect(sqlite_engine, arrived_by_imap(account(server, pem)), lambda: now)
    assert len(server.folders["INBOX.Processed"]) == 2


def test_a_mebibyte_of_a_message_is_fetched(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime
) -> None:
    """B-4."""
    server.put(b"x" * (LONGEST + 100_000))
    collect(sqlite_engine, arrived_by_imap(account(server, pem)), lambda: now)
    assert len(returning.messages(sqlite_engine)[-1].raw or b"") == LONGEST


def refusal(server: Server, account: Account, engine: Engine, now: datetime) -> str:
    """What is told; no message was kept or moved."""
    with pytest.raises(DigestError) as caught:
        collect(engine, arrived_by_imap(account), lambda: now)
    assert returning.messages(engine) == []
    assert len(server.folders["INBOX"]) == 2
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_server_that_nobody_vouches_for_is_not_spoken_to(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime
) -> None:
    """The password never leaves."""
    stranger = Account(host="localhost", port=server.port, username=USERNAME, password=PASSWORD)
    assert "certificate" in refusal(server, stranger, sqlite_engine, now)
    assert server.commands == []


def test_a_wrong_password_is_told_in_a_line_without_it(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime
) -> None:
    """S-15, B-8: what the server says may hold an escape sequence."""
    told = refusal(server, account(server, pem, "not-the-one"), sqlite_engine, now)
    assert "wrong" in told
    assert "not-the-one" not in told


def test_without_move_nothing_is_touched(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime
) -> None:
    """To expunge would take what others have marked as deleted."""
    server.capabilities = "IMAP4rev1"
    assert "MOVE" in refusal(server, account(server, pem), sqlite_engine, now)


@pytest.mark.parametrize("when", ["before", "after"])
def test_cut_off_while_it_moves_a_message_is_kept_once(
    server: Server, pem: Path, sqlite_engine: Engine, now: datetime, when: str
) -> None:
    """B-3: whether or not the server has moved it."""

    def cut(at: str, command: str) -> None:
        if (at, command) == (when, "UID MOVE"):
            raise ConnectionError

    server.watch = cut
    with pytest.raises(DigestError, match="what was read is kept"):
        collect(sqlite_engine, arrived_by_imap(account(server, pem)), lambda: now)
    server.watch = lambda _at, _command: None
    left = 2 if when == "before" else 1
    assert len(server.folders["INBOX"]) == left
    found = collect(sqlite_engine, arrived_by_imap(account(server, pem)), lambda: now)
    assert (found.new, found.known) == (1, left - 1)
    assert (len(server.folders["Processed"]), len(returning.messages(sqlite_engine))) == (2, 2)

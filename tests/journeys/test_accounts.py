"""Accounts and tokens by the commands: made, listed, used on the running pages, taken away."""

import io
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from digest.database import open_engine
from digest.settings import load
from digest.wiring import pages_of, shown
from tests.digest.desk import WORDS, Visitor
from tests.digest.website import Site, running
from tests.journeys.conftest import Publication


@contextmanager
def served(publication: Publication) -> Iterator[Site]:
    """The publication's own pages, as `digest serve` puts them together."""
    settings = load(publication.folder / ".env")
    engine = open_engine(settings.database_url)
    app = pages_of(settings, engine)
    site = Site(engine, 0, publication.folder / "spool")
    with running(app, site):
        yield site
    engine.dispose()


def typed(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(words))


def test_editors_come_and_go_by_the_commands(
    publication: Publication, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S-6, S-24: and the running pages follow at once."""
    publication.set(BASE_URL="https://letters.example.org")
    typed(monkeypatch, f"{WORDS}\n")
    said = publication("editors", "add", "Anna@example.org", "--name", "Anna", "--role", "approver").out
    assert said == "Anna@example.org may work at the desk now (approver): https://letters.example.org/desk/\n"
    for password in ("short\n", "", "the ben of the river\n"):
        typed(monkeypatch, password)
        assert "nothing was changed: " in publication("editors", "add", "ben@example.org", expect=1).err
    (one,) = publication("editors", "list", "--json").json
    assert (one["address"], one["name"], one["role"]) == ("Anna@example.org", "Anna", "approver")
    with served(publication) as site:
        anna = Visitor(site)
        assert anna.log_in("anna@EXAMPLE.org").status == 303
        settings = anna.get("/desk/settings").text
        assert "Quay news" in settings
        typed(monkeypatch, "four other words here\n")
        said = publication("editors", "add", "anna@example.org", "--role", "editor").out
        assert said.startswith(
            "anna@example.org has that password and role now, and is logged out everywhere (editor)"
        )
        assert anna.get("/desk/").status == 303
        assert anna.log_in("anna@example.org").status == 403
        assert anna.log_in("anna@example.org", "four other words here").status == 303
        publication("editors", "remove", "anna@example.org")
        assert anna.get("/desk/").status == 303
    assert publication("editors", "list").out == ""
    assert "has no account" in publication("editors", "remove", "anna@example.org", expect=1).err


def test_a_password_is_asked_for_twice_on_a_terminal(publication: Publication) -> None:
    """And is not shown there."""

    def dialogue(*answers: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "digest.cli.app"]
        env = ["--env", str(publication.folder / ".env"), "editors", "add", "anna@example.org"]
        start = "from digest.cli.app import main; main()"
        process = subprocess.Popen(
            [command[0], "-c", start, *env],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        seen = b""
        for prompt, answer in zip((b"password: ", b"Once more: "), answers, strict=True):
            while not seen.endswith(prompt):
                seen += os.read(ours, 4096)
            time.sleep(0.1)
            os.write(ours, answer.encode() + b"\n")
        try:
            while part := os.read(ours, 4096):
                seen += part
        except OSError:
            pass
        os.close(ours)
        return process.wait(30), seen.decode()

    code, seen = dialogue(WORDS, WORDS + "s")
    assert code == 1
    assert "the two passwords differ" in seen
    code, seen = dialogue(WORDS, WORDS)
    assert code == 0
    assert "may work at the desk now (editor)" in seen
    assert WORDS not in seen


def test_a_token_is_shown_once_and_works_until_it_is_revoked(publication: Publication) -> None:
    """S-24: afterwards nobody can read it, and its name is free again."""
    token = publication("tokens", "add", "the site").out.strip()
    assert token.startswith("digest_")
    assert "already" in publication("tokens", "add", "the site", expect=1).err
    with served(publication) as site:
        assert site.get("/api/v1/issues", Authorization=f"Bearer {token}").status == 200
        (one,) = publication("tokens", "list", "--json").json
        assert (one["name"], one["used_at"] is not None) == ("the site", True)
        store = publication.folder / "digest.db"
        files = [path.read_bytes() for path in store.parent.glob("digest.db*")]
        assert not any(token.encode() in content for content in files)
        publication("tokens", "revoke", "the site")
        assert site.get("/api/v1/issues", Authorization=f"Bearer {token}").status == 401
    assert "no token" in publication("tokens", "revoke", "the site", expect=1).err
    assert publication("tokens", "add", "the site").out.strip() != token


def test_no_secret_is_among_the_settings_the_desk_shows(publication: Publication) -> None:
    """S-15"""
    canary = "canary-0123456789abcdef0123456789abcdef"
    names = ("SECRET_KEYS", "SUPPRESSION_KEY", "SMTP_PASSWORD", "IMAP_PASSWORD", "METRICS_TOKEN")
    publication.set(**dict.fromkeys(names, canary))
    publication.set(
        HEARTBEAT_URL=f"https://ping.example.org/{canary}",
        SOURCES=f"https://me:{canary}@example.org/feed, https://example.org/other",
        DATABASE_URL=f"postgresql+psycopg://me:{canary}@127.0.0.1/store",
    )
    told = shown(load(publication.folder / ".env"))
    assert canary not in repr(told)
    assert told["DIGEST_SMTP_PASSWORD"] == told["DIGEST_HEARTBEAT_URL"] == "set, and not shown"
    assert told["DIGEST_SOURCES"] == "https://…@example.org/feed, https://example.org/other"
    assert told["DIGEST_DATABASE_URL"] == "postgresql+psycopg://…@127.0.0.1/store"
    assert told["DIGEST_REPLY_TO"] == ""

"""`digest doctor`, typed: what it says for people, for pipes and for programs, and how it ends."""

import re
import secrets
from pathlib import Path

import pytest

from digest.database import open_engine
from digest.doctor.installation import Asked, Tools
from digest.doctor.line import GROUP, Level
from digest.outfit import clock
from digest.patient import examined
from digest.settings import load
from digest.wiring import pages_of
from tests.digest.website import Site, running

from .conftest import Mailbox, Publication


def test_doctor_names_faults_until_they_are_mended(
    publication: Publication, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """D-5, D-6, D-10: one document for programs, a line each for pipes, exit 4 on faults; nothing is sent."""
    # Where pages and relay are both this machine's own, nothing outside is asked.
    publication.set(BASE_URL="http://127.0.0.1:1")
    sick = publication("doctor", "--json", expect=4)
    assert [line["name"] for line in sick.json["lines"]] == list(GROUP)
    faults = [line for line in sick.json["lines"] if line["level"] == "fail"]
    assert [line["name"] for line in faults] == ["one-click"]
    assert "digest serve" in faults[0]["mend"]
    assert sick.json["faults"] == 1
    assert sick.err.startswith("1 fault, ")
    rows = [line.split("\t") for line in publication("doctor", expect=4).out.splitlines()]
    assert [row[1] for row in rows] == list(GROUP)
    # What a terminal gets, on which the names of what does not apply stand together.
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("digest.cli.examining.sys.stdout.isatty", lambda: True, raising=False)
    shown = re.sub(r"\x1b\[[\d;]*m", "", publication("doctor", expect=4).out)
    assert "✗ one-click" in shown
    assert "→ start `digest serve`" in shown
    assert max(map(len, shown.splitlines())) <= 100
    settings = load(publication.folder / ".env")
    engine = open_engine(settings.database_url)
    site = Site(engine, 0, Path("unused"))
    with running(pages_of(settings, engine), site):
        publication.set(BASE_URL=f"http://127.0.0.1:{site.port}")
        well = publication("doctor")
        settings = load(publication.folder / ".env")
        tools = Tools(now=clock, token=secrets.token_hex)
        at_the_desk = examined(settings, engine, publication.folder / ".env", Asked(), tools)
    engine.dispose()
    assert [line.name for line in at_the_desk if line.level is Level.FAIL] == []
    assert "no faults, " in well.out
    assert mailbox.letters == []


def test_doctor_says_what_it_cannot_read(publication: Publication, tmp_path: Path) -> None:
    """D-10, S-16: broken settings are lines like others; a wrong option is wrong usage."""
    publication.set(SENDER="nobody")
    told = publication("doctor", "--json", expect=4).json
    assert [line["found"] for line in told["lines"] if line["level"] == "fail"] == [
        "DIGEST_SENDER: is not one address: write Name <name@example.org>; for example"
        " DIGEST_SENDER=Slow Water <letters@example.org>"
    ]
    (publication.folder / ".env").chmod(0o644)
    told = publication("doctor", "--json", expect=4).json
    assert [line["name"] for line in told["lines"] if line["level"] == "fail"] == ["file-modes"]
    publication("doctor", "--seed", "a@example.org", "--letter", str(publication.folder / ".env"), expect=2)
    publication("doctor", "--outgoing", "mail.example.org", expect=2)

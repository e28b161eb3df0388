"""A publication of its own for each journey: a folder, settings, a real SMTP server, the real commands."""

import asyncio
import json
import re
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy.engine import make_url

from digest.cli.app import main
from tests.conftest import postgres_database

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/"
 xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>Quay news</title>
<link>https://quay.example/</link><description/>{items}</channel></rss>"""
ITEM = """<item><title>{title}</title><link>https://quay.example/{slug}/</link>
<guid isPermaLink="false">{slug}</guid><pubDate>{date}</pubDate><dc:creator>The quay</dc:creator>
<category>Notes</category><description>{text}</description></item>"""


def feed(*items: tuple[str, str, str]) -> str:
    """An RSS document of (slug, title, date)."""
    text = "A paragraph that says what there is to say about it, and no more."
    shown = [ITEM.format(slug=slug, title=title, date=date, text=text) for slug, title, date in items]
    return FEED.format(items="".join(shown))


@dataclass
class Answer:
    """What a command said and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)


@dataclass
class Mailbox:
    """What the relay took, by recipient; and how it answers the recipient, and the final dot."""

    letters: list[tuple[str, bytes]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    #: whose letters are answered only when they are taken from here
    held: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 welcome"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        to = envelope.rcpt_tos[0]
        while to in self.held:
            await asyncio.sleep(0.02)
        answer = self.answers.get(to, "250 2.0.0 taken")
        if answer.startswith("2"):
            with self.lock:
                self.letters.append((to, envelope.original_content or b""))
        return answer

    def recipients(self) -> list[str]:
        return sorted(to for to, _content in self.letters)


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def relay(mailbox: Mailbox) -> Iterator[int]:
    """The port of a real SMTP server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port, enable_SMTPUTF8=True)
    controller.start()
    yield port
    controller.stop()


def typed(folder: Path, *words: str) -> int:
    """How `digest --env FOLDER/.env WORDS…` ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["digest", "--env", str(folder / ".env"), *words])
        try:
            main()
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
    return 0


def described(folder: Path, **values: object) -> None:
    """Settings are changed in the .env."""
    path = folder / ".env"
    text = path.read_text()
    for name, value in values.items():
        text, count = re.subn(rf"(?m)^#?DIGEST_{name}=.*$", f"DIGEST_{name}={value}", text)
        assert count == 1, name
    path.write_text(text)


class Publication:
    """The commands, as typed in one folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *words: str, expect: int | None = 0) -> Answer:
        """`digest --env FOLDER/.env WORDS…`; fails unless it ends with *expect* (None: anything)."""
        self._capsys.readouterr()
        code = typed(self.folder, *words)
        said = self._capsys.readouterr()
        assert expect is None or code == expect, (words, code, said.out, said.err)
        return Answer(code, said.out, said.err)

    def set(self, **values: object) -> None:
        """Settings are changed in the .env."""
        described(self.folder, **values)

    def feed(self, *items: tuple[str, str, str]) -> str:
        """The path of a feed with these items."""
        path = self.folder / "feed.xml"
        path.write_text(feed(*items))
        return str(path)


READERS = ("a@example.org", "b@example.org")
SEPTEMBER = (
    ("one", "The first", "Sat, 05 Sep 2015 10:00:00 +0300"),
    ("two", "The second", "Sun, 20 Sep 2015 10:00:00 +0300"),
    ("three", "The third", "Wed, 30 Sep 2015 23:59:59 +0300"),
    ("august", "Too early", "Mon, 31 Aug 2015 23:59:59 +0300"),
    ("october", "Too late", "Thu, 01 Oct 2015 00:00:00 +0300"),
)


@pytest.fixture(scope="session")
def folder_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A publication's folder with two subscribers, to be copied: making it takes ten times as long."""
    folder = tmp_path_factory.mktemp("made")
    assert typed(folder, "init") == 0
    described(
        folder,
        PUBLICATION_NAME="Quay news",
        PUBLICATION_URL="https://quay.example",
        SENDER="Quay news <letters@quay.example>",
        BASE_URL="https://letters.quay.example",
        POSTAL_ADDRESS="North Quay 7, 1234 Harbour",
        TIMEZONE="Europe/Kyiv",
        SMTP_SECURITY="none",
    )
    for address in READERS:
        assert typed(folder, "subscribers", "add", address) == 0
    return folder


@pytest.fixture(scope="session")
def folder_approved(folder_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with September 2015 approved."""
    folder = tmp_path_factory.mktemp("approved")
    shutil.copytree(folder_made, folder, dirs_exist_ok=True)
    path = folder / "feed.xml"
    path.write_text(feed(*SEPTEMBER))
    assert typed(folder, "posts", "import", str(path)) == 0
    assert typed(folder, "issue", "build", "2015-09") == 0
    assert typed(folder, "issue", "approve", "2015-09") == 0
    return folder


@pytest.fixture(scope="session")
def database_made(
    postgres_server: str, folder_made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The name of a database with what is in the store of the folder: bringing one up takes seconds."""
    folder = tmp_path_factory.mktemp("on-postgres")
    shutil.copy(folder_made / ".env", folder)
    with postgres_database(postgres_server) as url:
        described(folder, DATABASE_URL=url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", str(folder))
            assert typed(folder, "init") == 0
            for address in READERS:
                assert typed(folder, "subscribers", "add", address) == 0
        yield make_url(url).database or ""


@pytest.fixture
def on_postgres(
    publication: Publication,
    postgres_server: str,
    database_made: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Publication]:
    """The publication with its store on PostgreSQL; state folders are its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with postgres_database(postgres_server, like=database_made) as url:
        publication.set(DATABASE_URL=url)
        yield publication


@pytest.fixture
def publication(
    folder_made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], relay: int
) -> Publication:
    """A publication whose relay is the mailbox, with two subscribers."""
    shutil.copytree(folder_made, tmp_path, dirs_exist_ok=True)
    digest = Publication(tmp_path, capsys)
    digest.set(SMTP_PORT=relay)
    return digest


@pytest.fixture
def approved(publication: Publication, folder_approved: Path) -> Publication:
    """The publication with September 2015 approved."""
    shutil.copytree(
        folder_approved, publication.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".env")
    )
    return publication

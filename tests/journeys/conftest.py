"""A publication of its own for each journey: a folder, settings, a real SMTP server, the real commands."""

import json
import re
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

from digest.cli.app import main

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
    """What the relay took, by recipient; and how it answers the final dot."""

    letters: list[tuple[str, bytes]] = field(default_factory=list)
    answers: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        to = envelope.rcpt_tos[0]
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


class Publication:
    """The commands, as typed in one folder."""

    def __init__(
        self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.folder = folder
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *words: str, expect: int | None = 0) -> Answer:
        """`digest --env FOLDER/.env WORDS…`; fails unless it ends with *expect* (None: anything)."""
        self._monkeypatch.setattr(sys, "argv", ["digest", "--env", str(self.folder / ".env"), *words])
        self._capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        said = self._capsys.readouterr()
        assert expect is None or code == expect, (words, code, said.out, said.err)
        return Answer(code, said.out, said.err)

    def set(self, **values: object) -> None:
        """Settings are changed in the .env."""
        path = self.folder / ".env"
        text = path.read_text()
        for name, value in values.items():
            text, count = re.subn(rf"(?m)^#?DIGEST_{name}=.*$", f"DIGEST_{name}={value}", text)
            assert count == 1, name
        path.write_text(text)

    def feed(self, *items: tuple[str, str, str]) -> str:
        """The path of a feed with these items."""
        path = self.folder / "feed.xml"
        path.write_text(feed(*items))
        return str(path)


SEPTEMBER = (
    ("one", "The first", "Sat, 05 Sep 2015 10:00:00 +0300"),
    ("two", "The second", "Sun, 20 Sep 2015 10:00:00 +0300"),
    ("three", "The third", "Wed, 30 Sep 2015 23:59:59 +0300"),
    ("august", "Too early", "Mon, 31 Aug 2015 23:59:59 +0300"),
    ("october", "Too late", "Thu, 01 Oct 2015 00:00:00 +0300"),
)


@pytest.fixture
def publication(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, relay: int
) -> Publication:
    """A publication whose relay is the mailbox, with two subscribers."""
    digest = Publication(tmp_path, capsys, monkeypatch)
    digest("init")
    digest.set(
        PUBLICATION_NAME="Quay news",
        PUBLICATION_URL="https://quay.example",
        SENDER="Quay news <letters@quay.example>",
        BASE_URL="https://letters.quay.example",
        POSTAL_ADDRESS="North Quay 7, 1234 Harbour",
        TIMEZONE="Europe/Kyiv",
        SMTP_PORT=relay,
        SMTP_SECURITY="none",
    )
    for address in ("a@example.org", "b@example.org"):
        digest("subscribers", "add", address)
    return digest


@pytest.fixture
def approved(publication: Publication) -> Publication:
    """The publication with September 2015 approved."""
    publication("posts", "import", publication.feed(*SEPTEMBER))
    publication("issue", "build", "2015-09")
    publication("issue", "approve", "2015-09")
    return publication

"""A real server of the pages on a store, and a client that sends exactly what it is told to."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text
from sqlmodel import select

from digest.database import reading, writing
from digest.letter.page import Publication
from digest.letter.rendered import Rendered
from digest.letter.theme import Theme
from digest.models import Frozen, Issue, Status
from digest.web.app import create_app
from digest.web.serving import server
from subscribers.address import parse
from subscribers.lifecycle import Evidence, Newcomer, Origin, add, find, states_of
from subscribers.models import Consent, State, Subscriber, Suppression
from subscribers.tokens import Keyring, Purpose

NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
SECRET = b"p" * 32
#: the first key signs; the second is an older one
KEYS = [b"k" * 32, b"o" * 32]
RING = Keyring(KEYS)
BASE = "https://letters.example.org"
EDITOR = Evidence(origin=Origin.EDITOR, at=NOW, wording="asked at the counter")


@dataclass(frozen=True)
class Answer:
    """What the server sent."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bytes
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode()


def exchange(port: int, *requests: bytes) -> Answer:
    """*requests*, with a moment between them, and all that comes back until the server closes."""
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for number, request in enumerate(requests):
            time.sleep(0.2 * bool(number))
            connection.sendall(request)
        whole = b""
        while part := connection.recv(65536):
            whole += part
    head, _, body = whole.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split()[1]), headers, body, whole, time.monotonic() - started)


@dataclass
class Site:
    """A running server on a store."""

    engine: Engine
    port: int
    spool: Path
    clock: list[datetime] = field(default_factory=lambda: [NOW])

    def ask(self, method: str, path: str, body: bytes = b"", version: str = "1.1", **headers: str) -> Answer:
        named = {"Host": "letters.example.org", "Connection": "close"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        if method == "POST" and "Transfer-Encoding" not in named:
            named.setdefault("Content-Length", str(len(body)))
        lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in named.items())]
        return exchange(self.port, "\r\n".join([*lines, "", ""]).encode() + body)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        return self.ask("POST", path, body, **headers)

    def person(self, name: str = "anna") -> int:
        key = f"{name}@example.org"
        with writing(self.engine) as session:
            add(session, Newcomer(parse(key)), EDITOR, SECRET)
        with reading(self.engine) as session:
            found = find(session, key)
            assert found is not None
            assert found.id is not None
            return found.id

    def state(self, name: str = "anna") -> State:
        with reading(self.engine) as session:
            return states_of(session, [f"{name}@example.org"])[f"{name}@example.org"]

    def contents(self) -> list[object]:
        with reading(self.engine) as session:
            return [
                [row.model_dump() for row in session.exec(select(table))]
                for table in (Subscriber, Consent, Suppression, Issue, Frozen)
            ]


def publication(**changes: str) -> Publication:
    """What the tests' pages are about."""
    described: dict[str, Any] = {
        "name": "Slow & Water",
        "url": "https://example.org",
        "language": "en",
        "zone": ZoneInfo("Europe/Kyiv"),
        "sender_name": "Slow Water",
        "sender_address": "letters@example.org",
        "reply_to": None,
        "postal_address": "Quay 7, 1234 Harbour",
        "base_url": BASE,
    }
    return Publication(**(described | changes))


@contextmanager
def serving(
    engine: Engine, spool: Path, described: Publication, trusted: Sequence[IPv4Network] = ()
) -> Iterator[Site]:
    """The pages of *described*, answering on a port of their own."""
    site = Site(engine, 0, spool)
    app = create_app(
        engine=engine,
        keyring=RING,
        publication=described,
        theme=Theme(),
        templates_dir=None,
        spool=spool,
        now=lambda: site.clock[0],
    )
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(128)
        site.port = bound.getsockname()[1]
        running = server(app, "127.0.0.1", site.port, trusted)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            for _ in range(500):
                if running.started:
                    break
                time.sleep(0.01)
            yield site
        finally:
            running.should_exit = True
            thread.join(20)
            app.state.engine.dispose()


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    """Meanwhile another process holds the store's write lock, or on PostgreSQL its tables."""
    with writing(engine) as session:
        session.connection()
        if engine.dialect.name == "postgresql":
            session.execute(text("LOCK TABLE subscriber, consent IN EXCLUSIVE MODE"))
        yield


def one_click(who: int, version: int = 0) -> str:
    return f"/u/{RING.sign(Purpose.ONE_CLICK, who, version)}"


def leave(who: int, version: int = 0) -> str:
    return f"/u/{RING.sign(Purpose.LEAVE, who, version)}"


def preferences(who: int, version: int = 0) -> str:
    return f"/p/{RING.sign(Purpose.PREFERENCES, who, version)}"


def issue(site: Site, month: str, number: int, status: Status, **changes: str) -> None:
    frozen = status not in (Status.DRAFT, Status.APPROVED)
    with writing(site.engine) as session:
        row = Issue(
            month=month,
            number=number,
            status=status,
            window_start=NOW,
            window_end=NOW,
            timezone="Europe/Kyiv",
            created_at=NOW,
            fingerprint="f" * 64,
            frozen_at=NOW + timedelta(days=number) if frozen else None,
            frozen_count=1 if frozen else None,
        )
        session.add(row)
        session.flush()
        assert row.id is not None
        described: dict[str, Any] = {
            "month": month,
            "subject": f"Slow & Water, {month}",
            "html": "<p>https://unsubscribe-0123456789abcdef.invalid/</p>",
            "text": "zq0123456789abcdefaddressqz",
            "archive": f"<!DOCTYPE html><html><body><p id='it'>{month}</p>"
            "<script>document.title = 'run'</script><a href='/archive'>all</a></body></html>",
            "nonce": "0123456789abcdef",
            "publication": "Slow & Water",
            "language": "en",
            "sender_name": "",
            "sender_address": "letters@example.org",
            "base_url": BASE,
        }
        rendered = Rendered(number=number, reply_to=None, **(described | changes))
        session.add(Frozen(issue_id=row.id, rendered=rendered.to_json()))

"""A real server of the pages on a store, and a client that sends exactly what it is told to."""

import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from datetime import time as clock_time
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from sqlalchemy import Engine, text
from sqlmodel import select
from starlette.types import ASGIApp

from digest.database import reading, writing
from digest.issue.due import Schedule
from digest.letter.note import Stationery
from digest.letter.page import Publication
from digest.letter.rendered import Rendered
from digest.letter.theme import Theme
from digest.models import Frozen, Issue, Outgoing, Status
from digest.outbox import Postage
from digest.postroom import Postroom
from digest.sending.smtp import hand_over
from digest.web.app import create_app
from digest.web.hooks import Doors
from digest.web.serving import server
from subscribers.address import parse
from subscribers.arrivals import add
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.models import Consent, State, Subscriber, Suppression, Ticket, Tried, Wish
from subscribers.roll import find, states_of
from subscribers.tokens import Keyring, Purpose
from tests.digest.evil_server import EvilServer
from tests.digest.sending import relay_at

NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
SECRET = b"p" * 32
#: the first key signs; the second is an older one
KEYS = [b"k" * 32, b"o" * 32]
RING = Keyring(KEYS)
BASE = "https://letters.example.org"
SCHEDULE = Schedule(
    send_day=1,
    send_time=clock_time(9),
    approval_deadline=timedelta(hours=72),
    at_deadline="hold",
    automatic=False,
    max_lateness=timedelta(hours=72),
)
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
    #: None where it runs elsewhere
    app: FastAPI | None = None

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
                for table in (Subscriber, Consent, Suppression, Ticket, Tried, Wish, Outgoing, Issue, Frozen)
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
    engine: Engine,
    spool: Path,
    described: Publication,
    trusted: Sequence[IPv4Network] = (),
    answer: Callable[[], object] | None = None,
    secret: bytes | None = SECRET,
    metrics_token: bytes | None = None,
    doors: Doors | None = None,
    fetch: Callable[[str], bytes] | None = None,
    within: Callable[[Callable[[], datetime]], Mapping[str, ASGIApp]] = lambda _now: {},
    port: int = 0,
) -> Iterator[Site]:
    """The pages of *described*, answering on *port*, or on one of their own."""
    site = Site(engine, port, spool)
    app = create_app(
        engine=engine,
        keyring=RING,
        publication=described,
        theme=Theme(),
        templates_dir=None,
        spool=spool,
        secret=secret,
        schedule=SCHEDULE,
        metrics_token=metrics_token,
        now=lambda: site.clock[0],
        answer=answer,
        doors=doors,
        fetch=fetch,
        within=within(lambda: site.clock[0]),
    )
    with running(app, site, trusted):
        yield site


@contextmanager
def running(app: FastAPI, site: Site, trusted: Sequence[IPv4Network] = ()) -> Iterator[None]:
    """*app* answers on the port that *site* then knows."""
    site.app = app
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", site.port))
        bound.listen(128)
        site.port = bound.getsockname()[1]
        uvicorn = server(app, "127.0.0.1", site.port, trusted)
        thread = threading.Thread(target=uvicorn.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            for _ in range(500):
                if uvicorn.started:
                    break
                time.sleep(0.01)
            yield
        finally:
            uvicorn.should_exit = True
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


@contextmanager
def answered(
    engine: Engine, described: Publication, clock: Callable[[], datetime], hourly: int = 60
) -> Iterator["Mailroom"]:
    """What answers what is asked for on the pages of *described*, and the real relay that takes its mails."""
    with EvilServer() as relay:
        yield Mailroom(postroom(engine, described, relay.port, hourly), relay, clock)


def postroom(engine: Engine, described: Publication, port: int, hourly: int = 60) -> Postroom:
    """What answers by way of the relay on *port* of this machine."""
    postage = Postage(
        stationery=Stationery(described, Theme(), None),
        keyring=RING,
        bounce_domain=None,
        hand=lambda mail: hand_over(relay_at(port), mail),
        random=secrets.token_urlsafe,
    )
    return Postroom(engine=engine, postage=postage, hourly=hourly, secret=SECRET)


@dataclass
class Mailroom:
    """A postroom, its relay, and what came out of it."""

    postroom: Postroom
    relay: EvilServer
    clock: Callable[[], datetime]

    def work(self) -> int:
        return self.postroom.work(self.clock())

    def mails(self) -> list[EmailMessage]:
        """Every mail the relay took, parsed; they are taken away."""
        taken = [message_from_bytes(one.content, policy=default) for one in self.relay.letters]
        self.relay.letters.clear()
        return taken

    def link(self, to: str = "") -> str:
        """The path that the one new mail, which went to *to*, leads to."""
        self.work()
        (mail,) = self.mails()
        assert not to or mail["To"] == to
        found = re.search(rf"{BASE}(/[cp]/[\w-]+)", mail.get_body(("plain",)).get_content())
        assert found is not None
        return found[1]


def stamp(at: datetime = NOW - timedelta(seconds=30)) -> str:
    """The stamp of a form that was shown at *at*."""
    return RING.sign(Purpose.FORM, int(at.timestamp()))


def asking(address: str, **more: str) -> bytes:
    """The form, filled in."""
    return urlencode({"email": address, "website": "", "at": stamp(), **more}).encode()

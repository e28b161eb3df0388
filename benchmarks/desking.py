"""How long the desk takes to answer: its rooms with a long issue and a long list, on SQLite.

The pages are asked over the wire, one after the other, of a real server in this process. Beside the time on
the clock stands the processor's, all threads of the server together: on a machine that does other work it is
the one that can be compared.
"""

import http.client
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode, urlsplit

from sqlalchemy import Engine, insert, text, update
from sqlmodel import SQLModel, col, select

from benchmarks.outcomes import Outcome, Result
from benchmarks.pictures import serving
from benchmarks.samples import EXCERPT
from benchmarks.stores import TOGETHER, add_people
from digest.accounts.editors import add_editor, editor_of
from digest.accounts.logins import log_in
from digest.accounts.models import Role
from digest.accounts.passwords import Passwords
from digest.database import open_engine, reading, writing
from digest.demo import VALUES
from digest.initial import write_env
from digest.issue.approve import approve
from digest.issue.changes import version
from digest.issue.compose import compose, issue_of, items_of
from digest.migrating import upgrade
from digest.models import Dated, Delivered, Delivery, Issue, Post, Source
from digest.month import Month
from digest.outfit import clock
from digest.sending.ledger import freeze
from digest.settings import load
from digest.web.guard import COOKIE, COOKIE_BYTES, form_token
from digest.wiring import press_of
from subscribers.address import parse
from subscribers.audience import audience
from subscribers.models import Act

PEOPLE, POSTS, ROUNDS = 100_000, 60, 40
#: milliseconds, of 95 of 100 answers
PAGE_BAR, REFRESH_BAR = 150, 400
EDITOR = "editor@slow-water.example"
SENT, DRAFT = "2026-09", "2026-10"
#: from an act to the letter that shows it: the form, the page it leads to, and the frame
REFRESH = "a change, until the letter shows it"


@dataclass(frozen=True, slots=True)
class Row:
    """How long one page took, in milliseconds."""

    page: str
    #: of the first time it was asked for, by a server that has just started
    first: float
    middle: float
    p95: float
    #: of the processor, the median
    cpu: float

    @property
    def bar(self) -> int:
        """What the slower ones of it have to stay below."""
        return REFRESH_BAR if self.page == REFRESH else PAGE_BAR


@dataclass(frozen=True, slots=True)
class Desk:
    """A desk that answers, and who is logged in there."""

    engine: Engine
    connection: http.client.HTTPConnection
    cookie: str
    origin: str

    def ask(self, path: str, fields: Mapping[str, object] | None = None) -> str:
        """The page at *path*, or where a form with *fields* leads."""
        headers = {"Cookie": f"{COOKIE}={self.cookie}"}
        body = None
        if fields is not None:
            body = urlencode({"token": form_token(self.cookie), **fields})
            headers |= {
                "Origin": self.origin,
                "Sec-Fetch-Site": "same-origin",
                "Content-Type": "application/x-www-form-urlencoded",
            }
        self.connection.request("GET" if fields is None else "POST", path, body, headers)
        answer = self.connection.getresponse()
        read = answer.read().decode()
        if answer.status == 303:
            return self.ask(answer.headers["Location"])
        if answer.status != 200:
            raise AssertionError(f"{path} answers {answer.status}")
        return read


def proven(
    _seed: int, people: int = PEOPLE, posts: int = POSTS, rounds: int = ROUNDS, patience: float = 1
) -> Result:
    """Every page is answered in the bar's time, and a change is seen in its; *patience* times as long."""
    return judged(measure(people, posts, rounds), patience)


def judged(rows: Sequence[Row], patience: float = 1) -> Result:
    """Whether all *rows* kept within *patience* times their bars; the change, and those that did not."""
    missed = [row for row in rows if row.p95 >= row.bar * patience]
    worst = max(rows, key=lambda row: row.p95 / row.bar)
    told = dict.fromkeys([*(missed or [worst]), *(row for row in rows if row.page == REFRESH)])
    figures = "; ".join(
        f"{row.page}: median {row.middle:,.0f} ms, p95 {row.p95:,.0f} of {row.bar}, processor {row.cpu:,.0f}"
        for row in told
    )
    outcome = Outcome.FAILS if missed else Outcome.HOLDS
    return Result(outcome, f"{len(rows)} rooms, {len(missed)} too slow; {figures}")


def measure(people: int = PEOPLE, posts: int = POSTS, rounds: int = ROUNDS) -> list[Row]:
    """How long each page takes with so many *people* and *posts*, asked *rounds* times in turn."""
    with tempfile.TemporaryDirectory(prefix="digest-desk-") as folder:
        cookie = filled(Path(folder), people, posts)
        with desk(Path(folder), cookie) as at:
            return list(answers(at, people, posts, rounds))


def answers(at: Desk, people: int, posts: int, rounds: int) -> Iterator[Row]:
    """How long each page takes, and then a change."""
    asked = {name: partial(at.ask, path) for name, path in pages(people).items()}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in asked}
    for _round in range(rounds + 1):
        for name, act in asked.items():
            taken[name].append(_timed(act))
    refresh = _refresh(at, posts)
    taken[REFRESH] = []
    for _round in range(rounds + 1):
        # What is said of the letter is made in the background: nobody is timed while it is.
        at.ask(f"/desk/issues/{DRAFT}?look=1")
        taken[REFRESH].append(_timed(refresh))
    for name, (first, *rest) in taken.items():
        yield _row(name, first, rest)


def pages(people: int) -> dict[str, str]:
    """What is asked for, by name."""
    issue, sent, roll = f"/desk/issues/{DRAFT}", f"/desk/issues/{SENT}", "/desk/subscribers"
    return {
        "months": "/desk/",
        "an issue": issue,
        "an issue, with its findings": f"{issue}?look=1",
        "its letter": f"{issue}/letter",
        "its letter, for a reader": f"{issue}/letter?reader=reader77",
        "approve": f"{issue}/approve",
        "an issue that is sent": sent,
        "its report": f"{sent}/sending",
        "subscribers": roll,
        "subscribers, far down": f"{roll}?before={people // 2}",
        "search: an address": f"{roll}?q=reader{people // 3}%40example.com",
        "search: a word of many": f"{roll}?q=reader",
        "search: nobody": f"{roll}?q=nobody-is-called-this",
        "search: a state of few": f"{roll}?state=bounced",
        "search: nobody in a state": f"{roll}?q=nobody-is-called-this&state=active",
        "growth": f"{roll}/growth",
        "imports": f"{roll}/imports",
        "one person": f"{roll}/{people // 2}",
        "sources": "/desk/sources",
        "settings": "/desk/settings",
    }


@contextmanager
def desk(folder: Path, cookie: str) -> Iterator[Desk]:
    """The desk of *folder*, which has just started, and whoever has the *cookie*."""
    settings = load(folder / ".env")
    engine = open_engine(settings.database_url)
    with serving(folder) as address:
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            yield Desk(engine, connection, cookie, settings.base_url or address)
        finally:
            connection.close()
            engine.dispose()


def filled(folder: Path, people: int, posts: int) -> str:
    """An approver's cookie; *folder* has a new store with a list, an issue sent to all of it, a draft."""
    write_env(folder / ".env", secrets.token_hex, VALUES)
    settings, now = load(folder / ".env"), clock()
    engine = open_engine(settings.database_url)
    upgrade(engine)
    add_people(engine, people)
    _consent(engine, people, now)
    kept, cookie = Passwords().hashed(secrets.token_urlsafe()), secrets.token_urlsafe(COOKIE_BYTES)
    press = press_of(settings)
    with writing(engine) as session:
        address = parse(EDITOR)
        add_editor(session, address, "The editor", Role.APPROVER, kept, now)
        session.flush()
        editor = editor_of(session, address.key)
        assert editor is not None
        assert editor.id is not None
        assert log_in(session, editor.id, kept, cookie, now)
        session.add(Source(id=1, place="https://slow-water.example/feed"))
        session.flush()
        for month in (SENT, DRAFT):
            of = Month.parse(month, settings.zone)
            session.add_all(_post(of, number, now) for number in range(1, posts + 1))
            session.flush()
            compose(session, of, now, 1)
            if month == SENT:
                issue = issue_of(session, of)
                approve(session, issue, press.render(session, issue)[0], "The editor", now)
                assert issue.id is not None
                freeze(session, issue.id, audience(), now)
    with writing(engine) as session:
        # As a run leaves them; each twentieth mailbox is full.
        session.execute(update(Delivery).values(state=Delivered.ACCEPTED, settled_at=now, attempts=1))
    engine.dispose()
    return cookie


def _consent(engine: Engine, people: int, now: datetime) -> None:
    """Everybody has come within the last year, each tenth has left once, and some bounce."""
    table = SQLModel.metadata.tables["consent"]
    for begun in range(1, people + 1, TOGETHER):
        rows = [
            {"subscriber_id": who, "act": act, "at": now - timedelta(hours=who % 8760), "origin": "page"}
            for who in range(begun, min(begun + TOGETHER, people + 1))
            for act in ((Act.CONFIRMED, Act.WITHDRAWN) if who % 10 == 0 else (Act.CONFIRMED,))
        ]
        with writing(engine) as session:
            session.connection().execute(insert(table), rows)
    with writing(engine) as session:
        session.connection().execute(text("UPDATE subscriber SET state = 'bounced' WHERE id % 1000 = 7"))


def _post(month: Month, number: int, now: datetime) -> Post:
    return Post(
        source_id=1,
        identity=f"{month}-{number}",
        guid=f"{month}-{number}",
        url=f"https://slow-water.example/{month}/{number}",
        title=f"Waiting for the ferry, part {number}",
        author="The harbour desk",
        categories=["Rivers"],
        excerpt=EXCERPT,
        published_at=month.end - timedelta(hours=8 * number),
        dated=Dated.INSTANT,
        first_seen_at=now,
        changed_at=now,
    )


def _refresh(at: Desk, posts: int) -> Callable[[], object]:
    """Gives one post after the other a title, and looks at the letter."""
    with reading(at.engine) as session:
        issue = _issue(at.engine)
        ids = [post.id for _item, post in items_of(session, issue)]
    turn = iter(range(10_000))

    def act() -> None:
        number = next(turn)
        title = f"A title of our own, {number}"
        fields = {"act": "item", "post": ids[number % posts], "title": title, "version": _version(at.engine)}
        at.ask(f"/desk/issues/{DRAFT}", fields)
        if title not in at.ask(f"/desk/issues/{DRAFT}/letter"):
            raise AssertionError("the letter does not show the change")

    return act


def _issue(engine: Engine) -> Issue:
    with reading(engine) as session:
        return session.exec(select(Issue).where(col(Issue.month) == DRAFT)).one()


def _version(engine: Engine) -> int:
    with reading(engine) as session:
        return version(session, _issue(engine))


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds on the clock, and of the processor in other threads than this one."""
    all_threads, mine, began = time.process_time(), time.thread_time(), time.perf_counter()
    act()
    took = time.perf_counter() - began
    return 1000 * took, 1000 * (time.process_time() - all_threads - (time.thread_time() - mine))


def _row(page: str, first: tuple[float, float], rest: list[tuple[float, float]]) -> Row:
    clocked = [one for one, _cpu in rest]
    p95 = quantiles(clocked, n=20, method="inclusive")[-1] if len(clocked) > 1 else clocked[0]
    return Row(page, first[0], median(clocked), p95, median(cpu for _one, cpu in rest))

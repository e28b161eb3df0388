"""An issue on its way, at the desk: watched, paused, let go on, called off, decided about, looked back at."""

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlmodel import col, select

from digest.accounts.models import Role
from digest.database import reading, writing
from digest.issue.changes import history
from digest.models import Delivered, Delivery, Issue, Run, Status
from digest.returns.classes import Class
from digest.returns.models import Came, Received, Report, Stage
from digest.sending.ledger import freeze
from digest.sending.spread import NAMED, Cell, Domain, ranked
from digest.sending.survey import Survey, survey
from digest.web.desk.live import TICK, WATCHERS, Live
from digest.web.desk.live import event as as_event
from digest.web.desk.plot import MOST, plot
from digest.web.desk.sending import pace
from digest.web.guard import COOKIE
from subscribers.audience import audience
from subscribers.departures import erase
from subscribers.models import Act, Consent, Subscriber
from tests.digest.desk import Visitor, editor, open_desk
from tests.digest.evil_server import Answer, EvilServer, Slow
from tests.digest.sending import (
    NOW,
    Clock,
    approved,
    frozen,
    leased,
    new_run,
    people,
    relay_at,
    rows,
    run,
    settle,
)
from tests.digest.website import Site

HERE = "/desk/issues/2015-09/sending"
GOOD = b"250 2.0.0 queued\r\n"


class Room:
    """The room, an approver and an editor."""

    def __init__(self, site: Site) -> None:
        self.site, self.engine = site, site.engine
        self.anna = Visitor.logged_in(site, editor(site, "anna@example.org", Role.APPROVER))
        self.ben = Visitor.logged_in(site, editor(site, "ben@example.org"))

    def told(self) -> list[str]:
        """The history of the issue, the latest last."""
        with reading(self.engine) as session:
            issue = session.exec(select(Issue)).one()
            return [f"{one.who} {one.what}" for one in history(session, issue)][::-1]

    def status(self) -> Status:
        with reading(self.engine) as session:
            return session.exec(select(Issue)).one().status


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with open_desk(tmp_path / "digest.db") as site:
        yield Room(site)


def figures(html: str) -> dict[str, int]:
    """The lines of the sum, as the page has them; they and the domains add up."""
    (table,) = re.findall(r'<table class="sum">(.*?)</table>', html, re.DOTALL)
    lines = re.findall(
        r'<th scope="row">([^<]*?)\s*(?:<span.*?)?</th><td class="number">([\d,]+)</td>', table
    )
    found: Counter[str] = Counter()
    for name, number in lines:
        found[name] += int(number.replace(",", ""))
    everybody = found.pop("Everybody it was for")
    (by_domain,) = re.findall(r'<table class="domains">(.*?)</table>', html, re.DOTALL)
    columns = [
        [int(one.replace(",", "")) for one in re.findall(r'<td class="number[^>]*>([\d,]+)</td>', line)]
        for line in re.findall(r"<tr>(.*?)</tr>", by_domain, re.DOTALL)[1:]
    ]
    sums = columns.pop()
    assert [sum(column) for column in zip(*columns, strict=True)] == sums
    *sums, rest = sums
    assert rest == sums[0] - sums[1]
    assert sums[0] == sum(sums[1:]) == sum(found.values()) == everybody
    assert sums[1] == found["Accepted"]
    over_time = re.findall(r'<th scope="col">From</th>(.*?)</table>', html, re.DOTALL)
    bars = re.findall(r'</td><td class="number">([\d,]+)</td><td', "".join(over_time))
    assert sum(int(one.replace(",", "")) for one in bars) == found["Accepted"]
    return dict(found)


@contextmanager
def stream(visitor: Visitor) -> Iterator[Any]:
    """The lines of the server-sent events, as they come."""
    with socket.create_connection(("127.0.0.1", visitor.site.port), timeout=5) as connection:
        asked = [f"GET {HERE}/events HTTP/1.1", "Host: letters.example.org", "Connection: close"]
        asked += [f"Cookie: {COOKIE}={visitor.cookie}", "", ""]
        connection.sendall("\r\n".join(asked).encode())
        yield connection.makefile("r", encoding="utf-8", newline="\n")


def events(lines: Iterator[str]) -> Iterator[tuple[str, str]]:
    """Each event's name and data."""
    name, data = "", []
    for line in lines:
        if line.startswith("event: "):
            name = line[7:].strip()
        elif line.startswith("data: "):
            data.append(line[6:])
        elif name and not line.strip():
            yield name, "".join(data)
            name, data = "", []


@contextmanager
def dispatching(engine: Engine, issue_id: int, relay: EvilServer, **more: Any) -> Iterator[threading.Thread]:
    """A run in a thread of its own."""
    thread = threading.Thread(target=lambda: run(engine, issue_id, relay_at(relay.port), **more))
    thread.start()
    try:
        yield thread
    finally:
        thread.join(20)


def test_the_numbers_add_up_while_letters_go_out_and_a_pause_stops_them(room: Room) -> None:
    """R-1: a real run to a slow relay; page and stream are asked meanwhile; each letter goes out once."""
    issue_id = frozen(room.engine, 300)
    told: list[dict[str, int]] = []
    names: list[str] = []

    def listen(lines: Iterator[str]) -> None:
        for name, html in events(lines):
            names.append(name)
            if name == "end":
                return
            told.append(figures(html))

    with EvilServer({"dot": Slow(0.05, GOOD)}) as relay, stream(room.ben) as lines:
        listening = threading.Thread(target=listen, args=(lines,))
        listening.start()
        with dispatching(room.engine, issue_id, relay) as sending:
            seen: list[dict[str, int]] = []
            for _ in range(200):
                seen.append(figures(room.ben.get(HERE).text))
                # Both have seen letters go: whoever asks, and whoever is told each second.
                if len({one["Accepted"] for one in seen}) > 2 and len({one["Accepted"] for one in told}) > 1:
                    break
                time.sleep(0.01)
            assert len({one["Accepted"] for one in seen}) > 2
            assert room.ben.post(HERE, {}).headers["location"].startswith(f"{HERE}?since=")
            sending.join(5)
            assert not sending.is_alive()
        paused = figures(room.ben.get(HERE).text)
        assert 0 < paused["Accepted"] == len(relay.letters) < 300
        assert paused["Queued"] == 300 - paused["Accepted"]
        assert room.ben.post(HERE, {}).status == 409
        assert room.ben.post(f"{HERE}/resume", {}).status == 403
        assert "Let the letters go on" in room.anna.get(HERE).text
        assert room.anna.post(f"{HERE}/resume", {}).status == 303
        relay.script["dot"] = GOOD
        run(room.engine, issue_id, relay_at(relay.port))
        listening.join(10)
    assert names[-1] == "end"
    accepted = [one["Accepted"] for one in told]
    assert accepted == sorted(accepted)
    assert len(set(accepted)) >= 3
    assert accepted[-1] == 300
    assert figures(room.ben.get(HERE).text) == {"Accepted": 300, "Deferred": 0, "Rejected": 0, "In doubt": 0}
    assert "Report of September 2015" in room.ben.get(HERE).text
    assert set(Counter(mail.rcpt for mail in relay.letters).values()) == {1}
    assert room.told() == ["ben paused its letters", "anna let its letters go on"]


def test_what_is_done_is_told_and_takes_what_it_takes(room: Room) -> None:
    """S-24: an editor stops letters; whatever lets some go out, or calls the issue off, takes an approver."""
    frozen(room.engine, 3)
    for path in ("resume", "cancel", "letters"):
        assert room.ben.post(f"{HERE}/{path}", {"act": "resend", "all": "3"}).status == 403
    assert room.anna.post(f"{HERE}/resume", {}).status == 409
    assert room.anna.post(f"{HERE}/letters", {"act": "nonsense", "letter": "1"}).status == 409
    answer = room.ben.post(HERE, {})
    page = room.anna.get(answer.headers["location"]).text
    assert '<p class="news"><bdi>ben</bdi> <bdi>paused its letters</bdi></p>' in page
    assert "takes an approver" in room.ben.get(HERE).text
    asked = room.anna.get(f"{HERE}/cancel").text
    assert "Cancel it for 3 people" in asked
    assert "0 people" in asked
    assert room.status() is Status.PAUSED
    room.anna.post(f"{HERE}/cancel", {"reason": "the wrong\r\n month"})
    assert room.status() is Status.CANCELLED
    assert room.told() == ["ben paused its letters", "anna cancelled it: the wrong month"]
    assert room.anna.post(f"{HERE}/cancel", {}).status == 409
    assert "nothing is going out" in room.anna.get(f"{HERE}/cancel").text


def test_letters_in_doubt_are_decided_one_by_one_or_all_together(room: Room) -> None:
    """What a person says stands in the ledger, and who said it in the history; nothing else moves."""
    issue_id, clock = frozen(room.engine, 6), Clock()
    script: dict[str, Answer | list[Answer] | Any] = {"dot": [GOOD, GOOD, *["take and drop"] * 4, GOOD]}
    with EvilServer(script) as relay:
        run(room.engine, issue_id, relay_at(relay.port), clock=clock)
        doubtful = [
            one.subscriber_id for one in rows(room.engine, issue_id) if one.state is Delivered.IN_DOUBT
        ]
        assert len(doubtful) == 4
        page = room.anna.get(HERE).text
        assert [int(one) for one in re.findall(r'name="letter" value="(\d+)"', page)] == doubtful
        assert 'name="letter"' not in room.ben.get(HERE).text
        act = f"{HERE}/letters"
        assert "tick the letters" in room.anna.post(act, {"act": "accepted"}).text
        assert "others since you looked" in room.anna.post(act, {"act": "accepted", "all": "5"}).text
        assert figures(room.anna.get(HERE).text)["In doubt"] == 4
        assert room.anna.post(act, {"act": "accepted", "letter": [doubtful[0], "x"]}).status == 303
        assert room.anna.post(act, {"act": "accepted", "letter": doubtful[0]}).status == 409
        assert room.anna.post(act, {"act": "resend", "letter": doubtful[1]}).status == 303
        now = figures(room.anna.get(HERE).text)
        assert (now["Accepted"], now["Queued"], now["In doubt"]) == (3, 1, 2)
        room.anna.post(act, {"act": "resend", "all": "2"})
        assert run(room.engine, issue_id, relay_at(relay.port), clock=clock).is_finished
    assert figures(room.anna.get(HERE).text)["Accepted"] == 6
    assert room.told() == [
        "anna said of 1 letter in doubt or held that they count as accepted",
        "anna had 1 letter in doubt or held sent again",
        "anna had 2 letters in doubt or held sent again",
    ]


def test_a_letter_of_a_run_that_is_gone_is_in_doubt_once_somebody_decides(room: Room) -> None:
    """Looking changes nothing; of a cancelled issue nothing is sent again."""
    issue_id = frozen(room.engine, 2)
    with writing(room.engine) as session:
        gone = Run(issue_id=issue_id, host="h", pid=1, started_at=NOW)
        session.add(gone)
        session.flush()
        one = session.exec(select(Delivery).where(col(Delivery.issue_id) == issue_id)).first()
        assert one is not None
        one.state, one.run_id, one.marked_at = Delivered.SENDING, gone.id, NOW
        reader = one.subscriber_id
    assert figures(room.anna.get(HERE).text)["On the wire"] == 1
    assert rows(room.engine, issue_id)[0].state is Delivered.SENDING
    room.anna.post(f"{HERE}/cancel", {})
    assert room.anna.post(f"{HERE}/letters", {"act": "resend", "letter": reader}).status == 409
    assert figures(room.anna.get(HERE).text)["In doubt"] == 1
    assert 'value="resend"' not in room.anna.get(HERE).text
    assert room.anna.post(f"{HERE}/letters", {"act": "accepted", "letter": reader}).status == 303
    assert rows(room.engine, issue_id)[0].state is Delivered.ACCEPTED


def test_a_stream_ends_with_the_login_and_there_are_few(room: Room) -> None:
    """S-6: nobody is told anything after they were logged out; HEAD and a draft end at once."""
    frozen(room.engine, 1)
    answer = room.anna.ask("HEAD", f"{HERE}/events")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert "no-store" in answer.headers["cache-control"]
    with stream(room.ben) as lines:
        name, html = next(events(lines))
        assert (name, figures(html)["Queued"]) == ("numbers", 1)
        room.ben.post("/desk/logout", {})
        asked = time.monotonic()
        assert "event" not in lines.read()
        assert time.monotonic() - asked < 3 * TICK
    with reading(room.engine) as session:
        issue = session.exec(select(Issue)).one()
    live = Live(room.engine, lambda _survey, _now: "<p>", lambda: NOW)
    watching = [live.stream(issue.month, lambda: True) for _ in range(WATCHERS)]
    assert {next(one) for one in watching} == {"retry: 500\n\n"}
    assert list(live.stream(issue.month, lambda: True)) == ["retry: 10000\n\n"]
    watching.pop().close()
    assert next(live.stream(issue.month, lambda: True)) == "retry: 500\n\n"


def test_all_who_watch_share_one_look_a_second(room: Room) -> None:
    """And while none looks, no connection to the store is held."""
    frozen(room.engine, 1)
    looks: list[float] = []

    @event.listens_for(room.engine, "before_cursor_execute")
    def count(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        if "frozen_count" in statement and "UNION ALL" in statement:
            looks.append(time.monotonic())

    live = Live(room.engine, lambda _survey, _now: "<p>", lambda: NOW)
    watching = [live.stream("2015-09", lambda: True) for _ in range(4)]
    threads = [threading.Thread(target=lambda one=one: [next(one) for _ in range(3)]) for one in watching]
    for one in threads:
        one.start()
    for one in threads:
        one.join(5)
    assert 1 <= len(looks) <= 2
    assert room.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_the_report_of_the_month_says_what_came_back(room: Room) -> None:
    """Totals, domains beyond the twentieth together, reports by the worst of each reader, who left."""
    with writing(room.engine) as session:
        ids = [people(session, 3, 1 + 3 * n, f"d{n:02}.example")[0] for n in range(NAMED + 4)]
        issue_id = approved(session)
        freeze(session, issue_id, audience(), NOW)
    with EvilServer({"RCPT": lambda line: b"550 5.1.1 no\r\n" if "d03" in line else b"250 ok\r\n"}) as relay:
        assert run(room.engine, issue_id, relay_at(relay.port)).is_finished
    with writing(room.engine) as session:
        session.add(Received(id=1, sha256="a", came=Came.MAIL, at=NOW, stage=Stage.DONE))
        session.flush()
        for who, klass in ((0, Class.SOFT), (0, Class.HARD), (1, Class.COMPLAINT), (2, Class.DELAYED)):
            session.add(
                Report(
                    received_id=1, issue_id=issue_id, subscriber_id=ids[who], domain="d", klass=klass, at=NOW
                )
            )
        # One that left after it, twice; one before it; one that never got it.
        for who, at in ((4, 1), (4, 2), (5, -1), (3, 1)):
            when = NOW + timedelta(hours=at)
            session.add(Consent(subscriber_id=ids[who], act=Act.WITHDRAWN, at=when, origin="page"))
    page = room.ben.get(HERE).text
    letters = 3 * (NAMED + 4)
    assert figures(page) == {"Accepted": letters - 3, "Rejected": 3, "Deferred": 0, "In doubt": 0}
    assert "4 others" in page
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(\d+)", page))
    assert facts == {
        "Dead addresses": "1",
        "Full, or no server": "0",
        "Refused for policy": "0",
        "Called it spam": "1",
        "Left by themselves": "1",
    }
    assert page.count("5.1.1 no") == 3
    assert "Pause" not in page
    assert "data-events" not in page


@pytest.mark.parametrize("status", [Status.DRAFT, Status.APPROVED, Status.SKIPPED])
def test_before_anything_is_sent_the_room_says_so(room: Room, status: Status) -> None:
    with writing(room.engine) as session:
        session.get_one(Issue, approved(session)).status = status
    page = room.ben.get(HERE).text
    assert "Nothing has gone out yet" in page or "It went to nobody" in page
    assert "<table" not in page
    assert room.ben.get("/desk/issues/2015-10/sending").status == 404
    assert room.ben.get("/desk/issues/nonsense/sending/events").status == 404


def looked(engine: Engine, known: Survey | None = None) -> Survey:
    found = survey(engine, "2015-09", known)
    assert found is not None
    return found


def test_what_is_kept_of_an_earlier_look_is_what_has_not_moved(engine: Engine) -> None:
    """On both engines, by domain and second; two letters that change places are seen: no count tells."""
    issue_id = frozen(engine, 4)
    with EvilServer({"RCPT": [b"450 later\r\n", b"250 ok\r\n"]}) as relay:
        run(engine, issue_id, relay_at(relay.port), clock=Clock(NOW + timedelta(seconds=61.5)))
    first = looked(engine)
    assert first.spread.seconds() == [(NOW + timedelta(seconds=61), 3)]
    states = {Delivered.ACCEPTED: 3, Delivered.DEFERRED: 1}
    assert first.spread.domains() == [Domain("example.org", states)]
    assert first.spread.others() is None
    assert first.tally.balanced
    again = looked(engine, first)
    assert again == first
    assert all(cell is first.spread.cells[place] for place, cell in again.spread.cells.items())
    with writing(engine) as session:
        by_state = {one.state: one for one in session.exec(select(Delivery).order_by(col(Delivery.id)))}
        taken, waits = by_state[Delivered.ACCEPTED], by_state[Delivered.DEFERRED]
        taken.state, taken.due_at, waits.state = Delivered.DEFERRED, NOW, Delivered.ACCEPTED
        waits.settled_at = NOW
        session.add_all([taken, waits])
    moved = looked(engine, again)
    assert moved.tally == first.tally
    assert moved.spread.seconds() == [(NOW, 1), (NOW + timedelta(seconds=61), 2)]
    assert moved == looked(engine)
    assert survey(engine, "2015-10") is None


def test_an_erased_reader_has_no_domain_and_still_counts(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 2)
    with writing(sqlite_engine) as session:
        erase(session, rows(sqlite_engine, issue_id)[0].subscriber_id)
    found = looked(sqlite_engine)
    assert {one.name: one.letters for one in found.spread.domains()} == {"": 1, "example.org": 1}


def test_domains_are_ranked_and_the_rest_is_one_line() -> None:
    cells = [Cell(1, {f"d{n:02}": 100 - n}, {}) for n in range(NAMED + 1)]
    names = [f"d{n:02}" for n in range(NAMED + 1)]
    assert ranked(cells) == (names, 0)
    assert ranked([*cells, Cell(1, {"z": 1}, {})]) == (names[:NAMED], 2)
    assert ranked([Cell(1, {"a": 1, "b": 2}, {}), Cell(1, {"a": 2}, {})]) == (["a", "b"], 0)


@pytest.mark.parametrize("span", [0, 5, 61, 3600, 86_400, 3 * 86_400])
def test_bars_hold_every_letter_and_their_places_fit(span: int) -> None:
    seconds = [(NOW + timedelta(seconds=at), 1 + at % 3) for at in range(0, span + 1, max(1, span // 200))]
    found = plot(seconds)
    assert found is not None
    assert sum(one.letters for one in found.bars) == found.bars[-1].total == sum(n for _, n in seconds)
    assert len(found.bars) <= MOST
    assert max(one.height for one in found.bars) == 100
    assert found.bars[-1].left + found.bars[-1].width <= 100
    assert found.bars[0].at <= NOW <= NOW + timedelta(seconds=span) < found.until
    # One or two bars are no wall.
    assert found.bars[0].width <= 5
    assert plot([]) is None


def test_a_pause_is_a_gap_between_bars() -> None:
    found = plot([(NOW, 5), (NOW + timedelta(seconds=30), 5)])
    assert found is not None
    assert [one.letters for one in found.bars] == [5, *[0] * 29, 5]
    assert found.each == "second"


def test_the_rate_is_of_the_last_minute_or_since_the_run_began(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 30)
    with writing(sqlite_engine) as session:
        at_work = Run(issue_id=issue_id, host="h", pid=1, started_at=NOW)
        session.add(at_work)
        for number, one in enumerate(session.exec(select(Delivery).order_by(col(Delivery.id)))):
            if number < 20:
                one.state, one.settled_at = Delivered.ACCEPTED, NOW + timedelta(seconds=number)
    found = looked(sqlite_engine)
    assert pace(found, NOW + timedelta(seconds=20)) == (1.0, timedelta(seconds=10))
    assert pace(found, NOW + timedelta(seconds=70)) == (10 / 60, timedelta(seconds=60))
    assert pace(found, NOW + timedelta(seconds=90)) == (0.0, None)
    with writing(sqlite_engine) as session:
        session.exec(select(Run)).one().ended_at = NOW
    assert pace(looked(sqlite_engine), NOW + timedelta(seconds=20)) == (0.0, None)


def test_an_event_is_one_event_whatever_it_says() -> None:
    assert as_event("numbers", "a\n\nevent: end\r\rb") == (
        "event: numbers\ndata: a\ndata: \ndata: event: end\ndata: \ndata: b\n\n"
    )
    assert as_event("end", "") == "event: end\ndata: \n\n"


def test_who_is_erased_while_letters_go_out_is_still_counted(engine: Engine) -> None:
    issue_id = frozen(engine, 3)
    first = looked(engine)
    run_id = new_run(engine, issue_id)
    one = leased(engine, issue_id, run_id)[0]
    with writing(engine) as session:
        erase(session, one.subscriber_id)
    settle(engine, run_id, one.id, Delivered.SKIPPED, reason="erased")
    found = looked(engine, first)
    assert {one.name: one.letters for one in found.spread.domains()} == {"": 1, "example.org": 2}
    assert found == looked(engine)


def test_letters_that_change_places_with_others_are_seen(engine: Engine) -> None:
    """The first and the fourth put off, then the second and the third: as many, and as large in sum."""
    issue_id = frozen(engine, 4)

    def put_off(*places: int) -> Survey:
        with writing(engine) as session:
            for place, row in enumerate(session.exec(select(Delivery).order_by(col(Delivery.id))), 1):
                is_off = place in places
                row.state = Delivered.DEFERRED if is_off else Delivered.ACCEPTED
                row.due_at, row.settled_at = (NOW if is_off else None), NOW
                reader = session.get_one(Subscriber, row.subscriber_id)
                reader.address_key = f"r{place}@{'a' if place in (1, 4) else 'b'}.example"
                session.add_all([row, reader])
        return looked(engine)

    before = put_off(1, 4)
    fresh = put_off(2, 3)
    assert before.issue_id == fresh.issue_id == issue_id
    assert looked(engine, before).spread.domains() == fresh.spread.domains()
    assert before.spread.domains() != fresh.spread.domains()


def test_a_cell_may_be_full(postgres_engine: Engine) -> None:
    """PostgreSQL's integers have 32 bits: what tells a letter's place must not need more."""
    frozen(postgres_engine, 2000)
    assert [one.letters for one in looked(postgres_engine).spread.domains()] == [2000]

"""When a run must stop, and whom it does not believe."""

import tracemalloc
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue.approve import resume
from digest.models import Issue, Notice, Status
from digest.returns.classes import Class
from digest.returns.models import Came, Received, Report, Stage
from digest.sending.breaker import (
    BELIEVED_AFTER,
    DOMAIN_WINDOW,
    FEWEST_COMPLAINTS,
    LEAST,
    REST,
    Breaker,
    Heard,
    Lying,
    objection,
)
from digest.sending.ledger import freeze
from digest.sending.replies import Phase, Reply, is_policy, reply
from subscribers.audience import audience
from tests.digest.evil_server import EvilServer, Script
from tests.digest.sending import NOW, QUICK, Clock, approved, count_of, issue_of, people, relay_at, rows, run

GOOD = reply(250, [b"2.0.0 queued"], Phase.DOT)
GONE = reply(550, [b"5.1.1 <reader@example.org> no such user"], Phase.RCPT)
SLOW_DOWN = reply(421, [b"4.7.28 unusual rate, says reader@example.org"], Phase.DOT)
ALONE = replace(QUICK, connections=1)


def heard(answer: Reply, number: int = 0, domain: str = "example.org") -> Heard:
    return Heard(number, domain, answer)


def lies(breaker: Breaker, answers: list[Heard], now: datetime = NOW) -> list[Lying | None]:
    return [breaker.lying(one, now) for one in answers]


# --- policy -------------------------------------------------------------------------------------------


def stops(refusals: list[bool]) -> list[bool]:
    """For each answer, whether the run must stop after it."""
    breaker = Breaker(NOW)
    return [bool(breaker.reproach(SLOW_DOWN if one else GOOD)) for one in refusals]


@given(st.lists(st.sampled_from([True] + [False] * 40), max_size=450))
def test_a_run_stops_where_policy_refuses_more_than_two_in_a_hundred(refusals: list[bool]) -> None:
    """R-9: of the last 200, and at least 10."""
    windows = [refusals[max(0, end - 200) : end] for end in range(1, len(refusals) + 1)]
    assert stops(refusals) == [len(one) >= 10 and sum(one) * 50 > len(one) for one in windows]


@pytest.mark.parametrize(("refused", "must_stop"), [(4, False), (5, True)])
def test_of_two_hundred_letters_four_may_be_refused(refused: int, must_stop: bool) -> None:
    """R-9: exactly 2 % is not more than 2 %."""
    assert stops([False] * (200 - refused) + [True] * refused)[-1] is must_stop


def test_what_policy_said_two_hundred_letters_ago_counts_no_more() -> None:
    breaker = Breaker(NOW)
    answers = [GOOD] * 196 + [SLOW_DOWN] * 4 + [GOOD] * 200 + [SLOW_DOWN] * 4
    assert not any(breaker.reproach(answer) for answer in answers)
    assert breaker.reproach(SLOW_DOWN)


def test_why_a_run_stops_names_no_reader() -> None:
    """R-9: the tenth answer is the first that can stop it."""
    breaker = Breaker(NOW)
    assert [breaker.reproach(SLOW_DOWN) for _ in range(LEAST)][-2:] == [
        "",
        "the relay refused 10 of the last 10 letters by policy,"
        " the last one: 421 4.7.28 unusual rate, says …@example.org (after the final dot)",
    ]


@pytest.mark.parametrize(
    ("code", "text", "phase", "policy"),
    [
        (550, "5.7.1 not allowed", Phase.RCPT, True),
        (550, "5.7.26 unauthenticated", Phase.DOT, True),
        (553, "5.1.8 sender's domain", Phase.RCPT, True),
        (421, "4.7.28 unusual rate", Phase.DOT, True),
        (554, "blocked using Spamhaus", Phase.RCPT, True),
        (550, "Ip frequency limited", Phase.DOT, True),
        (554, "Relay access denied", Phase.RCPT, True),
        (550, "no", Phase.MAIL, True),
        (450, "4.7.1 come again", Phase.RCPT, False),
        (451, "Greylisted by policy", Phase.RCPT, False),
        (550, "5.1.1 no such user in the spam lab", Phase.RCPT, False),
        (552, "5.2.2 mailbox full", Phase.DOT, False),
        (452, "4.3.1 try later", Phase.MAIL, False),
        (250, "2.0.0 spam is welcome", Phase.DOT, False),
    ],
)
def test_what_policy_is(code: int, text: str, phase: Phase, policy: bool) -> None:
    """W-6: greylisting is none."""
    assert is_policy(reply(code, [text.encode()], phase)) is policy


# --- providers that lie -------------------------------------------------------------------------------


def test_a_domain_that_refuses_more_than_half_is_not_believed() -> None:
    """Half is not more than half; the next one makes eleven of the last twenty."""
    breaker = Breaker(NOW)
    answers = [heard(GONE if n % 2 else GOOD, n) for n in range(DOMAIN_WINDOW)]
    assert lies(breaker, answers) == [None] * DOMAIN_WINDOW
    assert breaker.lying(heard(GONE, 99), NOW) == Lying(
        "example.org", (*range(1, DOMAIN_WINDOW, 2), 99), NOW + REST
    )
    assert breaker.resting("example.org", NOW) == NOW + REST
    assert breaker.resting("elsewhere.example", NOW) is None


def test_what_was_on_the_wire_when_the_rest_began_is_taken_back_too() -> None:
    breaker = Breaker(NOW)
    assert lies(breaker, [heard(GONE, n) for n in range(DOMAIN_WINDOW)])[10] is not None
    later = breaker.lying(heard(GONE, 50), NOW)
    assert later is not None
    assert (later.deliveries, later.until) == ((50,), NOW + REST)
    assert breaker.lying(heard(GOOD, 51), NOW) is None


def test_a_domain_is_judged_afresh_when_it_has_rested() -> None:
    breaker = Breaker(NOW)
    lies(breaker, [heard(GONE, n) for n in range(DOMAIN_WINDOW)])
    later = NOW + REST
    assert breaker.resting("example.org", later) is None
    told = lies(breaker, [heard(GONE, n) for n in range(11)], later)
    assert told == [None] * 10 + [Lying("example.org", tuple(range(11)), later + REST)]


def test_what_is_refused_after_three_days_is_refused() -> None:
    """A domain that is gone for good must not keep an issue open for ever."""
    answers = [heard(GONE, n) for n in range(3 * DOMAIN_WINDOW)]
    assert lies(Breaker(NOW - BELIEVED_AFTER), answers) == [None] * len(answers)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=150))
def test_no_domain_pays_for_another(answers: list[tuple[str, bool]]) -> None:
    """Each domain alone decides, and its refusals, no others, are taken back."""
    breaker = Breaker(NOW)
    told = lies(breaker, [heard(GONE if gone else GOOD, n, one) for n, (one, gone) in enumerate(answers)])
    for lying in filter(None, told):
        assert lying.deliveries
        assert all(answers[n] == (lying.domain, True) for n in lying.deliveries)
    for domain in "ab":
        own = [gone for one, gone in answers if one == domain]
        windows = [own[max(0, end - DOMAIN_WINDOW) : end] for end in range(1, len(own) + 1)]
        lied = any(one.domain == domain for one in told if one)
        assert lied is any(sum(window) * 2 > DOMAIN_WINDOW for window in windows)


def test_domains_that_refuse_nobody_take_no_memory() -> None:
    """R-9 for a list of a million: each of its domains would keep a window for itself."""
    breaker = Breaker(NOW)
    tracemalloc.start()
    try:
        assert lies(breaker, [heard(GOOD, domain=f"d{n}.example") for n in range(20_000)])[-1] is None
        # What remains is the list of answers; a window each takes 19 MB.
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_only_a_recipient_who_does_not_exist_can_be_such_a_lie() -> None:
    for other in (
        reply(552, [b"5.3.4 too big"], Phase.DOT),
        reply(451, [b"4.3.0 later"], Phase.RCPT),
        reply(554, [b"5.7.1 blocked"], Phase.RCPT),
    ):
        assert lies(Breaker(NOW), [heard(other, n) for n in range(2 * DOMAIN_WINDOW)]) == [None] * 40


# --- in a run -----------------------------------------------------------------------------------------


def frozen_at(engine: Engine, **domains: int) -> int:
    """The id of an issue that is sending to so many readers at each of the domains <name>.example."""
    with writing(engine) as session:
        for number, (domain, count) in enumerate(domains.items()):
            people(session, count, first=1 + 1000 * number, domain=f"{domain}.example")
        issue_id = approved(session)
        freeze(session, issue_id, audience(), NOW)
    return issue_id


def refusing(domain: str, answer: bytes) -> Script:
    return {"RCPT": lambda line: answer if f"@{domain}.example" in line else b"250 2.1.5 ok\r\n"}


@pytest.mark.parametrize("offers", [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")])
def test_a_provider_in_trouble_costs_nobody_a_letter(engine: Engine, offers: tuple[str, ...]) -> None:
    """R-9: the others go on; its readers' letters go out when it has rested; the editors hear of it once."""
    issue_id, clock = frozen_at(engine, ill=60, well=60), Clock()
    with EvilServer(refusing("ill", b"550 5.1.1 no such user\r\n"), offers=offers) as server:
        first = run(engine, issue_id, relay_at(server.port), clock=clock, manner=ALONE)
        # No more than the window and what travels together were tried.
        assert sum("@ill.example" in line for line in server.lines) <= DOMAIN_WINDOW + 4
        clock.at += timedelta(hours=1)
        run(engine, issue_id, relay_at(server.port), clock=clock, manner=ALONE)
    assert first.stopped == ""
    assert first.next_due_at == NOW + REST
    assert count_of(engine, issue_id) == {"frozen": 120, "accepted": 60, "deferred": 60}
    assert {row.attempts for row in rows(engine, issue_id)} == {0, 1}
    with EvilServer(offers=offers) as healed:
        clock.at = NOW + REST
        assert run(engine, issue_id, relay_at(healed.port), clock=clock, manner=ALONE).is_finished
    names = Counter(caught.message_id for caught in [*server.letters, *healed.letters])
    assert (len(names), set(names.values())) == (120, {1})
    with reading(engine) as session:
        (notice,) = session.exec(select(Notice)).all()
        assert notice.event == "lying:2015-09:ill.example"
        assert notice.subject == "ill.example refuses nearly everybody"
        assert "after 2015-10-01 08:00 UTC" in notice.body


def test_a_domain_that_is_gone_for_good_is_believed_in_the_end(sqlite_engine: Engine) -> None:
    issue_id, clock, runs = frozen_at(sqlite_engine, gone=30), Clock(), 0
    with EvilServer(refusing("gone", b"550 5.1.1 no such user\r\n")) as server:
        relay = relay_at(server.port)
        while (outcome := run(sqlite_engine, issue_id, relay, clock=clock, manner=ALONE)).next_due_at:
            clock.at, runs = outcome.next_due_at, runs + 1
            assert runs < 50
    assert BELIEVED_AFTER <= clock.at - NOW < BELIEVED_AFTER + REST
    assert outcome.is_finished
    assert count_of(sqlite_engine, issue_id) == {"frozen": 30, "rejected": 30}
    with reading(sqlite_engine) as session:
        assert len(session.exec(select(Notice)).all()) == 1


def test_what_the_bar_shows_is_what_the_ledger_says(sqlite_engine: Engine) -> None:
    issue_id, seen = frozen_at(sqlite_engine, ill=30), []
    with EvilServer(refusing("ill", b"550 5.1.1 no such user\r\n")) as server:
        run(sqlite_engine, issue_id, relay_at(server.port), manner=ALONE, report=seen.append)
    counts = {state.value: count for state, count in seen[-1].counts.items() if count}
    assert counts == {"deferred": 30}
    assert count_of(sqlite_engine, issue_id) == {"frozen": 30, "deferred": 30}


def test_a_relay_that_throttles_stops_the_run_and_nobody_pays(sqlite_engine: Engine) -> None:
    """R-9: what was throttled is deferred, the rest is queued, and all of it goes out later."""
    issue_id, clock = frozen_at(sqlite_engine, some=200), Clock()
    with EvilServer({"dot": b"451 4.7.28 unusual rate\r\n"}) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port), clock=clock, manner=ALONE)
    assert "10 of the last 10 letters by policy" in outcome.stopped
    assert count_of(sqlite_engine, issue_id) == {"frozen": 200, "deferred": 10, "queued": 190}
    clock.at += timedelta(minutes=20)
    with EvilServer() as mended:
        assert run(sqlite_engine, issue_id, relay_at(mended.port), clock=clock).is_finished
    assert len(mended.letters) == 200


def test_refusals_in_words_of_policy_stop_the_run_at_once(sqlite_engine: Engine) -> None:
    """R-9: a server without enhanced codes says it in words."""
    issue_id = frozen_at(sqlite_engine, some=50)
    with EvilServer({"RCPT": b"554 blocked using a blocklist\r\n"}) as server:
        outcome = run(sqlite_engine, issue_id, relay_at(server.port), manner=ALONE)
    assert "refuses us" in outcome.stopped
    assert count_of(sqlite_engine, issue_id) == {"frozen": 50, "queued": 50}


# --- complaints ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complaints", "accepted", "stops"),
    [(2, 100, False), (3, 100, True), (3, 1000, False), (4, 1000, True), (300, 100_000, False), (3, 0, True)],
)
def test_more_complaints_than_three_in_a_thousand_are_too_many(
    complaints: int, accepted: int, stops: bool
) -> None:
    """R-9: exactly 0.3 % is not more; two are never too many."""
    assert bool(objection(complaints, accepted)) == stops


def complain(engine: Engine, issue_id: int, readers: list[int], at: datetime, undone: bool = False) -> None:
    """Each of *readers* complained of the issue, some provider twice."""
    with writing(engine) as session:
        for reader in [*readers, readers[0]]:
            message = Received(sha256=uuid4().hex, came=Came.MAIL, at=at, stage=Stage.DONE)
            session.add(message)
            session.flush()
            told = Report(
                issue_id=issue_id, subscriber_id=reader, domain="well.example", klass=Class.COMPLAINT, at=at
            )
            told.received_id, told.undone_at = message.id, at if undone else None
            session.add(told)


def test_complaints_pause_the_issue_until_a_person_resumes_it(engine: Engine) -> None:
    """R-9: nothing more goes out, nobody else loses a thing, the editors hear of it once each time."""
    issue_id, clock = frozen_at(engine, well=20, slow=20), Clock()
    readers = [row.subscriber_id for row in rows(engine, issue_id)][:FEWEST_COMPLAINTS]
    with EvilServer(refusing("slow", b"451 4.2.1 busy\r\n")) as server:
        relay = relay_at(server.port)
        assert run(engine, issue_id, relay, clock=clock, manner=ALONE).stopped == ""
    complain(engine, issue_id, readers[1:], NOW)
    complain(engine, issue_id, readers, NOW, undone=True)
    before = count_of(engine, issue_id)
    assert before == {"frozen": 40, "accepted": 20, "deferred": 20}

    with EvilServer(refusing("slow", b"451 4.2.1 busy\r\n")) as server:
        relay = relay_at(server.port)
        clock.at += timedelta(hours=1)
        assert run(engine, issue_id, relay, clock=clock).stopped == ""
        heard_before = sum(line.startswith("RCPT") for line in server.lines)
        assert heard_before == 20
        complain(engine, issue_id, readers[:1], clock.at)
        for reminders in (1, 2):
            clock.at += timedelta(hours=6)
            outcome = run(engine, issue_id, relay, clock=clock)
            assert outcome.stopped == "too many complaints: 3 of 20 readers, more than 0.3 %"
            assert outcome.is_paused
            assert issue_of(engine, issue_id).status is Status.PAUSED
            assert count_of(engine, issue_id) == before
            with pytest.raises(DigestError, match="paused"):
                run(engine, issue_id, relay, clock=clock)
            with writing(engine) as session:
                notices = session.exec(select(Notice)).all()
                assert [one.subject for one in notices] == ["2015-09 is paused: complaints"] * reminders
                assert "digest issue resume 2015-09" in notices[0].body
                resume(session, session.get_one(Issue, issue_id), "Anna", clock.at)
            # The same readers, by reports that came after somebody had resumed it.
            clock.at += timedelta(minutes=1)
            if reminders == 1:
                complain(engine, issue_id, readers, clock.at)
        assert sum(line.startswith("RCPT") for line in server.lines) == heard_before
    with EvilServer() as mended:
        assert run(engine, issue_id, relay_at(mended.port), clock=clock).is_finished
    assert len(mended.letters) == 20

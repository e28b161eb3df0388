"""When a run must stop, and whom it does not believe."""

from collections.abc import Iterable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from digest.database import writing
from digest.models import Delivered
from digest.sending import ledger
from digest.sending.breaker import DOMAIN_WINDOW, LEAST, REST, Breaker, Heard, Lying, Stop, is_policy
from digest.sending.ledger import Settlement
from digest.sending.replies import Phase, Reply, reply
from tests.digest.sending import NOW, count_of, frozen, rows

GOOD = reply(250, [b"2.0.0 queued"], Phase.DOT)
GONE = reply(550, [b"5.1.1 <reader@example.org> no such user"], Phase.RCPT)
SPAM = reply(554, [b"5.7.1 looks like spam, says reader@example.org"], Phase.DOT)


def said(answer: Reply, number: int = 0, domain: str = "example.org") -> Heard:
    state = {GOOD: Delivered.ACCEPTED, GONE: Delivered.REJECTED}.get(answer, Delivered.QUEUED)
    return Heard(number, domain, state, answer)


def heard(answers: Iterable[Heard], breaker: Breaker | None = None) -> list[list[Stop | Lying]]:
    breaker = breaker or Breaker()
    return [breaker.hear(one, NOW) for one in answers]


def lies(told: Iterable[list[Stop | Lying]]) -> list[Lying]:
    return [one for these in told for one in these if isinstance(one, Lying)]


def stops(refusals: list[bool]) -> list[bool]:
    """For each answer, to a domain of its own, whether the run must stop after it."""
    told = heard(said(SPAM if one else GOOD, domain=f"d{n}.example") for n, one in enumerate(refusals))
    return [bool(one) for one in told]


@given(st.lists(st.sampled_from([True] + [False] * 40), max_size=450))
def test_a_run_stops_where_policy_refuses_more_than_two_in_a_hundred(refusals: list[bool]) -> None:
    """R-9: of the last 200, and at least 10."""
    windows = [refusals[max(0, end - 200) : end] for end in range(1, len(refusals) + 1)]
    assert stops(refusals) == [len(one) >= 10 and sum(one) * 50 > len(one) for one in windows]


@pytest.mark.parametrize(("refused", "must_stop"), [(4, False), (5, True)])
def test_of_two_hundred_letters_four_may_be_refused(refused: int, must_stop: bool) -> None:
    """R-9: exactly 2 % is not more than 2 %."""
    assert stops([False] * (200 - refused) + [True] * refused)[-1] is must_stop


def test_nothing_is_said_of_a_few_letters() -> None:
    """R-9: the first letter of a run may be refused; the tenth answer is the first that stops it."""
    assert stops([True] * LEAST) == [False] * (LEAST - 1) + [True]


def test_what_a_stop_says_names_no_reader() -> None:
    told = heard([said(SPAM)] * LEAST)[-1]
    why = (
        "the relay refused 10 of the last 10 letters by policy:"
        " 554 5.7.1 looks like spam, says …@example.org (after the final dot)"
    )
    assert told == [Stop(why)]


def test_a_run_too_short_to_be_stopped_has_something_to_say() -> None:
    breaker = Breaker()
    assert breaker.reproach == ""
    heard([said(GOOD), said(SPAM), said(GOOD), said(GONE)], breaker)
    assert breaker.reproach.startswith("the relay refused 1 of the last 2 letters by policy: 554 5.7.1")


def test_what_never_reached_the_relay_does_not_count() -> None:
    """Skipped and held letters would thin the refusals out, and a doubt is no answer."""
    silent = [
        Heard(0, "example.org", state, None)
        for state in (Delivered.SKIPPED, Delivered.HELD, Delivered.DEFERRED, Delivered.IN_DOUBT)
    ]
    breaker = Breaker()
    assert heard(silent * 100, breaker) == [[]] * 400
    assert heard([said(SPAM)] * (LEAST - 1), breaker) == [[]] * (LEAST - 1)
    assert len(breaker.hear(said(SPAM), NOW)) == 1


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


def test_a_domain_that_refuses_more_than_half_is_not_believed() -> None:
    breaker = Breaker()
    answers = [said(GONE if n % 2 else GOOD, n) for n in range(DOMAIN_WINDOW)]
    assert heard(answers, breaker) == [[]] * DOMAIN_WINDOW
    # Half is not more than half; the next one makes eleven of the last twenty.
    told = breaker.hear(said(GONE, 99), NOW)
    assert told == [Lying("example.org", (*range(1, DOMAIN_WINDOW, 2), 99), NOW + REST)]
    assert breaker.resting("Example.ORG", NOW) == NOW + REST
    assert breaker.resting("elsewhere.example", NOW) is None


def test_what_was_on_the_wire_when_the_rest_began_is_taken_back_too() -> None:
    breaker = Breaker()
    assert len(lies(heard([said(GONE, n) for n in range(DOMAIN_WINDOW)], breaker))) == 1
    assert breaker.hear(said(GONE, 50), NOW) == [Lying("example.org", (50,), NOW + REST)]
    assert breaker.hear(said(GOOD, 51), NOW) == []


def test_a_domain_is_judged_afresh_when_it_has_rested() -> None:
    breaker = Breaker()
    heard([said(GONE, n) for n in range(DOMAIN_WINDOW)], breaker)
    later = NOW + REST
    assert breaker.resting("example.org", later) is None
    told = [breaker.hear(said(GONE, n), later) for n in range(DOMAIN_WINDOW)]
    assert told[:-1] == [[]] * (DOMAIN_WINDOW - 1)
    assert told[-1] == [Lying("example.org", tuple(range(DOMAIN_WINDOW)), later + REST)]


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=150))
def test_no_domain_pays_for_another(answers: list[tuple[str, bool]]) -> None:
    """Each domain alone decides, and its refusals, no others, are taken back."""
    told = lies(heard(said(GONE if gone else GOOD, n, one) for n, (one, gone) in enumerate(answers)))
    for lying in told:
        assert lying.deliveries
        assert all(answers[n] == (lying.domain, True) for n in lying.deliveries)
    for domain in "ab":
        own = [gone for one, gone in answers if one == domain]
        windows = [own[end - DOMAIN_WINDOW : end] for end in range(DOMAIN_WINDOW, len(own) + 1)]
        lied = any(one.domain == domain for one in told)
        assert lied is any(sum(window) * 2 > DOMAIN_WINDOW for window in windows)


def test_only_an_answer_to_rcpt_can_be_such_a_lie() -> None:
    full = Heard(1, "example.org", Delivered.REJECTED, reply(552, [b"5.3.4 too big"], Phase.DOT))
    assert heard([full] * 40) == [[]] * 40


def test_a_run_may_stop_and_take_back_at_once() -> None:
    """A provider that refuses in words of policy, at RCPT, does both: neither hides the other."""
    blocked = reply(554, [b"blocked using a blacklist"], Phase.RCPT)
    answers = [Heard(n, "example.org", Delivered.REJECTED, blocked) for n in range(DOMAIN_WINDOW)]
    stop, lying = heard(answers)[-1]
    assert isinstance(stop, Stop)
    assert isinstance(lying, Lying)
    assert len(lying.deliveries) == DOMAIN_WINDOW


def test_the_editors_are_told_once_per_issue_and_domain() -> None:
    event, subject, body = Lying("example.org", (1, 2), NOW + REST).notice("2015-09")
    assert event == "lying:2015-09:example.org"
    assert subject == "example.org refuses nearly everybody"
    assert "2 letters of 2015-09" in body
    assert "2015-10-01 07:00 UTC" in body


def test_refusals_are_taken_back_by_the_run_that_wrote_them(engine: Engine) -> None:
    """R-7: and by no other; the letters are due when the domain has rested."""
    issue_id = frozen(engine, 3)
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, "here", 1, NOW)
        leased = [one.id for one in ledger.lease(session, issue_id, run_id, NOW, 10)]
        for one in leased[:2]:
            gone = Settlement(delivery_id=one, state=Delivered.REJECTED, at=NOW, reply_code=550)
            assert ledger.settle(session, run_id, gone)
        due = NOW + timedelta(hours=1)
        assert ledger.take_back(session, run_id + 1, leased, due, "not believed") == 0
        assert ledger.take_back(session, run_id, leased, due, "not believed") == 2
    assert count_of(engine, issue_id) == {"frozen": 3, "deferred": 2, "queued": 1}
    assert [(row.due_at, row.reason, row.reply_code) for row in rows(engine, issue_id)[:2]] == [
        (due, "not believed", 550)
    ] * 2

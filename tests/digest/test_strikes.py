"""Strikes: what a year of issues costs readers whose mailboxes are full, dead, out of reach or annoyed."""

from datetime import UTC, datetime, timedelta

import pytest

from digest.returns.classes import Class
from digest.returns.strikes import Decision, Outcome, decide, is_outage

YEAR = [datetime(2015, month, 1, 9, tzinfo=UTC) for month in range(1, 13)]
LATER = datetime(2016, 1, 1, tzinfo=UTC)

SOFT, HARD, POLICY = Class.SOFT, Class.HARD, Class.POLICY
GONE = (Decision.PAUSED, Decision.BOUNCED, Decision.COMPLAINED)


def year(*classes: tuple[Class, ...], believed: bool = True) -> list[Outcome]:
    """An issue a month, accepted, and what came back for each."""
    return [Outcome(at, what, believed) for at, what in zip(YEAR, classes, strict=False)]


def lived(
    classes: dict[int, tuple[Class, ...]], disbelieved: frozenset[int] = frozenset()
) -> tuple[int, Decision]:
    """How many issues of the year a reader gets for whom *classes* come back, and what becomes of them."""
    history: list[Outcome] = []
    for month, at in enumerate(YEAR, start=1):
        history.append(Outcome(at, classes.get(month, ()), month not in disbelieved))
        decision = decide(history, at + timedelta(days=20))
        if decision in GONE:
            return month, decision
    return len(YEAR), Decision.STAYS


def test_in_a_year_everybody_is_charged_what_is_theirs() -> None:
    """B-5, B-6, B-7: twelve issues; the outage of March is not believed."""
    full = dict.fromkeys(range(4, 13), (SOFT,))
    assert lived(full) == (6, Decision.PAUSED)
    assert lived({5: (HARD,)}) == (5, Decision.BOUNCED)
    assert lived({2: (Class.COMPLAINT,)}) == (2, Decision.COMPLAINED)
    assert lived({3: (HARD,)}, disbelieved=frozenset({3})) == (12, Decision.STAYS)
    assert lived(dict.fromkeys(range(1, 13), (POLICY,))) == (12, Decision.STAYS)
    assert lived(dict.fromkeys(range(1, 13), (Class.DELAYED,))) == (12, Decision.STAYS)
    assert lived(dict.fromkeys((1, 2, 4, 5, 7, 8, 10, 11), (SOFT,))) == (12, Decision.STAYS)
    assert lived({}) == (12, Decision.STAYS)


@pytest.mark.parametrize("reports", [1, 2, 10, 46])
def test_one_issue_is_one_strike_however_many_reports_it_brings(reports: int) -> None:
    """B-5."""
    assert decide(year((SOFT,) * reports, (SOFT,)), LATER) is Decision.STAYS
    assert decide(year((SOFT,) * reports, (SOFT,), (SOFT,)), LATER) is Decision.PAUSED


def test_a_letter_that_arrives_in_between_begins_the_count_anew() -> None:
    """B-7."""
    assert decide(year((SOFT,), (SOFT,), (), (SOFT,)), LATER) is Decision.STAYS
    assert decide(year((SOFT,), (SOFT,), (), (SOFT,), (SOFT,), (SOFT,)), LATER) is Decision.PAUSED


def test_a_letter_is_not_held_to_have_arrived_before_a_week_has_passed() -> None:
    """B-7: a relay tries for days before it gives up."""
    history = year((SOFT,), (SOFT,), ())
    after_a_day = [*history, Outcome(YEAR[2] + timedelta(days=1), (SOFT,))]
    assert decide(after_a_day, YEAR[2] + timedelta(days=2)) is Decision.PAUSED
    assert decide(after_a_day, YEAR[2] + timedelta(days=7)) is Decision.STAYS


@pytest.mark.parametrize(
    "between", [Outcome(YEAR[2], (POLICY,)), Outcome(None), Outcome(YEAR[2], (HARD,), believed=False)]
)
def test_what_did_not_arrive_and_is_nobodys_fault_neither_counts_nor_clears(between: Outcome) -> None:
    """B-6, B-7."""
    softs = year((SOFT,), (SOFT,))
    assert decide([*softs, between], LATER) is Decision.STAYS
    assert decide([*softs, between, Outcome(YEAR[3], (SOFT,))], LATER) is Decision.PAUSED


def test_a_complaint_outweighs_everything_and_needs_no_belief() -> None:
    """B-5."""
    history = [*year((HARD,)), Outcome(YEAR[1], (SOFT, Class.COMPLAINT), believed=False)]
    assert decide(history, LATER) is Decision.COMPLAINED


def test_a_refusal_by_the_relay_itself_counts_as_what_it_is() -> None:
    """B-7."""
    assert decide([Outcome(None, (HARD,))], LATER) is Decision.BOUNCED
    assert decide([Outcome(None, (POLICY,))], LATER) is Decision.STAYS


@pytest.mark.parametrize(
    ("hard", "letters", "outage"),
    [(9, 9, False), (10, 10, True), (10, 199, True), (10, 200, False), (11, 200, True), (0, 0, False)],
)
def test_a_provider_that_calls_many_dead_at_once_is_not_believed(
    hard: int, letters: int, outage: bool
) -> None:
    """B-6: at least ten, and more than a twentieth."""
    assert is_outage(hard, letters) is outage

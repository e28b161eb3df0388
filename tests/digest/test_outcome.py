"""What the ledger says of a letter that was tried, and when it is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digest.models import Delivered
from digest.sending.ledger import Leased
from digest.sending.outcome import GIVE_UP_AFTER, retry_at, settlement
from digest.sending.replies import Phase, Verdict, reply
from digest.sending.smtp import Sent
from tests.digest.sending import MINUTE, NOW


def test_a_deferred_letter_waits_longer_each_time_and_days_at_most() -> None:
    """W-6."""
    at, waits = NOW, []
    attempts = 1
    while (due := retry_at(attempts, NOW, at, jitter=0)) is not None:
        waits.append((due - at) // MINUTE)
        at, attempts = due, attempts + 1
    assert waits[:7] == [15, 30, 60, 120, 240, 240, 240]
    assert GIVE_UP_AFTER <= at - NOW < GIVE_UP_AFTER + timedelta(hours=4)


def test_a_machine_that_slept_for_days_does_not_give_up_after_one_try() -> None:
    """W-6."""
    assert retry_at(2, NOW, NOW + timedelta(days=30), jitter=0) == NOW + timedelta(days=30, minutes=30)


@given(st.integers(1, 100), st.floats(0, 1))
def test_jitter_adds_up_to_a_tenth(attempts: int, jitter: float) -> None:
    plain = retry_at(attempts, NOW, NOW, 0)
    shaken = retry_at(attempts, NOW, NOW, jitter)
    assert plain is not None
    assert shaken is not None
    assert plain <= shaken <= plain + (plain - NOW) / 10


@pytest.mark.parametrize(
    ("verdict", "attempts", "state", "due"),
    [
        (Verdict.ACCEPTED, 0, Delivered.ACCEPTED, False),
        (Verdict.REJECTED, 0, Delivered.REJECTED, False),
        (Verdict.DEFERRED, 0, Delivered.DEFERRED, True),
        (Verdict.UNSENT, 0, Delivered.DEFERRED, True),
        (Verdict.IN_DOUBT, 0, Delivered.IN_DOUBT, True),
        (Verdict.REFUSED, 0, Delivered.QUEUED, False),
        (Verdict.REFUSED, 2, Delivered.HELD, False),
    ],
)
def test_each_verdict_has_one_outcome(verdict: Verdict, attempts: int, state: Delivered, due: bool) -> None:
    answer = reply(250, [b"2.0.0 said"], Phase.DOT)
    leased = Leased(7, 8, None, attempts, 0)
    made = settlement(leased, NOW, Sent(verdict, answer), NOW, 0.5)
    assert (made.delivery_id, made.state, made.due_at is not None) == (7, state, due)
    assert (made.reply_code, made.reply_text, made.dated_at, made.at) == (250, "2.0.0 said", NOW, NOW)
    assert made.reason or state not in (Delivered.HELD, Delivered.SKIPPED)

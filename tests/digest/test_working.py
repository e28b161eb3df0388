"""What was kept is worked off: whom it is about, what it costs, once, and what waits for a person."""

import base64
import os
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import Engine, select, update
from sqlmodel import SQLModel, col

from digest.database import reading, writing
from digest.models import Delivered, Delivery, letters_of
from digest.returns.keeping import keep
from digest.returns.models import Came, Stage
from digest.returns.returned import Returned
from digest.returns.strikes import Decision
from digest.returns.working import OLDEST, work_off
from digest.sending.ledger import begin_run
from subscribers.address import parse
from subscribers.departures import erase
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import move, unsubscribe
from subscribers.models import Cause, State, Subscriber, Suppression
from subscribers.tokens import NOBODY, Keyring, Purpose
from tests.digest import returning
from tests.digest.reports import DOMAIN, RING, complaint, dsn, in_words
from tests.digest.returning import AT, CONTENT, DEAD, FULL, MONTH, NEXT, POLICY, SECRET, state_of

FORGERIES = int(os.environ.get("PROVE_FORGERIES", "40"))
SEED = int(os.environ.get("PROVE_SEED", "1"))
UNTOUCHED = ("subscriber", "consent", "suppression", "delivery", "report")


@pytest.fixture
def ann(engine: Engine) -> int:
    """Somebody who has got the issue of September."""
    (found,) = returning.enrol(engine, ["ann@example.net"])
    returning.went_out(engine, MONTH, AT)
    return found


def suppression_of(engine: Engine, subscriber_id: int) -> Cause | None:
    with reading(engine) as session:
        key = session.get_one(Subscriber, subscriber_id).suppression_key
        line = session.get(Suppression, key)
        return Cause(line.cause) if line else None


def test_a_dead_mailbox_leaves_and_is_not_written_to(engine: Engine, ann: int) -> None:
    """B-7: after one report; what it said is kept with it."""
    assert returning.reported(engine, ann, MONTH, DEAD, NEXT).done == 1
    assert (state_of(engine, ann), suppression_of(engine, ann)) == (State.BOUNCED, Cause.BOUNCED)
    with reading(engine) as session:
        (report,) = returning.reports(session)
    assert (report.cost, report.before, report.status) == (Decision.BOUNCED, State.ACTIVE, "5.1.1")
    assert (report.domain, report.diagnostic) == ("example.net", "smtp; 550 5.1.1 no such user here")


@pytest.mark.parametrize("what", [FULL, POLICY], ids=["full", "policy"])
def test_what_is_not_dead_stays(engine: Engine, ann: int, what: str) -> None:
    """B-7: one full mailbox is one strike, policy none."""
    returning.reported(engine, ann, MONTH, what, NEXT)
    assert (state_of(engine, ann), suppression_of(engine, ann)) == (State.ACTIVE, None)


def test_the_same_report_ten_times_is_one_strike(engine: Engine, ann: int) -> None:
    """B-5: the same bytes, and ten reports of one letter."""
    for hours in range(10):
        at = NEXT + timedelta(hours=hours)
        returning.came(engine, dsn(FULL, to=returning.bounce_address(ann, MONTH)), at)
        returning.reported(engine, ann, MONTH, FULL, at)
    assert len(returning.messages(engine)) == 11
    assert state_of(engine, ann) == State.ACTIVE


def test_working_off_twice_counts_once(engine: Engine, ann: int) -> None:
    """B-3."""
    returning.reported(engine, ann, MONTH, DEAD, NEXT)
    again = work_off(returning.office_of(engine), NEXT)
    assert (again.done, again.waiting) == (0, 0)
    with reading(engine) as session:
        assert len(returning.reports(session)) == 1


def test_two_who_work_off_at_once_count_once(engine: Engine, ann: int) -> None:
    """B-3: the tick and a pipe, both of which have read it before either counts."""
    both_have_read = Barrier(2, timeout=30)
    office = returning.office_of(engine)

    def read_together(raw: bytes) -> list[Returned]:
        both_have_read.wait()
        return list(office.readers[Came.MAIL](raw))

    keep(engine, dsn(DEAD, to=returning.bounce_address(ann, MONTH)), Came.MAIL, NEXT)
    slow = replace(office, readers={Came.MAIL: read_together})
    with ThreadPoolExecutor(2) as pool:
        worked = list(pool.map(lambda _: work_off(slow, NEXT), range(2)))
    assert sorted(one.done for one in worked) == [0, 1]
    with reading(engine) as session:
        assert len(returning.reports(session)) == 1


def test_a_complaint_is_out_at_once_and_gets_no_mail(engine: Engine, ann: int) -> None:
    """B-2: found by the Message-ID alone, which the relay's own envelope sender left."""
    name = returning.office_of(engine).namer(CONTENT)(ann)
    raw = complaint().replace(b"<2015-09.abcdefghijklmnopqrstuvwxyz@example.org>", name.encode())
    assert returning.came(engine, raw, AT + timedelta(days=90)).done == 1
    assert (state_of(engine, ann), suppression_of(engine, ann)) == (State.COMPLAINED, Cause.COMPLAINED)


def test_who_has_left_and_complains_is_never_written_to(engine: Engine, ann: int) -> None:
    with writing(engine) as session:
        unsubscribe(session, ann, Evidence(origin=Origin.PAGE, at=AT))
    returning.came(engine, complaint(to=returning.bounce_address(ann, MONTH)), NEXT)
    assert state_of(engine, ann) == State.COMPLAINED


def test_who_has_left_is_not_bounced(engine: Engine, ann: int) -> None:
    with writing(engine) as session:
        unsubscribe(session, ann, Evidence(origin=Origin.PAGE, at=AT))
    returning.reported(engine, ann, MONTH, DEAD, NEXT)
    assert (state_of(engine, ann), suppression_of(engine, ann)) == (State.UNSUBSCRIBED, None)


def test_a_mail_to_the_unsubscribe_address_unsubscribes(engine: Engine, ann: int) -> None:
    """U-5: whoever it is from, and whatever it says."""
    token = RING.sign(Purpose.ONE_CLICK, ann, 0)
    raw = f"From: somebody.else@example.com\nTo: u+{token}@{DOMAIN}\nSubject: hello\n\nNo!\n".encode()
    assert returning.came(engine, raw, NEXT).done == 1
    assert state_of(engine, ann) == State.UNSUBSCRIBED


@pytest.mark.parametrize(
    "raw",
    [
        dsn(DEAD, to="bounces@example.org"),
        dsn(DEAD, to=f"b+{'A' * 36}@{DOMAIN}"),
        in_words("<ann@example.net>: 550 5.1.1 no such user here", to="news@example.org"),
        complaint(),
        f"From: ann@example.net\nTo: u+{'A' * 36}@{DOMAIN}\nSubject: unsubscribe\n\nPlease.\n".encode(),
    ],
    ids=["no-token", "forged-token", "in-words", "complaint", "unsubscribe"],
)
def test_without_a_genuine_name_nothing_changes_and_it_waits(engine: Engine, ann: int, raw: bytes) -> None:
    """B-2, S-21, U-5."""
    assert returning.came(engine, raw, NEXT).waiting == 1
    assert (state_of(engine, ann), suppression_of(engine, ann)) == (State.ACTIVE, None)
    (message,) = returning.messages(engine)
    assert (message.stage, message.raw, message.done_at) == (Stage.WAITING, raw, None)
    assert message.outcome


def everything(engine: Engine) -> list[object]:
    """What the store knows of the readers and their letters."""
    with reading(engine) as session:
        tables = [SQLModel.metadata.tables[name] for name in UNTOUCHED]
        return [tuple(row) for table in tables for row in session.execute(select(table))]


def test_forged_reports_about_known_addresses_change_nothing(engine: Engine) -> None:
    """B-2, S-21: guessed or changed tokens, those of another purpose or key, Message-IDs like ours."""
    names = [f"reader{number}@example.net" for number in range(5)]
    ids = returning.enrol(engine, names)
    returning.went_out(engine, MONTH, AT)
    before = everything(engine)
    chance = random.Random(SEED)
    for number in range(FORGERIES):
        keep(engine, forged(chance, ids, names, number), Came.MAIL, NEXT)
    worked = work_off(returning.office_of(engine), NEXT)
    assert (worked.done, worked.waiting) == (0, FORGERIES)
    assert everything(engine) == before


def forged(chance: random.Random, ids: list[int], names: list[str], number: int) -> bytes:
    """A report that its forger means for one of the readers."""
    which = chance.randrange(len(ids))
    genuine = RING.sign(Purpose.BOUNCE, ids[which], 2015 * 12 + 8)
    changed = bytearray(genuine.encode())
    changed[chance.randrange(3, 30)] ^= 1
    if not changed.decode().replace("-", "").replace("_", "").isalnum():
        changed = bytearray(b"A" * 36)
    strange = Keyring([chance.randbytes(32)]).sign(Purpose.BOUNCE, ids[which], 2015 * 12 + 8)
    token = chance.choice(
        [
            base64.urlsafe_b64encode(chance.randbytes(27)).decode(),
            changed.decode(),
            strange,
            RING.sign(Purpose.LEAVE, ids[which], 2015 * 12 + 8),
            genuine.swapcase(),
        ]
    )
    name = base64.b32encode(chance.randbytes(17)).decode()[:26].lower()
    raw = chance.choice(
        [
            dsn(DEAD, to=f"b+{token}@{DOMAIN}"),
            dsn(DEAD, to=f"b+{genuine}@{DOMAIN}.example"),
            complaint(to=f"b+{token}@{DOMAIN}"),
            in_words(f"<{names[which]}>: 550 5.1.1 no such user here", to=f"b+{token}@{DOMAIN}"),
            f"From: {names[which]}\nTo: u+{token}@{DOMAIN}\nSubject: unsubscribe\n\nPlease.\n".encode(),
        ]
    )
    raw = raw.replace(b"abcdefghijklmnopqrstuvwxyz", name.encode())
    raw = raw.replace(b"ann@example.net", names[which].encode())
    return raw + f"\n{number}\n".encode()


def test_a_letter_that_was_never_sent_cannot_have_come_back(engine: Engine, ann: int) -> None:
    """B-2: a genuine token of another month, and one of a letter that is still to be sent."""
    assert returning.reported(engine, ann, "2015-08", DEAD, NEXT).waiting == 1
    with writing(engine) as session:
        session.connection().execute(
            update(Delivery).where(letters_of(ann)).values(state=Delivered.QUEUED, marks=0)
        )
    assert returning.reported(engine, ann, MONTH, DEAD, NEXT).waiting == 1
    assert state_of(engine, ann) == State.ACTIVE


def test_a_report_on_an_old_letter_waits(engine: Engine, ann: int) -> None:
    """B-2: of more than 45 days."""
    assert returning.reported(engine, ann, MONTH, DEAD, AT + timedelta(days=46)).waiting == 1
    assert state_of(engine, ann) == State.ACTIVE


def test_what_came_back_from_an_address_they_have_left_costs_nothing(engine: Engine, ann: int) -> None:
    with writing(engine) as session:
        evidence = Evidence(origin=Origin.PAGE, at=AT + timedelta(minutes=5))
        move(session, ann, parse("ann@example.com"), evidence, SECRET)
    returning.reported(engine, ann, MONTH, DEAD, NEXT)
    returning.came(engine, complaint(to=returning.bounce_address(ann, MONTH)), NEXT)
    assert (state_of(engine, ann), suppression_of(engine, ann)) == (State.ACTIVE, None)
    assert returning.waiting(engine) == ["a complaint from an address that the reader has left since"]


def test_of_the_erased_nothing_comes_back_into_the_store(engine: Engine, ann: int) -> None:
    """P-3."""
    with writing(engine) as session:
        erase(session, ann)
    assert returning.reported(engine, ann, MONTH, DEAD, NEXT).done == 1
    (message,) = returning.messages(engine)
    assert message.raw is None
    with reading(engine) as session:
        assert returning.reports(session) == []


def test_a_report_on_a_test_copy_is_nobodys(engine: Engine, ann: int) -> None:
    assert returning.reported(engine, NOBODY, MONTH, DEAD, NEXT).done == 1
    assert state_of(engine, ann) == State.ACTIVE


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        (Delivered.IN_DOUBT, Delivered.ACCEPTED),
        (Delivered.HELD, Delivered.ACCEPTED),
        (Delivered.QUEUED, Delivered.ACCEPTED),
        (Delivered.SENDING, Delivered.SENDING),
        (Delivered.ACCEPTED, Delivered.ACCEPTED),
        (Delivered.REJECTED, Delivered.REJECTED),
    ],
)
def test_what_came_back_was_taken_by_the_relay(
    engine: Engine, ann: int, state: Delivered, becomes: Delivered
) -> None:
    """F-22: a letter in doubt is not sent again; what a run has in hand, the run settles."""
    doubts = 0 if state in (Delivered.ACCEPTED, Delivered.REJECTED) else 1
    values = {"state": state, "doubts": doubts, "reason": "in doubt", "due_at": AT}
    with writing(engine) as session:
        run = begin_run(session, 1, "here", 1, AT) if state == Delivered.SENDING else None
        statement = update(Delivery).where(col(Delivery.subscriber_id) == ann)
        session.connection().execute(statement.values(**values, run_id=run))
    returning.reported(engine, ann, MONTH, FULL, NEXT)
    with reading(engine) as session:
        delivery = session.get_one(Delivery, 1)
    assert delivery.state == becomes
    assert (delivery.reason == "a report of it came back") == (becomes != state)


def test_one_message_that_cannot_be_read_does_not_stop_the_others(sqlite_engine: Engine) -> None:
    """B-4."""
    (bob,) = returning.enrol(sqlite_engine, ["bob@example.net"])
    returning.went_out(sqlite_engine, MONTH, AT)
    assert keep(sqlite_engine, b"anything", Came.SES, AT)
    assert keep(sqlite_engine, dsn(DEAD, to=returning.bounce_address(bob, MONTH)), Came.MAIL, NEXT)

    def fails(raw: bytes) -> list[Returned]:
        raise RecursionError(raw)

    office = returning.office_of(sqlite_engine)
    worked = work_off(replace(office, readers={**office.readers, Came.SES: fails}), NEXT)
    assert (worked.done, worked.waiting) == (1, 1)
    assert returning.waiting(sqlite_engine) == ["reading it failed: RecursionError"]


def test_the_text_of_what_is_done_is_kept_for_some_weeks(engine: Engine, ann: int) -> None:
    """B-3: what waits is kept until somebody has seen to it; and nothing comes twice even then."""
    returning.reported(engine, ann, MONTH, FULL, NEXT)
    returning.came(engine, b"Subject: hello\n\nDear editors,", NEXT)
    work_off(returning.office_of(engine), NEXT + OLDEST)
    assert [one.raw is None for one in returning.messages(engine)] == [False, False]
    work_off(returning.office_of(engine), NEXT + OLDEST + timedelta(days=1))
    assert [one.raw is None for one in returning.messages(engine)] == [True, False]
    assert returning.reported(engine, ann, MONTH, FULL, NEXT).done == 0

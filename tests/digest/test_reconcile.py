"""Letters in doubt are settled once, by proof only, in both stores, whatever a run does meanwhile."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from digest.database import reading, writing
from digest.errors import DigestError
from digest.models import Delivered, Issue, Status
from digest.sending import ledger, reconcile
from digest.sending.audit import Decision, resolve
from digest.sending.ledger import DOUBT_REST, HELD_BY_POLICY, Settlement
from digest.sending.reconcile import Doubtful, Reconciled, by_list, by_log, judge_by_log, settle, summed
from digest.sending.relaylog import PostfixLog, Seen
from tests.digest.evil_server import EvilServer
from tests.digest.sending import MINUTE, NOW, Clock, count_of, frozen, relay_at, rows, run

LATER = NOW + timedelta(hours=1)


def name_of(subscriber_id: int) -> str:
    return f"<2015-09.{subscriber_id}@example.org>"


def doubted(engine: Engine, count: int, accepted: int = 0, untried: int = 0, at: datetime = NOW) -> int:
    """An issue of which *accepted* letters were answered, and *count* are in doubt since a run was killed."""
    issue_id = frozen(engine, count + accepted + untried)
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, "host", 1, at)
        for number, one in enumerate(ledger.lease(session, issue_id, run_id, at, count + accepted)):
            assert ledger.mark(session, run_id, {one.id: at}, at)
            if number < accepted:
                answer = Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=at, reply_code=250)
                assert ledger.settle(session, run_id, [answer])
        ledger.take_over(session, [], at)
    return issue_id


def stamped(at: datetime, text: str, service: str = "qmgr") -> str:
    return f"{at.isoformat()} relay postfix/{service}[7]: {text}\n"


def taken(*numbers: int, at: datetime = NOW) -> str:
    """The log of a relay that took the letters to these subscribers."""
    return "".join(
        stamped(at, f"4bQx{n}z: message-id={name_of(n)}", "cleanup")
        + stamped(at, f"4bQx{n}z: from=<l@example.org>, size=1, nrcpt=1 (queue active)")
        for n in numbers
    )


def refused(number: int, at: datetime = NOW, queue_id: str = "4bQxRz") -> str:
    return stamped(at, f"{queue_id}: message-id={name_of(number)}", "cleanup") + stamped(
        at, f"{queue_id}: milter-reject: END-OF-MESSAGE from localhost[127.0.0.1]: 4.7.1 later", "cleanup"
    )


#: the log goes on around the run
BEFORE = stamped(NOW - 2 * MINUTE, "x", "anvil")
AFTER = stamped(NOW + DOUBT_REST, "x", "anvil")


def read(engine: Engine, issue_id: int, log: str, whole: bool = False) -> list[reconcile.Ruling]:
    lines = log.encode().splitlines(keepends=True)
    return by_log(engine, issue_id, [("mail.log", lines)], name_of=name_of, whole=whole, zone=UTC, now=LATER)


def reconciled(engine: Engine, issue_id: int, log: str, whole: bool = False) -> Reconciled:
    found = settle(engine, issue_id, read(engine, issue_id, log, whole), LATER)
    assert found.in_doubt == found.accepted + found.queued + found.left
    assert sum(found.left_because.values()) == found.left
    return found


def counts(found: Reconciled) -> tuple[int, int, int]:
    return found.accepted, found.queued, found.left


def test_what_the_log_shows_is_accepted_and_the_rest_stays(engine: Engine) -> None:
    """R-4."""
    issue_id = doubted(engine, 4)
    found = reconciled(engine, issue_id, BEFORE + taken(1, 3) + AFTER)
    assert found.as_json() == {
        "in_doubt": 4,
        "accepted": 2,
        "queued": 0,
        "left": 2,
        "left_because": {"not in the log": 2},
        "fates": {},
    }
    first, second, *_ = rows(engine, issue_id)
    assert (first.state, first.due_at, first.settled_at) == (Delivered.ACCEPTED, None, LATER)
    assert first.reason == "the relay's log mail.log has it as 4bQx1z"
    assert (second.state, second.due_at, second.doubts) == (Delivered.IN_DOUBT, NOW + DOUBT_REST, 1)
    assert counts(reconciled(engine, issue_id, BEFORE + taken(1, 3) + AFTER)) == (0, 0, 2)


def test_held_letters_are_settled_too_and_others_are_left_alone(engine: Engine) -> None:
    issue_id = doubted(engine, 2, accepted=1)
    with writing(engine) as session:
        ledger.reconsider(session, issue_id, False, NOW)
    assert rows(engine, issue_id)[1].reason == HELD_BY_POLICY
    assert counts(reconciled(engine, issue_id, taken(1, 2))) == (1, 0, 1)
    assert count_of(engine, issue_id) == {"frozen": 3, "accepted": 2, "held": 1}
    assert rows(engine, issue_id)[0].reason == ""


def test_a_whole_log_shows_that_a_letter_never_was_accepted(engine: Engine) -> None:
    """R-4: it is queued again, without a doubt, and the next run sends it once."""
    issue_id = doubted(engine, 3, accepted=1)
    with writing(engine) as session:
        session.get_one(Issue, issue_id).status = Status.SENT
        session.flush()
    assert counts(reconciled(engine, issue_id, BEFORE + taken(1, 2) + AFTER, whole=True)) == (1, 2, 0)
    free = rows(engine, issue_id)[2]
    assert (free.state, free.run_id, free.doubts, free.dated_at) == (Delivered.QUEUED, None, 0, NOW)
    with EvilServer() as server:
        outcome = run(engine, issue_id, relay_at(server.port), clock=Clock(LATER))
    assert outcome.is_finished
    assert sorted(one.message_id for one in server.letters) == [name_of(3), name_of(4)]
    assert count_of(engine, issue_id) == {"frozen": 4, "accepted": 4}


SHORT = {
    "it begins after the first try": (stamped(NOW, "x", "anvil") + AFTER, "the log begins too late for it"),
    "it ends too early": (
        BEFORE + stamped(NOW + DOUBT_REST - MINUTE, "x", "anvil"),
        "the log ends less than 15 minutes after it",
    ),
}


@pytest.mark.parametrize("case", SHORT)
def test_a_log_that_does_not_reach_around_the_try_proves_nothing(sqlite_engine: Engine, case: str) -> None:
    log, why = SHORT[case]
    issue_id = doubted(sqlite_engine, 2)
    other = stamped(NOW + MINUTE, "4bQx9z: message-id=<x@y>", "cleanup")
    lines = sorted((log + other).splitlines(keepends=True))
    found = reconciled(sqlite_engine, issue_id, "".join(lines), whole=True)
    assert (counts(found), found.left_because) == ((0, 0, 2), {why: 2})


def test_a_log_without_what_the_relay_took_for_sure_is_not_whole(sqlite_engine: Engine) -> None:
    """Another host's log, or half of it: --whole is not believed, and nothing is changed."""
    issue_id = doubted(sqlite_engine, 2, accepted=3)
    with pytest.raises(DigestError, match="lacks 2 of 3 letters"):
        read(sqlite_engine, issue_id, BEFORE + taken(1, 4) + AFTER, whole=True)
    with pytest.raises(DigestError, match="no Message-ID at all"):
        read(sqlite_engine, issue_id, BEFORE + AFTER, whole=True)
    assert count_of(sqlite_engine, issue_id) == {"frozen": 5, "accepted": 3, "in_doubt": 2}


def test_a_log_in_another_zone_is_found_out(sqlite_engine: Engine) -> None:
    issue_id = doubted(sqlite_engine, 1, accepted=1)
    early = stamped(NOW - timedelta(hours=4), "x", "anvil")
    with pytest.raises(DigestError, match="--log-zone"):
        read(sqlite_engine, issue_id, early + taken(1, at=NOW - timedelta(hours=3)) + AFTER, whole=True)


def test_a_refusal_of_every_try_proves_that_it_was_not_accepted(sqlite_engine: Engine) -> None:
    issue_id = doubted(sqlite_engine, 3)
    log = (
        refused(1) + refused(2, at=NOW - timedelta(days=1), queue_id="4bQxOz") + refused(3, queue_id="4bQxPz")
    )
    again = taken(3, at=NOW + MINUTE)
    found = reconciled(sqlite_engine, issue_id, log + again)
    assert (counts(found), found.left_because) == ((1, 1, 1), {"not shown as taken": 1})
    assert [row.state for row in rows(sqlite_engine, issue_id)] == [
        Delivered.QUEUED,
        Delivered.IN_DOUBT,  # refused the day before: of that try the ledger knows already
        Delivered.ACCEPTED,
    ]


LETTER = Doubtful(1, 1, Delivered.IN_DOUBT, "", 2, 2, 2, NOW, NOW + 20 * MINUTE)
KEY = (b"relay", b"postfix", b"A")
EARLIER = NOW - timedelta(days=1)


@pytest.mark.parametrize(
    ("letter", "seen", "expected"),
    [
        (LETTER, Seen(NOW, turned_down={(KEY, b"1"): NOW}), None),
        (LETTER, Seen(NOW, turned_down={(KEY, b"1"): NOW, (KEY, b"2"): NOW + MINUTE}), Delivered.QUEUED),
        # The same line in a file and in the journal: one stamp tells more than the other.
        (LETTER, Seen(NOW, turned_down={(KEY, b"1"): NOW, (KEY, b"2"): NOW + MINUTE / 100}), None),
        (LETTER, Seen(NOW, turned_down={(KEY, b"1"): NOW, (KEY, b"2"): None}), None),
        (LETTER, Seen(NOW, "A", turned_down={(KEY, b"1"): NOW, (KEY, b"2"): NOW}), Delivered.ACCEPTED),
        (LETTER, Seen(NOW, is_on_hold=True), None),
        # A person had it sent again: what is counted anew are its tries, not its marks.
        (
            replace(LETTER, attempts=1, doubts=1, marks=3),
            Seen(NOW, turned_down={(KEY, b"1"): EARLIER, (KEY, b"2"): EARLIER + MINUTE, (KEY, b"3"): NOW}),
            Delivered.QUEUED,
        ),
        (
            replace(LETTER, attempts=1, doubts=1, marks=3),
            Seen(NOW, turned_down={(KEY, b"2"): EARLIER, (KEY, b"3"): NOW}),
            None,
        ),
        (replace(LETTER, state=Delivered.HELD, reason="needs SMTPUTF8"), Seen(NOW, "A"), Delivered.ACCEPTED),
        (
            replace(LETTER, state=Delivered.HELD, reason="needs SMTPUTF8", doubts=1, attempts=1, marks=1),
            Seen(NOW, turned_down={(KEY, b"1"): NOW}),
            None,
        ),
    ],
)
def test_every_try_must_be_accounted_for(letter: Doubtful, seen: Seen, expected: Delivered | None) -> None:
    assert judge_by_log(letter, seen, PostfixLog([], UTC, NOW), False).becomes is expected


def test_a_whole_log_must_reach_back_to_the_first_of_two_tries() -> None:
    log = PostfixLog([], UTC, LATER)
    for first_at, expected in ((NOW - MINUTE, Delivered.QUEUED), (NOW + 10 * MINUTE, None)):
        log.first_at, log.last_at = first_at, LETTER.marked_at + DOUBT_REST
        assert judge_by_log(LETTER, None, log, True).becomes is expected


def test_a_list_says_it_itself(sqlite_engine: Engine) -> None:
    issue_id = doubted(sqlite_engine, 6)
    words = ("sent", "bounced", "rejected", "not found", "unknown")
    text = "message-id,status\n" + "".join(f"{name_of(n)},{word}\n" for n, word in enumerate(words, 1))
    lines = text.encode().splitlines(keepends=True)

    def listed(now: datetime) -> list[reconcile.Ruling]:
        return by_list(sqlite_engine, issue_id, lines, source="list.csv", name_of=name_of, now=now)

    soon = summed(listed(NOW + DOUBT_REST - MINUTE))
    assert soon.left_because["not found, but sent less than 15 minutes ago"] == 1
    found = settle(sqlite_engine, issue_id, listed(LATER), LATER)
    assert (counts(found), found.fates) == ((2, 2, 2), {"bounced": 1, "sent": 1})
    assert found.left_because == {"not in the list": 1, "unknown, says the list": 1}
    assert rows(sqlite_engine, issue_id)[1].reason == "list.csv, line 3: bounced"


def test_what_waits_to_be_sent_again_is_not_when_the_relay_has_it(engine: Engine) -> None:
    """R-4: free again after its rest, or put off by the relay since: the log still spares the second copy."""
    issue_id = doubted(engine, 3)
    with writing(engine) as session:
        ledger.reconsider(session, issue_id, True, NOW + DOUBT_REST)
        run_id = ledger.begin_run(session, issue_id, "host", 1, LATER)
        one = ledger.lease(session, issue_id, run_id, LATER, 1)[0]
        put_off = Settlement(delivery_id=one.id, state=Delivered.DEFERRED, at=LATER, due_at=LATER + MINUTE)
        assert ledger.settle(session, run_id, [put_off])
    assert counts(reconciled(engine, issue_id, BEFORE + taken(1, 2) + AFTER)) == (2, 0, 1)
    assert counts(reconciled(engine, issue_id, BEFORE + taken(1, 2) + AFTER, whole=True)) == (0, 1, 0)
    assert count_of(engine, issue_id) == {"frozen": 3, "accepted": 2, "queued": 1}


def test_what_the_relay_told_to_come_later_still_does(sqlite_engine: Engine) -> None:
    issue_id = doubted(sqlite_engine, 1)
    with writing(sqlite_engine) as session:
        ledger.reconsider(session, issue_id, True, NOW + DOUBT_REST)
        run_id = ledger.begin_run(session, issue_id, "host", 1, LATER)
        one = ledger.lease(session, issue_id, run_id, LATER, 1)[0]
        put_off = Settlement(delivery_id=one.id, state=Delivered.DEFERRED, at=LATER, due_at=LATER + MINUTE)
        assert ledger.settle(session, run_id, [put_off])
    other = stamped(NOW, "4bQx9z: message-id=<x@y>", "cleanup")
    assert counts(reconciled(sqlite_engine, issue_id, BEFORE + other + AFTER, whole=True)) == (0, 1, 0)
    row = rows(sqlite_engine, issue_id)[0]
    assert (row.state, row.due_at, row.doubts) == (Delivered.DEFERRED, LATER + MINUTE, 0)


def by_a_lease(engine: Engine, issue_id: int) -> None:
    with writing(engine) as session:
        ledger.reconsider(session, issue_id, True, LATER)
        run_id = ledger.begin_run(session, issue_id, "host", 1, LATER)
        assert len(ledger.lease(session, issue_id, run_id, LATER, 10)) == 2


def by_a_new_doubt(engine: Engine, issue_id: int) -> None:
    by_a_lease(engine, issue_id)
    with writing(engine) as session:
        for row in rows(engine, issue_id):
            assert row.id is not None
            assert row.run_id is not None
            assert ledger.mark(session, row.run_id, {row.id: LATER}, LATER)
        ledger.take_over(session, [], LATER)


def by_a_person(engine: Engine, issue_id: int) -> None:
    with writing(engine) as session:
        resolve(session, issue_id, Decision.ACCEPTED, LATER)


def by_another_reconciliation(engine: Engine, issue_id: int) -> None:
    assert reconciled(engine, issue_id, BEFORE + taken(1) + AFTER, whole=True).left == 0


@pytest.mark.parametrize("went_on", [by_a_lease, by_a_new_doubt, by_a_person, by_another_reconciliation])
@pytest.mark.parametrize("whole", [False, True])
def test_what_went_on_while_the_log_was_read_is_left_alone(
    engine: Engine, went_on: Callable[[Engine, int], None], whole: bool
) -> None:
    """A run that has leased or sent it again, or a person, was quicker: their word stands."""
    issue_id = doubted(engine, 2)
    rulings = read(engine, issue_id, BEFORE + taken(1) + AFTER, whole)
    went_on(engine, issue_id)
    before = rows(engine, issue_id)
    found = settle(engine, issue_id, rulings, LATER)
    assert found.left == 2
    assert found.left_because["went on meanwhile"] == (2 if whole else 1)
    assert rows(engine, issue_id) == before


@pytest.mark.slow
def test_while_a_run_sends_them_again_nobody_is_lost_or_settled_twice(engine: Engine) -> None:
    """R-4: a dispatch and three reconciliations at once, many times over."""
    issue_id = doubted(engine, 300)
    log = BEFORE + taken(*range(1, 301, 2)) + AFTER
    rulings = read(engine, issue_id, log)
    found: list[Reconciled] = []
    start = threading.Barrier(4)

    def settles() -> None:
        start.wait()
        found.append(settle(engine, issue_id, rulings, LATER))

    threads = [threading.Thread(target=settles) for _ in range(3)]
    with EvilServer() as server:
        for thread in threads:
            thread.start()
        start.wait()
        outcome = run(engine, issue_id, relay_at(server.port), clock=Clock(LATER))
        for thread in threads:
            thread.join()
    assert outcome.is_finished
    assert count_of(engine, issue_id) == {"frozen": 300, "accepted": 300}
    by_log = {row.subscriber_id for row in rows(engine, issue_id) if "mail.log" in row.reason}
    assert sum(one.accepted for one in found) == len(by_log)
    assert {one.message_id for one in server.letters} == {
        name_of(n) for n in range(1, 301) if n not in by_log
    }


def test_many_letters_are_settled_in_many_transactions(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash half-way leaves what is settled settled; again, it goes on."""
    monkeypatch.setattr(reconcile, "BATCH", 10)
    issue_id = doubted(sqlite_engine, 35)
    rulings = read(sqlite_engine, issue_id, taken(*range(1, 36)))
    broken = [*rulings[:25], replace(rulings[25], why=object())]  # type: ignore[arg-type]
    with pytest.raises(Exception, match="object"):
        settle(sqlite_engine, issue_id, broken, LATER)
    assert count_of(sqlite_engine, issue_id) == {"frozen": 35, "accepted": 20, "in_doubt": 15}
    assert counts(reconciled(sqlite_engine, issue_id, taken(*range(1, 36)))) == (15, 0, 0)


def test_only_letters_that_were_in_doubt_are_asked_about(sqlite_engine: Engine) -> None:
    issue_id = doubted(sqlite_engine, 1, accepted=1, untried=1)
    with reading(sqlite_engine) as session:
        assert [one.subscriber_id for one in reconcile.doubtful(session, issue_id)] == [2]


def restored(engine: Engine, count: int) -> int:
    """An issue of which a backup was put back: its letters are held, and nobody knows when they went out."""
    issue_id = frozen(engine, count)
    with writing(engine) as session:
        assert ledger.hold_restored(session, issue_id) == count
    return issue_id


@pytest.mark.parametrize("whole", [False, True])
def test_what_a_restored_store_holds_is_accepted_where_the_log_has_it(engine: Engine, whole: bool) -> None:
    """R-8: that the relay took it is proof; that nothing of it is there, or a refusal, is none."""
    issue_id = restored(engine, 3)
    found = reconciled(engine, issue_id, BEFORE + taken(1) + refused(2) + AFTER, whole)
    assert (counts(found), found.left_because) == ((1, 0, 2), {reconcile.UNKNOWN_WHEN: 2})
    assert count_of(engine, issue_id) == {"frozen": 3, "accepted": 1, "held": 2}


def test_what_a_restored_store_holds_is_accepted_where_a_list_has_it(engine: Engine) -> None:
    issue_id = restored(engine, 2)
    text = f"message-id,status\n{name_of(1)},not found\n{name_of(2)},sent\n"
    lines = text.encode().splitlines(keepends=True)
    rulings = by_list(engine, issue_id, lines, source="list.csv", name_of=name_of, now=LATER)
    found = settle(engine, issue_id, rulings, LATER)
    assert (counts(found), found.left_because) == ((1, 0, 1), {reconcile.UNKNOWN_WHEN: 1})


def test_a_log_with_a_hole_where_the_doubt_is_is_not_whole(engine: Engine) -> None:
    """However many went out later: what went out just before and after is what is looked for."""
    before, after = 30, 2100
    issue_id = frozen(engine, 1 + before + after)
    late = NOW + 10 * MINUTE
    with writing(engine) as session:
        run_id = ledger.begin_run(session, issue_id, "host", 1, NOW)
        letters = ledger.lease(session, issue_id, run_id, NOW, 1 + before + after)
        for number, one in enumerate(letters):
            at = NOW if number <= before else late
            assert ledger.mark(session, run_id, {one.id: at}, at)
        answers = [
            Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=late, reply_code=250)
            for one in letters[1:]
        ]
        assert ledger.settle(session, run_id, answers)
        ledger.take_over(session, [], late)
    begins, ends = stamped(NOW - 20 * MINUTE, "x", "anvil"), stamped(late + DOUBT_REST, "x", "anvil")
    later = taken(*[one.subscriber_id for one in letters[1 + before :]], at=late)
    earlier = taken(*[one.subscriber_id for one in letters[1 : 1 + before]])
    with pytest.raises(DigestError, match="so it is not whole"):
        read(engine, issue_id, begins + later + ends, whole=True)
    assert counts(reconciled(engine, issue_id, begins + earlier + later + ends, whole=True)) == (0, 1, 0)


def test_the_witnesses_are_evenly_spread_and_dense_about_each_moment() -> None:
    rows = [(number, NOW + number * MINUTE) for number in range(1000)]
    moments = [NOW + 500.5 * MINUTE, NOW + 2000 * MINUTE]
    found = dict(reconcile.chosen(rows, moments, 100))
    assert sorted(found) == sorted({*range(0, 1000, 100), *range(481, 521), *range(980, 1000)})
    assert list(reconcile.chosen([], moments, 1)) == []


def test_what_a_person_had_sent_again_needs_a_refusal_of_the_first_try_too(engine: Engine) -> None:
    """The tries are counted anew then, and what became of the first one is as little known as before."""
    issue_id = doubted(engine, 1)
    again = NOW + 21 * MINUTE
    with writing(engine) as session:
        resolve(session, issue_id, Decision.RESEND, again)
    with EvilServer({"dot": b"451 4.7.1 later\r\n"}) as server:
        run(engine, issue_id, relay_at(server.port), clock=Clock(again))
    found = reconciled(engine, issue_id, stamped(again, "x", "anvil") + refused(1, again))
    assert (counts(found), rows(engine, issue_id)[0].doubts) == ((0, 0, 1), 1)

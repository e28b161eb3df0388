"""What a person may ask of us: to be told what is kept of them, and to be forgotten."""

import secrets
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from digest.database import writing
from subscribers.address import Address, parse
from subscribers.arrivals import add, add_all, ask, ask_all
from subscribers.audience import ERASED, audience
from subscribers.departures import bar
from subscribers.evidence import Evidence, Newcomer, NotAllowed, Origin
from subscribers.lifecycle import confirm, move, pause, unsubscribe
from subscribers.models import Aim, Asked, Cause, Consent, State, Subscriber, Suppression, Ticket, Wish
from subscribers.rights import Kept, erase, kept_of, restored
from subscribers.roll import Standing, find, roll, standing
from subscribers.suppression import suppression_key
from subscribers.tickets import mint
from subscribers.wishes import wish
from tests.subscribers.people import (
    NOW,
    READER,
    SECRET,
    at_once,
    by_editor,
    enrol,
    everything,
    lines,
    on_page,
    unwelcome,
)

NEW = parse("New@example.org")
KEY = suppression_key(READER.key, SECRET)
HOUR = timedelta(hours=1)
Told = list[tuple[int | None, frozenset[str]]]


def forgotten(session: Session, address: Address, at: int = 24) -> tuple[bool, Told]:
    """What erasing answers, and what others were told to forget."""
    told: Told = []
    functions = [lambda _, who, traces: told.append((who, traces))] * 2
    answer = erase(session, address, SECRET, NOW + at * HOUR, functions)
    assert told[0] == told[1]
    return answer, told[:1]


def reasons(session: Session) -> list[tuple[str, Cause, str]]:
    return [(row.key, row.cause, row.reason) for row in session.exec(select(Suppression))]


# --- told ---------------------------------------------------------------------------------------------


def test_a_person_is_told_all_that_is_kept_of_them_and_nothing_of_others(engine: Engine) -> None:
    """P-5."""
    with writing(engine) as session:
        other = enrol(session, "other@example.org")
        one = enrol(session)
        pause(session, one, on_page(NOW + HOUR))
        for aim, owner in ((Aim.CONFIRM, one), (Aim.DATA, one), (Aim.DATA, other)):
            mint(session, aim, owner, READER.address, NOW, secrets.token_urlsafe)
        kept = kept_of(session, parse("READER@example.org"), SECRET)
        assert kept.subscriber is not None
        assert (kept.subscriber.id, kept.subscriber.address) == (one, "Reader@example.org")
        assert [str(line.act) for line in kept.consents] == ["confirmed", "paused"]
        assert [ticket.aim for ticket in kept.tickets] == [Aim.DATA, Aim.CONFIRM]
        assert kept.suppression is None


def test_of_a_stranger_there_is_at_most_a_line_that_knows_no_address(engine: Engine) -> None:
    """P-5."""
    with writing(engine) as session:
        assert kept_of(session, READER, SECRET) == Kept(None, [], None, [])
        bar(session, READER, Cause.MANUAL, by_editor(ground="asked by phone"), SECRET)
        kept = kept_of(session, READER, SECRET)
        assert (kept.subscriber, kept.consents, kept.tickets) == (None, [], [])
        assert kept.suppression is not None
        assert (kept.suppression.cause, kept.suppression.reason) == (Cause.MANUAL, "asked by phone")


# --- forgotten ----------------------------------------------------------------------------------------


def test_of_who_is_erased_an_empty_row_and_a_line_without_words_are_left(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        joined = Evidence(
            origin=Origin.PAGE, at=NOW, wording="Subscribe", ip="192.0.2.77", user_agent="Lynx/2.8"
        )
        one = ask(session, READER, joined, SECRET)
        confirm(session, one, joined)
        session.get_one(Subscriber, one).name = "Ada Reader"
        mint(session, Aim.MOVE, one, NEW.address, NOW, secrets.token_urlsafe)
        wish(session, Asked.MOVE, NEW, joined, one)
        wish(session, Asked.SUBSCRIBE, READER, joined)
        answer, told = forgotten(session, parse("READER@example.org"))
        assert (answer, [who for who, _ in told]) == (True, [one])
        left = everything(session)
        assert {name: len(rows) for name, rows in left.items() if rows} == {"subscriber": 1, "suppression": 1}
        words = ("reader", "ada", "new@", "192.0.2.77", "lynx", "2015-10-01")
        assert [word for word in words if word in str(left["subscriber"]).lower()] == []
        assert reasons(session) == [(KEY, Cause.ERASED, "")]
        assert (standing(session, one), list(roll(session))) == (None, [])
        assert unwelcome(session, [one]) == {one: ERASED}


def test_others_forget_every_address_the_person_ever_had_however_it_is_spelled(engine: Engine) -> None:
    """P-3: what was typed, and what it is compared by; where letters went before; where links were sent."""
    with writing(engine) as session:
        one = enrol(session)
        move(session, one, NEW, on_page(NOW + HOUR), SECRET)
        move(session, one, parse("Newer@Exämple.org"), on_page(NOW + 2 * HOUR), SECRET)
        mint(session, Aim.MOVE, one, "Newest@example.org", NOW, secrets.token_urlsafe)
        answer, told = forgotten(session, parse("NEWER@exämple.org"))
        assert answer is True
        assert told == [
            (
                one,
                frozenset(
                    {
                        "NEWER@exämple.org",
                        "Newer@exämple.org",
                        "newer@xn--exmple-cua.org",
                        "New@example.org",
                        "new@example.org",
                        "Reader@example.org",
                        "reader@example.org",
                        "Newest@example.org",
                        "newest@example.org",
                        "Reader",
                    }
                ),
            )
        ]


@pytest.mark.parametrize("name", ["", "Ada @ work", "@", "ada@", "Ada <ada@home>", "a@b@c"])
def test_a_name_is_no_address_whatever_is_in_it(sqlite_engine: Engine, name: str) -> None:
    """P-3: names come from other systems' lists."""
    with writing(sqlite_engine) as session:
        one = enrol(session)
        session.get_one(Subscriber, one).name = name
        answer, told = forgotten(session, READER)
        assert answer is True
        assert told == [(one, frozenset({"Reader@example.org", "reader@example.org", name} - {""}))]


def test_who_was_never_here_is_not_written_to_either_once_they_asked_to_be_forgotten(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        wish(session, Asked.SUBSCRIBE, READER, on_page())
        wish(session, Asked.SUBSCRIBE, NEW, on_page())
        answer, told = forgotten(session, READER)
        assert (answer, told) == (False, [(None, frozenset({"Reader@example.org", "reader@example.org"}))])
        assert [row.address for row in session.exec(select(Wish))] == ["New@example.org"]
        assert reasons(session) == [(KEY, Cause.ERASED, "")]


def test_nobody_else_is_forgotten_with_a_person(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        other = enrol(session, "other@example.org")
        mint(session, Aim.DATA, other, "other@example.org", NOW, secrets.token_urlsafe)
        wish(session, Asked.DATA, parse("other@example.org"), on_page(), other)
        before = everything(session)
        enrol(session)
        forgotten(session, READER)
        after = everything(session)
        for name in ("consent", "ticket", "wish"):
            assert after[name] == before[name]
        assert set(before["subscriber"]) < set(after["subscriber"])
        assert list(session.execute(audience()).scalars()) == [other]


def test_a_link_of_an_old_letter_is_harmless_after_erasing(engine: Engine) -> None:
    """U-4: and so is every other step."""
    with writing(engine) as session:
        one = enrol(session)
        forgotten(session, READER)
        before = everything(session)
        assert unsubscribe(session, one, on_page(NOW + 100 * HOUR)) is False
        for step in (confirm, pause):
            with pytest.raises(NotAllowed):
                step(session, one, on_page(NOW + 100 * HOUR))
        assert everything(session) == before


def test_who_was_erased_comes_back_by_their_own_yes_and_by_nothing_else(engine: Engine) -> None:
    """P-4, I-4."""
    with writing(engine) as session:
        one = enrol(session)
        forgotten(session, READER)
        with pytest.raises(NotAllowed, match="suppressed"):
            add(session, Newcomer(READER), by_editor(), SECRET)
        assert add_all(session, [Newcomer(READER)], by_editor(), SECRET) == set()
        assert ask_all(session, [Newcomer(READER)], by_editor(), SECRET) == {}
        again = ask(session, READER, on_page(NOW + 48 * HOUR), SECRET)
        assert again != one
        assert standing(session, again) == Standing(State.PENDING, "Reader@example.org", 0, Cause.ERASED)
        assert list(session.execute(audience()).scalars()) == []
        assert confirm(session, again, on_page(NOW + 49 * HOUR)) is True
        assert standing(session, again) == Standing(State.ACTIVE, "Reader@example.org", 0, None)
        assert [act for act, _, _ in lines(session)] == ["requested", "confirmed"]


@pytest.mark.parametrize(
    ("was", "stays"),
    [
        (Cause.LEFT, Cause.ERASED),
        (Cause.BOUNCED, Cause.BOUNCED),
        (Cause.COMPLAINED, Cause.COMPLAINED),
        (Cause.MANUAL, Cause.MANUAL),
    ],
)
def test_a_stronger_reason_stays_without_the_words_it_was_given_in(
    engine: Engine, was: Cause, stays: Cause
) -> None:
    """P-3, P-4: else erasing would be a way around an editor's decision."""
    with writing(engine) as session:
        enrol(session)
        bar(session, READER, was, by_editor(ground="Ada Reader of example.org wrote"), SECRET)
        bar(session, NEW, was, by_editor(ground="somebody else"), SECRET)
        forgotten(session, READER)
        assert set(reasons(session)) == {
            (KEY, stays, ""),
            (suppression_key(NEW.key, SECRET), was, "somebody else"),
        }


def test_erasing_twice_is_erasing_once(engine: Engine) -> None:
    """P-3: a crash in between begins again."""
    with writing(engine) as session:
        one = enrol(session)
        assert forgotten(session, READER)[0] is True
        before = everything(session)
        assert forgotten(session, READER, at=25)[0] is False
        assert everything(session) == before
        assert session.get_one(Subscriber, one, populate_existing=True).address_key == f"erased {one}"


def test_two_are_erased_without_getting_in_each_others_way(engine: Engine) -> None:
    """P-3: an empty row is nobody's."""
    with writing(engine) as session:
        people = [enrol(session, f"r{n}@example.org") for n in range(3)]
        for n in range(3):
            assert forgotten(session, parse(f"r{n}@example.org"))[0] is True
        assert unwelcome(session, people) == dict.fromkeys(people, ERASED)
        assert [len(session.exec(select(table)).all()) for table in (Consent, Ticket)] == [0, 0]


def test_erasing_and_barring_one_person_at_once_are_done_one_after_the_other(engine: Engine) -> None:
    """P-3, concurrently."""
    people = [parse(f"r{n}@example.org") for n in range(30)]
    with writing(engine) as session:
        add_all(session, [Newcomer(one) for one in people], by_editor(), SECRET)

    def erases() -> None:
        with writing(engine) as session:
            for one in people:
                erase(session, one, SECRET, NOW, [])

    def bars() -> None:
        with writing(engine) as session:
            for one in reversed(people):
                bar(session, one, Cause.BOUNCED, by_editor(), SECRET)

    assert at_once(erases, bars) == [None, None]
    with Session(engine) as session:
        assert list(roll(session)) == []
        assert {cause for _, cause, _ in reasons(session)} == {Cause.BOUNCED}


# --- a backup came back -------------------------------------------------------------------------------


def test_who_was_erased_and_came_back_with_a_backup_is_found(engine: Engine) -> None:
    """P-3: here as they were before; who came back by themselves is welcome, and stays."""
    with writing(engine) as session:
        enrol(session)
        enrol(session, "kept@example.org")
        back = ask(session, NEW, on_page(NOW + 48 * HOUR), SECRET)
        confirm(session, back, on_page(NOW + 49 * HOUR))
        keys = {
            suppression_key(one.key, SECRET): NOW + 24 * HOUR
            for one in (READER, NEW, parse("no@example.org"))
        }
        assert restored(session, keys) == [READER]
        assert restored(session, {}) == []
        forgotten(session, READER)
        assert restored(session, keys) == []


def test_who_moved_to_an_address_that_was_erased_once_did_not_come_with_a_backup(engine: Engine) -> None:
    """P-4, U-10: one person with two addresses erases one, and later takes the other's letters there."""
    with writing(engine) as session:
        one = enrol(session)
        enrol(session, NEW.address)
        forgotten(session, NEW)
        keys = {suppression_key(NEW.key, SECRET): NOW + 24 * HOUR}
        move(session, one, NEW, on_page(NOW + 48 * HOUR), SECRET)
        assert find(session, NEW.key) is not None
        assert restored(session, keys) == []


def test_a_move_before_the_erasing_does_not_hide_who_came_with_a_backup(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        one = enrol(session, "before@example.org")
        move(session, one, READER, on_page(NOW + HOUR), SECRET)
        assert restored(session, {KEY: NOW + 24 * HOUR}) == [READER]

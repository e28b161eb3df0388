"""Links that are sent by mail: random, kept as a hash, for one thing, for one address, for some days."""

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.database import writing
from subscribers.address import parse
from subscribers.arrivals import ask
from subscribers.departures import bar, erase
from subscribers.evidence import NotAllowed
from subscribers.lifecycle import move, pause, unsubscribe
from subscribers.models import Aim, Cause, State, Subscriber, Ticket
from subscribers.roll import Standing, find, roll, standing
from subscribers.tickets import expire, look, mint, use
from subscribers.tokens import Keyring, Purpose
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
)

OLD, NEW, NEWER = READER, parse("new@example.org"), parse("newer@example.org")
DAYS = {Aim.CONFIRM: 7, Aim.MOVE: 7, Aim.UNDO: 7, Aim.DATA: 1}
MINUTE = timedelta(minutes=1)


def sent(session: Session, aim: Aim, one: int, address: str, at: datetime = NOW) -> str:
    return mint(session, aim, one, address, at, secrets.token_urlsafe)


def press(engine: Engine, token: str, at: datetime = NOW) -> tuple[str, str] | None:
    """What comes of it: what the link is for, and where letters went before."""
    with writing(engine) as session:
        used = use(session, token, on_page(at, "Yes"), SECRET)
        return used and (str(used[0].aim), used[1])


def acts(engine: Engine) -> list[str]:
    with Session(engine) as session:
        return [act for act, _, _ in lines(session)]


def where(engine: Engine, one: int) -> tuple[State, str] | None:
    """Where somebody stands and their letters go."""
    with Session(engine) as session:
        found = standing(session, one)
        return found and (found.state, found.address)


# --- what a token is ----------------------------------------------------------------------------------


def test_a_token_is_128_random_bits_of_which_the_store_has_the_hash(engine: Engine) -> None:
    """T-5."""
    asked: list[int] = []

    def random(size: int) -> str:
        asked.append(size)
        return secrets.token_urlsafe(size)

    with writing(engine) as session:
        one = enrol(session)
        tokens = [mint(session, Aim.CONFIRM, one, OLD.address, NOW, random) for _ in range(50)]
        assert asked == [16] * 50
        assert {len(token) for token in tokens} == {22}
        assert len(set(tokens)) == 50
        kept = session.exec(select(Ticket))
        assert {row.key for row in kept} == {sha256(token.encode()).hexdigest() for token in tokens}


def test_no_byte_of_the_store_tells_a_token(sqlite_engine: Engine, tmp_path: Path) -> None:
    """T-5, T-7: who reads the store, or a backup, cannot press a single link."""
    with writing(sqlite_engine) as session:
        one = enrol(session)
        tokens = {aim: sent(session, aim, one, OLD.address) for aim in Aim}
    for token in tokens.values():
        press(sqlite_engine, token)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert sha256(tokens[Aim.CONFIRM].encode()).hexdigest().encode() in kept
    assert {aim for aim, token in tokens.items() if token.encode() in kept} == set()


@pytest.mark.parametrize("aim", Aim)
def test_a_link_works_for_its_days_and_not_a_moment_longer(engine: Engine, aim: Aim) -> None:
    """T-5: seven days; what shows a person's data, one."""
    end = NOW + timedelta(days=DAYS[aim])
    with writing(engine) as session:
        one = enrol(session)
        token = sent(session, aim, one, OLD.address)
        last = look(session, token, end - timedelta(seconds=1))
        assert last is not None
        assert (last.aim, last.subscriber_id, last.address, last.expires_at) == (aim, one, OLD.address, end)
        assert look(session, token, end) is None
    assert press(engine, token, end) is None
    assert acts(engine) == ["confirmed"]


@pytest.mark.parametrize("token", ["", "A" * 22, "' OR 1=1 --", "\x00", "é" * 500])
def test_what_nobody_was_sent_is_no_link(engine: Engine, token: str) -> None:
    """T-6: None, never an exception."""
    with writing(engine) as session:
        sent(session, Aim.CONFIRM, enrol(session), OLD.address)
        assert look(session, token, NOW) is None
        assert use(session, token, on_page(), SECRET) is None


def test_the_hash_in_the_store_is_no_token(engine: Engine) -> None:
    """T-5."""
    with writing(engine) as session:
        token = sent(session, Aim.CONFIRM, enrol(session), OLD.address)
        assert look(session, sha256(token.encode()).hexdigest(), NOW) is None
        assert look(session, token, NOW) is not None


def test_looking_uses_nothing_up(engine: Engine) -> None:
    """T-5, U-1: scanners open every link, and the person's own press still counts."""
    with writing(engine) as session:
        one = ask(session, OLD, on_page(), SECRET)
        tokens = [sent(session, aim, one, OLD.address) for aim in Aim]
        before = everything(session)
        for token in tokens * 3:
            assert look(session, token, NOW) is not None
        assert everything(session) == before
    assert press(engine, tokens[0]) == ("confirm", "")
    assert where(engine, one) == (State.ACTIVE, OLD.address)


@pytest.mark.parametrize("aim", Aim)
def test_a_link_does_what_it_is_for_and_nothing_else(engine: Engine, aim: Aim) -> None:
    """T-5: single purpose."""
    with writing(engine) as session:
        one = enrol(session)
        pause(session, one, on_page())
        to = NEW if aim in (Aim.MOVE, Aim.UNDO) else OLD
        token = sent(session, aim, one, to.address)
        before = everything(session)
    press(engine, token)
    expected = {
        Aim.CONFIRM: (State.ACTIVE, OLD.address),
        Aim.MOVE: (State.PAUSED, NEW.address),
        Aim.UNDO: (State.PAUSED, NEW.address),
        Aim.DATA: (State.PAUSED, OLD.address),
    }
    done = {Aim.CONFIRM: ["confirmed"], Aim.MOVE: ["moved"], Aim.UNDO: ["moved"], Aim.DATA: []}
    assert where(engine, one) == expected[aim]
    assert acts(engine) == ["confirmed", "paused", *done[aim]]
    if aim == Aim.DATA:
        with writing(engine) as session:
            assert everything(session) == before


@pytest.mark.parametrize("aim", [Aim.CONFIRM, Aim.DATA])
def test_a_link_is_bound_to_the_address_it_was_sent_to(engine: Engine, aim: Aim) -> None:
    """T-5: the old mailbox may be somebody else's now, and must not show what is kept."""
    with writing(engine) as session:
        one = enrol(session)
        token = sent(session, aim, one, "READER@example.org")
        assert look(session, token, NOW) is not None
        move(session, one, NEW, on_page(), SECRET)
        assert look(session, token, NOW) is None
    assert press(engine, token) is None
    assert acts(engine) == ["confirmed", "moved"]


# --- pressed twice ------------------------------------------------------------------------------------


def test_pressed_again_a_link_shows_the_same_and_does_nothing(engine: Engine) -> None:
    """T-5: people press twice."""
    with writing(engine) as session:
        one = ask(session, OLD, on_page(), SECRET)
        token = sent(session, Aim.CONFIRM, one, OLD.address)
    first = press(engine, token, NOW + MINUTE)
    with writing(engine) as session:
        before = everything(session)
    assert first == press(engine, token, NOW + 2 * MINUTE) == ("confirm", "")
    with writing(engine) as session:
        assert everything(session) == before
        ticket = look(session, token, NOW + 2 * MINUTE)
        assert ticket is not None
        assert ticket.used_at == NOW + MINUTE


def test_pressed_twice_at_once_a_yes_is_written_down_once(engine: Engine) -> None:
    """T-5, LC-1, concurrently."""
    with writing(engine) as session:
        one = ask(session, OLD, on_page(), SECRET)
        token = sent(session, Aim.CONFIRM, one, OLD.address)
    assert at_once(*[lambda: press(engine, token)] * 4) == [("confirm", "")] * 4
    assert acts(engine) == ["requested", "confirmed"]


def test_pressed_twice_at_once_a_move_is_one_and_told_once(engine: Engine) -> None:
    """U-10, concurrently: one press learns whom to tell."""
    with writing(engine) as session:
        one = enrol(session)
        token = sent(session, Aim.MOVE, one, NEW.address)
    answers = at_once(*[lambda: press(engine, token)] * 4)
    assert sorted(answers, key=str) == [("move", "")] * 3 + [("move", OLD.address)]
    assert acts(engine) == ["confirmed", "moved"]


def test_a_yes_pressed_again_does_not_bring_back_who_left_since(engine: Engine) -> None:
    """T-5, I-4: the mail is still in the mailbox, and somebody opens it again."""
    with writing(engine) as session:
        one = ask(session, OLD, on_page(), SECRET)
        token = sent(session, Aim.CONFIRM, one, OLD.address)
    press(engine, token, NOW + MINUTE)
    with writing(engine) as session:
        unsubscribe(session, one, on_page(NOW + 2 * MINUTE))
    assert press(engine, token, NOW + 3 * MINUTE) == ("confirm", "")
    assert where(engine, one) == (State.UNSUBSCRIBED, OLD.address)
    assert acts(engine) == ["requested", "confirmed", "withdrawn"]


def test_a_yes_that_is_not_allowed_uses_nothing_up(engine: Engine) -> None:
    """LC-1: what an editor has suppressed meanwhile stays so."""
    with writing(engine) as session:
        one = ask(session, OLD, on_page(), SECRET)
        token = sent(session, Aim.CONFIRM, one, OLD.address)
        bar(session, OLD, Cause.MANUAL, by_editor(), SECRET)
    with pytest.raises(NotAllowed):
        press(engine, token)
    with writing(engine) as session:
        ticket = look(session, token, NOW)
        assert ticket is not None
        assert ticket.used_at is None
    assert where(engine, one) == (State.UNSUBSCRIBED, OLD.address)


# --- another address ----------------------------------------------------------------------------------


def test_a_move_is_done_by_the_yes_of_the_new_address_and_tells_the_old_one(engine: Engine) -> None:
    """U-10."""
    with writing(engine) as session:
        one = enrol(session)
        token = sent(session, Aim.MOVE, one, NEW.address)
    assert where(engine, one) == (State.ACTIVE, OLD.address)
    assert press(engine, token) == ("move", OLD.address)
    assert where(engine, one) == (State.ACTIVE, NEW.address)


@pytest.mark.parametrize("meanwhile", ["taken", "suppressed", "left"])
def test_whether_a_move_may_be_is_looked_at_when_it_is_confirmed(engine: Engine, meanwhile: str) -> None:
    """U-10: the link may be a week old."""
    with writing(engine) as session:
        one = enrol(session)
        token = sent(session, Aim.MOVE, one, NEW.address)
        if meanwhile == "taken":
            enrol(session, NEW.address)
        elif meanwhile == "suppressed":
            bar(session, NEW, Cause.MANUAL, by_editor(), SECRET)
        else:
            unsubscribe(session, one, on_page())
        before = everything(session)
    with pytest.raises(NotAllowed):
        press(engine, token, NOW + timedelta(days=6))
    with writing(engine) as session:
        assert everything(session) == before


def test_after_a_move_old_letters_have_no_power_but_to_leave(engine: Engine) -> None:
    """U-10, T-3: the old mailbox may be somebody else's now."""
    ring = Keyring([b"k" * 32])
    with writing(engine) as session:
        one = enrol(session)
        old = {purpose: ring.sign(purpose, one) for purpose in (Purpose.PREFERENCES, Purpose.LEAVE)}
        token = sent(session, Aim.MOVE, one, NEW.address)
    press(engine, token)
    with writing(engine) as session:
        preferences, leave = (ring.read(purpose, old[purpose]) for purpose in old)
        assert preferences is not None
        assert leave is not None
        assert standing(session, one) == Standing(State.ACTIVE, NEW.address, preferences.version + 1, None)
        assert unsubscribe(session, leave.subscriber_id, on_page(NOW + MINUTE)) is True
    assert where(engine, one) == (State.UNSUBSCRIBED, NEW.address)


def test_who_moved_takes_no_other_link_to_an_earlier_wish_along(engine: Engine) -> None:
    """U-10: whoever reads an old letter may have asked for a move of their own before."""
    with writing(engine) as session:
        one = enrol(session)
        theirs = sent(session, Aim.MOVE, one, NEWER.address)
        mine = sent(session, Aim.MOVE, one, NEW.address)
    press(engine, mine)
    assert press(engine, theirs) is None
    assert where(engine, one) == (State.ACTIVE, NEW.address)


def moved_twice(engine: Engine) -> tuple[int, str, str, str]:
    """Somebody whose letters went elsewhere twice; the undoing of the first and of the second; a third."""
    with writing(engine) as session:
        one = enrol(session)
        first = sent(session, Aim.MOVE, one, NEW.address)
    press(engine, first, NOW + MINUTE)
    with writing(engine) as session:
        undo = sent(session, Aim.UNDO, one, OLD.address, NOW + MINUTE)
        second = sent(session, Aim.MOVE, one, NEWER.address, NOW + MINUTE)
    press(engine, second, NOW + 2 * MINUTE)
    with writing(engine) as session:
        undo_second = sent(session, Aim.UNDO, one, NEW.address, NOW + 2 * MINUTE)
        third = sent(session, Aim.MOVE, one, "newest@example.org", NOW + 2 * MINUTE)
    return one, undo, undo_second, third


def test_undoing_restores_the_old_address_even_after_a_second_move(engine: Engine) -> None:
    """U-10: for seven days."""
    one, undo, _, _ = moved_twice(engine)
    assert press(engine, undo, NOW + timedelta(days=7)) == ("undo", NEWER.address)
    assert where(engine, one) == (State.ACTIVE, OLD.address)


def test_after_seven_days_there_is_no_undoing(engine: Engine) -> None:
    """U-10."""
    one, undo, _, _ = moved_twice(engine)
    assert press(engine, undo, NOW + MINUTE + timedelta(days=7)) is None
    assert where(engine, one) == (State.ACTIVE, NEWER.address)


def test_undoing_makes_every_other_link_worthless(engine: Engine) -> None:
    """U-10: whoever took the address over holds some of them."""
    one, undo, undo_second, third = moved_twice(engine)
    with writing(engine) as session:
        others = [undo_second, third, *(sent(session, aim, one, NEWER.address) for aim in Aim)]
    press(engine, undo, NOW + 3 * MINUTE)
    assert [press(engine, token, NOW + 4 * MINUTE) for token in others] == [None] * 6
    assert where(engine, one) == (State.ACTIVE, OLD.address)
    with writing(engine) as session:
        assert [row.aim for row in session.exec(select(Ticket))] == [Aim.UNDO]


def test_an_undoing_is_done_once_and_cannot_be_undone(engine: Engine) -> None:
    """U-10: not by the links of others, and its own does nothing again after a later move."""
    one, undo, undo_second, _ = moved_twice(engine)
    press(engine, undo, NOW + 3 * MINUTE)
    assert press(engine, undo_second, NOW + 4 * MINUTE) is None
    with writing(engine) as session:
        again = sent(session, Aim.MOVE, one, NEW.address, NOW + 5 * MINUTE)
    press(engine, again, NOW + 6 * MINUTE)
    assert press(engine, undo, NOW + 7 * MINUTE) == ("undo", "")
    assert where(engine, one) == (State.ACTIVE, NEW.address)


def test_undoing_revokes_the_letters_that_went_elsewhere(engine: Engine) -> None:
    """U-10, T-3."""
    one, undo, _, _ = moved_twice(engine)
    press(engine, undo, NOW + 3 * MINUTE)
    with Session(engine) as session:
        assert standing(session, one) == Standing(State.ACTIVE, OLD.address, 3, None)


# --- gone ---------------------------------------------------------------------------------------------


def test_links_that_work_no_more_are_gone(engine: Engine) -> None:
    with writing(engine) as session:
        one = enrol(session)
        tokens = {aim: sent(session, aim, one, OLD.address) for aim in Aim}
        later = NOW + timedelta(days=2)
        expire(session, later)
        kept = session.exec(select(Ticket).order_by(col(Ticket.aim)))
        assert [row.aim for row in kept] == [Aim.CONFIRM, Aim.MOVE, Aim.UNDO]
        assert look(session, tokens[Aim.CONFIRM], later) is not None
        expire(session, NOW + timedelta(days=8))
        assert session.exec(select(Ticket)).all() == []


def test_who_is_erased_has_no_links_left(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        one, other = enrol(session), enrol(session, NEWER.address)
        tokens = [sent(session, aim, one, NEW.address) for aim in Aim]
        kept = sent(session, Aim.DATA, other, NEWER.address)
        erase(session, one)
    assert [press(engine, token) for token in tokens] == [None] * 4
    with Session(engine) as session:
        assert [row.key for row in session.exec(select(Ticket))] == [sha256(kept.encode()).hexdigest()]
        assert [row.id for row in roll(session)] == [other]
        assert session.get_one(Subscriber, one).address == ""
        assert find(session, NEW.key) is None


def test_a_link_and_a_change_of_mind_at_once_end_as_one_of_them(engine: Engine) -> None:
    """LC-3, concurrently: the yes and the leaving of one person wait for each other."""
    with writing(engine) as session:
        one = ask(session, OLD, on_page(), SECRET)
        token = sent(session, Aim.CONFIRM, one, OLD.address)

    def leaves() -> bool:
        with writing(engine) as session:
            return unsubscribe(session, one, on_page(NOW))

    yes: Callable[[], object] = lambda: press(engine, token, NOW)  # noqa: E731
    at_once(yes, leaves)
    newest = {"confirmed": State.ACTIVE, "withdrawn": State.UNSUBSCRIBED}[acts(engine)[-1]]
    assert where(engine, one) == (newest, OLD.address)

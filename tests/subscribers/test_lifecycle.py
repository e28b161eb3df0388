"""The lifecycle: what leads where, with its proof, and who is never brought back."""

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, col, select

from digest.database import open_engine, writing
from subscribers.address import parse
from subscribers.audience import audience, recipients
from subscribers.lifecycle import (
    Cause,
    Evidence,
    Newcomer,
    NotAllowed,
    Origin,
    add,
    add_all,
    add_departed,
    find,
    pause,
    rejoin,
    resume,
    standing,
    states_of,
    suppress,
    unsubscribe,
)
from subscribers.models import Consent, State, Suppression
from subscribers.suppression import suppress as put_on_list
from subscribers.suppression import suppression_key

SECRET = b"p" * 32
NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
READER = parse("Reader@example.org")


def by_editor(at: datetime = NOW, ground: str = "asked at the counter") -> Evidence:
    return Evidence(origin=Origin.EDITOR, at=at, wording=ground)


def on_page(at: datetime = NOW) -> Evidence:
    return Evidence(origin=Origin.PAGE, at=at, wording="Unsubscribe")


def enrol(session: Session, text: str = "Reader@example.org") -> int:
    add(session, Newcomer(parse(text), "Reader"), by_editor(), SECRET)
    found = find(session, parse(text).key)
    assert found is not None
    assert found.id is not None
    return found.id


def lines(session: Session) -> list[tuple[str, str, str]]:
    rows = session.exec(select(Consent).order_by(col(Consent.id)))
    return [(str(row.act), row.origin, row.wording) for row in rows]


def test_an_editor_adds_somebody_with_a_stated_ground(engine: Engine) -> None:
    """LC-1, I-3."""
    with writing(engine) as session:
        assert add(session, Newcomer(READER, "Reader", "opted in 2014"), by_editor(), SECRET) is True
    with writing(engine) as session:
        assert add(session, Newcomer(READER, "Another name"), by_editor(), SECRET) is False
        found = find(session, READER.key)
        assert found is not None
        assert (found.address, found.name, found.state) == ("Reader@example.org", "Reader", State.ACTIVE)
        assert lines(session) == [("confirmed", "editor", "asked at the counter; opted in 2014")]


def test_nobody_is_added_without_a_ground(engine: Engine) -> None:
    with writing(engine) as session:
        with pytest.raises(ValueError, match="ground"):
            add(session, Newcomer(READER), by_editor(ground=" "), SECRET)
        assert find(session, READER.key) is None


def test_an_address_that_mixes_alphabets_is_not_added(engine: Engine) -> None:
    """A-4."""
    with writing(engine) as session, pytest.raises(NotAllowed, match="alphabets"):
        add(session, Newcomer(parse("раypal@example.org")), by_editor(), SECRET)


def test_leaving_is_written_down_once(engine: Engine) -> None:
    """U-2: repeats change nothing."""
    with writing(engine) as session:
        one = enrol(session)
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=1))) is True
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=2))) is False
        assert lines(session)[1:] == [("withdrawn", "page", "Unsubscribe")]
        found = find(session, READER.key)
        assert found is not None
        assert (found.state, found.changed_at) == (State.UNSUBSCRIBED, NOW + timedelta(hours=1))


def test_leaving_works_for_nobody_too(engine: Engine) -> None:
    """U-4: an erased subscriber's link has nothing to do and does not fail."""
    with writing(engine) as session:
        assert unsubscribe(session, 0, on_page()) is False
        assert unsubscribe(session, 999_999, on_page()) is False


def test_pausing_and_resuming(engine: Engine) -> None:
    with writing(engine) as session:
        one = enrol(session)
        assert [pause(session, one, on_page()), pause(session, one, on_page())] == [True, False]
        assert [resume(session, one, on_page()), resume(session, one, on_page())] == [True, False]
        assert [act for act, _, _ in lines(session)] == ["confirmed", "paused", "resumed"]


def test_who_left_comes_back_by_their_own_act_only(engine: Engine) -> None:
    """I-4."""
    with writing(engine) as session:
        one = enrol(session)
        unsubscribe(session, one, on_page())
        with pytest.raises(NotAllowed, match="unsubscribed"):
            add(session, Newcomer(READER), by_editor(), SECRET)
        for step in (pause, resume):
            with pytest.raises(NotAllowed):
                step(session, one, on_page())
        assert add_all(session, [Newcomer(READER)], by_editor(), SECRET) == set()
        assert states_of(session, [READER.key, "x@example.org"]) == {READER.key: State.UNSUBSCRIBED}
        assert rejoin(session, one, on_page()) is True
        assert states_of(session, [READER.key]) == {READER.key: State.ACTIVE}


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (Cause.MANUAL, State.UNSUBSCRIBED),
        (Cause.BOUNCED, State.BOUNCED),
        (Cause.COMPLAINED, State.COMPLAINED),
    ],
)
def test_nothing_brings_back_who_is_suppressed(engine: Engine, cause: Cause, state: State) -> None:
    """I-4, P-2."""
    with writing(engine) as session:
        one = enrol(session)
        assert suppress(session, READER, cause, by_editor(), SECRET) is True
        assert suppress(session, READER, cause, by_editor(), SECRET) is False
        found = standing(session, one)
        assert found is not None
        assert (found.state, found.suppressed) == (state, True)
        with pytest.raises(NotAllowed):
            add(session, Newcomer(READER), by_editor(), SECRET)
        for step in (pause, resume, rejoin):
            with pytest.raises(NotAllowed):
                step(session, one, on_page())
        assert list(session.execute(audience()).scalars()) == []
        reasons = [row.reason for row in session.exec(select(Suppression))]
        assert reasons == [f"{cause}: asked at the counter"]


def test_who_was_put_on_the_list_while_paused_does_not_resume(engine: Engine) -> None:
    """P-2: the list wins over the state, whoever wrote on it."""
    with writing(engine) as session:
        one = enrol(session)
        pause(session, one, on_page())
        put_on_list(session, suppression_key(READER.key, SECRET), reason="manual", now=NOW)
        with pytest.raises(NotAllowed, match="suppressed"):
            resume(session, one, on_page())
        assert states_of(session, [READER.key]) == {READER.key: State.PAUSED}


def test_an_unknown_address_can_be_suppressed_before_it_ever_comes(engine: Engine) -> None:
    with writing(engine) as session:
        assert suppress(session, READER, Cause.MANUAL, by_editor(), SECRET) is True
        with pytest.raises(NotAllowed, match="suppressed"):
            add(session, Newcomer(READER), by_editor(), SECRET)
        assert find(session, READER.key) is None


def test_a_complaint_stays_a_complaint(engine: Engine) -> None:
    with writing(engine) as session:
        one = enrol(session)
        suppress(session, READER, Cause.COMPLAINED, by_editor(), SECRET)
        assert unsubscribe(session, one, on_page()) is False
        assert states_of(session, [READER.key]) == {READER.key: State.COMPLAINED}


def test_a_list_of_departed_keeps_them_from_coming_back(engine: Engine) -> None:
    """I-4: the file of those who left is read before the file of those who are there."""
    with writing(engine) as session:
        assert add_departed(session, [Newcomer(READER)], by_editor(), SECRET) == {READER.key}
        assert add_all(session, [Newcomer(READER)], by_editor(), SECRET) == set()
        assert states_of(session, [READER.key]) == {READER.key: State.UNSUBSCRIBED}
        assert lines(session) == [("withdrawn", "editor", "asked at the counter")]


def test_an_old_leave_does_not_undo_a_newer_return(engine: Engine) -> None:
    """U-3: what waited in the spool is older than what the person did since."""
    with writing(engine) as session:
        one = enrol(session)
        unsubscribe(session, one, on_page(NOW + timedelta(hours=1)))
        rejoin(session, one, on_page(NOW + timedelta(hours=3)))
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=2))) is False
        pause(session, one, on_page(NOW + timedelta(hours=5)))
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=4))) is True


def test_a_change_and_its_proof_are_one_transaction(engine: Engine) -> None:
    """LC-1."""
    with writing(engine) as session:
        one = enrol(session)

    class Power(Exception):
        pass

    def fails() -> None:
        with writing(engine) as session:
            unsubscribe(session, one, on_page())
            raise Power

    with pytest.raises(Power):
        fails()
    with writing(engine) as session:
        assert states_of(session, [READER.key]) == {READER.key: State.ACTIVE}
        assert [act for act, _, _ in lines(session)] == ["confirmed"]


def test_many_are_added_in_one_go_and_the_known_are_left_alone(engine: Engine) -> None:
    people = [Newcomer(parse(f"reader{n}@example.org"), f"Reader {n}") for n in range(2100)]
    with writing(engine) as session:
        enrol(session, "reader7@example.org")
        never = parse("reader8@example.org")
        suppress(session, never, Cause.MANUAL, by_editor(), SECRET)
        entered = add_all(session, people, by_editor(), SECRET)
        assert entered == {one.address.key for one in people} - {"reader7@example.org", never.key}
        ids = list(session.execute(audience()).scalars())
        assert len(ids) == 2099
        names = {one.address: one.name for one in recipients(session, ids).values()}
        assert names["reader9@example.org"] == "Reader 9"
        assert names["reader7@example.org"] == "Reader"
        assert len(lines(session)) == 2099


def test_two_editors_adding_one_person_at_once_make_one_row(engine: Engine) -> None:
    """I-4, concurrently: the second sees the first's row and not an error."""
    answers: list[object] = []
    gate = threading.Barrier(4)

    def try_it() -> None:
        gate.wait()
        try:
            with writing(engine) as session:
                answers.append(add(session, Newcomer(READER), by_editor(), SECRET))
        except Exception as error:  # noqa: BLE001
            answers.append(error)

    threads = [threading.Thread(target=try_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, answers)) == ["False", "False", "False", "True"]
    with writing(engine) as session:
        assert len(lines(session)) == 1


PEOPLE = [parse(f"reader{n}@example.org") for n in range(3)]
persons = st.sampled_from(range(3))


class Walk(RuleBasedStateMachine):
    """LC-3: random lives of three people, against a model that knows only the rules."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.engine = open_engine(f"sqlite:///{Path(self.folder.name) / 'digest.db'}")
        SQLModel.metadata.create_all(self.engine)
        self.states: dict[int, str] = {}
        self.never: set[int] = set()
        self.at = NOW

    def teardown(self) -> None:
        self.engine.dispose()
        self.folder.cleanup()

    def _act(self, who: int, act: object) -> bool:
        """Whether the act was allowed."""
        self.at += timedelta(minutes=1)
        with writing(self.engine) as session:
            found = find(session, PEOPLE[who].key)
            one = found.id if found and found.id else 0
            try:
                act(session, one, on_page(self.at))  # type: ignore[operator]
            except NotAllowed:
                return False
        return True

    @rule(who=persons)
    def added(self, who: int) -> None:
        self.at += timedelta(minutes=1)
        allowed = self.states.get(who, "active") == "active" and who not in self.never
        with writing(self.engine) as session:
            try:
                add(session, Newcomer(PEOPLE[who]), by_editor(self.at), SECRET)
            except NotAllowed:
                assert not allowed
            else:
                assert allowed
                self.states[who] = "active"

    @rule(some=st.lists(persons, max_size=4))
    def imported(self, some: list[int]) -> None:
        self.at += timedelta(minutes=1)
        with writing(self.engine) as session:
            entered = add_all(session, [Newcomer(PEOPLE[one]) for one in some], by_editor(self.at), SECRET)
        new = {one for one in some if one not in self.states and one not in self.never}
        assert entered == {PEOPLE[one].key for one in new}
        self.states.update(dict.fromkeys(new, "active"))

    @rule(some=st.lists(persons, max_size=4))
    def departed_imported(self, some: list[int]) -> None:
        with writing(self.engine) as session:
            add_departed(session, [Newcomer(PEOPLE[one]) for one in some], by_editor(self.at), SECRET)
        for one in some:
            self.states.setdefault(one, "unsubscribed")

    @rule(who=persons)
    def left(self, who: int) -> None:
        assert self._act(who, unsubscribe)
        if self.states.get(who, "complained") != "complained":
            self.states[who] = "unsubscribed"

    @rule(who=persons)
    def paused(self, who: int) -> None:
        allowed = self.states.get(who) in ("active", "paused")
        assert self._act(who, pause) is allowed
        if allowed:
            self.states[who] = "paused"

    @rule(who=persons)
    def resumed(self, who: int) -> None:
        allowed = self.states.get(who) in ("active", "paused") and who not in self.never
        assert self._act(who, resume) is allowed
        if allowed:
            self.states[who] = "active"

    @rule(who=persons)
    def came_back(self, who: int) -> None:
        allowed = self.states.get(who) in ("active", "unsubscribed") and who not in self.never
        assert self._act(who, rejoin) is allowed
        if allowed:
            self.states[who] = "active"

    @rule(who=persons, cause=st.sampled_from(Cause))
    def suppressed(self, who: int, cause: Cause) -> None:
        self.at += timedelta(minutes=1)
        with writing(self.engine) as session:
            suppress(session, PEOPLE[who], cause, by_editor(self.at), SECRET)
        self.never.add(who)
        state = self.states.get(who)
        if state in ("active", "paused"):
            self.states[who] = {"manual": "unsubscribed"}.get(cause, cause.value)
        elif state is not None and cause == Cause.COMPLAINED:
            self.states[who] = "complained"

    @invariant()
    def the_audience_is_who_is_active_and_not_suppressed(self) -> None:
        with Session(self.engine) as session:
            ids = list(session.execute(audience()).scalars())
            got = {one.address for one in recipients(session, ids).values()}
            kept = states_of(session, [one.key for one in PEOPLE])
        active = {one for one, state in self.states.items() if state == "active"}
        assert got == {PEOPLE[one].address for one in active - self.never}
        assert kept == {PEOPLE[one].key: state for one, state in self.states.items()}

    @invariant()
    def every_change_has_its_line(self) -> None:
        """LC-2: the newest line of consent agrees with the state, where consent is what changed it."""
        agrees = {"confirmed": "active", "resumed": "active", "paused": "paused"}
        with Session(self.engine) as session:
            for one in PEOPLE:
                found = find(session, one.key)
                if found is None or found.state == State.BOUNCED:
                    continue
                newest = session.exec(
                    select(Consent)
                    .where(col(Consent.subscriber_id) == found.id)
                    .order_by(col(Consent.id).desc())
                ).first()
                assert newest is not None
                expected = agrees.get(newest.act)
                assert found.state == expected or (
                    expected is None and found.state in (State.UNSUBSCRIBED, State.COMPLAINED)
                )


Walk.TestCase.settings = settings(
    max_examples=max(10, int(os.environ.get("PROVE_EXAMPLES", "200")) // 10),
    stateful_step_count=30,
    deadline=None,
)
TestWalk = Walk.TestCase

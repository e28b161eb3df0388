"""Random lives of a few people, against a model that knows only the rules."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import Engine
from sqlmodel import Session, SQLModel, select

from digest.database import open_engine, writing
from subscribers.address import parse
from subscribers.arrivals import add, add_all, ask
from subscribers.audience import Recipient, audience, welcome
from subscribers.departures import bar, bar_all, expire
from subscribers.evidence import Evidence, Newcomer, NotAllowed
from subscribers.lifecycle import confirm, move, pause, rejoin, resume, unsubscribe
from subscribers.models import Cause, State, Suppression
from subscribers.rights import erase
from subscribers.roll import Standing, find, standing
from subscribers.suppression import put, suppression_key
from tests.subscribers.people import NOW, SECRET, by_editor, on_page, unwelcome

#: lives of thirty steps; of 10,000 examples they are the 100,000 steps of LC-3
EXAMPLES = max(20, int(os.environ.get("PROVE_EXAMPLES", "0")) // 3 + 1)
HOUSES = [parse(f"House{n}@example.org") for n in range(3)]
HOUSE_KEYS = [suppression_key(house.key, SECRET) for house in HOUSES]
KEYS = {key: n for n, key in enumerate(HOUSE_KEYS)}
houses = st.sampled_from(range(len(HOUSES)))

#: where those who live in a house stand at first; "": nobody lives there
BEGINNINGS = ["active", "active", "paused", "unsubscribed", "pending", "bounced", "complained", ""]
#: a later one takes the place of an earlier one
STRENGTH = ["left", "erased", "bounced", "complained", "manual"]
#: whom a bar moves, and where to
BARRED = {
    "left": (["pending", "active", "paused", "bounced"], "unsubscribed", "withdrawn"),
    "manual": (["pending", "active", "paused"], "unsubscribed", "withdrawn"),
    "bounced": (["pending", "active", "paused"], "bounced", "bounced"),
    "complained": (["pending", "active", "paused", "unsubscribed", "bounced"], "complained", "complained"),
}
#: what the newest line of consent says of the state; those that are missing say nothing of it
SAYS = {
    "confirmed": "active",
    "resumed": "active",
    "paused": "paused",
    "withdrawn": "unsubscribed",
    "bounced": "bounced",
    "complained": "complained",
}
NOBODY = 999_999


@dataclass
class Life:
    """One of the people, as the rules have them."""

    house: int
    state: str
    acts: list[str]
    changed: datetime
    joined: datetime | None = None
    version: int = 0


@dataclass
class World:
    """What the rules say there is: nothing here asks the code."""

    now: datetime = NOW
    lives: dict[int, Life] = field(default_factory=dict)
    #: house -> why nothing goes there, and since when
    barred: dict[int, tuple[str, datetime]] = field(default_factory=dict)
    #: ids of those of whom nothing is left
    gone: set[int] = field(default_factory=set)

    def at(self, house: int) -> int | None:
        return next((one for one, life in self.lives.items() if life.house == house), None)

    def may_come_back_to(self, house: int) -> bool:
        cause, since = self.barred.get(house, ("", self.now))
        return cause != "manual" and not (cause == "complained" and self.now - since < timedelta(days=90))

    def put(self, house: int, cause: str) -> bool:
        """Whether the list is another one now."""
        known = self.barred.get(house)
        is_new = known is None or STRENGTH.index(cause) > STRENGTH.index(known[0])
        if is_new:
            self.barred[house] = (cause, self.now)
        return is_new

    def bar(self, house: int, cause: str) -> bool:
        """Whether the list is another one now; whoever lives there is moved in any case."""
        is_new = self.put(house, cause)
        one = self.at(house)
        if one is not None and cause in BARRED:
            life = self.lives[one]
            whom, state, act = BARRED[cause]
            if life.state in whom:
                life.state, life.changed = state, self.now
                life.acts.append(act)
        return is_new

    def forget(self, one: int) -> None:
        del self.lives[one]
        self.gone.add(one)

    def receiving(self) -> set[int]:
        return {
            one
            for one, life in self.lives.items()
            if life.state == "active" and life.house not in self.barred
        }


def stored(session: Session) -> list[Any]:
    """All that is kept of people, as it is in the file's tables."""
    session.flush()
    run = session.connection().exec_driver_sql
    return [run(f"SELECT * FROM {table}").fetchall() for table in ("subscriber", "consent", "suppression")]


class Walk(RuleBasedStateMachine):
    """LC-3: what people, editors, imports, mail servers and the calendar do, in any order."""

    #: one store for all lives, emptied before each: what SQLAlchemy compiled is kept with it
    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        with self.engine.begin() as connection:
            for table in ("consent", "ticket", "wish", "suppression", "subscriber"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.world = World()
        #: everybody who was ever part of a frozen audience
        self.frozen: set[int] = set()
        #: the lines of consent that were seen, by person
        self.seen: dict[int, list[Any]] = {}

    # --- doing ------------------------------------------------------------------------------------

    def do(self, act: Callable[[Session, datetime], object], lifts: bool = False) -> object:
        """What *act* answers, NotAllowed included; that, and a no, may not change anything.

        But a yes that is one already *lifts* what is on the suppression list.
        """
        self.world.now += timedelta(minutes=1)
        with writing(self.engine) as session:
            before = stored(session)
            try:
                answer = act(session, self.world.now)
            except NotAllowed:
                # Caught inside: a caller may go on in the same transaction.
                answer = NotAllowed
            is_changed = stored(session) != before
        if answer is NotAllowed or not (answer or lifts):
            assert not is_changed, "a step that was none changed something"
        return answer

    def step(self, house: int, act: Callable[[Session, int, Evidence], object]) -> object:
        """What *act* answers for whoever has *house*, or had it and is forgotten, or for nobody."""
        one = self.world.at(house)
        if one is None:
            one = max(self.world.gone, default=NOBODY)
        return self.do(lambda session, now: act(session, one, on_page(now)), lifts=act is confirm)

    def settles(self, house: int, state: str, act: str) -> None:
        """Somebody new lives in *house*; nobody ever gets an id that another one had."""
        with Session(self.engine) as session:
            found = find(session, HOUSES[house].key)
        assert found is not None
        assert found.id is not None
        assert found.id not in self.world.lives.keys() | self.world.gone
        joined = self.world.now if state == "active" else None
        self.world.lives[found.id] = Life(house, state, [act], self.world.now, joined)

    def moves(self, one: int, state: str, act: str, at: datetime | None = None) -> None:
        life = self.world.lives[one]
        life.state, life.changed = state, at or self.world.now
        life.acts.append(act)
        if act == "confirmed":
            life.joined = self.world.now

    @initialize(states=st.tuples(*[st.sampled_from(BEGINNINGS)] * len(HOUSES)))
    def people_have_lived_here(self, states: tuple[str, ...]) -> None:
        """Most houses have somebody in them, or most steps would find nobody."""
        for house, state in enumerate(states):
            if state == "pending":
                self.asked_by_a_form(house)
            elif state:
                self.added(house)
            if state == "paused":
                self.paused(house)
            elif state == "unsubscribed":
                self.left(house, 0)
            elif state in ("bounced", "complained"):
                self.barred(house, state)

    # --- what editors and imports do --------------------------------------------------------------

    @rule(house=houses)
    def added(self, house: int) -> None:
        answer = self.do(lambda session, now: add(session, Newcomer(HOUSES[house]), by_editor(now), SECRET))
        one = self.world.at(house)
        if house in self.world.barred or (one is not None and self.world.lives[one].state != "active"):
            assert answer is NotAllowed
        elif one is not None:
            assert answer is False
        else:
            assert answer is True
            self.settles(house, "active", "confirmed")

    @rule(some=st.lists(houses, max_size=4))
    def imported(self, some: list[int]) -> None:
        newcomers = [Newcomer(HOUSES[house]) for house in some]
        answer = self.do(lambda session, now: add_all(session, newcomers, by_editor(now), SECRET))
        new = {house for house in some if self.world.at(house) is None and house not in self.world.barred}
        assert answer == {HOUSES[house].key for house in new}
        for house in new:
            self.settles(house, "active", "confirmed")

    @rule(some=st.lists(houses, max_size=4))
    def departed_imported(self, some: list[int]) -> None:
        # Not `do`: who is on the suppression list already may still be moved by it.
        self.world.now += timedelta(minutes=1)
        with writing(self.engine) as session:
            gone = [HOUSES[house] for house in some]
            answer = bar_all(session, gone, Cause.LEFT, by_editor(self.world.now), SECRET)
        assert answer == {HOUSES[house].key for house in dict.fromkeys(some) if self.world.bar(house, "left")}

    @rule(house=houses, cause=st.sampled_from(sorted(BARRED)))
    def barred(self, house: int, cause: str) -> None:
        self.world.now += timedelta(minutes=1)
        with writing(self.engine) as session:
            answer = bar(session, HOUSES[house], Cause(cause), by_editor(self.world.now), SECRET)
        assert answer is self.world.bar(house, cause)

    @rule(house=houses, cause=st.sampled_from(STRENGTH))
    def put_on_the_list(self, house: int, cause: str) -> None:
        """Past all else, as a list that is restored would be: it wins over the state."""
        self.world.now += timedelta(minutes=1)
        with writing(self.engine) as session:
            keys = [HOUSE_KEYS[house]]
            answer = put(session, keys, Cause(cause), reason="by hand", now=self.world.now)
        assert bool(answer) is self.world.put(house, cause)

    # --- what people do ---------------------------------------------------------------------------

    @rule(house=houses)
    def asked_by_a_form(self, house: int) -> None:
        answer = self.do(lambda session, now: ask(session, HOUSES[house], on_page(now), SECRET))
        one = self.world.at(house)
        if one is None:
            self.settles(house, "pending", "requested")
        elif self.world.lives[one].state != "active":
            life = self.world.lives[one]
            life.acts.append("requested")
            life.changed = self.world.now if life.state == "pending" else life.changed
        assert answer == self.world.at(house)

    @rule(house=houses)
    def asked_and_confirmed(self, house: int) -> None:
        self.asked_by_a_form(house)
        self.confirmed(house)

    @rule(house=houses)
    def confirmed(self, house: int) -> None:
        answer = self.step(house, confirm)
        one = self.world.at(house)
        if one is None or not self.world.may_come_back_to(house):
            assert answer is NotAllowed
            return
        assert answer is (self.world.lives[one].state != "active")
        self.world.barred.pop(house, None)
        if answer:
            self.moves(one, "active", "confirmed")

    @rule(house=houses, spooled=st.sampled_from([0, 0, 0, 5, 60 * 24 * 2]))
    def left(self, house: int, spooled: int) -> None:
        """By a link; the act may have waited *spooled* minutes."""
        then = self.world.now + timedelta(minutes=1 - spooled)
        answer = self.step(house, lambda session, one, _: unsubscribe(session, one, on_page(then)))
        one = self.world.at(house)
        life = self.world.lives[one] if one is not None else None
        is_over = life is None or life.state in ("unsubscribed", "complained")
        if is_over or (life is not None and life.joined is not None and life.joined > then):
            assert answer is False
            return
        assert answer is True
        assert one is not None
        self.moves(one, "unsubscribed", "withdrawn")

    @rule(house=houses)
    def paused(self, house: int) -> None:
        self.goes(house, pause, {"active": "paused"}, "paused")

    @rule(house=houses)
    def resumed(self, house: int) -> None:
        self.goes(house, resume, {"paused": "active"}, "resumed")

    @rule(house=houses)
    def rejoined(self, house: int) -> None:
        one = self.world.at(house)
        was = self.world.lives[one].state if one is not None else ""
        if was == "unsubscribed" and self.world.barred.get(house, ("",))[0] == "left":
            del self.world.barred[house]
        self.goes(house, rejoin, {"unsubscribed": "active"}, "confirmed")

    def goes(
        self, house: int, act: Callable[[Session, int, Evidence], object], leads: dict[str, str], line: str
    ) -> None:
        """*act* leads where it does; done already it changes nothing; from anywhere else it is no step."""
        answer = self.step(house, act)
        one = self.world.at(house)
        was = self.world.lives[one].state if one is not None else ""
        is_barred = house in self.world.barred and act is not pause
        if one is None or is_barred or was not in (*leads, *leads.values()):
            assert answer is NotAllowed
        elif was in leads:
            assert answer is True
            self.moves(one, leads[was], line)
        else:
            assert answer is False

    @rule(house=houses, to=houses)
    def moved(self, house: int, to: int) -> None:
        answer = self.step(
            house, lambda session, one, evidence: move(session, one, HOUSES[to], evidence, SECRET)
        )
        one, other = self.world.at(house), self.world.at(to)
        life = self.world.lives.get(one) if one is not None else None
        if one is None or life is None or life.state not in ("active", "paused"):
            assert answer is NotAllowed
        elif to == house:
            assert answer == ""
        elif (other is not None and self.world.lives[other].state != "pending") or (
            not self.world.may_come_back_to(to)
        ):
            assert answer is NotAllowed
        else:
            assert answer == HOUSES[house].address
            if other is not None:
                self.world.forget(other)
            self.world.barred.pop(to, None)
            life.house, life.changed, life.version = to, self.world.now, life.version + 1
            life.acts.append("moved")

    @rule(house=houses)
    def erased(self, house: int) -> None:
        told: list[tuple[int | None, frozenset[str]]] = []
        self.world.now += timedelta(minutes=1)
        with writing(self.engine) as session:
            answer = erase(
                session,
                HOUSES[house],
                SECRET,
                self.world.now,
                [lambda _session, who, traces: told.append((who, traces))],
            )
        one = self.world.at(house)
        assert answer is (one is not None)
        assert [who for who, _ in told] == [one]
        assert told[0][1] >= {HOUSES[house].address, HOUSES[house].key}
        if one is not None:
            self.world.forget(one)
        self.world.bar(house, "erased")

    # --- what the calendar does -------------------------------------------------------------------

    @rule(days=st.sampled_from([1, 29, 31, 91]))
    def time_passed(self, days: int) -> None:
        self.world.now += timedelta(days=days)

    @rule(days=st.sampled_from([0, 31]))
    def expired(self, days: int) -> None:
        self.world.now += timedelta(days=days)
        answer = self.do(lambda session, now: expire(session, now) or None)
        overdue = [
            one
            for one, life in self.world.lives.items()
            if life.state == "pending" and self.world.now - life.changed > timedelta(days=30)
        ]
        assert answer == (len(overdue) or None)
        for one in overdue:
            self.world.forget(one)

    @rule()
    def an_issue_was_frozen(self) -> None:
        with Session(self.engine) as session:
            self.frozen |= set(session.execute(audience()).scalars())

    # --- what holds at any moment -----------------------------------------------------------------

    @invariant()
    def the_audience_is_who_is_active_and_not_suppressed(self) -> None:
        """P-2."""
        with Session(self.engine) as session:
            ids = list(session.execute(audience()).scalars())
            got = {
                one: (it.address, it.token_version)
                for one, it in welcome(session, ids).items()
                if isinstance(it, Recipient)
            }
        expected = {one: self.world.lives[one] for one in self.world.receiving()}
        assert got == {one: (HOUSES[life.house].address, life.version) for one, life in expected.items()}
        assert ids == sorted(expected)

    @invariant()
    def no_letter_is_claimed_for_who_is_not_active_or_is_suppressed_or_erased(self) -> None:
        """LC-3: the courier asks this right before MAIL FROM of everybody an issue was ever frozen for."""
        with Session(self.engine) as session:
            left_out = unwelcome(session, self.frozen)
        assert left_out.keys() == self.frozen - self.world.receiving()
        for one, reason in left_out.items():
            life = self.world.lives.get(one)
            if life is None:
                assert reason == "erased"
            else:
                assert reason == ("suppressed" if life.house in self.world.barred else life.state)

    @invariant()
    def everybody_stands_where_the_rules_have_them(self) -> None:
        with Session(self.engine) as session:
            listed = {
                KEYS[line.key]: (str(line.cause), line.at) for line in session.exec(select(Suppression))
            }
            rows = "SELECT id, state, address, token_version, suppression_key, name FROM subscriber"
            kept = {one: tuple(row) for one, *row in session.connection().exec_driver_sql(rows)}
            newest = max(self.world.lives, default=NOBODY)
            stands = standing(session, newest)
        assert listed == self.world.barred
        lives = {
            one: (life.state, HOUSES[life.house].address, life.version, HOUSE_KEYS[life.house], "")
            for one, life in self.world.lives.items()
        }
        assert {one: row for one, row in kept.items() if one in lives} == lives
        empty = {one: (row[1], row[3], row[4]) for one, row in kept.items() if one not in lives}
        assert empty == dict.fromkeys(self.world.gone & kept.keys(), ("", "0" * 64, ""))
        if lives:
            life = self.world.lives[newest]
            cause = self.world.barred.get(life.house, (None,))[0]
            assert stands == Standing(
                State(life.state), lives[newest][1], life.version, cause and Cause(cause)
            )
        else:
            assert stands is None

    @invariant()
    def consent_is_only_added_to_and_its_newest_line_agrees_with_the_state(self) -> None:
        """LC-2: one line for every change; none is ever altered, and none goes but with its person."""
        kept: dict[int, list[Any]] = {}
        with Session(self.engine) as session:
            lines = "SELECT subscriber_id, act, at, origin, wording, address FROM consent ORDER BY id"
            for one, *line in session.connection().exec_driver_sql(lines):
                kept.setdefault(one, []).append(line)
        assert {one: [line[0] for line in lines] for one, lines in kept.items()} == {
            one: life.acts for one, life in self.world.lives.items()
        }
        for one, before in self.seen.items():
            assert one in self.world.gone or kept[one][: len(before)] == before
        self.seen = kept
        for life in self.world.lives.values():
            told = [SAYS[act] for act in life.acts if act in SAYS]
            assert life.state == (told[-1] if told else "pending")


class TestWalk(Walk.TestCase):  # type: ignore[name-defined,misc]
    settings = settings(max_examples=EXAMPLES, stateful_step_count=30)

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = TemporaryDirectory()
        Walk.engine = open_engine(f"sqlite:///{Path(cls.folder.name) / 'digest.db'}")
        SQLModel.metadata.create_all(Walk.engine)
        with Walk.engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE TRIGGER consent_is_never_changed BEFORE UPDATE ON consent"
                " BEGIN SELECT RAISE(ABORT, 'a line of consent was changed'); END"
            )

    @classmethod
    def tearDownClass(cls) -> None:
        Walk.engine.dispose()
        cls.folder.cleanup()

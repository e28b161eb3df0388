"""The lifecycle: what leads where, with its proof, and who is never brought back."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.database import writing
from subscribers.address import parse
from subscribers.arrivals import add, add_all, ask, ask_all
from subscribers.audience import Recipient, audience, welcome
from subscribers.departures import bar, bar_all
from subscribers.evidence import Evidence, Newcomer, NotAllowed, Origin
from subscribers.lifecycle import confirm, may_return, move, pause, rejoin, resume, unsubscribe
from subscribers.models import Cause, Consent, State, Subscriber, Suppression
from subscribers.roll import Standing, find, roll, standing, states_of
from subscribers.suppression import put, suppression_key
from tests.subscribers.people import (
    NOW,
    READER,
    SECRET,
    at_once,
    by_editor,
    enrol,
    everything,
    id_of,
    lines,
    on_page,
    person,
)

#: what nobody who is on the list, nor anybody else, would be brought back by
BARRING = [Cause.LEFT, Cause.BOUNCED, Cause.COMPLAINED, Cause.MANUAL]


# --- coming -------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("ground", ["", " "])
def test_nobody_is_added_without_a_ground(engine: Engine, ground: str) -> None:
    with writing(engine) as session:
        with pytest.raises(ValueError, match="ground"):
            add(session, Newcomer(READER), by_editor(ground=ground), SECRET)
        for many in (add_all, ask_all):
            with pytest.raises(ValueError, match="ground"):
                many(session, [Newcomer(READER)], by_editor(ground=ground), SECRET)
        assert find(session, READER.key) is None


def test_an_address_that_mixes_alphabets_is_not_added(engine: Engine) -> None:
    """A-4."""
    with writing(engine) as session, pytest.raises(NotAllowed, match="alphabets"):
        add(session, Newcomer(parse("раypal@example.org")), by_editor(), SECRET)


def test_an_address_that_mixes_alphabets_is_taken_once_its_mailbox_says_yes(engine: Engine) -> None:
    """A-4."""
    with writing(engine) as session:
        one = ask(session, parse("раypal@example.org"), on_page(), SECRET)
        assert list(session.execute(audience()).scalars()) == []
        assert confirm(session, one, on_page()) is True
        assert list(session.execute(audience()).scalars()) == [one]


def test_many_are_added_in_one_go_and_the_known_are_left_alone(engine: Engine) -> None:
    people = [Newcomer(parse(f"reader{n}@example.org"), f"Reader {n}") for n in range(2100)]
    with writing(engine) as session:
        enrol(session, "reader7@example.org")
        never = parse("reader8@example.org")
        bar(session, never, Cause.MANUAL, by_editor(), SECRET)
        entered = add_all(session, people, by_editor(), SECRET)
        assert entered == {one.address.key for one in people} - {"reader7@example.org", never.key}
        ids = list(session.execute(audience()).scalars())
        assert len(ids) == 2099
        names = {
            one.address: one.name for one in welcome(session, ids).values() if isinstance(one, Recipient)
        }
        assert names["reader9@example.org"] == "Reader 9"
        assert names["reader7@example.org"] == "Reader"
        assert len(lines(session)) == 2099


def test_many_are_asked_in_one_go_and_the_known_are_left_alone(engine: Engine) -> None:
    """I-3: whose consent nobody knows is on the list, and receives nothing until they say yes."""
    people = [Newcomer(parse(f"reader{n}@example.org"), proof=f"row {n}") for n in range(4)]
    with writing(engine) as session:
        enrol(session, "reader1@example.org")
        bar(session, people[2].address, Cause.LEFT, by_editor(), SECRET)
        asked = ask_all(session, people, by_editor(), SECRET)
        assert asked == {people[n].address.key: id_of(session, people[n].address) for n in (0, 3)}
        assert states_of(session, [one.address.key for one in people]) == {
            "reader0@example.org": State.PENDING,
            "reader1@example.org": State.ACTIVE,
            "reader3@example.org": State.PENDING,
        }
        assert lines(session) == [
            ("confirmed", "editor", "asked at the counter"),
            ("requested", "editor", "asked at the counter; row 0"),
            ("requested", "editor", "asked at the counter; row 3"),
        ]


def test_two_spellings_of_a_mailbox_are_one_person(engine: Engine) -> None:
    """A-2."""
    with writing(engine) as session:
        both = [Newcomer(parse("Reader@Example.org")), Newcomer(parse("reader@example.ORG"))]
        assert add_all(session, both, by_editor(), SECRET) == {READER.key}
        assert [one.address for one in roll(session)] == ["Reader@example.org"]
        assert ask(session, parse("READER@example.org"), on_page(), SECRET) == id_of(session, READER)


def test_who_asked_gets_nothing_until_the_mailbox_says_yes(engine: Engine) -> None:
    """LC-1, U-7: of who asked no more is kept than the proof that somebody did."""
    evidence = Evidence(
        origin=Origin.PAGE, at=NOW, wording="Subscribe", ip="192.0.2.1", user_agent="Mozilla/5.0"
    )
    with writing(engine) as session:
        one = ask(session, READER, evidence, SECRET)
        assert standing(session, one) == Standing(State.PENDING, "Reader@example.org", 0, None)
        assert list(session.execute(audience()).scalars()) == []
        later = NOW + timedelta(hours=1)
        assert confirm(session, one, on_page(later, "Yes")) is True
        assert confirm(session, one, on_page(later + timedelta(hours=1), "Yes")) is False
        assert list(session.execute(audience()).scalars()) == [one]
        kept = [
            (row.subscriber_id, str(row.act), row.at, row.origin, row.wording, row.ip, row.user_agent)
            for row in session.exec(select(Consent).order_by(col(Consent.id)))
        ]
        assert kept == [
            (one, "requested", NOW, "page", "Subscribe", "192.0.2.1", "Mozilla/5.0"),
            (one, "confirmed", later, "page", "Yes", None, None),
        ]


def test_two_editors_adding_one_person_at_once_make_one_row(engine: Engine) -> None:
    """I-4, concurrently: the second sees the first's row and not an error."""

    def try_it() -> bool:
        with writing(engine) as session:
            return add(session, Newcomer(READER), by_editor(), SECRET)

    assert sorted(map(str, at_once(*[try_it] * 4))) == ["False", "False", "False", "True"]
    with writing(engine) as session:
        assert len(lines(session)) == 1


def test_two_visitors_asking_for_one_address_at_once_make_one_row(engine: Engine) -> None:
    """A-2, concurrently."""

    def try_it() -> int:
        with writing(engine) as session:
            return ask(session, READER, on_page(), SECRET)

    answers = at_once(*[try_it] * 4)
    with writing(engine) as session:
        assert answers == [id_of(session, READER)] * 4
        assert [act for act, _, _ in lines(session)] == ["requested"] * 4


def test_an_import_and_a_bar_at_once_never_leave_somebody_active_on_the_list(engine: Engine) -> None:
    """I-4, P-2, concurrently: whoever comes second sees what the first did."""
    people = [parse(f"reader{n}@example.org") for n in range(300)]

    def imports() -> set[str]:
        with writing(engine) as session:
            return add_all(session, [Newcomer(one) for one in people], by_editor(), SECRET)

    def bars() -> set[str]:
        with writing(engine) as session:
            return bar_all(session, people, Cause.MANUAL, by_editor(), SECRET)

    answers = at_once(imports, bars)
    assert {one.key for one in people} in answers
    with writing(engine) as session:
        assert states_of(session, [one.key for one in people]).keys() in (
            set(),
            {one.key for one in people},
        )
        assert [one.state for one in roll(session) if one.state == State.ACTIVE] == []


# --- leaving, pausing, coming back --------------------------------------------------------------------


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
        assert ask_all(session, [Newcomer(READER)], by_editor(), SECRET) == {}
        assert states_of(session, [READER.key, "x@example.org"]) == {READER.key: State.UNSUBSCRIBED}
        assert rejoin(session, one, on_page()) is True
        assert states_of(session, [READER.key]) == {READER.key: State.ACTIVE}


def test_an_old_leave_does_not_undo_a_newer_return(engine: Engine) -> None:
    """U-3: what waited in the spool is older than what the person did since."""
    with writing(engine) as session:
        one = enrol(session)
        unsubscribe(session, one, on_page(NOW + timedelta(hours=1)))
        rejoin(session, one, on_page(NOW + timedelta(hours=3)))
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=2))) is False
        pause(session, one, on_page(NOW + timedelta(hours=5)))
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=4))) is True


def test_an_old_leave_does_not_undo_a_newer_yes(engine: Engine) -> None:
    """U-3: nor what they said through a link sent to their mailbox."""
    with writing(engine) as session:
        one = enrol(session)
        unsubscribe(session, one, on_page(NOW + timedelta(hours=1)))
        confirm(session, one, on_page(NOW + timedelta(hours=3)))
        assert unsubscribe(session, one, on_page(NOW + timedelta(hours=2))) is False
        assert states_of(session, [READER.key]) == {READER.key: State.ACTIVE}


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


# --- every arrow, and every step that is none ---------------------------------------------------------

OTHER = parse("other@example.org")
#: the act -> where it leads from each state; what is not named is not allowed
LEADS: dict[str, dict[State, State]] = {
    "confirm": dict.fromkeys(State, State.ACTIVE),
    "pause": {State.ACTIVE: State.PAUSED, State.PAUSED: State.PAUSED},
    "resume": {State.PAUSED: State.ACTIVE, State.ACTIVE: State.ACTIVE},
    "rejoin": {State.UNSUBSCRIBED: State.ACTIVE, State.ACTIVE: State.ACTIVE},
    "move": {State.ACTIVE: State.ACTIVE, State.PAUSED: State.PAUSED},
    # A complaint is the stronger word.
    "unsubscribe": dict.fromkeys(State, State.UNSUBSCRIBED) | {State.COMPLAINED: State.COMPLAINED},
}
WRITTEN = {"confirm": "confirmed", "pause": "paused", "resume": "resumed", "rejoin": "confirmed"} | {
    "move": "moved",
    "unsubscribe": "withdrawn",
}
ACTS: dict[str, Callable[[Session, int], object]] = {
    "confirm": lambda session, one: confirm(session, one, on_page()),
    "pause": lambda session, one: pause(session, one, on_page()),
    "resume": lambda session, one: resume(session, one, on_page()),
    "rejoin": lambda session, one: rejoin(session, one, on_page()),
    "move": lambda session, one: move(session, one, OTHER, on_page(), SECRET),
    "unsubscribe": lambda session, one: unsubscribe(session, one, on_page()),
}


@pytest.mark.parametrize("act", LEADS)
def test_every_act_leads_where_its_arrow_does_and_nowhere_else(sqlite_engine: Engine, act: str) -> None:
    """LC-1, LC-3: from every state, with one line of consent where something changed and none where not."""
    for state in State:
        with Session(sqlite_engine) as session:
            one = person(session, "reader@example.org", state)
            before = everything(session)
            leads = LEADS[act].get(state)
            if leads is None:
                with pytest.raises(NotAllowed):
                    ACTS[act](session, one)
                assert everything(session) == before
                continue
            ACTS[act](session, one)
            is_new = leads != state or act == "move"
            found = session.get_one(Subscriber, one, populate_existing=True)
            assert (found.state, [line[0] for line in lines(session)]) == (
                leads,
                [WRITTEN[act]] if is_new else [],
            )
            if not is_new:
                assert everything(session) == before


@pytest.mark.parametrize("act", ["confirm", "pause", "resume", "rejoin", "move"])
def test_nobody_has_no_steps_to_take(engine: Engine, act: str) -> None:
    """LC-3."""
    with writing(engine) as session:
        with pytest.raises(NotAllowed, match="no such subscriber"):
            ACTS[act](session, 999_999)
        assert lines(session) == []


# --- the suppression list and the states --------------------------------------------------------------

GOES: dict[Cause, dict[State, State]] = {
    Cause.LEFT: dict.fromkeys((State.PENDING, State.ACTIVE, State.PAUSED, State.BOUNCED), State.UNSUBSCRIBED),
    Cause.MANUAL: dict.fromkeys((State.PENDING, State.ACTIVE, State.PAUSED), State.UNSUBSCRIBED),
    Cause.BOUNCED: dict.fromkeys((State.PENDING, State.ACTIVE, State.PAUSED), State.BOUNCED),
    Cause.COMPLAINED: dict.fromkeys(set(State) - {State.COMPLAINED}, State.COMPLAINED),
}
NOTED = {
    Cause.LEFT: "withdrawn",
    Cause.MANUAL: "withdrawn",
    Cause.BOUNCED: "bounced",
    Cause.COMPLAINED: "complained",
}


@pytest.mark.parametrize("cause", BARRING)
def test_being_barred_moves_everybody_as_the_cause_has_it(engine: Engine, cause: Cause) -> None:
    """LC-1, LC-2."""
    with writing(engine) as session:
        people = {state: parse(f"{state}@example.org") for state in State}
        for state, address in people.items():
            person(session, address.address, state)
        stranger = parse("stranger@example.org")
        everybody = [*people.values(), stranger]
        new = bar_all(session, everybody, cause, by_editor(NOW + timedelta(days=1)), SECRET)
        assert new == {one.key for one in everybody}
        assert states_of(session, [one.key for one in everybody]) == {
            address.key: GOES[cause].get(state, state) for state, address in people.items()
        }
        noted = (NOTED[cause], "editor", f"asked at the counter; {cause}")
        assert lines(session) == [noted] * len(GOES[cause])
        kept = [(row.cause, row.reason, row.at) for row in session.exec(select(Suppression))]
        assert kept == [(cause, "asked at the counter", NOW + timedelta(days=1))] * 7
        moved_at = {one.state: one.changed_at for one in roll(session) if one.changed_at > NOW}
        assert moved_at == dict.fromkeys(GOES[cause].values(), NOW + timedelta(days=1))


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        (Cause.MANUAL, State.UNSUBSCRIBED),
        (Cause.BOUNCED, State.BOUNCED),
        (Cause.COMPLAINED, State.COMPLAINED),
    ],
)
def test_neither_an_editor_nor_a_page_brings_back_who_is_suppressed(
    engine: Engine, cause: Cause, state: State
) -> None:
    """I-4, P-2."""
    with writing(engine) as session:
        one = enrol(session)
        assert bar(session, READER, cause, by_editor(), SECRET) is True
        assert bar(session, READER, cause, by_editor(), SECRET) is False
        assert standing(session, one) == Standing(state, "Reader@example.org", 0, cause)
        with pytest.raises(NotAllowed):
            add(session, Newcomer(READER), by_editor(), SECRET)
        assert add_all(session, [Newcomer(READER)], by_editor(), SECRET) == set()
        for step in (pause, resume, rejoin):
            with pytest.raises(NotAllowed):
                step(session, one, on_page())
        assert list(session.execute(audience()).scalars()) == []
        reasons = [(row.cause, row.reason) for row in session.exec(select(Suppression))]
        assert reasons == [(cause, "asked at the counter")]


def test_who_left_as_another_list_says_is_back_by_their_own_act(engine: Engine) -> None:
    """P-4: what keeps a leaver off the list is lifted by nobody but themselves."""
    with writing(engine) as session:
        one = enrol(session)
        bar(session, READER, Cause.LEFT, by_editor(), SECRET)
        for step in (pause, resume):
            with pytest.raises(NotAllowed):
                step(session, one, on_page())
        assert rejoin(session, one, on_page()) is True
        assert standing(session, one) == Standing(State.ACTIVE, "Reader@example.org", 0, None)
        assert list(session.execute(audience()).scalars()) == [one]


#: what keeps an address off the list, how long ago it came there -> whether its own yes lifts it
LIFTED = [
    (Cause.LEFT, timedelta(0), True),
    (Cause.ERASED, timedelta(0), True),
    (Cause.BOUNCED, timedelta(0), True),
    (Cause.COMPLAINED, timedelta(0), False),
    (Cause.COMPLAINED, timedelta(days=90) - timedelta(seconds=1), False),
    (Cause.COMPLAINED, timedelta(days=90), True),
    (Cause.MANUAL, timedelta(0), False),
    (Cause.MANUAL, timedelta(days=3650), False),
]


@pytest.mark.parametrize(("cause", "age", "is_lifted"), LIFTED)
def test_a_yes_from_the_mailbox_lifts_what_keeps_it_off_but_for_an_editors_word_and_a_fresh_complaint(
    sqlite_engine: Engine, cause: Cause, age: timedelta, is_lifted: bool
) -> None:
    """P-4, LC-3."""
    with writing(sqlite_engine) as session:
        for state in State:
            address = parse(f"{state}@example.org")
            one = person(session, address.address, state)
            key = suppression_key(address.key, SECRET)
            put(session, [key], cause, reason="", now=NOW - age)
            assert may_return(session.get(Suppression, key), NOW) is is_lifted
            before = everything(session)
            if is_lifted:
                assert confirm(session, one, on_page()) is (state != State.ACTIVE)
                assert standing(session, one) == Standing(State.ACTIVE, address.address, 0, None)
            else:
                with pytest.raises(NotAllowed, match="suppressed"):
                    confirm(session, one, on_page())
                assert everything(session) == before


def test_who_is_nowhere_on_the_list_may_come() -> None:
    assert may_return(None, NOW) is True


def test_who_was_put_on_the_list_while_paused_does_not_resume(engine: Engine) -> None:
    """P-2: the list wins over the state, whoever wrote on it."""
    with writing(engine) as session:
        one = enrol(session)
        pause(session, one, on_page())
        put(session, [suppression_key(READER.key, SECRET)], Cause.MANUAL, reason="", now=NOW)
        with pytest.raises(NotAllowed, match="suppressed"):
            resume(session, one, on_page())
        assert states_of(session, [READER.key]) == {READER.key: State.PAUSED}


def test_an_unknown_address_can_be_suppressed_before_it_ever_comes(engine: Engine) -> None:
    with writing(engine) as session:
        assert bar(session, READER, Cause.MANUAL, by_editor(), SECRET) is True
        with pytest.raises(NotAllowed, match="suppressed"):
            add(session, Newcomer(READER), by_editor(), SECRET)
        assert find(session, READER.key) is None


def test_a_complaint_stays_a_complaint(engine: Engine) -> None:
    with writing(engine) as session:
        one = enrol(session)
        bar(session, READER, Cause.COMPLAINED, by_editor(), SECRET)
        assert unsubscribe(session, one, on_page()) is False
        assert states_of(session, [READER.key]) == {READER.key: State.COMPLAINED}


def test_a_list_of_departed_keeps_them_from_coming_back(engine: Engine) -> None:
    """I-4: the file of those who left is read before the file of those who are there.

    Nothing is kept of a stranger but the line that knows no address.
    """
    with writing(engine) as session:
        assert bar_all(session, [READER], Cause.LEFT, by_editor(), SECRET) == {READER.key}
        assert bar_all(session, [READER], Cause.LEFT, by_editor(), SECRET) == set()
        assert add_all(session, [Newcomer(READER)], by_editor(), SECRET) == set()
        assert (list(roll(session)), lines(session)) == ([], [])
        kept = [(row.key, row.cause) for row in session.exec(select(Suppression))]
        assert kept == [(suppression_key(READER.key, SECRET), Cause.LEFT)]


def test_many_are_barred_in_one_go(engine: Engine) -> None:
    """More than one statement may bind; twice in one list is once."""
    people = [parse(f"reader{n}@example.org") for n in range(2100)]
    with writing(engine) as session:
        add_all(session, [Newcomer(one) for one in people[:1500]], by_editor(), SECRET)
        new = bar_all(session, [*people, people[0]], Cause.LEFT, by_editor(), SECRET)
        assert new == {one.key for one in people}
        assert set(states_of(session, [one.key for one in people]).values()) == {State.UNSUBSCRIBED}
        assert len(lines(session)) == 3000


# --- another address ----------------------------------------------------------------------------------


def test_a_move_is_written_down_with_the_address_before(engine: Engine) -> None:
    """LC-1, U-10."""
    with writing(engine) as session:
        one = enrol(session)
        assert move(session, one, OTHER, on_page(NOW + timedelta(hours=1), "Move"), SECRET) == (
            "Reader@example.org"
        )
        found = session.get_one(Subscriber, one, populate_existing=True)
        assert (found.address, found.address_key, found.suppression_key, found.token_version) == (
            OTHER.address,
            OTHER.key,
            suppression_key(OTHER.key, SECRET),
            1,
        )
        newest = session.exec(select(Consent).order_by(col(Consent.id).desc())).first()
        assert newest is not None
        assert (newest.act, newest.wording, newest.address) == ("moved", "Move", "Reader@example.org")


def test_a_move_to_where_letters_go_already_changes_nothing(engine: Engine) -> None:
    """U-10: nobody is told of it, either."""
    with writing(engine) as session:
        one = enrol(session)
        before = everything(session)
        assert move(session, one, parse("READER@example.org"), on_page(), SECRET) == ""
        assert everything(session) == before


@pytest.mark.parametrize("state", [one for one in State if one != State.PENDING])
def test_nobody_moves_to_where_somebody_is(sqlite_engine: Engine, state: State) -> None:
    """U-10: whatever their state; and the attempt leaves no trace."""
    with writing(sqlite_engine) as session:
        one = enrol(session)
        person(session, OTHER.address, state)
        before = everything(session)
        with pytest.raises(NotAllowed, match="already"):
            move(session, one, OTHER, on_page(), SECRET)
        assert everything(session) == before


def test_who_only_asked_makes_way_for_a_move(engine: Engine) -> None:
    """U-10: both are yeses of one mailbox, and the move's is the one that was said."""
    with writing(engine) as session:
        one = enrol(session)
        ask(session, OTHER, on_page(), SECRET)
        assert move(session, one, OTHER, on_page(), SECRET) == "Reader@example.org"
        assert [(row.id, row.address) for row in roll(session)] == [(one, OTHER.address)]


@pytest.mark.parametrize(("cause", "age", "is_lifted"), LIFTED)
@pytest.mark.parametrize("is_asked", [False, True])
def test_a_move_lifts_what_a_yes_from_the_mailbox_lifts(
    sqlite_engine: Engine, cause: Cause, age: timedelta, is_lifted: bool, is_asked: bool
) -> None:
    """U-10, P-4: and where it may not, nothing at all has changed."""
    with writing(sqlite_engine) as session:
        one = enrol(session)
        if is_asked:
            ask(session, OTHER, on_page(), SECRET)
        put(session, [suppression_key(OTHER.key, SECRET)], cause, reason="", now=NOW - age)
        before = everything(session)
        if is_lifted:
            move(session, one, OTHER, on_page(), SECRET)
            assert standing(session, one) == Standing(State.ACTIVE, OTHER.address, 1, None)
        else:
            with pytest.raises(NotAllowed, match="suppressed"):
                move(session, one, OTHER, on_page(), SECRET)
            assert everything(session) == before


def test_the_version_in_a_token_begins_again_where_it_ends(engine: Engine) -> None:
    """T-1: it has 16 bits."""
    with writing(engine) as session:
        one = person(session, "reader@example.org", State.ACTIVE, version=2**16 - 1)
        move(session, one, OTHER, on_page(), SECRET)
        found = standing(session, one)
        assert found is not None
        assert found.token_version == 0


def test_two_who_move_to_one_address_at_once_do_not_both_get_it(engine: Engine) -> None:
    """U-10, concurrently."""
    with writing(engine) as session:
        people = [enrol(session, f"reader{n}@example.org") for n in range(4)]

    def moves(one: int) -> Callable[[], str]:
        def act() -> str:
            with writing(engine) as session:
                return move(session, one, OTHER, on_page(), SECRET)

        return act

    answers = at_once(*map(moves, people))
    assert sorted(type(one).__name__ for one in answers) == ["NotAllowed"] * 3 + ["str"]
    with writing(engine) as session:
        assert sum(one.address == OTHER.address for one in roll(session)) == 1

"""What was done to an issue is in its history, can be taken back, and overwrites nobody unseen."""

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue import edit as editing
from digest.issue.approve import leave, reject, withdraw
from digest.issue.changes import (
    Overtaken,
    between,
    changes_since,
    edit,
    history,
    last_edit,
    state_of,
    take_back,
    value_at,
    version,
)
from digest.issue.compose import compose, issue_of, items_of
from digest.issue.models import Done
from digest.models import Issue, Post
from digest.month import Month
from tests.digest.test_compose import KYIV, NOW, add_post, approve, day, rendered

SEPTEMBER = Month.parse("2015-09", KYIV)


@pytest.fixture
def store(engine: Engine) -> Engine:
    """A draft of four posts."""
    with writing(engine) as session:
        for name, number in {"one": 28, "two": 20, "three": 11, "four": 5}.items():
            add_post(session, name, day(number))
        compose(session, SEPTEMBER, NOW, 1)
    return engine


def titles(session: Session) -> list[str]:
    return [item.title or post.title for item, post in items_of(session, issue_of(session, SEPTEMBER))]


def issue(session: Session) -> Issue:
    return issue_of(session, SEPTEMBER)


def told(session: Session) -> list[tuple[str, str]]:
    return [(one.who, one.what) for one in reversed(history(session, issue(session)))]


def test_each_change_is_told_with_who_and_can_be_taken_back_one_by_one(store: Engine) -> None:
    acts = {
        "moved “four” up": lambda s, i: editing.reorder(s, i, [4]),
        "pinned “one”": lambda s, i: editing.pin(s, i, 2),
        "dropped “one”": lambda s, i: editing.drop(s, i, 1),
        "changed the title of “four”": lambda s, i: editing.retitle(s, i, 1, "Own"),
        "changed the excerpt of “two”": lambda s, i: editing.rewrite(s, i, 2, "Own words"),
        "changed the introduction": lambda s, i: editing.reword(i, intro="Good *morning*."),
        "changed the subject": lambda s, i: editing.reword(i, subject="Low water"),
        "took up “one”": lambda s, i: editing.add(s, i, "one"),
    }
    with writing(store) as session:
        first = state_of(session, issue(session))
        states = [first]
        for act in acts.values():
            edit(session, issue(session), lambda act=act: act(session, issue(session)), "Anna", NOW)  # type: ignore[misc]
            states.append(state_of(session, issue(session)))
        assert told(session) == [("Anna", what) for what in acts]
        assert edit(session, issue(session), lambda: None, "Anna", NOW) is None
        # Step by step back to where it was, the last one first.
        for state in reversed(states[:-1]):
            step = last_edit(history(session, issue(session)))
            assert step is not None
            assert step.id is not None
            take_back(session, issue(session), step.id, "Ben", NOW)
            assert between(state, state_of(session, issue(session))) == {}
        assert last_edit(history(session, issue(session))) is None
        assert told(session)[-1] == ("Ben", "took back: moved “four” up")


def test_what_was_taken_back_can_be_done_again(store: Engine) -> None:
    with writing(store) as session:
        add_post(session, "august", SEPTEMBER.start - (day(2) - day(1)))
        late = edit(
            session,
            issue(session),
            lambda: (
                editing.add(session, issue(session), "august"),
                editing.retitle(session, issue(session), 5, "Late"),
            ),
            "Anna",
            NOW,
        )
        assert late is not None
        assert late.id is not None
        back = take_back(session, issue(session), late.id, "Anna", NOW)
        assert titles(session) == ["one", "two", "three", "four"]
        assert back.id is not None
        again = take_back(session, issue(session), back.id, "Anna", NOW)
        assert titles(session) == ["one", "two", "three", "four", "Late"]
        assert again.what.startswith("did again: took up “august”")


def test_an_earlier_change_is_taken_back_beside_later_ones_but_not_under_them(store: Engine) -> None:
    with writing(store) as session:
        one = issue(session)
        dropped = edit(session, one, lambda: editing.drop(session, one, 2), "Anna", NOW)
        edit(session, one, lambda: editing.reword(one, intro="Hello"), "Ben", NOW)
        titled = edit(session, one, lambda: editing.retitle(session, one, 1, "First"), "Anna", NOW)
        edit(session, one, lambda: editing.retitle(session, one, 1, "Second"), "Ben", NOW)
        assert dropped is not None
        assert titled is not None
        assert dropped.id is not None
        assert titled.id is not None
        take_back(session, one, dropped.id, "Anna", NOW)
        assert titles(session) == ["Second", "two", "three", "four"]
        with pytest.raises(DigestError, match="changed again since"):
            take_back(session, one, titled.id, "Anna", NOW)
        assert one.intro == "Hello"


def test_nobody_overwrites_what_they_have_not_seen(store: Engine) -> None:
    with writing(store) as session:
        one = issue(session)
        edit(session, one, lambda: editing.reword(one, intro="Of Anna"), "Anna", NOW)
        seen = version(session, one)
        edit(session, one, lambda: editing.reword(one, intro="Of Ben"), "Ben", NOW)

    def overwrite() -> None:
        with writing(store) as session:
            one = issue(session)
            edit(session, one, lambda: editing.reword(one, intro="Of Anna again"), "Anna", NOW, seen)

    with pytest.raises(Overtaken) as error:
        overwrite()
    assert error.value.touched == {"intro": ["Of Ben", "Of Anna again"]}
    assert "Ben" in str(error.value)
    with writing(store) as session:
        one = issue(session)
        assert one.intro == "Of Ben"
        # Something else, from the same page, is saved.
        edit(session, one, lambda: editing.drop(session, one, 1), "Anna", NOW, seen)
        later = changes_since(session, one, seen)
        assert [change.what for change in later] == ["changed the introduction", "dropped “one”"]
        assert value_at(one.intro, "intro", later) == "Of Anna"
        # Who has seen it, may.
        edit(session, one, lambda: editing.reword(one, intro="Ours"), "Anna", NOW, version(session, one))
    with reading(store) as session:
        assert issue(session).intro == "Ours"


def test_approving_rejecting_withdrawing_and_leaving_are_in_the_history(store: Engine) -> None:
    with writing(store) as session:
        one = issue(session)
        with pytest.raises(DigestError, match="say what"):
            reject(session, one, " ", "f" * 64, "Ben", NOW)
        reject(session, one, "The lead is too long", "f" * 64, "Ben", NOW)
        fingerprint = approve(session, one, rendered(), "Anna", NOW, send_at=day(30))
        assert one.send_at == day(30)
        leave(session, one, "e" * 64, "Ben", NOW)
        with pytest.raises(DigestError, match="withdraw"):
            edit(session, one, lambda: None, "Ben", NOW)
        withdraw(session, one, "Anna", NOW)
        assert one.send_at is None
        kinds = [(change.kind, change.who, change.fingerprint) for change in history(session, one)][::-1]
    assert kinds == [
        (Done.REJECTED, "Ben", "f" * 64),
        (Done.APPROVED, "Anna", fingerprint),
        (Done.LEFT, "Ben", "e" * 64),
        (Done.WITHDRAWN, "Anna", None),
    ]


def test_a_post_of_the_month_that_is_taken_up_by_hand_is_not_late(store: Engine) -> None:
    with writing(store) as session:
        add_post(session, "sep 29", day(29))
        editing.add(session, issue(session), "sep 29")
    with reading(store) as session:
        item = items_of(session, issue(session))[-1][0]
        assert session.exec(select(Post.title).where(col(Post.id) == item.post_id)).one() == "sep 29"
        assert not item.late

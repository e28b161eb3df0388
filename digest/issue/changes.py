"""What was done to an issue, by whom and when; and taking it back.

A change keeps, for each value it touched, what it found and what it left: so one is taken back while later
ones stay, and whoever saves over another's words is told. Values go by name::

    subject, preheader, intro, pinned (a post's id), order (posts' ids)
    in:ID (None: has no place in the issue, False: dropped), title:ID, excerpt:ID
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from digest.errors import DigestError
from digest.issue.edit import require_draft, require_free, take_up
from digest.issue.models import Change, Done
from digest.models import Issue, Item, Post

#: values by name; and by name the value found and the value left
State = Mapping[str, Any]
Touched = Mapping[str, Sequence[Any]]
WORDS = ("subject", "preheader", "intro")
#: changes that a page shows of an issue
SHOWN = 200


class Overtaken(DigestError):
    """Somebody else changed the same meanwhile."""

    def __init__(self, others: list[Change], touched: Touched) -> None:
        """*others* are their changes, *touched* is what was not saved."""
        super().__init__(f"{others[-1].who} changed the same meanwhile: {others[-1].what}")
        self.others, self.touched = others, touched


def state_of(session: Session, issue: Issue) -> dict[str, Any]:
    """All that an editor may change in *issue*, dropped items too."""
    items = _items(session, issue)
    state: dict[str, Any] = {name: getattr(issue, name) for name in WORDS}
    state["order"] = [item.post_id for item in items]
    state["pinned"] = next((item.post_id for item in items if item.pinned), None)
    for item in items:
        state[f"in:{item.post_id}"] = not item.dropped
        state[f"title:{item.post_id}"] = item.title
        state[f"excerpt:{item.post_id}"] = item.excerpt
    return state


def between(before: State, after: State) -> dict[str, list[Any]]:
    """What differs from *before* to *after*; a post that came in or went has no old or new place."""
    touched: dict[str, list[Any]] = {
        name: [before.get(name), after.get(name)]
        for name in (*before, *(name for name in after if name not in before))
        if before.get(name) != after.get(name)
    }
    if "order" in touched and not _moved(before["order"], after["order"]):
        del touched["order"]
    return touched


def _moved(before: Iterable[int], after: Iterable[int]) -> bool:
    """Whether what both have stands in another order."""
    left, right = list(before), list(after)
    return [one for one in left if one in right] != [one for one in right if one in left]


def version(session: Session, issue: Issue) -> int:
    """The id of the last change to *issue*; 0 where there was none."""
    last = session.exec(select(func.max(Change.id)).where(col(Change.issue_id) == issue.id)).one()
    return last or 0


def changes_since(session: Session, issue: Issue, seen: int) -> list[Change]:
    """What was done to *issue* after version *seen*, in that order."""
    later = select(Change).where(col(Change.issue_id) == issue.id, col(Change.id) > seen)
    return list(session.exec(later.order_by(col(Change.id))))


def history(session: Session, issue: Issue) -> list[Change]:
    """What was last done to *issue*, the latest first."""
    of = select(Change).where(col(Change.issue_id) == issue.id)
    return list(session.exec(of.order_by(col(Change.id).desc()).limit(SHOWN)))


def value_at(now: Any, name: str, later: Iterable[Change]) -> Any:
    """The value called *name* before the changes *later*, when it is *now* after them."""
    return next((change.touched[name][0] for change in later if name in change.touched), now)


def hold(session: Session, issue: Issue) -> None:
    """Nobody else changes *issue* until the transaction ends; it is as it is now."""
    session.refresh(issue, with_for_update=True)


def edit(
    session: Session,
    issue: Issue,
    act: Callable[[], object],
    who: str,
    now: datetime,
    seen: int | None = None,
) -> Change | None:
    """The draft *issue* is as *act* leaves it, and its history says so; None where nothing changed.

    Overtaken where one of the values was changed after version *seen*: then the transaction is to be undone.
    """
    hold(session, issue)
    require_draft(issue)
    before = state_of(session, issue)
    act()
    session.add(issue)
    session.flush()
    touched = between(before, state_of(session, issue))
    if not touched:
        return None
    others = [] if seen is None else changes_since(session, issue, seen)
    overtaken = [other for other in others if other.touched.keys() & touched.keys()]
    if overtaken:
        for other in overtaken:
            # What undoes the transaction would empty them, too.
            session.expunge(other)
        raise Overtaken(overtaken, touched)
    return note(session, issue, Done.EDITED, who, told(session, touched), now, touched=touched)


def note(
    session: Session,
    issue: Issue,
    kind: Done,
    who: str,
    what: str,
    now: datetime,
    *,
    touched: Touched | None = None,
    undoes: int | None = None,
    fingerprint: str | None = None,
) -> Change:
    """The history of *issue* says so."""
    assert issue.id is not None
    change = Change(
        issue_id=issue.id,
        at=now,
        who=who,
        kind=kind,
        what=what,
        touched={name: list(pair) for name, pair in (touched or {}).items()},
        undoes=undoes,
        fingerprint=fingerprint,
    )
    session.add(change)
    session.flush()
    return change


def take_back(session: Session, issue: Issue, change_id: int, who: str, now: datetime) -> Change:
    """What that change touched is as it was before it; what else was changed stays.

    DigestError where it cannot be: its values have been changed again since.
    """
    hold(session, issue)
    require_draft(issue)
    change = session.get(Change, change_id)
    if change is None or change.issue_id != issue.id or not change.touched:
        raise DigestError(f"{issue.month} has no such change to take back")
    before = state_of(session, issue)
    changed = [
        name for name, pair in change.touched.items() if not _is_still(name, before.get(name), pair[1])
    ]
    if changed:
        subjects = told(session, {name: change.touched[name] for name in changed})
        raise DigestError(f"that cannot be taken back: it was changed again since ({subjects})")
    _restore(session, issue, {name: pair[0] for name, pair in change.touched.items()})
    touched = between(before, state_of(session, issue))
    what = f"took back: {change.what}"
    if change.kind is Done.TAKEN_BACK:
        what = f"did again: {change.what.removeprefix('took back: ')}"
    return note(session, issue, Done.TAKEN_BACK, who, what, now, touched=touched, undoes=change.id)


def undone(changes: Iterable[Change]) -> set[int]:
    """The ids of those of *changes* that were taken back, and of those that took them back."""
    gone: set[int] = set()
    for change in changes:
        if change.id is not None and change.undoes is not None and change.id not in gone:
            gone |= {change.id, change.undoes}
    return gone


def rejection(changes: Iterable[Change]) -> Change | None:
    """Of *changes*, the latest first, the note that says why the draft was not approved; None: none does."""
    decided = (one for one in changes if one.kind in (Done.REJECTED, Done.APPROVED))
    last = next(decided, None)
    return last if last and last.kind is Done.REJECTED else None


def last_edit(changes: Iterable[Change]) -> Change | None:
    """Of *changes*, the latest first, the one that taking back a step takes back; None: there is none."""
    listed = list(changes)
    gone = undone(listed)
    return next((one for one in listed if one.kind is Done.EDITED and one.id not in gone), None)


def _is_still(name: str, value: Any, left: Any) -> bool:
    return not _moved(value, left) if name == "order" else bool(value == left)


def _restore(session: Session, issue: Issue, values: State) -> None:
    """*issue* has those values."""
    for name, value in values.items():
        kind, _, post_id = name.partition(":")
        if kind == "in":
            _place(session, issue, int(post_id), value)
        elif kind in WORDS:
            setattr(issue, kind, value)
    session.add(issue)
    session.flush()
    for item in _items(session, issue):
        if "pinned" in values:
            item.pinned = item.post_id == values["pinned"]
        item.title = values.get(f"title:{item.post_id}", item.title)
        item.excerpt = values.get(f"excerpt:{item.post_id}", item.excerpt)
        session.add(item)
    session.flush()
    if "order" in values:
        _arrange(session, issue, values["order"])


def _items(session: Session, issue: Issue) -> list[Item]:
    """Every item of *issue*, dropped ones too, by position."""
    of = select(Item).where(col(Item.issue_id) == issue.id)
    return list(session.exec(of.order_by(col(Item.position), col(Item.id))))


def _place(session: Session, issue: Issue, post_id: int, value: bool | None) -> None:
    """The post is in (True), dropped (False), or has no place in *issue* (None)."""
    item = next((one for one in _items(session, issue) if one.post_id == post_id), None)
    if value:
        post = session.get_one(Post, post_id)
        if item is None:
            take_up(session, issue, post)
        elif item.dropped:
            require_free(session, post)
            item.dropped = False
    elif item is not None and value is None:
        session.delete(item)
    elif item is not None:
        item.dropped, item.pinned = True, False


def _arrange(session: Session, issue: Issue, order: Sequence[int]) -> None:
    """The posts of *order* stand as they do there; who came since stays behind whom it was behind."""
    items = _items(session, issue)
    place = {post_id: spot for spot, post_id in enumerate(order)}
    known = iter(sorted((one for one in items if one.post_id in place), key=lambda one: place[one.post_id]))
    arranged = [next(known) if one.post_id in place else one for one in items]
    for position, item in enumerate(arranged):
        item.position = position
        session.add(item)
    session.flush()


def told(session: Session, touched: Touched) -> str:
    """What was done, in words: "dropped “The mill”; changed the subject"."""
    ids = {int(name.partition(":")[2]) for name in touched if ":" in name}
    ids |= {one for name in ("pinned", "order") for side in touched.get(name, ()) for one in _ids(side)}
    posts = session.exec(select(Post.id, Post.title).where(col(Post.id).in_(ids)))
    titles = {post_id: f"“{title}”" for post_id, title in posts if post_id is not None}
    # What follows from taking up and dropping by itself is not worth a word.
    gone = {"pinned"} if f"in:{touched.get('pinned', [None])[0]}" in touched else set()
    if any(name.startswith("in:") and pair[1] for name, pair in touched.items()):
        gone.add("order")
    return "; ".join(
        _told(name, pair[0], pair[1], titles) for name, pair in touched.items() if name not in gone
    )


def _ids(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value] if value is not None else []


def _told(name: str, before: Any, after: Any, titles: Mapping[int, str]) -> str:
    kind, _, post_id = name.partition(":")
    title = titles.get(int(post_id), "a post") if post_id else ""
    if kind == "in":
        return f"took up {title}" if after else f"dropped {title}"
    if kind == "excerpt" and after == "":
        return f"{title} is shown by its title only"
    if kind in ("title", "excerpt"):
        return f"changed the {kind} of {title}" if after else f"{title} has its own {kind} again"
    if kind == "pinned":
        return (
            f"pinned {titles.get(after, 'a post')}" if after else f"unpinned {titles.get(before, 'a post')}"
        )
    if kind == "order":
        return _order_told(before, after, titles)
    word = {"intro": "introduction"}.get(kind, kind)
    return f"changed the {word}" if after else f"took away the {word}"


def _order_told(before: list[int], after: list[int], titles: Mapping[int, str]) -> str:
    for one in before:
        if one in after and not _moved([x for x in before if x != one], [x for x in after if x != one]):
            way = "up" if after.index(one) < before.index(one) else "down"
            return f"moved {titles.get(one, 'a post')} {way}"
    return "changed the order"

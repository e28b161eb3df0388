"""The editors' accounts: made, listed, given another password or role, removed.

The editors are told of each by a notice: an account that nobody expected is how a desk is taken over.
"""

from datetime import datetime

from sqlmodel import Session, col, select

from digest.accounts.logins import revoke
from digest.accounts.models import Editor, Role
from digest.errors import DigestError
from digest.notices import tell
from subscribers.address import Address, parse


def editors(session: Session) -> list[Editor]:
    """Every account, by address."""
    return list(session.exec(select(Editor).order_by(col(Editor.address_key))))


def editor_of(session: Session, address_key: str) -> Editor | None:
    """The editor with this address key; None if there is none."""
    return session.exec(select(Editor).where(col(Editor.address_key) == address_key)).one_or_none()


def add_editor(
    session: Session, address: Address, name: str, role: Role, password_hash: str, now: datetime
) -> bool:
    """There is such an account, with that password and role; whether it is new.

    One that was there has its logins revoked.
    """
    found = editor_of(session, address.key)
    if found is None:
        session.add(
            Editor(
                address=address.address,
                address_key=address.key,
                name=name,
                role=role,
                password_hash=password_hash,
                created_at=now,
            )
        )
    else:
        found.name, found.role = name, role
        set_password(session, found, password_hash)
    what = "has an account at the desk now" if found is None else "has another password or role at the desk"
    _tell(session, address, f"{what}, as {role}.", now)
    return found is None


def set_password(session: Session, editor: Editor, password_hash: str) -> None:
    """*editor* has that password, and is logged in nowhere any more."""
    assert editor.id is not None
    editor.password_hash = password_hash
    session.add(editor)
    revoke(session, editor.id)


def change_password(
    session: Session, editor_id: int, checked: str, password_hash: str, now: datetime
) -> bool:
    """The editor has another password, and is logged in nowhere; False where *checked* is no more their hash.

    The editors are told: whoever sits down at somebody's open desk must not go unseen.
    """
    statement = select(Editor).where(col(Editor.id) == editor_id, col(Editor.password_hash) == checked)
    found = session.exec(statement.with_for_update()).one_or_none()
    if found is None:
        return False
    set_password(session, found, password_hash)
    session.flush()
    _tell(session, parse(found.address), "has given their account at the desk another password.", now)
    return True


def rehash(session: Session, editor_id: int, password_hash: str) -> None:
    """The same password is kept in today's way."""
    session.get_one(Editor, editor_id).password_hash = password_hash


def remove_editor(session: Session, address: Address, now: datetime) -> None:
    """Nobody of that address may log in, or is; DigestError where there is no such account."""
    found = editor_of(session, address.key)
    if found is None or found.id is None:
        raise DigestError(f"{address.address} has no account: `digest editors list` shows who has")
    revoke(session, found.id)
    session.flush()
    session.delete(found)
    _tell(session, address, "has no account at the desk any more.", now)


def _tell(session: Session, address: Address, what: str, now: datetime) -> None:
    body = f"{address.address} {what}\n\nIf nobody of you did that, look at `digest editors list`.\n"
    event = f"editor:{address.key}:{now.isoformat()}"
    tell(session, event, "The desk: an account has changed", body, now)

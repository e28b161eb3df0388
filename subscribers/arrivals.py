"""How people come onto the list: by an editor, an import, or their own wish that still wants a yes.

Who is known in any state, or suppressed, is left as they are by all but their own wish.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import insert
from sqlmodel import Session, SQLModel

from subscribers.address import Address, mixes_scripts
from subscribers.evidence import Evidence, Newcomer, NotAllowed, consent_line
from subscribers.models import Act, Consent, State
from subscribers.roll import find, states_of
from subscribers.suppression import in_parts, new_only, one_by_one, suppressed_among, suppression_key

# Core statements for what may be half a million rows: the ORM takes twice the time.
_subscriber = SQLModel.metadata.tables["subscriber"]
_consent = SQLModel.metadata.tables["consent"]


def add(session: Session, newcomer: Newcomer, evidence: Evidence, secret: bytes) -> bool:
    """The newcomer is active, on the ground *evidence* states; False if they were already.

    Raises NotAllowed for who is suppressed, on the list in any other state, or has an address that
    mixes alphabets: they may only come by their own act. ValueError where no ground is stated.
    """
    if mixes_scripts(newcomer.address):
        raise NotAllowed("The address mixes alphabets: only its owner can put it on the list.")
    if suppressed_among(session, [suppression_key(newcomer.address.key, secret)]):
        raise NotAllowed("The address is suppressed: only its owner, or nobody, can change that.")
    if add_all(session, [newcomer], evidence, secret):
        return True
    state = states_of(session, [newcomer.address.key])[newcomer.address.key]
    if state != State.ACTIVE:
        raise NotAllowed(f"The address is on the list as {state}: only its owner can change that.")
    return False


def add_all(session: Session, newcomers: Sequence[Newcomer], evidence: Evidence, secret: bytes) -> set[str]:
    """The address keys of those of *newcomers* whom nobody knew: they are active now.

    Who is known in any state, or suppressed, stays as they are. ValueError where no ground is stated.
    """
    return set(_enter(session, newcomers, evidence, secret, Act.CONFIRMED, State.ACTIVE))


def ask_all(
    session: Session, newcomers: Sequence[Newcomer], evidence: Evidence, secret: bytes
) -> dict[str, int]:
    """Those of *newcomers* whom nobody knew, key -> id: they are pending until they say yes themselves.

    Who is known in any state, or suppressed, stays as they are. ValueError where no ground is stated.
    """
    return _enter(session, newcomers, evidence, secret, Act.REQUESTED, State.PENDING)


def ask(session: Session, address: Address, evidence: Evidence, secret: bytes) -> int:
    """The id of whoever has *address*: pending where nobody had it, else as they were.

    That somebody asked is written down as *evidence* has it, but of who receives already.
    """
    one_by_one(session)
    known = find(session, address.key)
    if known is None:
        newcomer = {suppression_key(address.key, secret): Newcomer(address)}
        return _insert(session, newcomer, evidence, Act.REQUESTED, State.PENDING)[address.key]
    assert known.id is not None
    if known.state == State.PENDING:
        # The month in which to say yes begins anew.
        known.changed_at = evidence.at
        session.add(known)
    if known.state != State.ACTIVE:
        session.execute(insert(Consent), consent_line(known.id, Act.REQUESTED, evidence))
    return known.id


def _enter(
    session: Session,
    people: Sequence[Newcomer],
    evidence: Evidence,
    secret: bytes,
    act: Act,
    state: State,
) -> dict[str, int]:
    if not evidence.wording.strip():
        raise ValueError("nobody is put on the list without a stated ground")
    one_by_one(session)
    keys: dict[str, Newcomer] = {}
    for one in people:
        keys.setdefault(suppression_key(one.address.key, secret), one)
    barred = suppressed_among(session, keys)
    welcome = {key: one for key, one in keys.items() if key not in barred}
    return _insert(session, welcome, evidence, act, state)


def _insert(
    session: Session,
    people: Mapping[str, Newcomer],
    evidence: Evidence,
    act: Act,
    state: State,
) -> dict[str, int]:
    """Those of *people*, by their suppression keys, whom nobody knew: address key -> id."""
    proofs = {one.address.key: one.proof for one in people.values()}
    rows = [
        {
            "address": one.address.address,
            "address_key": one.address.key,
            "suppression_key": key,
            "name": one.name,
            "state": state,
            "created_at": evidence.at,
            "changed_at": evidence.at,
            "token_version": 0,
        }
        for key, one in people.items()
    ]
    connection = session.connection()
    entered: dict[str, int] = {}
    statement = new_only(session, _subscriber).returning(_subscriber.c.address_key, _subscriber.c.id)
    for some in in_parts(rows):
        entered.update((row[0], row[1]) for row in connection.execute(statement, some))
    for some in in_parts(consent_line(id, act, evidence, proofs[key]) for key, id in entered.items()):
        connection.execute(insert(_consent), some)
    return entered

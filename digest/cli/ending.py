"""How a command ends that cannot do what it was asked to."""

from typing import NamedTuple

from sqlalchemy.exc import DatabaseError, InternalError, OperationalError

from digest.errors import DigestError
from subscribers.address import BadAddress


class Ending(NamedTuple):
    """What is said on standard error, and the exit code."""

    line: str
    code: int


def ending(error: Exception) -> Ending | None:
    """How *error* is told to whoever can put it right; None: it is a mistake of ours."""
    if isinstance(error, DigestError):
        return Ending(str(error), error.exit_code)
    if isinstance(error, BadAddress):
        return Ending(f"not an address: {error}", DigestError.exit_code)
    # The others of this family (a constraint, a wrong statement) are mistakes of ours.
    if type(error) in (DatabaseError, OperationalError, InternalError):
        assert isinstance(error, DatabaseError)
        reason = str(error.orig).strip().splitlines()[0]
        told = f"the store cannot be read or written: {reason}; what was not done is done the next time"
        return Ending(told, DigestError.exit_code)
    return None

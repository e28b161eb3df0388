"""What can go wrong that a person can put right.

::

    DigestError                 one line on standard error, exit 1
    +-- Waiting                 letters wait for a person's decision, exit 1
    +-- UsageError              wrong usage or settings, exit 2
    +-- Stopped                 the run stopped itself and can be resumed, exit 3
    +-- FaultFound              check, audit or doctor found a fault, exit 4

A message is one line that says what is wrong and what to do. Mistakes of the program itself stay
`ValueError` and `AssertionError`, with their traceback.
"""


class DigestError(Exception):
    """Something a person can put right; the message is the line they read."""

    exit_code = 1


class Waiting(DigestError):
    """The issue is done but for letters about which a person has to decide."""


class UsageError(DigestError):
    """The command or the settings are wrong."""

    exit_code = 2


class Stopped(DigestError):
    """The run stopped itself, harmed nobody, and can be resumed."""

    exit_code = 3


class Complained(Stopped):
    """Readers complain of the issue: it is paused, and goes on when a person says so."""


class FaultFound(DigestError):
    """A check found a fault."""

    exit_code = 4

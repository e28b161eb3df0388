"""A claim, and what came of trying to prove it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """What came of trying to prove a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    #: the machine lacks something; the figures say what
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome, its figures in one line, and what the tests printed about it."""

    outcome: Outcome
    figures: str
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Claim:
    """One row of docs/proofs.md."""

    name: str
    #: one sentence that is true or not
    what: str
    count: str
    #: tries to prove it with a seed
    prove: Callable[[int], Result]

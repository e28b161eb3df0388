"""What is claimed of sending, each with the way it is proven at its full count."""

import subprocess
import tempfile
from pathlib import Path

from benchmarks import freezing, growing, sending, working
from benchmarks.outcomes import Outcome, Result
from benchmarks.postfix import discarding, lacks
from benchmarks.postfix import program as program_of
from benchmarks.sink import compiler
from benchmarks.stores import stores

POSTFIX_PEOPLE = 100_000
#: after the last letter was accepted, until the queue has to be empty
DRAINING = 600  # seconds


def sending_rate(_seed: int, share: float = 1, rounds: int = sending.ROUNDS) -> Result:
    """Letters leave at the bars' rates without a distance; *share* is of a full turn's letters."""
    if missing := _missing():
        return missing
    near = sending.measure(0, share, rounds)
    ours = (sending.DISPATCH, sending.ON_POSTGRESQL)
    rates = "; ".join(f"{name}: {near.per_second(name):,.0f} a second" for name in ours)
    return _judged(near, near.void, rates)


def distant_rate(_seed: int, share: float = 1, rounds: int = sending.ROUNDS) -> Result:
    """Letters leave at the bars' rates at a distance; the sink is told from Postfix's own in the same run."""
    if missing := _missing():
        return missing
    far = sending.measure(sending.DELAY, share, rounds)
    source = f"smtp-source: {far.per_second(sending.SOURCE):,.0f} a second"
    return _judged(far, sending.validity(share, rounds).void, source)


def _missing() -> Result | None:
    if compiler() is None:
        return Result(Outcome.NOT_RUN, "no C compiler")
    if program_of("smtp-source") is None or program_of("smtp-sink") is None:
        return Result(Outcome.NOT_RUN, "no Postfix (smtp-source, smtp-sink)")
    return None


def _judged(found: sending.Measured, void: str, more: str) -> Result:
    if void:
        return Result(Outcome.NOT_RUN, void)
    bars = sending.bars(found)
    figures = "; ".join([more, *map(str, bars), *(f"left out: {what}" for what in found.left_out)])
    return Result(Outcome.HOLDS if all(bar.is_met for bar in bars) else Outcome.FAILS, figures)


def sending_memory(_seed: int, people: tuple[int, ...] = (growing.PEOPLE[1], growing.PEOPLE[-1])) -> Result:
    """`digest dispatch` to ever more *people* stays within the bar's memory."""
    if compiler() is None:
        return Result(Outcome.NOT_RUN, "no C compiler")
    rows = growing.measure(people)
    each = "; ".join(
        f"{row.store}, {row.people:,}: {row.cost.peak / 1e6:.0f} MB, {row.cost.seconds:,.0f} s"
        for row in rows
    )
    return Result(Outcome.HOLDS if growing.holds(rows) else Outcome.FAILS, each)


def workers_rate(_seed: int) -> Result:
    """Many workers on this machine's cores are not much slower than one: they do not wait for each other."""
    one, many = working.measure()
    holds = many >= working.BAR * one
    figures = f"one: {one:,.0f} letters a second; {working.WORKERS}: {many:,.0f}"
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)


def freezing_time(_seed: int, people: int = freezing.BAR_PEOPLE) -> Result:
    """So many *people* are frozen in the bar's time on both stores."""
    seconds = freezing.whole(people)
    holds = max(seconds.values()) < freezing.BAR_SECONDS
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, freezing.told(seconds))


def postfix(_seed: int, people: int = POSTFIX_PEOPLE) -> Result:
    """A Postfix that discards takes an issue to so many *people*, every letter once."""
    if missing := lacks():
        return Result(Outcome.NOT_RUN, f"this machine lacks {missing}")
    with (
        tempfile.TemporaryDirectory(prefix="digest-postfix-") as queue,
        tempfile.TemporaryDirectory(prefix="digest-issue-") as folder,
        discarding(Path(queue)) as relay,
        stores() as engines,
    ):
        publication = growing.Publication(Path(folder), engines["SQLite"], people)
        try:
            cost = publication.dispatched(relay.port)
            tally = publication.audit()
        except subprocess.CalledProcessError as error:
            return Result(Outcome.FAILS, f"{error.cmd[-3]} ended with {error.returncode}")
        left = relay.delivered(people, DRAINING)
    holds = growing.is_whole(tally, people) and left == people
    figures = (
        f"{tally['accepted']:,} of {tally['frozen']:,} accepted,"
        f" {'balanced' if tally['balanced'] else 'not balanced'}; {left:,} left Postfix's queue;"
        f" {cost.per_second:,.0f} a second, {cost.peak / 1e6:.0f} MB"
    )
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)

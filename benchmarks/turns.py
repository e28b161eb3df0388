"""Contenders take turns, so that whatever else the machine does hits all of them alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work."""

    #: does some of it and returns how much
    work: Callable[[], float]
    #: runs before each turn and is not timed
    prepare: Callable[[], object] = lambda: None


def rates(
    contenders: Mapping[str, Contender], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """The median of each contender's work per second of *clock*, over *rounds* rounds in turn."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            contender.prepare()
            started = clock()
            done = contender.work()
            taken[name].append(done / (clock() - started))
    return {name: median(found) for name, found in taken.items()}


def milliseconds(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median of each action's processor time, in milliseconds, over *rounds* rounds in turn.

    Of the processor, not of the clock: what only computes is then hardly changed by a busy machine.
    """
    once = {name: Contender(_once(action)) for name, action in actions.items()}
    return {name: 1000 / rate for name, rate in rates(once, rounds, time.process_time).items()}


def _once(action: Callable[[], object]) -> Callable[[], float]:
    def work() -> float:
        action()
        return 1

    return work

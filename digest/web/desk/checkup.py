"""Doctor, asked from the desk: one examination at a time, beside the pages, and what the last one found."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from digest.doctor.line import GROUP, Level, Line
from digest.doctor.patience import in_time

#: seconds; each question has its own time, so that far less is the rule
LONGEST = 600.0
#: how they are told: what is wrong first
ORDER = (Level.FAIL, Level.WARN, Level.PASS, Level.NONE)


@dataclass(frozen=True, slots=True)
class Examined:
    """An examination."""

    started_at: datetime
    #: None: it is not over
    ended_at: datetime | None = None
    lines: Sequence[Line] = ()
    #: why there are no lines; "" where there are
    problem: str = ""

    def by_level(self) -> list[tuple[Level, list[tuple[str, Line]]]]:
        """The lines with the part of the installation each is about, what is wrong first."""
        told = [(GROUP[one.name], one) for one in self.lines]
        ranked = [(level, [pair for pair in told if pair[1].level is level]) for level in ORDER]
        return [(level, lines) for level, lines in ranked if lines]


@dataclass(slots=True)
class Checkup:
    """Asks doctor, and remembers the answer for as long as the process lives."""

    examine: Callable[[], Sequence[Line]]
    now: Callable[[], datetime]
    last: Examined | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> bool:
        """An examination is under way; False where one was already."""
        with self._lock:
            if self.last and self.last.ended_at is None:
                return False
            self.last = Examined(self.now())
        threading.Thread(target=self._run, args=(self.last.started_at,), daemon=True, name="checkup").start()
        return True

    def _run(self, started_at: datetime) -> None:
        lines: Sequence[Line] = ()
        problem = ""
        try:
            lines = in_time(self.examine, LONGEST)
        except Exception as error:  # noqa: BLE001  (whoever asked is told, and may ask again)
            problem = f"it did not get through: {error}"
        self.last = Examined(started_at, self.now(), lines, problem)

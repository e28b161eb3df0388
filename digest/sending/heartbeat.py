"""A run's heartbeat: while it beats, nobody takes the run over; when it cannot, the run ends by itself.

Two threads: one writes, in transactions of its own, for the committer may be waiting for the disk; one
watches it, for a store that is cut off may keep a write waiting for longer than the lease lasts.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.database import writing
from digest.errors import Stopped
from digest.sending.commits import StoreFailed, TakenOver
from digest.sending.runs import beat


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """How a run shows that it lives (R-7); all in seconds."""

    #: between two heartbeats
    every: float = 15
    #: after so long without one the run stops by itself …
    limit: float = 45
    #: … and after so long others take it over
    lease: float = 60


class Heartbeat:
    """Beats for one run until it is stopped; *lost* is called once, where the run must end."""

    def __init__(self, engine: Engine, run_id: int, pulse: Pulse, lost: Callable[[Stopped], None]) -> None:
        """The run's row is there; *lost* is called from a thread of this heartbeat."""
        self._engine = engine
        self._run_id = run_id
        self._pulse = pulse
        self._lost = lost
        self._over = threading.Event()
        #: set with each heartbeat that was written
        self._beaten = threading.Event()
        # Daemons: one that hangs in a dead connection must not keep the process.
        for what in (self._beat, self._watch):
            threading.Thread(target=what, name=f"heartbeat of run {run_id}", daemon=True).start()

    def stop(self) -> None:
        """It is over; *lost* is not called any more."""
        self._over.set()
        self._beaten.set()

    def _beat(self) -> None:
        while not self._over.wait(self._pulse.every):
            try:
                with writing(self._engine) as session:
                    lives = beat(session, self._run_id)
            except SQLAlchemyError:
                continue  # the store is away: the other thread counts for how long
            if not lives:
                self._end(TakenOver(f"another run has taken over what run {self._run_id} was sending"))
                return
            self._beaten.set()

    def _watch(self) -> None:
        while self._beaten.wait(self._pulse.limit):
            self._beaten.clear()
            if self._over.is_set():
                return
        self._end(StoreFailed(f"no heartbeat could be written for {self._pulse.limit:g} seconds"))

    def _end(self, why: Stopped) -> None:
        if not self._over.is_set():
            self.stop()
            self._lost(why)

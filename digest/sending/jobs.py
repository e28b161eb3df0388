"""Procrastinate, the queue in the store's own PostgreSQL: what it is given, and what its workers do with it.

It hands ranges to workers, wakes them, finds the dead ones, and starts what is periodic once for all hosts.
It holds no truth about letters: its jobs may be lost, doubled or done by two at once. Its tables come with
the first worker.
"""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from procrastinate import App, BaseRetryStrategy, PsycopgConnector, RetryDecision, SyncPsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job
from procrastinate.schema import SchemaManager
from procrastinate.worker import Worker
from sqlalchemy import Engine, text

from digest.database import CUT_OFF
from digest.sending.exclusive import ADVISORY_LOCK, require_room
from digest.sending.handing import HandedBack
from digest.sending.ranges import Range

#: two queues, each with its own worker in every process: a tick does not wait for a range to be sent
RANGES, TICKS = "digest ranges", "digest ticks"
#: long ago by any host's clock: at once
AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)

log = logging.getLogger(__name__)


class _AtOnce(BaseRetryStrategy):
    """What was handed back is tried again, at once or when it says; anything else at the next tick."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """See Procrastinate."""
        if not isinstance(exception, HandedBack):
            return None
        later = datetime.now(UTC) + timedelta(seconds=exception.after)
        return RetryDecision(retry_at=later if exception.after else AT_ONCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """How often what happens; times in seconds, the others as cron has them."""

    tick: str = "*/5 * * * *"
    look: str = "* * * * *"
    #: between two heartbeats of a worker
    beat: float = 10
    #: a worker that was not seen for so long is dead: not before the lease of its runs is over
    dead: float = 75
    #: how long a worker waits for a connection before it gives the queue up
    reach: float = 10


def conninfo(engine: Engine) -> str:
    """The store's address as libpq has it."""
    return engine.url.set(drivername="postgresql").render_as_string(hide_password=False)


def install(engine: Engine) -> bool:
    """Procrastinate's tables are in the store, as its version here has them; whether anything was to be done.

    `Cramped` on SQLite.
    """
    require_room(engine)
    with engine.begin() as connection:
        # Two workers may be the first ones.
        number = {"space": ADVISORY_LOCK & 0x7FFFFFFF}
        connection.execute(text("SELECT pg_advisory_xact_lock(:space, 2)"), number)
        found = connection.execute(text(_VERSION)).scalar()
        steps = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
        missing = [step for step in steps if step.name > (found or "")]
        if not missing:
            return False
        todo = [(step.name, step.read_text(encoding="utf-8")) for step in missing]
        if found is None:
            todo = [(steps[-1].name, SchemaManager.get_schema())]
        connector = SyncPsycopgConnector(conninfo=conninfo(engine), min_size=1, max_size=1)
        with App(connector=connector).open():
            for name, step in todo:
                # With its comment in one transaction: whatever ends this, the next start knows where it was.
                comment = f"\nCOMMENT ON TABLE procrastinate_jobs IS '{name}';"
                connector.execute_query(step.replace("%", "%%") + comment)
    return True


#: the last step that was taken; Procrastinate itself does not write it down
_VERSION = "SELECT obj_description(to_regclass('procrastinate_jobs'), 'pg_class')"


def _is_installed(engine: Engine) -> bool:
    with engine.connect() as connection:
        return connection.execute(text("SELECT to_regclass('procrastinate_jobs')")).scalar() is not None


class Queue:
    """The workers of a store, as `handing.Crew` has them."""

    def __init__(self, engine: Engine, rhythm: Rhythm | None = None) -> None:
        """The store is on PostgreSQL; there may never have been a worker."""
        self._engine = engine
        self._dead = (rhythm or Rhythm()).dead

    def is_there(self) -> bool:
        """Whether a worker is alive."""
        if not _is_installed(self._engine):
            return False
        statement = text(
            "SELECT count(*) FROM procrastinate_workers"
            " WHERE last_heartbeat > now() - :dead * interval '1 second'"
        )
        with self._engine.connect() as connection:
            return bool(connection.execute(statement, {"dead": self._dead}).scalar())

    def open_ranges(self, issue_id: int) -> int:
        """How many ranges of the issue are in the queue or being sent."""
        return len(self._open(issue_id))

    def hand(self, issue_id: int, ranges: Sequence[Range]) -> int:
        """Each of the ranges is in the queue once; how many were not before."""
        known = self._open(issue_id)
        new = [one for one in ranges if _name(issue_id, one) not in known]
        if not new:
            return 0
        connector = SyncPsycopgConnector(conninfo=conninfo(self._engine), min_size=1, max_size=1)
        with App(connector=connector).open() as app:
            return sum(_defer(app, issue_id, one) for one in new)

    def _open(self, issue_id: int) -> set[str]:
        statement = text(
            "SELECT queueing_lock FROM procrastinate_jobs"
            " WHERE queue_name = :queue AND status IN ('todo', 'doing') AND (args->>'issue_id')::int = :issue"
        )
        with self._engine.connect() as connection:
            return set(connection.execute(statement, {"queue": RANGES, "issue": issue_id}).scalars())


def _name(issue_id: int, within: Range) -> str:
    return f"issue {issue_id}, letters {within}"


def _defer(app: App, issue_id: int, within: Range) -> bool:
    """Whether the range is new in the queue."""
    job = app.configure_task("send", queue=RANGES, queueing_lock=_name(issue_id, within))
    try:
        job.defer(issue_id=issue_id, first=within.first, last=within.last)
    except AlreadyEnqueued:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Duties:
    """What a worker does; each is called in a thread of its own."""

    #: sends the letters of a range of an issue; `HandedBack` where it did not come to its end
    send: Callable[[int, Range], None]
    #: `digest run`
    tick: Callable[[], None]


def _app(engine: Engine, duties: Duties, rhythm: Rhythm) -> App:
    # One connection each for the two workers' listeners, and some for their looks.
    connector = PsycopgConnector(
        conninfo=conninfo(engine), min_size=2, max_size=6, timeout=rhythm.reach, kwargs=CUT_OFF
    )
    app = App(connector=connector)

    @app.task(name="send", queue=RANGES, retry=_AtOnce())
    def send(issue_id: int, first: int, last: int) -> None:
        duties.send(issue_id, Range(first, last))

    @app.periodic(cron=rhythm.tick)
    @app.task(name="tick", queue=TICKS, queueing_lock="tick")
    def tick(timestamp: int) -> None:
        duties.tick()

    @app.periodic(cron=rhythm.look)
    @app.task(name="look for dead workers", queue=TICKS, queueing_lock="look for dead workers")
    async def look(timestamp: int) -> None:
        await _take_over(app, rhythm.dead)

    return app


async def _take_over(app: App, dead: float) -> None:
    """The jobs of workers that were not seen for *dead* seconds are free again."""
    for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=dead):
        assert job.id is not None
        # Refused where it ended just now, or the same range is in the queue again: then all is well.
        with suppress(ConnectorException):
            await app.job_manager.retry_job_by_id_async(job.id, retry_at=AT_ONCE)
            log.warning("job %s of a worker that is gone is free again", job.id)


def work(
    engine: Engine,
    duties: Duties,
    *,
    name: str,
    concurrency: int,
    stop: threading.Event,
    rhythm: Rhythm | None = None,
) -> bool:
    """Works until SIGTERM or Ctrl-C, which set *stop*; False: until the queue could not be reached any more.

    When it returns, what was being done has come to its end.
    """
    return asyncio.run(_work(engine, duties, name, concurrency, stop, rhythm or Rhythm()))


async def _work(
    engine: Engine, duties: Duties, name: str, concurrency: int, stop: threading.Event, rhythm: Rhythm
) -> bool:
    app = _app(engine, duties, rhythm)
    async with app.open_async():
        make = partial(
            Worker,
            app,
            install_signal_handlers=False,
            delete_jobs="always",
            update_heartbeat_interval=rhythm.beat,
            stalled_worker_timeout=rhythm.dead,
        )
        workers = [
            make(name=name, queues=[RANGES], concurrency=concurrency),
            make(name=f"{name} ticks", queues=[TICKS], concurrency=1),
        ]
        running = [asyncio.create_task(worker.run()) for worker in workers]  # type: ignore[no-untyped-call]
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        telling = asyncio.create_task(told.wait())
        await asyncio.wait([*running, telling], return_when=asyncio.FIRST_COMPLETED)
        # Whichever it was: the letters on the wire are finished, and the rest is handed back.
        stop.set()
        telling.cancel()
        # Not cancelled: one that was just about to begin would go on counting as alive.
        for worker in workers:
            worker.stop()  # type: ignore[no-untyped-call]
        ended = await asyncio.gather(*running, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            log.error("the worker ended: %s", error)
    return told.is_set()

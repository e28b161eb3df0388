"""The store and the cycle: its version, whether letters may go out from it, and whether the tick goes on."""

import shlex
import sys
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from digest.database import reading
from digest.doctor.line import Line, failed, passed, warned
from digest.errors import DigestError
from digest.health import GRACE, Health, health
from digest.issue.due import Schedule
from digest.month import Month
from digest.sending.lineage import require_own
from digest.vintage import newest, require_current

CRON = "*/5 * * * *  {program} --env {env} run"


def store_judged(engine: Engine) -> Line:
    """The line of the store's version."""
    try:
        require_current(engine)
    except DigestError as error:
        told = str(error)
        mend = "see DIGEST_DATABASE_URL, and whether its server runs"
        if "digest init" in told:
            mend = "digest init"
        elif "newer" in told:
            mend = "install the newer version of the program"
        return failed("store", told, mend)
    return passed("store", f"{engine.dialect.name}, version {newest()}")


def lineage_judged(engine: Engine, now: datetime) -> Line:
    """The line on whether this is the store that letters last went out from."""
    try:
        require_own(engine, now)
    except DigestError as error:
        return failed("lineage", str(error), "docs/operating.md, After a restore, a move or a clone")
    return passed("lineage", "letters may go out from here")


def ticked(engine: Engine, schedule: Schedule, month: Month, now: datetime) -> Health:
    """How the cycle stands; *month* is last month."""
    with reading(engine) as session:
        return health(session, schedule, month, now)


def tick_judged(found: Health, env: str, now: datetime) -> list[Line]:
    """The lines of `digest run` and of last month's issue."""
    return [_tick(found, env, now), _issue(found)]


def _tick(found: Health, env: str, now: datetime) -> Line:
    # By its whole path: cron looks for programs in hardly any folder.
    program = str(Path(sys.executable).with_name("digest"))
    line = CRON.format(program=shlex.quote(program), env=shlex.quote(env))
    if found.ticked_at is None:
        return warned(
            "tick",
            "`digest run` never ran: nothing is fetched, built or sent by itself",
            f"crontab -e: {line}",
        )
    ago = now - found.ticked_at
    if ago > GRACE:
        return failed(
            "tick", f"`digest run` last ran {_shown(ago)} ago", f"see the timer, or crontab -l: {line}"
        )
    if found.good_at is None or now - found.good_at > 2 * GRACE:
        since = f"for {_shown(now - found.good_at)}" if found.good_at else "since the beginning"
        return warned(
            "tick",
            f"`digest run` runs, and something has been wrong {since}",
            "the mails to DIGEST_EDITORS say what, and so does /healthz",
        )
    return passed("tick", f"`digest run` last ran {_shown(ago)} ago, all well")


def _issue(found: Health) -> Line:
    if found.missing:
        what, _, mend = found.missing.partition(": `")
        return failed("issue", what, mend.partition("`")[0])
    return passed("issue", f"{found.month} is not missing")


def _shown(span: timedelta) -> str:
    minutes = max(int(span.total_seconds()) // 60, 0)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // (24 * 60)} days"

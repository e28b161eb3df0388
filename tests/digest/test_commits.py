"""Group commit: what waits together is written together, and is durable before anybody goes on."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from digest.database import reading, writing
from digest.errors import DigestError, Stopped
from digest.models import Delivered, Delivery, Status
from digest.sending import ledger
from digest.sending.commits import GATHER, Committer, NotSending, TakenOver, Welcome
from digest.sending.lanes import Lane, result
from digest.sending.ledger import Leased, Settlement
from tests.conftest import lacking
from tests.digest.sending import NOW, Clock, count_of, frozen, leased, mark, new_run, set_status


@contextmanager
def committing(engine: Engine, issue_id: int) -> Iterator[tuple[Committer, list[Leased]]]:
    run_id = new_run(engine, issue_id)
    letters = leased(engine, issue_id, run_id, limit=1000)
    committer = Committer(engine, issue_id, run_id, Clock(), patience=5)
    try:
        yield committer, letters
    finally:
        committer.close()


def claimed(committer: Committer, letter: Leased) -> Welcome:
    """What the letter's claim comes to, where nobody else can go on."""
    claim = committer.claim({letter: NOW})
    committer.at_rest()
    return claim.result(0)


def test_marks_that_wait_together_are_committed_together(engine: Engine) -> None:
    """Far fewer transactions than letters, and every mark durable when its claim is answered."""
    issue_id = frozen(engine, 200)
    commits: list[int] = []
    event.listen(engine, "commit", lambda _connection: commits.append(1))
    states: list[Delivered] = []
    with committing(engine, issue_id) as (committer, letters):
        commits.clear()

        def go(mine: list[Leased]) -> None:
            for one in mine:
                result(committer.claim({one: NOW}))
                with reading(engine) as session:
                    states.append(session.get_one(Delivery, one.id).state)
                committer.settle(Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=NOW))

        lane = Lane("test", [partial(go, letters[n::20]) for n in range(20)], committer.at_rest)
        lane.start()
        lane.join()
        assert lane.error is None
    assert states == [Delivered.SENDING] * 200
    assert count_of(engine, issue_id) == {"frozen": 200, "accepted": 200}
    assert len(commits) <= 11


def test_what_is_settled_is_written_though_nobody_claims(engine: Engine) -> None:
    """In a moment: an answer must not wait for the next letter, which may be long in coming."""
    issue_id = frozen(engine, 1)
    with committing(engine, issue_id) as (committer, letters):
        claimed(committer, letters[0])
        committer.settle(Settlement(delivery_id=letters[0].id, state=Delivered.ACCEPTED, at=NOW))
        assert committer.at_rest() <= GATHER
        time.sleep(GATHER)
        committer.at_rest()
        assert count_of(engine, issue_id) == {"frozen": 1, "accepted": 1}


def test_a_settlement_is_durable_before_the_next_mark_of_its_connection(engine: Engine) -> None:
    issue_id = frozen(engine, 30)
    with committing(engine, issue_id) as (committer, letters):
        for one, following in zip(letters[::2], letters[1::2], strict=True):
            claimed(committer, one)
            committer.settle(Settlement(delivery_id=one.id, state=Delivered.ACCEPTED, at=NOW))
            claimed(committer, following)
            with reading(engine) as session:
                assert session.get_one(Delivery, one.id).state is Delivered.ACCEPTED
            committer.settle(Settlement(delivery_id=following.id, state=Delivered.ACCEPTED, at=NOW))


def test_a_run_that_was_taken_over_marks_nothing_more(engine: Engine) -> None:
    """R-7."""
    issue_id = frozen(engine, 3)
    with committing(engine, issue_id) as (committer, letters):
        claimed(committer, letters[0])
        with writing(engine) as session:
            ledger.take_over(session, [], NOW)
        with pytest.raises(TakenOver):
            claimed(committer, letters[1])
        committer.settle(Settlement(delivery_id=letters[0].id, state=Delivered.ACCEPTED, at=NOW))
    assert isinstance(committer.failure, TakenOver)
    assert count_of(engine, issue_id) == {"frozen": 3, "queued": 2, "in_doubt": 1}


def test_a_paused_issue_marks_nothing_more(engine: Engine) -> None:
    issue_id = frozen(engine, 1)
    with committing(engine, issue_id) as (committer, letters):
        set_status(engine, issue_id, Status.PAUSED)
        with pytest.raises(NotSending):
            claimed(committer, letters[0])


def test_where_the_store_is_not_up_to_date_answers_are_kept_and_nothing_is_marked(engine: Engine) -> None:
    """A store that was put back while the run was at work, say; whatever it is, it is told as a stop."""
    issue_id = frozen(engine, 2)
    run_id = new_run(engine, issue_id)
    first, second = leased(engine, issue_id, run_id)
    mark(engine, run_id, first.id)

    def refresh() -> None:
        raise DigestError("the store was put back")

    committer = Committer(engine, issue_id, run_id, lambda: NOW, 1, refresh=refresh)
    committer.settle(Settlement(delivery_id=first.id, state=Delivered.ACCEPTED, at=NOW, reply_code=250))
    claim = committer.claim({second: NOW})
    committer.close()
    with pytest.raises(Stopped, match="the store was put back"):
        claim.result(5)
    assert count_of(engine, issue_id) == {"frozen": 2, "accepted": 1, "queued": 1}
    assert committer.failure is None


def test_after_its_end_a_committer_takes_nothing(sqlite_engine: Engine) -> None:
    issue_id = frozen(sqlite_engine, 1)
    with committing(sqlite_engine, issue_id) as (committer, letters):
        pass
    with pytest.raises(TakenOver):
        claimed(committer, letters[0])
    with pytest.raises(TakenOver):
        committer.settle(Settlement(delivery_id=letters[0].id, state=Delivered.SKIPPED, at=NOW, reason="x"))


def test_every_commit_of_a_mark_reaches_the_disk(sqlite_engine: Engine, tmp_path: Path) -> None:
    """R-5, F-7: WAL, and at least one fsync of the log for each commit; counted from outside."""
    strace = "/usr/bin/strace"
    if not Path(strace).exists():
        lacking("strace")
    issue_id = frozen(sqlite_engine, 20)
    script = tmp_path / "marking.py"
    script.write_text(
        "import sys\n"
        "from tests.digest.test_commits import claimed, committing\n"
        "from tests.digest.sending import NOW\n"
        "from digest.database import open_engine\n"
        "with committing(open_engine(sys.argv[1]), int(sys.argv[2])) as (committer, letters):\n"
        "    for one in letters:\n"
        "        claimed(committer, one)\n"
    )
    log = tmp_path / "strace.log"
    url = sqlite_engine.url.render_as_string(hide_password=False)
    command = [strace, "-f", "-y", "-e", "trace=fsync,fdatasync", "-o", str(log), sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [*command, str(script), url, str(issue_id)], env=environment, capture_output=True, text=True
    )
    if "ptrace" in done.stderr:
        pytest.skip("strace is not allowed here")
    assert done.returncode == 0, done.stderr
    synced = [line for line in log.read_text().splitlines() if "digest.db-wal" in line]
    assert len(synced) >= 20

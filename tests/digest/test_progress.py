"""What is said of a run while it works."""

from collections import Counter
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from digest.cli import progress
from digest.cli.progress import Pace, line_of, refusal_of, shown
from digest.models import Delivered
from digest.sending.audit import Tally
from digest.sending.dispatch import Progress
from tests.digest.evil_server import DROP, GOOD, EvilServer, Script
from tests.digest.sending import frozen, relay_at, run

BEFORE = Tally(
    frozen=100,
    queued=60,
    sending=0,
    accepted=38,
    rejected=2,
    deferred=0,
    in_doubt=0,
    held=0,
    skipped={},
    balanced=True,
)


def sent(refusal: str = "", **counts: int) -> Progress:
    found = Counter({Delivered(state): number for state, number in counts.items()})
    return Progress(before=BEFORE, counts=found, refusal=refusal)


def test_the_line_counts_the_whole_issue_and_the_time_that_is_left() -> None:
    assert line_of(sent(accepted=20), 20.0) == (
        "58 of 100 accepted, 20 letters/s, 0:00:02 left, 0 deferred, 0 in doubt"
    )
    assert line_of(sent(accepted=5, deferred=3, rejected=1, held=1), 0.5) == (
        "43 of 100 accepted, 0.5 letters/s, 0:01:40 left, 1 rejected, 3 deferred, 0 in doubt, 1 held"
    )


def test_what_waited_before_is_not_said_to_be_none() -> None:
    before = replace(BEFORE, deferred=3, in_doubt=4, queued=53)
    assert line_of(replace(sent(), before=before), 0.0).endswith(
        "0 deferred, 0 in doubt (3 deferred, 4 in doubt before)"
    )


def test_a_relay_that_says_nothing_is_seen_to_say_nothing() -> None:
    pace = Pace(0.0)
    assert [pace.still(*seen) for seen in ((0, 10.0), (1, 12.0), (1, 40.0), (2, 41.0))] == [10, 0, 28, 0]
    assert line_of(sent(accepted=1), 0.0, 14.0).endswith("0 deferred, 0 in doubt")
    assert line_of(sent(accepted=1), 0.0, 75.4).endswith("0 in doubt, nothing for 0:01:15")


def test_what_is_free_again_was_not_tried() -> None:
    assert line_of(sent(queued=10), 0.0).startswith("38 of 100 accepted, 0.0 letters/s, 60 left")


def test_the_pace_is_that_of_the_last_ten_seconds() -> None:
    pace = Pace(0.0)
    assert pace.rate(0, 0.0) == 0
    assert pace.rate(50, 5.0) == 10
    assert pace.rate(60, 15.0) == 1
    assert pace.rate(60, 26.0) == 0


def test_a_refusal_is_one_harmless_line_without_an_address() -> None:
    told = refusal_of(sent("550 <anna.b+x@example.org>: \x1b[31mno\u202e"))
    assert told == "the relay last said: 550 <…@example.org>: �[31mno�"
    assert refusal_of(sent()) == ""


def test_without_a_terminal_there_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter([0.0, 0.0, 1.0, 10.0, 12.0])
    monkeypatch.setattr(progress, "monotonic", lambda: next(moments))
    with shown(quiet=False) as report:
        report(sent(accepted=1))
        report(replace(sent(accepted=20), refusal="450 later"))
        report(sent(accepted=24))
    assert capsys.readouterr().err == (
        "58 of 100 accepted, 2.0 letters/s, 0:00:20 left, 0 deferred, 0 in doubt;"
        " the relay last said: 450 later\n"
    )


def test_nothing_is_shown_beside_json(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(quiet=True) as report:
        report(sent(accepted=20))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"RCPT": b"550 5.1.1 no such user\r\n"}, "550 5.1.1 no such user"),
        ({"RCPT": [b"452 4.2.2 full\r\n", GOOD["RCPT"]]}, "452 4.2.2 full"),
        ({"dot": [DROP, GOOD["dot"]]}, "no answer to the final dot: the server closed it"),
        ({"greeting": [b"421 4.3.2 busy\r\n", GOOD["greeting"]]}, "421 4.3.2 busy"),
        ({}, ""),
    ],
)
def test_the_last_refusal_is_remembered(sqlite_engine: Engine, script: Script, said: str) -> None:
    told: list[Progress] = []
    with EvilServer(script) as server:
        run(sqlite_engine, frozen(sqlite_engine, 4), relay_at(server.port), report=told.append)
    assert said in told[-1].refusal
    assert bool(said) is bool(told[-1].refusal)
    assert told[-1].counts.total() == 4

"""Doctor, asked from the desk: nobody waits, one at a time, and what it found stays to be read."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from digest.doctor.line import Line, failed, idle, passed, warned
from digest.web.desk.checkup import Checkup
from tests.digest.desk import Visitor, editor, open_desk
from tests.digest.website import NOW

LINES = [
    passed("python", "Python 3.11"),
    failed("spf", "<b>v=spf1</b> -all", "add the relay to the record"),
    warned("dmarc", "p=none", "ask for p=quarantine"),
    idle("mailbox", "DIGEST_IMAP_HOST is not set"),
]


def until(done: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(200):
        if done():
            return
        waiting.wait(0.02)
    raise AssertionError("not done in four seconds")


def test_doctor_is_asked_by_a_button_and_told_with_its_time(tmp_path: Path) -> None:
    """A page never waits for it, and a second click starts no second round."""
    go, asked = threading.Event(), []

    def examine() -> list[Line]:
        asked.append(1)
        assert go.wait(10)
        return LINES

    with open_desk(tmp_path / "digest.db", examine=examine) as site:
        ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
        assert "Nobody has asked since the pages were started" in ben.get("/desk/settings").text
        assert asked == []
        for _ in range(2):
            answer = ben.post("/desk/settings", {})
            assert (answer.status, answer.seconds < 2) == (303, True)
        shown = ben.get("/desk/settings").text
        assert "It has been looking since 1 October 2015, 09:00" in shown
        assert "Ask doctor" not in shown
        site.clock[0] = NOW + timedelta(minutes=1)
        go.set()
        until(lambda: "As of" in ben.get("/desk/settings").text)
        shown = ben.get("/desk/settings").text
        assert "As of 1 October 2015, 09:01: 1 fault, 1 warning, 1 as it should be, 1 not looked at." in shown
        assert "&lt;b&gt;v=spf1&lt;/b&gt; -all" in shown
        assert "To mend it: <bdi>add the relay to the record</bdi>" in shown
        assert shown.index("spf") < shown.index("dmarc") < shown.index("Python 3.11")
        assert asked == [1]
        ben.post("/desk/settings", {})
        until(lambda: len(asked) == 2)


def test_an_examination_that_fails_says_so_and_can_be_asked_again() -> None:
    def broken() -> list[Line]:
        raise RuntimeError("no such thing")

    checkup = Checkup(broken, lambda: NOW)
    assert checkup.start()
    until(lambda: checkup.last is not None and checkup.last.ended_at is not None)
    assert checkup.last is not None
    assert checkup.last.problem == "it did not get through: no such thing"
    assert checkup.start()

"""Watching `digest dispatch` work, and stopping it: a real process on a real (pseudo-)terminal."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.digest.evil_server import GOOD, EvilServer, Script, Slow

from .conftest import Publication

ROOT = Path(__file__).parent.parent.parent
READERS = 40
CTRL_C = b"\x03"

pytestmark = pytest.mark.slow


class Terminal:
    """A process on a terminal of 200 columns: what it showed, keys typed at it, how it ended."""

    def __init__(self, *words: str) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.journeys.on_terminal", *words]
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, close_fds=True
        )
        os.close(theirs)
        self.raw = b""

    def until(self, text: str, seconds: float = 30) -> None:
        """It has shown what matches *text*."""
        end = time.monotonic() + seconds
        while not re.search(text, self.shown):
            assert time.monotonic() < end, (text, self.shown)
            if not self._read():
                break
        assert re.search(text, self.shown), (text, self.shown)

    def type(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def ended(self, seconds: float = 30) -> int:
        """Its exit code, all it showed read."""
        end = time.monotonic() + seconds
        while self._read() and time.monotonic() < end:
            pass
        return self.process.wait(max(0.1, end - time.monotonic()))

    @property
    def shown(self) -> str:
        """What it showed, without what moves the cursor or colours."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.raw.decode(errors="replace"))

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], 0.2)
        if not ready:
            return True
        try:
            octets = os.read(self._ours, 65536)
        except OSError:  # Linux says EIO where the other end is closed
            return False
        self.raw += octets
        return bool(octets)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        os.close(self._ours)


@pytest.fixture
def many(approved: Publication) -> Publication:
    """The publication with September approved, and forty readers more."""
    listed = approved.folder / "readers.csv"
    listed.write_text("email\n" + "".join(f"reader{n}@example.org\n" for n in range(READERS)))
    report = approved("subscribers", "import", str(listed), "--vouch")
    token = re.search(r"--apply ([0-9a-f]+)", report.out)
    assert token, report.out
    approved("subscribers", "import", str(listed), "--vouch", "--apply", token[1])
    approved.set(SMTP_CONNECTIONS=2)
    return approved


@contextmanager
def dispatching(digest: Publication, script: Script) -> Iterator[tuple[Terminal, EvilServer]]:
    """`digest dispatch` on a terminal, to a relay that does as *script* says."""
    with EvilServer(script) as server:
        digest.set(SMTP_PORT=server.port)
        terminal = Terminal("--env", str(digest.folder / ".env"), "dispatch", "2015-09")
        try:
            yield terminal, server
        finally:
            terminal.close()


def test_the_bar_says_how_far_it_is_and_what_the_relay_refused(many: Publication) -> None:
    """Foreign words cannot move the cursor, nor be read as markup, and name nobody."""
    evil = b"450 4.2.1 \x1b[2J\x07[red]busy[/nothing] <reader7@example.org>\r\n"

    def at_rcpt(line: str) -> bytes:
        return evil if "reader7@" in line else GOOD["RCPT"]

    with dispatching(many, {"RCPT": at_rcpt, "dot": Slow(0.1, GOOD["dot"])}) as (terminal, _server):
        terminal.until(r"\d+ of 42 accepted, \d+(\.\d)? letters/s, \d:\d\d:\d\d left, 1 deferred, 0 in doubt")
        assert terminal.ended() == 0
        assert "the relay last said: 450 4.2.1 [2J [red]busy[/nothing] <…@example.org>" in terminal.shown
        assert b"\x1b[2J" not in terminal.raw
        assert b"\x07" not in terminal.raw
        assert "reader7@" not in terminal.shown
        assert "2015-09: 41 accepted, 1 deferred of 42" in terminal.shown


def test_ctrl_c_finishes_what_is_on_the_wire_and_says_how_to_go_on(many: Publication) -> None:
    with dispatching(many, {"dot": Slow(0.3, GOOD["dot"])}) as (terminal, server):
        terminal.until(r"[1-9]\d? of 42 accepted")
        terminal.type(CTRL_C)
        terminal.until(
            "finishing the letters on the wire, the rest stays queued; once more Ctrl-C ends at once"
        )
        assert terminal.ended() == 0
        assert "`digest dispatch 2015-09` goes on" in terminal.shown
        taken = len(server.letters)
    assert 0 < taken < READERS
    told = many("audit", "2015-09", "--json").json
    assert (told["accepted"], told["queued"], told["in_doubt"]) == (taken, 42 - taken, 0)
    with EvilServer() as server:
        many.set(SMTP_PORT=server.port)
        many("dispatch", "2015-09")
        assert len(server.letters) == 42 - taken


def test_a_second_ctrl_c_ends_at_once_and_loses_nothing(many: Publication) -> None:
    """R-2: what was between the dot and its answer is in doubt, all else as it was."""
    with dispatching(many, {"dot": [GOOD["dot"]] * 6 + [Slow(6, GOOD["dot"])]}) as (terminal, server):
        terminal.until(r"6 of 42 accepted")
        until = time.monotonic() + 20
        while server.asked("dot") < 8:
            assert time.monotonic() < until
            time.sleep(0.01)
        terminal.type(CTRL_C)
        terminal.until("finishing the letters")
        started = time.monotonic()
        terminal.type(CTRL_C)
        assert terminal.ended() == -signal.SIGINT
        assert time.monotonic() - started < 4
        assert "ended at once: what was on the wire is in doubt, nothing is lost" in terminal.shown
        assert terminal.raw.rstrip().endswith(b"\x1b[?25h"), "the cursor stays hidden"
    told = many("audit", "2015-09", "--json").json
    assert told["balanced"]
    assert (told["accepted"], told["in_doubt"], told["queued"]) == (6, 2, 34)
    with EvilServer() as server:
        many.set(SMTP_PORT=server.port)
        many("dispatch", "2015-09")
        assert len(server.letters) == 34


TWICE = """
import io, os, signal, sys
from digest.cli.sending import interruptible

class Raw(io.RawIOBase):
    pressed = False
    def writable(self):
        return True
    def write(self, said):
        if not Raw.pressed:
            Raw.pressed = True
            os.kill(os.getpid(), signal.SIGINT)
        return os.write(2, said)

sys.stderr = io.TextIOWrapper(io.BufferedWriter(Raw()), line_buffering=True)
with interruptible("`digest dispatch 2015-09` goes on"):
    os.kill(os.getpid(), signal.SIGINT)
"""


def test_a_second_ctrl_c_may_come_while_the_first_one_is_being_answered() -> None:
    ended = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGINT, ended.stderr
    assert "ended at once: what was on the wire is in doubt, nothing is lost; `digest disp" in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_who_ends_a_run_ends_all_its_months(many: Publication, number: signal.Signals) -> None:
    """F-6: the next month is not begun."""
    many("issue", "build", "2015-08")
    many("issue", "approve", "2015-08")
    many.set(MAX_LATENESS_HOURS=10**6, SMTP_CONNECTIONS=1)
    with EvilServer({"dot": Slow(0.2, GOOD["dot"])}) as server:
        many.set(SMTP_PORT=server.port)
        command = [sys.executable, "-c", "from digest.cli.app import main; main()"]
        process = subprocess.Popen(
            [*command, "--env", str(many.folder / ".env"), "run"], stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 30
        while not server.letters and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert "finishing the letters on the wire" in said
        assert 1 <= len(server.letters) <= 6
    # The second month is as it was: not even its audience is frozen.
    assert [many("audit", month, "--json").json["frozen"] for month in ("2015-08", "2015-09")] == [42, 0]


@pytest.mark.parametrize("how", ["pause", "cancel"])
def test_calling_an_issue_off_is_no_failure_of_the_tick(many: Publication, how: str) -> None:
    """Whoever did it knows; and nobody is told that it goes on."""
    many.set(MAX_LATENESS_HOURS=10**6, EDITORS="editor@example.org", SMTP_CONNECTIONS=1)
    digest = [sys.executable, "-c", "from digest.cli.app import main; main()"]
    command = [*digest, "--env", str(many.folder / ".env"), "issue", how, "2015-09", "--reason", "wrong"]

    def dot(_line: str) -> bytes:
        if server.asked("dot") == 5:
            subprocess.run([*command, *(["--yes"] if how == "cancel" else [])], check=True, timeout=60)
        return GOOD["dot"]

    with EvilServer({"dot": dot}) as server:
        many.set(SMTP_PORT=server.port)
        answer = many("run", expect=None)
    assert "2015-09" not in answer.err
    assert many("audit", "2015-09", "--json").json["queued"] > 30
    assert b"stopped while sending" not in b"".join(caught.content for caught in server.letters)

"""What measures sending: the sink, which must be right before any figure counts, the bars and the pages."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import growing, postfix, sending, sending_claims, sizing
from benchmarks.costs import Cost, middle, spent
from benchmarks.outcomes import Outcome
from benchmarks.sending import DISPATCH, DJANGO, NODE, ON_POSTGRESQL, SOURCE, Measured, Row
from benchmarks.sink import CHUNKING, HOST, PIPELINING, PLAIN, compiled, compiler, doubles, running
from tests.conftest import lacking

ENVELOPE = b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\n"


@pytest.fixture(scope="module")
def program() -> Iterator[Path]:
    """The sink's program."""
    if compiler() is None:
        lacking("a C compiler")
    with compiled() as found:
        yield found


class Client:
    """Writes what it is told, and reads replies."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._lines = connection.makefile("rb")

    def say(self, octets: bytes) -> None:
        self._connection.sendall(octets)

    def codes(self, count: int) -> list[int]:
        """The codes of the next *count* replies."""
        found: list[int] = []
        while len(found) < count:
            line = self._lines.readline()
            assert line, f"closed after {found}"
            if line[3:4] == b" ":
                found.append(int(line[:3]))
        return found


@contextmanager
def client(port: int) -> Iterator[Client]:
    """One that was greeted and has said EHLO."""
    with socket.create_connection((HOST, port), timeout=10) as connection:
        one = Client(connection)
        one.say(b"EHLO x\r\n")
        assert one.codes(2) == [220, 250]
        yield one


# --- the sink ---------------------------------------------------------------------------------------


def test_the_sink_finds_the_end_of_a_letter_however_it_is_cut(program: Path) -> None:
    with running(program) as sink:
        with client(sink.port) as one:
            one.say(ENVELOPE + b"DATA\r\n")
            assert one.codes(3) == [250, 250, 354]
            one.say(b"a\r\n..\r\n.\n.\r.\r\n")
            for octets in (b"\r", b"\n.", b"\r", b"\nQUIT\r\n"):
                one.say(octets)
                time.sleep(0.05)  # so that each is read by itself
            assert one.codes(2) == [250, 221]
        assert sink.taken.letters == 1


def test_the_sink_finds_the_end_wherever_it_stands_in_what_is_looked_through_at_once(program: Path) -> None:
    lengths = [block * 1024 + more for block in (1, 2, 3) for more in range(-8, 8)]
    with running(program) as sink:
        with client(sink.port) as one:
            for length in lengths:
                one.say(ENVELOPE + b"DATA\r\n")
                assert one.codes(3) == [250, 250, 354]
                # Dull octets behind the end, too: only then is so much looked through at once.
                one.say(b"x" * length + b"\r\n.\r\n" + b"NOOP " + b"x" * 1500 + b"\r\n")
                assert one.codes(2) == [250, 250], length
        assert sink.taken.octets == sum(lengths) + 5 * len(lengths)


@settings(max_examples=60)
@given(
    letters=st.lists(
        st.lists(
            st.sampled_from(
                [b"x" * 1019, b"x" * 1024, b"y", b".", b"\r", b"\n", b"\r\n", b"\r\n..", b"\n.\n"]
            ),
            max_size=12,
        ),
        min_size=1,
        max_size=4,
    ),
    cuts=st.lists(st.integers(min_value=1, max_value=3000), min_size=1, max_size=5),
)
def test_the_sink_counts_letters_as_the_rfc_has_them(
    program: Path, letters: list[list[bytes]], cuts: list[int]
) -> None:
    """Against the plain search for CRLF.CRLF, with dots about the edges of what is looked through at once."""
    contents = [b"".join(parts) for parts in letters]
    # What would end early is not one letter: the oracle is where the bytes are first found.
    contents = [content for content in contents if b"\r\n.\r\n" not in b"\r\n" + content + b"\r\n.\r"]
    said = b"".join(ENVELOPE + b"DATA\r\n" + content + b"\r\n.\r\n" for content in contents) + b"QUIT\r\n"
    with running(program, PIPELINING) as sink:
        with client(sink.port) as one:
            place = 0
            for number in range(len(said)):
                if place >= len(said):
                    break
                step = cuts[number % len(cuts)]
                one.say(said[place : place + step])
                place += step
            expected = [250, 250, 354, 250] * len(contents) + [221]
            assert one.codes(len(expected)) == expected
        assert sink.taken.letters == len(contents)
        assert sink.taken.octets == sum(len(content) + 5 for content in contents)


def test_the_sink_takes_chunks_only_where_it_offers_them(program: Path) -> None:
    chunks = b"BDAT 5\r\nabc\r\nBDAT 8 LAST\r\n.\r\n\r\n.\r\n"
    with running(program, CHUNKING) as sink:
        with client(sink.port) as one:
            one.say(ENVELOPE + chunks + ENVELOPE + b"BDAT 0 LAST\r\n")
            assert one.codes(7) == [250] * 7
            # Without a recipient the octets are still no commands.
            one.say(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n")
            assert one.codes(2) == [503, 250]
        assert (sink.taken.letters, sink.taken.octets) == (2, 13)
    with running(program, PIPELINING) as sink, client(sink.port) as one:
        one.say(ENVELOPE + b"BDAT 0 LAST\r\nDATA\r\n.\r\n")
        assert one.codes(5) == [250, 250, 502, 354, 250]


def test_the_sink_says_what_it_offers_and_refuses_what_is_out_of_order(program: Path) -> None:
    with running(program, CHUNKING) as sink:
        with socket.create_connection((HOST, sink.port), timeout=10) as connection:
            lines = connection.makefile("rb")
            connection.sendall(b"ehlo x\r\n")
            told = [lines.readline().strip() for _ in range(len(CHUNKING) + 3)]
        assert told[2:-1] == [f"250-{name}".encode() for name in CHUNKING]
        with client(sink.port) as one:
            one.say(b"RCPT TO:<a@b.example>\r\nDATA\r\nVRFY x\r\n" + ENVELOPE + b"RSET\r\nDATA\r\n")
            assert one.codes(7) == [503, 503, 500, 250, 250, 250, 503]
            one.say(b"x" * 5000 + b"\r\n")
            assert one.codes(1) == [500]
        assert sink.taken.letters == 0


def test_at_a_distance_a_group_costs_one_round_trip(program: Path) -> None:
    """It must not be answered sooner; how much later is the machine's affair."""
    delay = 0.1
    with running(program, PIPELINING, delay=round(delay * 1000)) as sink:
        started = time.monotonic()
        with client(sink.port) as one:
            # Handshake, greeting and EHLO.
            assert time.monotonic() - started >= 3 * delay
            started = time.monotonic()
            one.say(ENVELOPE + b"DATA\r\n")
            one.codes(3)
            together = time.monotonic() - started
            assert delay <= together
            started = time.monotonic()
            one.say(b".\r\n")
            one.codes(1)
            for command in ENVELOPE.splitlines(keepends=True):
                one.say(command)
                one.codes(1)
            apart = time.monotonic() - started
            assert apart >= 3 * delay
            assert together < apart


def test_the_sink_writes_down_whose_letters_it_took(program: Path, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with running(program, CHUNKING, journal=journal, does_sync=True) as sink, client(sink.port) as one:
        for name in (b"<1@x>", b"<2@x>", b"<1@x>"):
            one.say(ENVELOPE + b"DATA\r\nSubject: x\r\nMessage-Id:\r\n " + name + b"\r\n\r\nb\r\n.\r\n")
            assert one.codes(4) == [250, 250, 354, 250]
        # Answered, and so written down.
        assert journal.read_text().splitlines() == ["<1@x>", "<2@x>", "<1@x>"]
        letter = b"From: x\r\nMessage-ID: <3@x>\r\n\r\n"
        one.say(
            ENVELOPE + b"BDAT 12\r\n" + letter[:12] + b"BDAT %d LAST\r\n" % (len(letter) - 12) + letter[12:]
        )
        assert one.codes(4) == [250] * 4
    assert journal.read_text().splitlines()[3:] == ["<3@x>"]
    assert doubles(journal) == 1


def test_the_sink_ends_with_whoever_started_it(program: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from benchmarks.sink import running\n"
        "with running(Path(sys.argv[1])) as sink: print(sink.port, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(program)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline())
        with socket.create_connection((HOST, port), timeout=10):
            os.kill(parent.pid, signal.SIGKILL)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex((HOST, port)) != 0:
                    return
            time.sleep(0.05)
    pytest.fail("the sink still listens")


# --- what a process costs ---------------------------------------------------------------------------

BUSY = """
import time
block = bytearray(50_000_000)
until = time.process_time() + 0.2
while time.process_time() < until: pass
"""


def test_a_process_is_measured_from_outside_or_by_its_own_account() -> None:
    cost = spent([sys.executable, "-c", BUSY], 10)
    assert cost.letters == 10
    assert cost.cpu >= 0.2
    assert cost.seconds >= 0.2
    assert 50_000_000 < cost.peak < 150_000_000
    own = spent([sys.executable, "-c", 'print(\'{"seconds": 2.5, "cpu": 0.5}\')'], 10)
    assert (own.seconds, own.cpu, own.per_second) == (2.5, 0.5, 4)
    with pytest.raises(subprocess.CalledProcessError):
        spent([sys.executable, "-c", "raise SystemExit(3)"], 1)


def test_the_middle_of_several_turns_is_taken_for_each_figure() -> None:
    assert middle([Cost(5, 1, 30, 200), Cost(5, 2, 10, 100), Cost(5, 9, 20, 300)]) == Cost(5, 2, 20, 200)


# --- tables and bars --------------------------------------------------------------------------------


def found(
    delay: int,
    rates: Sequence[tuple[str, Sequence[str], float]],
    own: float = 0,
    left_out: Sequence[str] = (),
) -> Measured:
    """Figures as if so many letters a second had been measured."""
    rows = [Row(name, offers, Cost(1000, 1000 / rate, 0.5, 50_000_000)) for name, offers, rate in rates]
    return Measured(delay, rows, own, list(left_out))


def near(ours: float = 4000, source: float = 10_000, own: float = 2000) -> Measured:
    others = ((DJANGO, CHUNKING, 200.0), (NODE, CHUNKING, 100.0))
    both = ((DISPATCH, CHUNKING, ours), (ON_POSTGRESQL, CHUNKING, ours / 2))
    return found(0, ((SOURCE, CHUNKING, source), *both, *others), own)


FAR = (
    (SOURCE, CHUNKING, 100.0),
    (DISPATCH, PLAIN, 90.0),
    (DISPATCH, PIPELINING, 350.0),
    (DISPATCH, CHUNKING, 999.0),
)


def test_the_bars_are_of_the_same_run() -> None:
    """Bars 3 and 4."""
    beside, away = sending.bars(near()), sending.bars(found(20, FAR))
    assert [bar.reached for bar in (*beside, *away)] == pytest.approx([0.4, 20, 40, 3.5, 9.99])
    assert [bar.is_met for bar in (*beside, *away)] == [True, True, True, True, False]
    assert [bar.is_met for bar in sending.bars(near(2990))] == [False, False, True]


def test_a_run_is_void_unless_the_sink_takes_three_times_what_postfix_takes() -> None:
    assert near(own=3333).void == ""
    assert near(own=3334).void.startswith("void: smtp-source reaches 10,000")
    assert near(own=0).void.startswith("void: without Postfix's")


def test_the_tables_say_who_was_measured_what_follows_and_who_was_not() -> None:
    beside = near(own=5000)
    away = found(20, FAR, left_out=["nodemailer: npm is not here"])
    first, second = sending.near_table(beside), sending.far_table(away, beside.void)
    assert "| dispatch, ledger on SQLite | both | 1,000 | 4,000 | 500 | 50 | 0.40 |" in str(first)
    assert first.remark.startswith(
        "Void: smtp-source reaches 10,000 letters a second here and 5,000 on smtp-sink"
    )
    assert second.remark.startswith("Void")
    assert "with CHUNKING: 9.99, at least 10 is wanted, missed" in second.remark
    assert second.remark.endswith("Left out: nodemailer: npm is not here.")
    assert "5.0 times as many" in sending.near_table(near()).remark


def test_memory_may_grow_by_a_fifth_and_no_further() -> None:
    """Bar 5."""

    def rows(*peaks: tuple[int, int]) -> list[growing.Row]:
        return [growing.Row("SQLite", Cost(people, 10, 5, peak * 1_000_000), 0) for people, peak in peaks]

    assert growing.holds(rows((1_000, 10), (10_000, 80), (1_000_000, 96)))
    assert not growing.holds(rows((10_000, 80), (1_000_000, 97)))
    assert not growing.holds(rows((10_000, 110), (1_000_000, 120)))


def test_the_sizing_page_is_worked_out_from_what_was_measured() -> None:
    grown = [growing.Row("SQLite", Cost(100_000, 25, 50, 90_000_000), 20_000_000)]
    page = "\n\n".join(map(str, sizing.parts(near(), found(20, FAR), grown)))
    assert "| SQLite | 20 ms away, PIPELINING | 350 | 1,260,000 |" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| 1,000,000 |")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "1,000,000", "4.2 min", "3.1 h", "48 min", "17 min", "28 h", "2.8 h", "60.0", "8.3 min", "90", "200",
    ]  # fmt: skip


# --- measurements, small ----------------------------------------------------------------------------


@pytest.mark.slow
def test_all_clients_send_their_letters(program: Path) -> None:
    """A turn fails unless the sink took every letter; dispatch also unless its ledger says so."""
    left_out: list[str] = []
    with sending.ways(0.001, left_out) as ways:
        # One of each: what the sink offers makes no other client.
        costs = [sending.turn(way, program, 1, 0.001) for way in {way.name: way for way in ways}.values()]
    names = {way.name for way in ways}
    assert {DISPATCH, ON_POSTGRESQL, sending.SMTPLIB, sending.AIOSMTPLIB, DJANGO} <= names
    assert {way.offers for way in ways if way.name == DISPATCH} == {PLAIN, PIPELINING, CHUNKING}
    assert (SOURCE in names) is (postfix.program("smtp-source") is not None)
    assert (NODE in names) is not any(reason.startswith("nodemailer") for reason in left_out)
    assert all(cost.cpu > 0 and cost.seconds > 0 for cost in costs)
    # smtp-source has sent so few before anybody could look at it.
    assert sorted(cost.peak for cost in costs)[1] > 1_000_000


def test_a_turn_in_which_a_letter_is_missing_does_not_count(program: Path) -> None:
    def lazy(port: int, letters: int) -> Cost:
        with client(port) as one:
            one.say(ENVELOPE + b"DATA\r\n.\r\n")
            one.codes(4)
        return Cost(letters, 1, 1, 1)

    with pytest.raises(AssertionError, match="lazy sent"):
        sending.turn(sending.Way("lazy", lazy, near=10, far=10), program, 0, 1)


@pytest.mark.slow
def test_the_sink_is_told_from_postfix_own(program: Path) -> None:
    """Not whether it is fast enough, only that both were asked."""
    if postfix.program("smtp-sink") is None:
        lacking("Postfix (smtp-sink)")
    told = sending.validity(0.002, 1)
    assert told.own_sink > 0
    assert told.per_second(SOURCE) > 0


@pytest.mark.slow
def test_the_command_is_measured_on_both_stores(program: Path) -> None:
    rows = growing.measure((20,))
    (table,) = growing.tables(rows)
    assert [(row.people, row.store) for row in rows] == [(20, "SQLite"), (20, "PostgreSQL")]
    assert all(row.cost.peak > 20_000_000 for row in rows)
    assert len(table.rows) == 2


@pytest.mark.slow
def test_a_postfix_takes_every_letter_of_an_issue() -> None:
    """Bar 7, with 30 for the 100,000."""
    if missing := postfix.lacks():
        lacking(missing)
    closed = os.umask(0o077)
    try:
        proof = sending_claims.postfix(0, 30)
    finally:
        os.umask(closed)
    assert proof.outcome is Outcome.HOLDS
    assert proof.figures.startswith("30 of 30 accepted, balanced; 30 left Postfix's queue;")


def test_an_issue_is_whole_when_all_were_accepted_and_the_audit_adds_up() -> None:
    tally = {"balanced": True, "frozen": 5, "accepted": 5}
    assert growing.is_whole(tally, 5)
    for wrong in ({"balanced": False}, {"accepted": 4}, {"frozen": 6}):
        assert not growing.is_whole({**tally, **wrong}, 5)

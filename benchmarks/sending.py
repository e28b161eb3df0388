"""Letters of 60 KB per second beside the clients everybody knows, to one sink, near and far."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

from sqlalchemy import Engine

from benchmarks import peers
from benchmarks.costs import Cost, middle, spent
from benchmarks.personalising import LATIN, LETTER, of_60_kb, own_values, reader, rendered
from benchmarks.postfix import program, smtp_sink
from benchmarks.sink import CHUNKING, HOST, PIPELINING, PLAIN, compiled, running
from benchmarks.stores import AT, add_issue, add_people, clear, stores
from benchmarks.tables import Table
from digest.database import writing
from digest.letter.rendered import Hole
from digest.sending.ledger import freeze
from subscribers.audience import audience

ROUNDS = 3
CONNECTIONS = 10
DELAY = 20  # milliseconds
#: letters of a full turn without a distance: some seconds' worth, and more where a letter takes less; of
#: 10,000 in chunks the start (statements read for the first time, connections opened) would be a twentieth
NEAR = {PLAIN: 10_000, PIPELINING: 10_000, CHUNKING: 50_000}
#: the sink's share: it must take so many times what Postfix's own sink takes from the same client
FASTER = 3
#: at a distance some five seconds' worth, as of smtp-source: opening a connection takes four round trips
FAR_AWAY = {PLAIN: 500, PIPELINING: 2_000, CHUNKING: 5_000}
NODEMAILER = "nodemailer@10.6.1"
INSTALLING = 120  # seconds

SOURCE = "smtp-source, one made-up letter"
DISPATCH, ON_POSTGRESQL = "dispatch, ledger on SQLite", "dispatch, ledger on PostgreSQL"
SMTPLIB, AIOSMTPLIB = "smtplib in threads, finished bytes", "aiosmtplib, finished bytes"
DJANGO, NODE = "Django's send_messages in threads, building", "nodemailer with a pool, building"
#: of letters per second. Bar 3, without a distance; bar 4, 20 ms away, by what the relay offers
OF_SOURCE, OF_BUILDERS = 0.4, 15
AT_A_DISTANCE = {PIPELINING: 3.5, CHUNKING: 10}

_OFFERED = {PLAIN: "neither", PIPELINING: "PIPELINING", CHUNKING: "both"}


@dataclass(frozen=True, slots=True)
class Way:
    """One client."""

    name: str
    #: sends so many letters to the sink at a port
    send: Callable[[int, int], Cost]
    #: letters a turn without a distance, and with one: some seconds' worth
    near: int
    far: int
    offers: Sequence[str] = CHUNKING
    #: makes ready for so many letters, and is not timed
    prepare: Callable[[int], object] = lambda _letters: None


class Row(NamedTuple):
    """One client's medians."""

    name: str
    offers: Sequence[str]
    cost: Cost


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of all clients came to."""

    #: milliseconds
    delay: int
    rows: list[Row]
    #: letters per second of smtp-source to Postfix's own sink; 0 where that is not there
    own_sink: float
    #: what is not here, and why
    left_out: list[str] = field(default_factory=list)

    def per_second(self, name: str, offers: Sequence[str] = CHUNKING) -> float:
        """Letters per second of one client; 0 where it was left out."""
        return next((row.cost.per_second for row in self.rows if (row.name, row.offers) == (name, offers)), 0)

    def cpu(self, name: str, offers: Sequence[str] = CHUNKING) -> float:
        """Seconds of the processor that one letter of a client takes; 0 where it was left out."""
        found = (row.cost for row in self.rows if (row.name, row.offers) == (name, offers))
        return next((cost.cpu / cost.letters for cost in found), 0)

    @property
    def void(self) -> str:
        """Why the figures count for nothing; "" where they do."""
        ours = self.per_second(SOURCE)
        if not ours or not self.own_sink:
            return "void: without Postfix's smtp-source and smtp-sink nobody knows what the sink's part is"
        if ours < FASTER * self.own_sink:
            return (
                f"void: smtp-source reaches {ours:,.0f} letters a second here and {self.own_sink:,.0f} on"
                f" smtp-sink; below {FASTER} times, the sink itself may be what was measured"
            )
        return ""


def measure(delay: int = 0, share: float = 1, rounds: int = ROUNDS) -> Measured:
    """Every client's medians to a sink *delay* milliseconds away; *share* is of a full turn's letters."""
    left_out: list[str] = []
    own: list[float] = []
    with compiled() as sink, ways(share, left_out) as clients:
        costs: dict[Way, list[Cost]] = {way: [] for way in clients}
        for _ in range(rounds):
            for way, taken in costs.items():
                taken.append(turn(way, sink, delay, share))
            if not delay:
                own += to_own_sink(share)
    rows = [Row(way.name, way.offers, middle(taken)) for way, taken in costs.items()]
    return Measured(delay, rows, median(own) if own else 0, left_out)


def validity(share: float = 1, rounds: int = ROUNDS) -> Measured:
    """smtp-source alone, to the sink and to Postfix's own: whether what else is measured now counts."""
    way = Way(SOURCE, from_source, near=NEAR[CHUNKING], far=0)
    costs, own = [], []
    with compiled() as sink:
        for _ in range(rounds):
            costs.append(turn(way, sink, 0, share))
            own += to_own_sink(share)
    return Measured(0, [Row(way.name, way.offers, middle(costs))], median(own))


def to_own_sink(share: float) -> list[float]:
    """Letters per second of smtp-source to Postfix's own sink; [] where these are not here."""
    if not (program("smtp-sink") and program("smtp-source")):
        return []
    with smtp_sink() as port:
        return [from_source(port, counted(NEAR[CHUNKING] // 10, share)).per_second]


def turn(way: Way, sink: Path, delay: int, share: float) -> Cost:
    """What one turn cost; AssertionError where the sink did not take every letter."""
    letters = counted(way.far if delay else way.near, share)
    way.prepare(letters)
    with running(sink, way.offers, delay) as at:
        cost = way.send(at.port, letters)
        taken = at.taken
    if taken.letters != letters or taken.octets < letters * LETTER * 0.9:
        raise AssertionError(f"{way.name} sent {taken} instead of {letters} letters")
    return cost


def counted(letters: int, share: float) -> int:
    """That *share* of the *letters*, and one for each connection at least."""
    return max(CONNECTIONS, round(letters * share))


@contextmanager
def ways(share: float, left_out: list[str]) -> Iterator[list[Way]]:
    """All clients that can be had here; why others cannot is in *left_out*."""
    with tempfile.TemporaryDirectory(prefix="digest-sending-") as name, stores() as engines:
        folder = Path(name)
        prepare(folder)
        found = list(dispatches(folder, engines, share))
        found += [
            Way(title, partial(by_peer, folder, peer), near=near, far=300)
            for title, peer, near in (
                (SMTPLIB, "smtplib", 2_000),
                (AIOSMTPLIB, "aiosmtplib", 1_000),
                (DJANGO, "django", 500),
            )
        ]
        if program("smtp-source"):
            found.insert(0, Way(SOURCE, from_source, near=NEAR[CHUNKING], far=500))
        else:
            left_out.append("smtp-source: Postfix is not here")
        try:
            found.append(Way(NODE, partial(by_node, installed(folder)), near=500, far=300))
        except FileNotFoundError as error:
            left_out.append(f"nodemailer: {error}")
        yield found


def prepare(folder: Path) -> None:
    """*folder* holds the issue, as ours and as the peers take it."""
    made, ready = of_60_kb(LATIN)
    page = rendered(made)
    (folder / "rendered.json").write_text(page.to_json(), encoding="utf-8")
    letters = [ready.letter(reader(number), AT) for number in range(1, peers.READY + 1)]
    issue = {
        "subject": page.subject,
        "sender": peers.SENDER,
        "text": page.text,
        "html": page.html,
        "holes": {hole.value: page.sentinel(hole) for hole in Hole},
        "readers": [own_values(reader(number)) for number in range(1, peers.READY + 1)],
    }
    peers.written(folder, [(letter.rcpt_to, letter.content) for letter in letters], issue)


def dispatches(folder: Path, engines: Mapping[str, Engine], share: float) -> Iterator[Way]:
    """Ours, on each store and for each kind of relay."""
    for name, engine in engines.items():
        add_people(engine, counted(max(NEAR.values()), share))
        ours = Dispatching(engine, folder / "rendered.json")
        for offers in (PLAIN, PIPELINING, CHUNKING):
            title = f"dispatch, ledger on {name}"
            yield Way(title, ours.send, NEAR[offers], FAR_AWAY[offers], offers, ours.prepare)


class Dispatching:
    """`dispatch` on one store."""

    def __init__(self, engine: Engine, content: Path) -> None:
        """Sends *content* to the people in the store of *engine*."""
        self._engine = engine
        self._content = content
        self._issue_id = 0

    def prepare(self, letters: int) -> None:
        """A new issue is frozen to so many people."""
        clear(self._engine)
        self._issue_id = add_issue(self._engine)
        with writing(self._engine) as session:
            freeze(session, self._issue_id, audience().limit(letters), AT)

    def send(self, port: int, letters: int) -> Cost:
        """What sending it cost."""
        url = self._engine.url.render_as_string(hide_password=False)
        job = map(str, (self._issue_id, port, letters, CONNECTIONS))
        return spent([sys.executable, "-m", "benchmarks.dispatching", url, str(self._content), *job], letters)


def by_peer(folder: Path, name: str, port: int, letters: int) -> Cost:
    """What a library of Python's cost."""
    job = map(str, (folder, port, letters, CONNECTIONS))
    return spent([sys.executable, "-m", "benchmarks.peers", name, *job], letters)


def from_source(port: int, letters: int) -> Cost:
    """What smtp-source cost, on connections that last, as all others have them."""
    what = ["-d", "-s", str(CONNECTIONS), "-m", str(letters), "-l", str(LETTER)]
    envelope = ["-M", "localhost", "-f", peers.SENDER, "-t", "reader@example.com"]
    return spent([program("smtp-source") or "", *what, *envelope, f"{HOST}:{port}"], letters)


def by_node(script: Path, port: int, letters: int) -> Cost:
    """What nodemailer cost."""
    job = map(str, (port, letters, CONNECTIONS))
    return spent(["node", str(script), *job, str(script.with_name("issue.json"))], letters)


def installed(folder: Path) -> Path:
    """The script for nodemailer, in *folder* beside the library, for that is where it is looked for.

    FileNotFoundError where node or npm is missing, or nothing can be had from npm's registry.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise FileNotFoundError("node or npm is not here")
    options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    install = [npm, "install", *options, NODEMAILER]
    try:
        subprocess.run(install, check=True, capture_output=True, timeout=INSTALLING, cwd=folder)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise FileNotFoundError(f"npm cannot install {NODEMAILER}") from error
    return Path(shutil.copy(Path(__file__).with_name("nodemailer.mjs"), folder))


# --- what is told -----------------------------------------------------------------------------------

FAR = f"{DELAY} ms away"


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio of letters per second, and what it must be."""

    what: str
    reached: float
    wanted: float

    @property
    def is_met(self) -> bool:
        """Whether it is reached."""
        return self.reached >= self.wanted

    def __str__(self) -> str:
        verdict = "met" if self.is_met else "missed"
        return f"{self.what}: {self.reached:.2f}, at least {self.wanted:g} is wanted, {verdict}"


def bars(found: Measured) -> list[Bar]:
    """The bars that *found* is held to; of peers that were left out there is none."""
    source = found.per_second(SOURCE)
    if found.delay:
        names = {PIPELINING: "PIPELINING", CHUNKING: "CHUNKING"}
        return [
            Bar(
                f"times smtp-source, with {names[offers]}",
                found.per_second(DISPATCH, offers) / source,
                wanted,
            )
            for offers, wanted in AT_A_DISTANCE.items()
        ]
    ours = found.per_second(DISPATCH)
    builders = {"Django": found.per_second(DJANGO), "nodemailer": found.per_second(NODE)}
    return [
        Bar("times smtp-source", ours / source, OF_SOURCE),
        *(Bar(f"times {name}", ours / rate, OF_BUILDERS) for name, rate in builders.items() if rate),
    ]


def near_table(near: Measured) -> Table:
    """What docs/performance.md says of sending without a distance."""
    return Table(
        title="Sending, without a distance",
        told=f"Letters of 60 KB over {CONNECTIONS} connections that last, medians, over loopback to"
        " `benchmarks/sink.c`, which takes them at once. *dispatch* asks for each letter whether it is"
        " still welcome, makes it, marks it durably before its end and writes the reply down; the others"
        " have no ledger and could not say after a crash who got what. The second column says which"
        " of the two the sink offers; CPU and memory are the client's own, without PostgreSQL's.",
        headings=HEADINGS,
        rows=lines(near),
        remark=remark(near, near.void),
    )


def far_table(far: Measured, void: str) -> Table:
    """What it says of sending at a distance; *void* as `Measured.void` has it of the same run."""
    return Table(
        title=f"Sending, {FAR}",
        told=f"The same, to a sink that answers {DELAY} ms after what it received, all of it together, as"
        " a relay at that distance does; bandwidth and slow start are not imitated.",
        headings=HEADINGS,
        rows=lines(far),
        remark=remark(far, void),
    )


HEADINGS = [
    "client",
    "PIPELINING, CHUNKING",
    "letters",
    "letters per second",
    "CPU µs per letter",
    "MB",
    "times smtp-source",
]


def lines(found: Measured) -> list[list[object]]:
    """The table's rows."""
    source = found.per_second(SOURCE)
    return [
        [
            name,
            _OFFERED[tuple(offers)],
            cost.letters,
            cost.per_second,
            round(cost.cpu / cost.letters * 1e6),
            round(cost.peak / 1e6),
            cost.per_second / source if source else "-",
        ]
        for name, offers, cost in found.rows
    ]


def remark(found: Measured, void: str) -> str:
    """What follows from it: the sink's part, the bars, and what was left out."""
    said = []
    if void:
        said.append(f"{void[0].upper()}{void[1:]}.")
    elif not found.delay:
        times = found.per_second(SOURCE) / found.own_sink
        said.append(
            f"On Postfix's own smtp-sink, in the same rounds, smtp-source reaches {found.own_sink:,.0f}: ours"
            f" takes {times:.1f} times as many, so that the sink is not what is measured."
        )
    if found.per_second(SOURCE):
        said.append(f"Bars: {'; '.join(map(str, bars(found)))}.")
    if found.left_out:
        said.append(f"Left out: {'; '.join(found.left_out)}.")
    return " ".join(said)

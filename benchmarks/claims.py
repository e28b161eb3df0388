"""What the project claims, each with the bar it is held to and the way it is proven at its full count."""

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import (
    desking,
    freezing,
    growing,
    list_importing,
    personalising,
    rendering,
    sending,
    sending_claims,
    testing,
    working,
)
from benchmarks.exports import write_export
from benchmarks.importing import Imported, imported
from benchmarks.outcomes import Claim, Outcome, Result
from benchmarks.sink import CHUNKING, PIPELINING

MB = 1_000_000
MINUTE = 60.0  # seconds
HOSTILE = testing.ROOT.parent / "shared" / "data" / "feeds" / "make_hostile.py"
#: of one hostile file
HOSTILE_SECONDS = 5
HOSTILE_MEMORY = 512 * MB
EXPORT_MEGABYTES = 1_000
EXPORT_MEMORY = 200 * MB
SOURCES, RECIPIENTS = "tests/digest", "tests/subscribers"


@dataclass(frozen=True, slots=True)
class ByTests:
    """Proves by the tests of *nodes*, in which every property must see at least *fewest* random inputs."""

    nodes: Sequence[str]
    #: how many they are asked for; 0: as many as without asking
    examples: int = 0
    #: a slow property takes a part of what it is asked for; None: all of them
    fewest: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    limit: float = 10 * MINUTE  # seconds

    def __call__(self, seed: int) -> Result:
        """What the tests came to."""
        counts = {"PROVE_EXAMPLES": str(self.examples)} if self.examples else {}
        given = {"PROVE_SEED": str(seed), **counts, **self.environment}
        fewest = self.examples if self.fewest is None else self.fewest
        return judged(testing.run(self.nodes, given, seed, self.limit), fewest)


def judged(ran: testing.Ran, fewest: int) -> Result:
    """What *ran* proves, where every property had to see *fewest* inputs or all there are."""
    if ran.broken:
        return Result(Outcome.FAILS, ran.broken, ran.said)
    if ran.failed:
        more = f" and {len(ran.failed) - 1} more" if len(ran.failed) > 1 else ""
        return Result(Outcome.FAILS, f"failed: {ran.failed[0]}{more}", ran.said)
    if not ran.passed:
        return Result(Outcome.NOT_RUN, "; ".join(ran.skipped) or "no test was found")
    few = {name for name, count in ran.examples.items() if count < fewest} - ran.exhausted
    if few:
        told = ", ".join(f"{name} saw {ran.examples[name]:,}" for name in sorted(few))
        return Result(Outcome.FAILS, told, ran.said)
    return Result(Outcome.HOLDS, _told(ran), ran.said)


def _told(ran: testing.Ran) -> str:
    parts = [f"tests: {ran.passed}"]
    if ran.examples:
        # What hypothesis threw away as not fit for the test is not counted.
        parts.append(f"properties: {len(ran.examples)}; random inputs: {sum(ran.examples.values()):,}")
    parts += [f"left out: {reason}" for reason in ran.skipped]
    return "; ".join(parts)


def hostile_files(_seed: int) -> Result:
    """Every hostile file, imported in a process of its own, ends in its time and memory."""
    if not HOSTILE.exists():
        return Result(Outcome.NOT_RUN, "../shared/data is not here")
    with tempfile.TemporaryDirectory(prefix="digest-hostile-") as folder:
        subprocess.run([sys.executable, str(HOSTILE), folder], check=True, capture_output=True)
        found = {path.name: _imported(path, 10 * HOSTILE_SECONDS) for path in sorted(Path(folder).iterdir())}
    return worst(found, HOSTILE_SECONDS, HOSTILE_MEMORY)


def worst(found: Mapping[str, Imported | str], seconds: float, memory: int) -> Result:
    """Whether all imports kept within *seconds* and bytes of *memory*; the slowest and the largest."""
    broken = [f"{name}: {what}" for name, what in found.items() if isinstance(what, str)]
    ended = {name: one for name, one in found.items() if isinstance(one, Imported)}
    broken += [f"{name}: refused in several lines" for name, one in ended.items() if "\n" in one.refused]
    slowest = max(ended, key=lambda name: ended[name].seconds, default=None)
    largest = max(ended, key=lambda name: ended[name].peak, default=None)
    if broken or slowest is None or largest is None:
        return Result(Outcome.FAILS, "; ".join(broken) or "there is nothing to import")
    holds = ended[slowest].seconds < seconds and ended[largest].peak < memory
    refused = sum(bool(one.refused) for one in ended.values())
    figures = (
        f"{len(ended)} files, {refused} refused in one line; slowest {ended[slowest].seconds:.1f} s"
        f" ({slowest}), largest {ended[largest].peak / MB:.0f} MB ({largest})"
    )
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)


def _imported(path: Path, limit: float) -> Imported | str:
    """What the import took, or why there is no answer."""
    try:
        return imported(path, limit)
    except subprocess.TimeoutExpired:
        return f"did not end within {limit:,.0f} seconds"
    except subprocess.CalledProcessError as error:
        # SQLAlchemy writes what it was doing, in brackets, below what went wrong.
        told = [line for line in error.stderr.splitlines() if line[:1] not in ("", " ", "(", "[")]
        return f"ended with {error.returncode}: {(told or ['no word'])[-1]}"


def large_export(_seed: int, megabytes: int = EXPORT_MEGABYTES) -> Result:
    """An export of that size is imported whole, in little memory."""
    with tempfile.TemporaryDirectory(prefix="digest-export-") as folder:
        path = Path(folder) / "export.xml"
        posts = write_export(path, megabytes)
        came = _imported(path, 90 * MINUTE)
    if isinstance(came, str):
        return Result(Outcome.FAILS, came)
    holds = came.new == posts and came.peak < EXPORT_MEMORY
    figures = (
        f"{came.new:,} of {posts:,} posts from {megabytes:,} MB, {came.peak / MB:.0f} MB of memory,"
        f" {megabytes / came.seconds:.1f} MB a second"
    )
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)


def list_import(_seed: int, rows: int = list_importing.BAR_ROWS, patience: float = 1) -> Result:
    """A list of so many *rows* is imported on SQLite in its time, or *patience* times that, and memory."""
    seconds = list_importing.BAR_SECONDS * rows / list_importing.BAR_ROWS * patience
    try:
        found = list_importing.measure(rows, limit=60 * MINUTE)
    except subprocess.CalledProcessError as error:
        return Result(Outcome.FAILS, f"ended with {error.returncode}", error.stderr.splitlines()[-5:])
    ours, gone = found["SQLite"], -(-rows // list_importing.LEFT_EVERY)
    is_whole = all((one.accepted, one.left) == (rows - gone, gone) for one in found.values())
    holds = is_whole and ours.seconds < seconds and ours.peak < list_importing.BAR_MEMORY
    figures = "; ".join(
        f"{name}: {one.accepted:,} accepted, {one.left:,} left, in {one.seconds:,.0f} s"
        f" after a dry run of {one.dry:,.0f} s, {one.peak / MB:.0f} MB"
        for name, one in found.items()
    )
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)


def rendering_time(_seed: int) -> Result:
    """An issue of the bar's size is rendered in its time."""
    (row,) = rendering.measure((rendering.BAR_POSTS,))
    median, checked = row.medians[rendering.FITTED], row.medians[rendering.CHECKED]
    first = rendering.first_of_a_process()
    holds = median < rendering.BAR and checked < rendering.CHECKED_BAR
    figures = f"median {median:,.0f} ms, with the lint {checked:,.0f}; the first of a process {first:,.0f} ms"
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)


def personalising_rate(_seed: int) -> Result:
    """Letters are made at the bar's rate, beside the naive way."""
    rows = personalising.measure(20)
    spliced = min(row.per_second for row in rows if row.way.startswith("spliced"))
    holds = spliced >= personalising.BAR and all(row.letter >= personalising.LETTER for row in rows)
    figures = f"{spliced:,.0f} a second and core; {rows[0].way}: {rows[0].per_second:,.0f}"
    return Result(Outcome.HOLDS if holds else Outcome.FAILS, figures)


CLAIMS = (
    Claim(
        "sources",
        "Real feeds, exports and pages give the posts, dates and links that are known of them.",
        "all files",
        ByTests(
            [f"{SOURCES}/test_feeds.py", f"{SOURCES}/test_archive.py", f"{SOURCES}/test_hostile_input.py"]
        ),
    ),
    Claim(
        "hostile-files",
        f"Importing any hostile file ends in {HOSTILE_SECONDS} s and {HOSTILE_MEMORY // MB} MB.",
        "all files",
        hostile_files,
    ),
    Claim(
        "letters",
        "Letters of many languages, scripts and sizes have no finding of the lint, whatever strangers wrote;"
        " filters and a browser take them as they are meant; inlining changes nothing else.",
        "300 issues",
        ByTests(
            [
                f"{SOURCES}/test_lint_of_real_letters.py",
                f"{SOURCES}/test_letter_filters.py",
                f"{SOURCES}/test_letter_in_browser.py",
                f"{SOURCES}/test_inline.py",
            ],
            examples=300,
            limit=30 * MINUTE,
        ),
    ),
    Claim(
        "renderings",
        "Whatever text is in a post, its letter is rendered without a fault.",
        "1,000 issues",
        ByTests([f"{SOURCES}/test_render.py"], examples=10_000, fewest=1_000, limit=30 * MINUTE),
    ),
    Claim(
        "hostile-words",
        "Hostile titles, names and excerpts make no header and break no part; the text round-trips.",
        "10,000 each",
        ByTests(
            [
                f"{SOURCES}/test_personalise.py",
                f"{SOURCES}/test_headers.py",
                f"{SOURCES}/test_plaintext.py",
                f"{SOURCES}/test_excerpt.py",
            ],
            examples=10_000,
            limit=45 * MINUTE,
        ),
    ),
    Claim(
        "kills",
        "A dispatch killed at any moment and resumed loses nobody; in doubt is at most what is on the wire,"
        " a letter a connection, or four with CHUNKING; the audit adds up after each kill and at the end.",
        "500 kills and 20,000 letters in each usual case, 200 kills in the others",
        ByTests(
            [f"{SOURCES}/test_kills.py"],
            environment={"PROVE_KILLS": "200", "PROVE_KILLS_USUAL": "500"},
            limit=180 * MINUTE,
        ),
    ),
    Claim(
        "workers",
        "Of four workers on one issue, one after the other killed at any moment, nobody is lost, and nobody"
        " gets two while letters in doubt are held; hosts that are cut off or stand still are taken over.",
        "100 kills in each case",
        ByTests(
            [f"{SOURCES}/test_workers.py", f"{SOURCES}/test_hosts.py"],
            environment={"PROVE_KILLS": "100"},
            limit=60 * MINUTE,
        ),
    ),
    Claim(
        "workers-rate",
        f"{working.WORKERS} workers on one PostgreSQL send at least {working.BAR:.0%} of what one does on the"
        " same cores.",
        f"median of {working.ROUNDS}",
        sending_claims.workers_rate,
    ),
    Claim(
        "rendering",
        f"An issue of {rendering.BAR_POSTS} posts is rendered in under {rendering.BAR:,} ms.",
        f"median of {rendering.ROUNDS}",
        rendering_time,
    ),
    Claim(
        "personalising",
        f"One core makes {personalising.BAR:,} letters of 60 KB a second.",
        f"median of {personalising.SLICES}",
        personalising_rate,
    ),
    Claim(
        "large-export",
        f"A WordPress export of 1 GB is imported in under {EXPORT_MEMORY // MB} MB of memory.",
        "1",
        large_export,
    ),
    Claim(
        "list-import",
        f"A list of {list_importing.BAR_ROWS:,} people, each address validated, is imported into SQLite in"
        f" under {list_importing.BAR_SECONDS} s and {list_importing.BAR_MEMORY // MB} MB of memory.",
        "1",
        list_import,
    ),
    Claim(
        "sending",
        f"Without a distance, letters of 60 KB leave over {sending.CONNECTIONS} connections at"
        f" {sending.OF_SOURCE} times smtp-source's rate at least, and at {sending.OF_BUILDERS} times Django's"
        " and nodemailer's, each marked durably before its end.",
        f"medians of {sending.ROUNDS}",
        sending_claims.sending_rate,
    ),
    Claim(
        "distance",
        f"{sending.DELAY} ms away they leave at {sending.AT_A_DISTANCE[PIPELINING]} times smtp-source's rate"
        f" at least with PIPELINING, at {sending.AT_A_DISTANCE[CHUNKING]} times with CHUNKING.",
        f"medians of {sending.ROUNDS}",
        sending_claims.distant_rate,
    ),
    Claim(
        "sending-memory",
        f"The memory of `digest dispatch` grows by at most {growing.BAR_GROWTH - 1:.0%} from"
        f" {growing.PEOPLE[1]:,} to {growing.PEOPLE[-1]:,} recipients, and stays under"
        f" {growing.BAR_MEMORY // MB} MB.",
        "1 on each engine",
        sending_claims.sending_memory,
    ),
    Claim(
        "freezing",
        f"An audience of {freezing.BAR_PEOPLE:,} is frozen in under {freezing.BAR_SECONDS} s on SQLite and on"
        " PostgreSQL.",
        "medians of 3",
        sending_claims.freezing_time,
    ),
    Claim(
        "postfix",
        f"A real Postfix accepts an issue to {sending_claims.POSTFIX_PEOPLE:,} whole, and the audit adds up.",
        "1",
        sending_claims.postfix,
    ),
    Claim(
        "reports",
        "Real reports are read as people read them, nobody is called dead who is not, and none of them,"
        " however damaged, is read with an error.",
        "46 reports, 100,000 mutations",
        ByTests(
            [f"{SOURCES}/test_returned.py", f"{SOURCES}/test_return_classes.py"],
            examples=1_000,
            fewest=200,
            environment={"PROVE_MUTATIONS": "100000"},
            limit=60 * MINUTE,
        ),
    ),
    Claim(
        "returns",
        "Forged reports about known addresses change nothing; a report is one strike however often it comes,"
        " wherever its reading is killed; in a year of issues each reader loses what is theirs, none a thing"
        " in a provider's outage, and no import brings a complaint back.",
        "1,000 forgeries, a kill at every step, 12 issues",
        ByTests(
            [
                f"{SOURCES}/test_working.py",
                f"{SOURCES}/test_undoing.py",
                f"{SOURCES}/test_places.py",
                f"{SOURCES}/test_year_of_returns.py",
            ],
            environment={"PROVE_FORGERIES": "1000"},
        ),
    ),
    Claim(
        "imports",
        "An import that is killed and run again ends as if it had not been; no order of files, and no two at"
        " once, make active who is gone.",
        "20 kills, 1,000 orders",
        ByTests(
            [f"{RECIPIENTS}/test_importing.py"],
            examples=1_000,
            environment={"PROVE_KILLS": "20"},
            limit=60 * MINUTE,
        ),
    ),
    Claim(
        "strangers",
        "Whatever bytes come as a document, an address, a token, a list, a zip, a date, a reply or a letter"
        " to be checked: they are read or refused, and what was written is read back.",
        "10,000 each",
        ByTests(
            [
                *(f"{RECIPIENTS}/test_{name}.py" for name in ("address", "tokens", "files", "sheet")),
                *(
                    f"{SOURCES}/test_{name}.py"
                    for name in ("archive", "clean", "dates", "decode", "identity")
                ),
                *(f"{SOURCES}/test_{name}.py" for name in ("lint", "replies", "smtp", "wxr")),
            ],
            examples=10_000,
            limit=60 * MINUTE,
        ),
    ),
    Claim(
        "lifecycle",
        "Whatever people do in whatever order, an audience is exactly the active who are not suppressed.",
        "1,000 lives",
        ByTests([f"{RECIPIENTS}/test_walk.py"], examples=10_000, fewest=1_000, limit=30 * MINUTE),
    ),
    Claim(
        "crawler",
        "Whoever opens every link of a letter and of each mail by GET, HEAD and OPTIONS, three times, changes"
        " no byte of the store and burns no link.",
        "all links",
        ByTests([f"{SOURCES}/test_crawler.py"]),
    ),
    Claim(
        "one-click",
        "While an issue goes out at 200 letters a second, 99 of 100 who leave are answered within 100 ms,"
        " all with 200; all have left, and no letter to them begins after that.",
        "2,000 clicks on each engine",
        ByTests(
            [f"{SOURCES}/test_one_click_load.py"],
            environment={"PROVE_ONE_CLICKS": "2000"},
            limit=15 * MINUTE,
        ),
    ),
    Claim(
        "form",
        "Neither the subscribe form nor the change of address tells who is on the list: not by a byte of the"
        " answer, nor by its time.",
        "300 of each kind on each engine",
        ByTests(
            [f"{SOURCES}/test_form_tells_nothing.py"],
            environment={"PROVE_FORM": "300"},
            limit=60 * MINUTE,
        ),
    ),
    Claim(
        "pages",
        "On no public page does axe-core find anything, light or dark, on a phone of 320 px; each is below"
        " 30 KB and needs neither script nor mouse.",
        "all pages",
        ByTests([f"{SOURCES}/test_pages_for_everybody.py"], environment={"PROVE_PAGES": "1"}),
    ),
    Claim(
        "description",
        "Whatever the pages' OpenAPI description allows is answered with a status and a type that it names.",
        "200 requests to each operation",
        ByTests(
            [f"{SOURCES}/test_openapi.py"],
            environment={"PROVE_REQUESTS": "200"},
            limit=15 * MINUTE,
        ),
    ),
    Claim(
        "desk",
        f"The desk's pages are answered within {desking.PAGE_BAR} ms, and a changed letter is seen within"
        f" {desking.REFRESH_BAR} ms, 95 of 100 times: {desking.POSTS} posts, {desking.PEOPLE:,} subscribers,"
        " SQLite.",
        f"{desking.ROUNDS} of each page",
        desking.proven,
    ),
)

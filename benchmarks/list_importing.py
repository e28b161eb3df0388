"""What importing a list costs, in a process of its own: `python -m benchmarks.list_importing URL FILE` tells.

The process does what `digest subscribers import FILE --apply` does, on the store at URL, and prints one
JSON document. Every address is validated; memory is what was resident at most.
"""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.importing import peak
from benchmarks.stores import AT, stores
from digest.database import open_engine, reading, writing
from digest.migrating import upgrade
from subscribers.exchange import apply, dry_run
from subscribers.report import Terms, Verdict

BAR_ROWS = 500_000
BAR_SECONDS = 180
BAR_MEMORY = 200_000_000  # bytes
#: of ten rows one says that the person left
LEFT_EVERY = 10
TERMS = Terms(ground="members of the society")
SECRET = b"k" * 32


@dataclass(frozen=True, slots=True)
class Imported:
    """What one import brought and took."""

    accepted: int
    left: int
    #: of the dry run, and of the import after it
    dry: float  # seconds
    seconds: float
    peak: int  # bytes


def measure(rows: int, limit: float) -> dict[str, Imported]:
    """What importing a list of *rows* took on each store; subprocess.TimeoutExpired after *limit* seconds."""
    with stores() as engines:
        found = {}
        for name, engine in engines.items():
            url = engine.url.render_as_string(hide_password=False)
            path = Path(str(engines["SQLite"].url.database)).with_name("people.csv")
            write_list(path, rows)
            command = [sys.executable, "-m", "benchmarks.list_importing", url, str(path)]
            child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
            found[name] = Imported(**json.loads(child.stdout))
        return found


def write_list(path: Path, rows: int) -> None:
    """A list of that many people is at *path*, as Mailchimp writes one."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Email Address", "First Name", "Last Name", "OPTIN_TIME", "OPTIN_IP", "UNSUB_TIME"])
        writer.writerows(_people(rows))


def _people(rows: int) -> Iterator[list[str]]:
    for number in range(rows):
        left = "2015-02-03 04:05:06" if number % LEFT_EVERY == 0 else ""
        address = f"reader.{number}@mail{number % 997}.example.org"
        yield [address, "Reader", str(number), "2014-05-01 10:00:00", "192.0.2.7", left]


def main() -> None:
    """Imports the file and prints what it took."""
    engine, path = open_engine(sys.argv[1]), Path(sys.argv[2])
    upgrade(engine)
    started = time.perf_counter()
    promised = dry_run(partial(reading, engine), path, TERMS, SECRET)
    dry = time.perf_counter() - started
    started = time.perf_counter()
    report = apply(partial(writing, engine), path, TERMS, promised.hash, SECRET, AT)
    seconds = time.perf_counter() - started
    engine.dispose()
    counts = report.counts
    print(json.dumps(asdict(Imported(counts[Verdict.ACCEPTED], counts[Verdict.LEFT], dry, seconds, peak()))))


if __name__ == "__main__":
    main()

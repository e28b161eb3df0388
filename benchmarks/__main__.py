"""Writes docs/performance.md: what was measured, against whom, in one run on one machine.

python -m benchmarks            everything, some minutes
python -m benchmarks --quick    a look at whether it runs: small counts, nothing is written
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks import dispatching, freezing, personalising, rendering
from benchmarks.machine import machine
from benchmarks.tables import DOCS, Table, markdown, write_page

PERSONALISING_SECONDS = 20.0
READING = (
    "Every table is of one run: whatever is compared did the same work and took turns, and the medians"
    " count. Ratios carry over to other machines; the absolute figures are this one's, and the load says"
    " how busy others kept it. `make bench` writes this page anew."
)
NOT_MEASURED = """## What was not measured

- A real relay. What limits sending in practice is how many letters a second the relay takes, how far away
  it is, and `DIGEST_SMTP_RATE`. The sink here answers at once and stands on the same machine.
- TLS, which every relay asks for that is not on this machine.
- Other newsletter programs as a whole. The peers are libraries, and the way one would write it first:
  only those can be given the same letters in the same run.
- Power cuts. What kills of the process leave behind is in [proofs](proofs.md)."""


def main() -> int:
    """The page is written; what is measured at the moment is said on standard error."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="small counts; writes nothing")
    quick = arguments.parse_args().quick
    where = machine()
    parts: list[Table] = []
    for name, measured in sections(quick).items():
        print(f"{name} …", file=sys.stderr, flush=True)
        parts += measured()
    for part in parts:
        print(markdown(part.headings, part.rows))
    if not quick:
        today = datetime.now(UTC).date()
        write_page(DOCS / "performance.md", "Performance", today, where, [READING, *parts, NOT_MEASURED])
    return 0


def sections(quick: bool) -> dict[str, Callable[[], list[Table]]]:
    """What is measured, in order, each by its name."""
    return {
        "rendering": lambda: of_rendering(quick),
        "personalising": lambda: of_personalising(0.5 if quick else PERSONALISING_SECONDS),
        "freezing": lambda: of_freezing(1_000 if quick else freezing.PEOPLE, 1 if quick else freezing.ROUNDS),
        "dispatching": lambda: of_dispatching(
            40 if quick else dispatching.LETTERS, 1 if quick else dispatching.ROUNDS
        ),
    }


def of_rendering(quick: bool) -> list[Table]:
    """How long an issue takes."""
    rows = rendering.measure((3, 6), 1) if quick else rendering.measure()
    first = rendering.first_of_a_process(starts=1 if quick else rendering.STARTS)
    return rendering.tables(rows, first)


def of_personalising(seconds: float) -> list[Table]:
    """How many letters a core makes."""
    rows = personalising.measure(seconds)
    naive = rows[0].per_second
    spliced = min(row.per_second for row in rows if row.way.startswith("spliced"))
    return [
        Table(
            title="Personalising",
            told="Letters of 60 KB per second of one core's time, medians. All ways make the same letter,"
            " compared part by part before anything is timed.",
            headings=["way", "bytes", "letters per second and core", "times the first"],
            rows=[[row.way, row.letter, row.per_second, row.per_second / naive] for row in rows],
            remark=f"Bar: {personalising.BAR:,} a second and core; the slower splice makes {spliced:,.0f},"
            f" {'met' if spliced >= personalising.BAR else 'missed'}.",
        )
    ]


def of_freezing(people: int, rounds: int) -> list[Table]:
    """How fast an audience is frozen."""
    return freezing.tables(freezing.measure(people, rounds), people)


def of_dispatching(letters: int, rounds: int) -> list[Table]:
    """How fast letters go out."""
    return dispatching.tables(dispatching.measure(letters, rounds), letters)


if __name__ == "__main__":
    sys.exit(main())

"""Writes docs/performance.md and docs/sizing.md: what was measured, against whom, in one run on one machine.

python -m benchmarks                   everything, an hour or two: millions of letters are sent
python -m benchmarks --quick           a look at whether it runs: small counts, nothing is written
python -m benchmarks --only sending    one part of it, or several; what is written of the others stays
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from benchmarks import freezing, growing, personalising, rendering, sending, sizing
from benchmarks.machine import Machine, machine
from benchmarks.tables import DOCS, Table, write_page

PERSONALISING_SECONDS = 20.0
READING = (
    "Every table is of one run: whatever is compared did the same work and took turns, and the medians"
    " count. Ratios carry over to other machines; the absolute figures are those of the one that is named,"
    " and the load says how busy others kept it. `make bench` writes this page anew."
)
REPEATING = """## How to repeat it

`make bench` measures everything and writes this page and [sizing](sizing.md); `python -m benchmarks --only
sending` one part: `rendering`, `personalising`, `freezing`, `sending`, `distance` or `memory`. It
wants a C compiler, for the sink is compiled on the spot, Postfix for its smtp-source and smtp-sink (Debian:
`gcc libc6-dev postfix`), and node with npm for nodemailer; what is missing is left out and named. Nothing but
npm's installation leaves the machine. The bars are held by `make prove`."""
NOT_MEASURED = """## What was not measured

- A relay that thinks. What limits sending in practice is how many letters a second the relay takes and
  `DIGEST_SMTP_RATE`; the sink takes everything at once. A real Postfix is in [proofs](proofs.md).
- TLS, which every relay asks for that is not on this machine.
- Several machines on one list. Four workers on one machine are in [proofs](proofs.md).
- Bandwidth, loss and slow start: the distance is a delay.
- Other newsletter programs as a whole. The peers are libraries, and the way one would write it first:
  only those can be given the same letters in the same run.
- Power cuts. What kills of the process leave behind is in [proofs](proofs.md)."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the run: what is measured, and what is said of it."""

    measure: Callable[[], Any]
    tables: Callable[[Any], list[Table]]


def main() -> int:
    """The pages are written; what is measured at the moment is said on standard error."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts; writes nothing")
    parser.add_argument(
        "--only", action="append", choices=parts(quick=True), help="this part; may be repeated"
    )
    arguments = parser.parse_args()
    where, today = machine(), datetime.now(UTC).date()
    found: dict[str, Any] = {}
    tables: dict[str, list[Table]] = {}
    for name, part in parts(arguments.quick).items():
        if not arguments.only or name in arguments.only:
            print(f"{name} …", file=sys.stderr, flush=True)
            found[name] = part.measure()
            tables[name] = part.tables(found[name])
            print(*tables[name], sep="\n\n", flush=True)
    sizes: list[object] = []
    if found.keys() == parts(arguments.quick).keys():
        far, _void = found["distance"]
        sizes = sizing.parts(found["sending"], far, found["memory"])
        print(*sizes, sep="\n\n")
    if not arguments.quick:
        write(DOCS / "performance.md", parts(quick=False), tables, where, today)
        if sizes:
            write_page(DOCS / "sizing.md", "Sizing", today, where, sizes)
    return 0


def write(
    path: Path, names: Iterable[str], tables: Mapping[str, list[Table]], where: Machine, on: date
) -> None:
    """The page at *path* has, for each of the parts' *names*, its *tables*, or else what it had of it."""
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    said = dict(re.findall(r"^<!-- (\w+) -->\n\n(.+?)\n\n(?=<!-- )", before, re.MULTILINE | re.DOTALL))
    for name, measured in tables.items():
        said[name] = "\n\n".join([f"*{on} · {where}.*", *map(str, measured)])
    sections = [f"<!-- {name} -->\n\n{said[name]}" for name in names if name in said]
    write_page(
        path, "Performance", on, where, [READING, *sections, f"<!-- end -->\n\n{REPEATING}", NOT_MEASURED]
    )


def parts(quick: bool) -> dict[str, Part]:
    """What is measured, in order, each by its name."""
    share, rounds = (0.005, 1) if quick else (1, sending.ROUNDS)
    return {
        "rendering": Part(lambda: of_rendering(quick), list),
        "personalising": Part(lambda: of_personalising(0.5 if quick else PERSONALISING_SECONDS), list),
        "freezing": Part(lambda: of_freezing(quick), list),
        "sending": Part(lambda: sending.measure(0, share, rounds), lambda near: [sending.near_table(near)]),
        "distance": Part(
            lambda: (sending.measure(sending.DELAY, share, rounds), sending.validity(share, rounds).void),
            lambda found: [sending.far_table(*found)],
        ),
        "memory": Part(lambda: growing.measure((50, 100) if quick else growing.PEOPLE), growing.tables),
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


def of_freezing(quick: bool) -> list[Table]:
    """How fast an audience is frozen."""
    if quick:
        return freezing.tables(freezing.measure(1_000, 1), freezing.whole(2_000), 1_000, 2_000)
    return freezing.tables(freezing.measure(), freezing.whole())


if __name__ == "__main__":
    sys.exit(main())

"""Proves the project's claims at their full counts and writes docs/proofs.md.

    python -m benchmarks.prove                    all of them, some hours
    python -m benchmarks.prove --only kills       one, or several; what is written of the others stays
    python -m benchmarks.prove --seed 4711        the same random inputs again

Exits 1 where a claim fails.
"""

import argparse
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from benchmarks.claims import CLAIMS, Claim, Outcome, Result
from benchmarks.machine import Machine, machine
from benchmarks.tables import DOCS, Table, write_page

READING = (
    "What `make test` claims with small counts, at full counts. A claim *fails* if one input of it failed, if"
    " fewer were seen than it says, or if a measured bar was missed; it is *not run* where the machine lacks"
    " what the figures name. `make prove` proves all of them, `python -m benchmarks.prove --only NAME` one: a"
    " row says when it was last proven, and of which commit; the machine above is the last one's."
)
HEADINGS = ["claim", "count", "outcome", "figures", "seconds", "seed", "proven"]
_WORDS = "In the words of the tests: "


@dataclass(frozen=True, slots=True)
class Proof:
    """One claim, what came of it, and how long that took."""

    claim: Claim
    result: Result
    seconds: float


def main() -> int:
    """Runs the claims in a row; what came of each is said at once."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prove", description=__doc__)
    names = [claim.name for claim in CLAIMS]
    parser.add_argument("--only", action="append", choices=names, help="this claim; may be repeated")
    parser.add_argument("--seed", type=int, help="of the random inputs; else a new one is drawn and told")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(2**32)
    where = machine()
    chosen = [claim for claim in CLAIMS if not arguments.only or claim.name in arguments.only]
    print(f"seed {seed}", flush=True)
    proofs = []
    for proof in proven(chosen, seed):
        print(line(proof), *proof.result.said, sep="\n  ", flush=True)
        proofs.append(proof)
    write(DOCS / "proofs.md", CLAIMS, proofs, seed, where, datetime.now(UTC).date(), commit())
    return exit_code(proofs)


def proven(claims: Sequence[Claim], seed: int) -> Iterator[Proof]:
    """What came of each claim, one after the other."""
    for claim in claims:
        started = time.monotonic()
        result = claim.prove(seed)
        yield Proof(claim, result, time.monotonic() - started)


def line(proof: Proof) -> str:
    """One line for the terminal."""
    return f"{proof.claim.name}: {proof.result.outcome} ({proof.seconds:,.0f} s): {proof.result.figures}"


def exit_code(proofs: Sequence[Proof]) -> int:
    """1 where a claim fails, else 0."""
    return int(any(proof.result.outcome is Outcome.FAILS for proof in proofs))


def commit() -> str:
    """The commit the files here are of, shortened; "" where git does not say."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        done = subprocess.run(command, cwd=DOCS.parent, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def write(
    path: Path, claims: Sequence[Claim], proofs: Sequence[Proof], seed: int, where: Machine, on: date, of: str
) -> None:
    """The page of *claims* at *path* says what came of *proofs*, and of the others what it said before.

    *of* is the commit that was proven.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    rows, words = _rows(before), _words(before)
    for proof in proofs:
        # The seed is not a quantity: without separators, as --seed takes it.
        how = [round(proof.seconds), f"`{seed}`", f"{on} {of}".strip()]
        what = [proof.claim.what, proof.claim.count]
        rows[proof.claim.what] = [*what, proof.result.outcome, proof.result.figures, *how]
        words[proof.claim.name] = "\n".join(f"    {line}" for line in proof.result.said)
    table = Table(
        title="Claims",
        told="",
        headings=HEADINGS,
        rows=[rows[claim.what] for claim in claims if claim.what in rows],
    )
    said = [f"## {_WORDS}{one.name}\n\n{words[one.name]}" for one in claims if words.get(one.name)]
    write_page(path, "Proofs", on, where, [READING, table, *said])


def _rows(page: str) -> dict[str, list[object]]:
    """The table's rows in *page*, by claim."""
    rows: dict[str, list[object]] = {}
    for line in re.findall(r"^\| (.+) \|$", page, re.MULTILINE):
        cells: list[object] = [one.replace("\\|", "|") for one in line.split(" | ")]
        if len(cells) == len(HEADINGS):
            rows[str(cells[0])] = cells
    return rows


def _words(page: str) -> dict[str, str]:
    """What *page* has in the words of the tests, by the name of the claim."""
    found = re.findall(rf"^## {_WORDS}(\S+)\n\n((?:    .*\n)+)", page, re.MULTILINE)
    return {name: said.removesuffix("\n") for name, said in found}


if __name__ == "__main__":
    sys.exit(main())

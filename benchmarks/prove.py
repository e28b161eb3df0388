"""Proves the project's claims at their full counts and writes docs/proofs.md.

    python -m benchmarks.prove                    all of them, an hour or more
    python -m benchmarks.prove --only kills       one, or several; nothing is written
    python -m benchmarks.prove --seed 4711        the same random inputs again

Exits 1 where a claim fails.
"""

import argparse
import random
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
    "What `make test` claims with small counts, at full counts, in one run. A claim *fails* if one input"
    " of it failed, if fewer were seen than it says, or if a measured bar was missed; it is *not run* where"
    " the machine lacks what the figures name. `make prove` writes this page anew."
)


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
    if not arguments.only:
        write(DOCS / "proofs.md", proofs, seed, where, datetime.now(UTC).date())
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


def write(path: Path, proofs: Sequence[Proof], seed: int, where: Machine, on: date) -> None:
    """The page of *proofs* is at *path*."""
    table = Table(
        title="Claims",
        told="",
        headings=["claim", "count", "outcome", "figures", "seconds", "seed"],
        rows=[
            [
                proof.claim.what,
                proof.claim.count,
                proof.result.outcome,
                proof.result.figures,
                round(proof.seconds),
                # Not a quantity: without separators, as --seed takes it.
                f"`{seed}`",
            ]
            for proof in proofs
        ],
    )
    write_page(path, "Proofs", on, where, [READING, table, *said(proofs)])


def said(proofs: Sequence[Proof]) -> Iterator[str]:
    """What tests printed, as sections below the table."""
    for proof in proofs:
        if proof.result.said:
            lines = "\n".join(f"    {line}" for line in proof.result.said)
            yield f"## In the words of the tests: {proof.claim.name}\n\n{lines}"


if __name__ == "__main__":
    sys.exit(main())

"""`dispatch` sends a frozen issue, in a process of its own: `python -m benchmarks.dispatching STORE ISSUE …`.

It prints what that took, as `benchmarks.costs` has it, and fails unless the ledger says that all is sent.
"""

import argparse
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.costs import told
from benchmarks.sink import HOST
from digest.database import open_engine
from digest.letter.personalise import stencil
from digest.letter.rendered import Rendered
from digest.sending.dispatch import Outcome, dispatch
from digest.sending.relay import Relay, Security
from digest.sending.round import Manner
from subscribers.tokens import Keyring

RING = Keyring([b"k" * 32])
#: the other clients' connections last, too
LETTERS_PER_CONNECTION = 1_000_000


def main(words: list[str]) -> None:
    """Sends the issue and prints what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("content", type=Path)
    for name in ("issue", "port", "letters", "connections"):
        parser.add_argument(name, type=int)
    given = parser.parse_args(words)
    engine = open_engine(given.store)
    content = Rendered.from_json(given.content.read_text(encoding="utf-8"))
    ready = stencil(content, RING, "bounces.example.org")
    relay = Relay(
        host=HOST,
        port=given.port,
        security=Security.NONE,
        letters_per_connection=LETTERS_PER_CONNECTION,
    )

    def work() -> Outcome:
        return dispatch(
            engine,
            given.issue,
            relay=relay,
            stencil=ready,
            manner=Manner(connections=given.connections),
            now=lambda: datetime.now(UTC),
            jitter=lambda: 0.5,
            report=lambda progress: None,
            stop=threading.Event(),
        )

    outcome = told(work)
    if not (outcome.is_finished and outcome.tally.balanced and outcome.tally.accepted == given.letters):
        raise AssertionError(f"not everything was sent: {outcome}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""One import in a process of its own, as the command line does it, to be raced or killed.

Arguments: the store's URL, the file, the hash of its report. It prints how far it is, a line for each
part, and at the end its report. Starting, it waits for a line on standard input, so that two begin at once.
"""

import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import digest.models  # noqa: F401  (registers its tables)
from digest.database import open_engine, writing
from digest.outbox import keep_asked
from subscribers.exchange import apply
from subscribers.report import Terms

NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
SECRET = b"p" * 32
TERMS = Terms(ground="members of the society", ask=True)


def tell(line: str) -> None:
    """Whoever started us reads *line*."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    url, path, said = sys.argv[1:]
    opening = partial(writing, open_engine(url))
    tell("ready")
    sys.stdin.readline()
    asked = partial(keep_asked, now=NOW)
    report = apply(
        opening, Path(path), TERMS, said, SECRET, NOW, asked=asked, watch=lambda rows, _: tell(str(rows))
    )
    tell(report.to_json())

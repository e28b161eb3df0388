"""What tests that kill share: processes of their own, and what the relay that fsyncs has kept."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def child(script: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(HERE / script), *arguments]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )


def kept_by(path: Path) -> Counter[str]:
    """How often each letter was accepted; every copy of one has the same bytes."""
    digests: dict[str, set[str]] = {}
    copies: Counter[str] = Counter()
    for line in path.read_text().splitlines():
        name, digest = line.split()
        digests.setdefault(name, set()).add(digest)
        copies[name] += 1
    assert all(len(different) == 1 for different in digests.values())
    return copies


def name_of(subscriber_id: int) -> str:
    return f"<2015-09.{subscriber_id}@example.org>"


def wait_for_letters(kept: Path, count: int) -> None:
    """The relay has accepted that many more, or has not in two seconds."""
    enough = kept.stat().st_size + count * 90  # bytes of a line, about
    until = time.monotonic() + 2
    while kept.stat().st_size < enough and time.monotonic() < until:
        time.sleep(0.001)

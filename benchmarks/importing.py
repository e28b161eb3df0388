"""What importing one file costs, in a process of its own: `python -m benchmarks.importing FILE` tells it.

The process does what `digest posts import` does, from the file into a new SQLite store, and prints one
JSON document. Memory is what was resident at most, its parsing process added.
"""

import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from digest.collect import FILE, Collected, collect, source_at
from digest.database import open_engine, writing
from digest.errors import DigestError
from digest.migrating import upgrade
from digest.sources.reading import read_file

STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Imported:
    """What one import brought and took."""

    new: int
    #: why the file was refused; "" where it was not
    refused: str
    seconds: float
    peak: int  # bytes


def imported(path: Path, limit: float) -> Imported:
    """What importing *path* took, in a new process; subprocess.TimeoutExpired after *limit* seconds."""
    command = [sys.executable, "-m", "benchmarks.importing", str(path)]
    child = subprocess.run(command, capture_output=True, text=True, check=True, timeout=limit)
    return Imported(**json.loads(child.stdout))


def main() -> None:
    """Imports the file and prints what it took."""
    path = Path(sys.argv[1])
    refused, found = "", Collected()
    with tempfile.TemporaryDirectory(prefix="digest-import-") as folder:
        engine = open_engine(f"sqlite:///{folder}/digest.db")
        upgrade(engine)
        started = time.perf_counter()
        try:
            now = datetime.now(UTC)
            with writing(engine) as session:
                document = read_file(path, base=None, zone=ZoneInfo("Europe/Kyiv"), now=now)
                found = collect(session, source_at(session, f"{FILE}{path.name}"), document, now)
        except DigestError as error:
            refused = str(error)
        seconds = time.perf_counter() - started
        engine.dispose()
    print(json.dumps(asdict(Imported(found.new, refused, seconds, peak()))))


def peak() -> int:
    """Bytes that were resident at most: of this process, and of its largest child beside it."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
    told = STATUS.read_text(encoding="ascii") if STATUS.exists() else ""
    # ru_maxrss counts what the parent had when it forked, too; the kernel's own mark does not.
    if found := re.search(r"^VmHWM:\s+(\d+) kB$", told, re.MULTILINE):
        own = int(found[1]) * 1024
    return own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * _UNIT


#: what ru_maxrss counts in
_UNIT = 1 if sys.platform == "darwin" else 1024

if __name__ == "__main__":
    main()

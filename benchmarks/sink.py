"""The sink letters are measured against: sink.c, compiled on the spot, in a process of its own."""

import json
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

HOST = "127.0.0.1"
SOURCE = Path(__file__).with_name("sink.c")
#: what Postfix, Exim and the large providers offer, as far as it matters to a letter
PLAIN = ("SIZE", "8BITMIME", "DSN")
PIPELINING = (*PLAIN, "PIPELINING")
CHUNKING = (*PIPELINING, "CHUNKING")


@dataclass(frozen=True, slots=True)
class Taken:
    """What one sink took, from its start to its end."""

    letters: int
    octets: int
    connections: int


class Sink:
    """A sink at work."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        """*process* listens on *port*."""
        self.port = port
        self._process = process

    @cached_property
    def taken(self) -> Taken:
        """What it took; it has ended then."""
        told, _ = self._process.communicate()
        return Taken(**json.loads(told))


def compiler() -> str | None:
    """The path of a C compiler; None where the machine has none."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@contextmanager
def compiled() -> Iterator[Path]:
    """The sink's program; gone at the end. FileNotFoundError where there is no C compiler."""
    found = compiler()
    if found is None:
        raise FileNotFoundError("there is no C compiler here: install gcc and libc6-dev")
    with tempfile.TemporaryDirectory(prefix="digest-sink-") as folder:
        program = Path(folder) / "sink"
        subprocess.run([found, "-O3", "-Wall", "-Wextra", "-o", str(program), str(SOURCE)], check=True)
        yield program


@contextmanager
def running(
    program: Path,
    offers: Sequence[str] = PLAIN,
    delay: int = 0,
    journal: Path | None = None,
    does_sync: bool = False,
) -> Iterator[Sink]:
    """A sink that answers after *delay* milliseconds, until the end.

    The Message-ID of each letter stands in *journal* before it is answered, with *does_sync* on the disk.
    """
    command = [str(program), "-o", ",".join(offers), "-d", str(delay)]
    if journal is not None:
        command += ["-j", str(journal), *(["-f"] if does_sync else [])]
    # It ends with its standard input, and so with this process, however that ends.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Sink(process, int(process.stdout.readline()))
        finally:
            process.kill()


def doubles(journal: Path) -> int:
    """How many letters in *journal* had been there before."""
    counted = Counter(journal.read_text(encoding="ascii", errors="replace").splitlines())
    return sum(count - 1 for count in counted.values())

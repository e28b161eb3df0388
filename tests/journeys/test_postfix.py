"""The wire against a server its authors did not write: Postfix's own sink."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import lacking

from .conftest import SEPTEMBER, Publication

READERS = 40


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of smtp-sink, and the folder it keeps each letter in."""
    program = shutil.which("smtp-sink", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        lacking("Postfix (smtp-sink)")
    assert program is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "sink"
    folder.mkdir()
    # As root it wants to be told whom to be; the folder is ours.
    user = ["-u", "root"] if os.geteuid() == 0 else []
    server = subprocess.Popen([program, *user, "-d", f"{folder}/%M.", f"127.0.0.1:{port}", "100"])
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port, folder
    finally:
        server.terminate()
        server.wait(10)


def test_postfix_takes_every_letter_once(
    publication: Publication, sink: tuple[int, Path], tmp_path: Path
) -> None:
    port, folder = sink
    people = tmp_path / "people.csv"
    people.write_text("address\n" + "".join(f"reader{number}@example.org\n" for number in range(READERS)))
    report = publication("subscribers", "import", str(people), "--json").json
    publication("subscribers", "import", str(people), "--apply", report["hash"])
    publication.set(SMTP_PORT=port)
    publication("posts", "import", publication.feed(*SEPTEMBER))
    publication("issue", "build", "2015-09")
    publication("issue", "approve", "2015-09")
    tally = publication("dispatch", "2015-09", "--json").json
    assert (tally["frozen"], tally["accepted"]) == (READERS + 2, READERS + 2)
    kept = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    # The sink also keeps an empty file for the probe that only connected.
    letters = [letter for letter in kept if "Message-ID" in letter]
    assert len(letters) == READERS + 2
    assert (
        len({line for one in letters for line in one.splitlines() if line.startswith("Message-ID")})
        == READERS + 2
    )

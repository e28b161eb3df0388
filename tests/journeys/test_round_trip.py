"""There and back: a real Postfix takes an issue, is refused some letters, and its own reports come home."""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlmodel import col, select

from digest.database import open_engine, reading
from digest.returns.classes import Class
from digest.returns.models import Received, Report, Stage
from digest.settings import load
from subscribers.models import State, Subscriber
from tests.digest.postfix_relay import Postfix, postfix

from .conftest import SEPTEMBER, Mailbox, Publication

DIGEST = "from digest.cli.app import main; main()"
HOME = "bounces.quay.example"
#: a letter that is refused for now is given up after its first try
MORE = """\
transport_maps = inline:{{ {{ {home} = returns: }}, {{ example.org = smtp:[127.0.0.1]:{port} }} }}
returns_destination_recipient_limit = 1
maximal_queue_lifetime = 0
"""
SERVICES = """\
smtp      unix - - n - - smtp
returns   unix - n n - 1 pipe
  flags=DR user=nobody argv=/bin/sh {folder}/deliver
"""
#: to a named pipe, and out with the exit code that comes back by another
DELIVER = """\
cat > {folder}/message || exit 75
read -r code < {folder}/code || exit 75
exit "$code"
"""
#: what the next mail server says of whom, and what that is
REFUSED = {
    "dead@example.org": (
        "550 5.1.1 <dead@example.org>: Recipient address rejected: User unknown",
        Class.HARD,
    ),
    "full@example.org": ("552 5.2.2 The mailbox is over its quota", Class.SOFT),
    "fuller@example.org": ("452 4.2.2 The mailbox is full, try again later", Class.SOFT),
    "policy@example.org": ("550 5.7.1 Service unavailable; client host blocked by a list", Class.POLICY),
}


class Home:
    """`digest bounces read -` behind a pipe of Postfix's.

    pipe(8) runs nothing as root, and the Python of these tests may be root's own. So what it runs hands the
    message on through named pipes to the command, and takes back how that ended.
    """

    def __init__(self, folder: Path, env: Path) -> None:
        self.folder, self.env = folder, env
        self.codes: list[int] = []
        self._stops = False

    @contextmanager
    def open(self) -> Iterator[None]:
        for name in ("message", "code"):
            os.mkfifo(self.folder / name)
        (self.folder / "deliver").write_text(DELIVER.format(folder=self.folder))
        for one in (self.folder, *self.folder.iterdir()):
            one.chmod(0o777)
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stops = True
            # Open both ways, a pipe keeps nobody waiting for a partner; held until whoever waits has gone on.
            held = [os.open(self.folder / name, os.O_RDWR) for name in ("message", "code")]
            thread.join(20)
            for one in held:
                os.close(one)

    def _work(self) -> None:
        command = [sys.executable, "-c", DIGEST, "--env", str(self.env), "bounces", "read", "-"]
        while True:
            with (self.folder / "message").open("rb") as message:
                if self._stops:
                    return
                self.codes.append(subprocess.run(command, stdin=message, timeout=60).returncode)
            (self.folder / "code").write_text(f"{self.codes[-1]}\n")


@pytest.fixture
def home(publication: Publication) -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="digest-home-") as folder:
        there = Home(Path(folder), publication.folder / ".env")
        with there.open():
            yield there


@pytest.fixture
def relay_there_and_back(home: Home, relay: int) -> Iterator[Postfix]:
    more, services = MORE.format(home=HOME, port=relay), SERVICES.format(folder=home.folder)
    with postfix(more=more, services=services) as running:
        yield running


@pytest.mark.slow
def test_postfixs_own_reports_cost_the_right_readers_the_right_thing(
    publication: Publication, mailbox: Mailbox, home: Home, relay_there_and_back: Postfix
) -> None:
    """B-1, B-2, B-7, F-22: unknown users, full mailboxes, policy; and nobody else."""
    mailbox.refusals = {who: said for who, (said, _) in REFUSED.items()}
    publication.set(SMTP_PORT=relay_there_and_back.port, BOUNCE_DOMAIN=HOME)
    for address in REFUSED:
        publication("subscribers", "add", address)
    publication("posts", "import", publication.feed(*SEPTEMBER))
    publication("issue", "build", "2015-09")
    publication("issue", "approve", "2015-09")
    assert publication("dispatch", "2015-09", "--json").json["accepted"] == len(REFUSED) + 2
    until = time.monotonic() + 40
    while len(home.codes) < len(REFUSED) and time.monotonic() < until:
        time.sleep(0.05)
    assert home.codes == [0] * len(REFUSED), "\n".join(relay_there_and_back.lines())
    assert mailbox.recipients() == ["a@example.org", "b@example.org"]

    engine = open_engine(load(publication.folder / ".env").database_url)
    with reading(engine) as session:
        said = session.exec(
            select(Subscriber.address, Report.klass).join(
                Report, col(Report.subscriber_id) == col(Subscriber.id)
            )
        )
        assert dict(said.all()) == {who: klass for who, (_, klass) in REFUSED.items()}
        assert len(session.exec(select(Report)).all()) == len(REFUSED)
        assert {one.stage for one in session.exec(select(Received))} == {Stage.DONE}
        states = dict(session.exec(select(Subscriber.address, Subscriber.state)).all())
    engine.dispose()
    assert {who for who, state in states.items() if state != State.ACTIVE} == {"dead@example.org"}
    assert states["dead@example.org"] == State.BOUNCED
    assert publication("bounces", "list", "--json").json["messages"] == []

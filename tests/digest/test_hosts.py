"""Two hosts, each in a network namespace of its own; one is cut off in mid-run."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from digest.models import Delivered
from tests.conftest import lacking
from tests.digest.processes import ROOT, kept_by, name_of, wait_for_letters
from tests.digest.sending import count_of, frozen, rows, tallied
from tests.digest.test_workers import (  # noqa: F401 - fixtures
    A_WHILE,
    CONNECTIONS,
    Workers,
    forking,
    handed,
    is_sent,
    queueing,
    store,
    until,
    workers,
)
from tests.digest.worker_run import PULSE

HERE = Path(__file__).parent
FOR_TESTS = IPv4Network("198.18.0.0/15")


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass
class Host:
    """A network namespace whose only way out is one cable to this machine."""

    number: int
    of: int
    """The process whose host this is."""

    @property
    def name(self) -> str:
        return f"digest{self.of}n{self.number}"

    @property
    def cable(self) -> str:
        return f"dg{self.of}c{self.number}"

    def address(self, end: int) -> str:
        """Of our end, 1, or the host's, 2: of the networks for tests of this kind (RFC 2544, C.2.2).

        Each process has a /29 of its own there: two cables with one address would take each other's packets.
        """
        return str(FOR_TESTS[self.of * 8 % FOR_TESTS.num_addresses + (self.number - 1) * 4 + end])

    def set_up(self) -> None:
        ip("netns", "add", self.name)
        ip("link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("addr", "add", f"{self.address(1)}/30", "dev", self.cable)
        ip("link", "set", self.cable, "up")
        ip("-n", self.name, "addr", "add", f"{self.address(2)}/30", "dev", "eth0")
        ip("-n", self.name, "link", "set", "eth0", "up")

    def cut(self) -> None:
        """Nothing gets through any more, and nobody is told."""
        ip("link", "set", self.cable, "down")

    def mend(self) -> None:
        ip("link", "set", self.cable, "up")

    def tear_down(self) -> None:
        for what in (["link", "del", self.cable], ["netns", "del", self.name]):
            subprocess.run(["ip", *what], check=False, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    if shutil.which("ip") is None or os.geteuid() != 0:
        lacking("network namespaces (ip netns, as root)")
    found = [Host(1, os.getpid()), Host(2, os.getpid())]
    try:
        for host in left_behind():
            host.tear_down()
        for host in found:
            host.set_up()
    except subprocess.CalledProcessError:
        for host in found:
            host.tear_down()
        lacking("network namespaces (ip netns, as root)")
    yield found
    for host in found:
        host.tear_down()


def left_behind() -> list[Host]:
    """The hosts of test processes that were killed: an interface outlives who made it."""
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    named = (Host(int(n), int(of)) for of, n in re.findall(r": dg(\d+)c(\d+)@", links))
    return [host for host in named if not Path(f"/proc/{host.of}").exists()]


@contextmanager
def worker_on(host: Host, engine: Engine, port: int) -> Iterator[subprocess.Popen[str]]:
    """A worker on *host*, which reaches the store and the relay over its cable only."""
    socket = f"{engine.url.query['host']}/.s.PGSQL.5432"
    between = [sys.executable, str(HERE / "forwarder.py"), host.address(1), socket, f"127.0.0.1:{port}"]
    with subprocess.Popen(between, stdout=subprocess.PIPE, text=True) as forwarder:
        assert forwarder.stdout is not None
        store_port, relay_port = (int(forwarder.stdout.readline()) for _ in range(2))
        url = engine.url.set(host=host.address(1), port=store_port, query={}).render_as_string(False)
        command = ["ip", "netns", "exec", host.name, sys.executable, str(HERE / "worker_run.py"), url]
        more = [f"{host.address(1)}:{relay_port}", host.name, "0", "40", str(PULSE.every), "resend"]
        with subprocess.Popen(
            command + more, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        ) as worker:
            try:
                yield worker
            finally:
                worker.kill()
                forwarder.kill()


@pytest.mark.slow
def test_a_host_that_is_cut_off_in_mid_run_is_taken_over_and_ends_by_itself(
    store: Engine,  # noqa: F811
    workers: Workers,  # noqa: F811
    sink: tuple[int, Path],
    hosts: list[Host],
) -> None:
    """R-2, R-4, R-7: nobody is lost, nobody gets two but who was in doubt; the host sends nothing more."""
    port, kept = sink
    letters = 140
    issue_id = frozen(store, letters)
    with ExitStack() as stack:
        cut_off, other = (stack.enter_context(worker_on(host, store, port)) for host in hosts)
        handed(store, issue_id)
        until(lambda: running(store) == len(hosts))
        wait_for_letters(kept, 5)
        hosts[0].cut()
        until(lambda: tallied(store, issue_id).queued + tallied(store, issue_id).sending == 0, 40)
        in_doubt = {name_of(r.subscriber_id) for r in rows(store, issue_id) if r.state is Delivered.IN_DOUBT}
        assert len(in_doubt) <= CONNECTIONS
        # Not told by anybody, it has ended, so that whatever supervises it starts it anew.
        assert cut_off.wait(30) != 0
        hosts[0].mend()
        assert other.poll() is None
        accepted = kept_by(kept)
    assert set(accepted.values()) == {1}
    assert {name_of(n) for n in range(1, letters + 1)} - set(accepted) <= in_doubt
    workers.start(port, A_WHILE)
    until(lambda: is_sent(store, issue_id))
    assert count_of(store, issue_id) == {"frozen": letters, "accepted": letters}
    accepted = kept_by(kept)
    assert len(accepted) == letters
    assert {name for name, copies in accepted.items() if copies > 1} <= in_doubt


def running(engine: Engine) -> int:
    """How many runs are at work."""
    with engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM run WHERE ended_at IS NULL")).scalar_one()

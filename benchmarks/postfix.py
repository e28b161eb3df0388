"""Postfix as the others know it: its smtp-source, its smtp-sink, and a relay of its own that discards."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.sink import HOST

SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin"
#: where the packages of the distributions keep Postfix's daemons
DAEMONS = ("/usr/lib/postfix/sbin", "/usr/libexec/postfix", "/usr/lib/postfix")
STARTING = 20  # seconds

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {commands}
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
myhostname = relay.example
mydestination =
inet_interfaces = loopback-only
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_tls_security_level = none
default_transport = discard:
local_transport = discard:
alias_maps =
alias_database =
"""
MASTER = """\
{host}:{port} inet n - n - 100 smtpd
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
flush     unix n - n 1000? 0 flush
proxymap  unix - - n - - proxymap
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
anvil     unix - - n - 1 anvil
postlog   unix-dgram n - n - 1 postlogd
"""


def lacks() -> str:
    """What keeps a Postfix from being started here; "" where nothing does."""
    if program("postfix") is None or _daemons() is None:
        return "Postfix"
    return "" if os.geteuid() == 0 else "root's rights, which Postfix is started with"


def program(name: str) -> str | None:
    """The path of one of Postfix's programs; None where the machine has none."""
    return shutil.which(name, path=SBIN)


def _daemons() -> str | None:
    return next((path for path in DAEMONS if (Path(path) / "smtpd").exists()), None)


def free_port() -> int:
    """A port of loopback that was free a moment ago."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


@contextmanager
def smtp_sink() -> Iterator[int]:
    """The port of Postfix's own sink, until the end."""
    port = free_port()
    # As root it wants to be told whom to be.
    user = ["-u", "root"] if os.geteuid() == 0 else []
    with subprocess.Popen([program("smtp-sink") or "smtp-sink", *user, f"{HOST}:{port}", "100"]) as process:
        try:
            _await(port)
            yield port
        finally:
            process.terminate()


class Discarding:
    """A Postfix that takes every letter into its queue and delivers it to nobody."""

    def __init__(self, port: int, log: Path) -> None:
        """It listens on *port*, and writes what it does to *log*."""
        self.port = port
        self.log = log

    def delivered(self, letters: int, seconds: float) -> int:
        """How many letters have left its queue, at the latest when *letters* have or after *seconds*."""
        until = time.monotonic() + seconds
        while (found := self._delivered()) < letters and time.monotonic() < until:
            time.sleep(0.5)
        return found

    def _delivered(self) -> int:
        with self.log.open("rb") as lines:
            return sum(b"status=sent" in line for line in lines)


@contextmanager
def discarding(folder: Path, more: str = "", services: str = "") -> Iterator[Discarding]:
    """A relay with its queue and settings in *folder*, until the end; the machine's own is not touched.

    *more* are lines of its main.cf that come after ours, *services* those of its master.cf.
    """
    port, settings = free_port(), folder / "settings"
    # Its daemons are another user, who must get as far as the queue, whatever the umask is: a command of
    # ours closes it.
    for one in (folder, settings, folder / "queue", folder / "data"):
        one.mkdir(exist_ok=True)
        one.chmod(0o755)
    shutil.chown(folder / "data", "postfix")
    values = {"folder": folder, "commands": Path(program("postfix") or "").parent, "daemons": _daemons()}
    (settings / "main.cf").write_text(MAIN.format(**values) + more)
    (settings / "master.cf").write_text(MASTER.format(host=HOST, port=port) + services)
    for one in settings.iterdir():
        one.chmod(0o644)
    log = folder / "log"
    log.touch()
    postfix = [program("postfix") or "postfix", "-c", str(settings)]
    started = subprocess.run([*postfix, "start"], capture_output=True, text=True, umask=0o022)
    try:
        if started.returncode:
            raise RuntimeError(f"Postfix does not start: {_last(log) or started.stderr.strip()}")
        _await(port)
        yield Discarding(port, log)
    finally:
        subprocess.run([*postfix, "stop"], capture_output=True)


def _last(log: Path) -> str:
    found = re.findall(r"(?m)(?:fatal|error): .*$", log.read_text(errors="replace"))
    return str(found[-1]) if found else ""


def _await(port: int) -> None:
    """Somebody listens on *port*; TimeoutError where nobody does in time."""
    until = time.monotonic() + STARTING
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")

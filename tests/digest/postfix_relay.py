"""A Postfix of its own for a test: its queue, its log, and every letter it takes is handed to `discard`."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import lacking

#: letters to here bounce at once
NOWHERE = "nowhere.example.org"
#: letters to here are refused after their final dot
REFUSED = "refused.example.org"

MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
syslog_name = postfix-{port}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = relay.example.org
mydestination =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_end_of_data_restrictions = check_recipient_access inline:{{{refused}=REJECT}}
smtpd_reject_unlisted_recipient = no
smtpd_client_connection_count_limit = 0
default_transport = discard:
relay_transport = discard:
transport_maps = inline:{{ {{ {nowhere} = error:5.1.1 nobody of that name }} }}
alias_maps =
alias_database =
enable_long_queue_ids = {long}
"""
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@dataclass(frozen=True)
class Postfix:
    """A running Postfix."""

    port: int
    log: Path

    def lines(self) -> list[str]:
        """Its log so far."""
        return self.log.read_text(encoding="utf-8", errors="replace").splitlines()

    def settled(self) -> list[str]:
        """Its log, once a second has brought nothing more."""
        before: list[str] = []
        while (now := self.lines()) != before:
            before = now
            time.sleep(1)
        return now


@contextmanager
def postfix(*, long_queue_ids: bool = True) -> Iterator[Postfix]:
    """A real Postfix on this machine; skips where there is none, or nobody may start it."""
    program = shutil.which("postfix", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        lacking("Postfix")
    if os.geteuid() != 0:
        lacking("the right to start Postfix (root)")
    # Its daemons are another user: they must come through the folders above.
    folder = Path(tempfile.mkdtemp(prefix="digest-postfix-"))
    folder.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("config", "queue", "data"):
        (folder / name).mkdir()
        (folder / name).chmod(0o755)  # whatever the umask is: a command of ours closes it
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
    long = "yes" if long_queue_ids else "no"
    main = MAIN.format(folder=folder, port=port, nowhere=NOWHERE, refused=REFUSED, long=long)
    (folder / "config" / "main.cf").write_text(main)
    (folder / "config" / "master.cf").write_text(MASTER.format(port=port))
    for path in (folder / "config").iterdir():
        path.chmod(0o644)
    commands = [program, "-c", str(folder / "config")]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    starter = subprocess.Popen([*commands, "start-fg"], umask=0o022, **quiet)
    try:
        _wait_for(port)
        yield Postfix(port, folder / "mail.log")
    finally:
        # The master has left the starter's session: its own command ends it.
        subprocess.run([*commands, "stop"], check=False, timeout=30, **quiet)
        with suppress(subprocess.TimeoutExpired):
            starter.wait(10)
        starter.kill()
        starter.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("Postfix does not listen")

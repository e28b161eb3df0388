"""A Postfix of its own for a test: its queue, its log, and every letter it takes is handed to `discard`."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.postfix import discarding, lacks
from tests.conftest import lacking

#: letters to here bounce at once
NOWHERE = "nowhere.example.org"
#: letters to here are refused after their final dot
REFUSED = "refused.example.org"

MORE = f"""\
syslog_name = postfix-relay
local_recipient_maps =
smtpd_end_of_data_restrictions = check_recipient_access inline:{{{REFUSED}=REJECT}}
smtpd_reject_unlisted_recipient = no
smtpd_client_connection_count_limit = 0
transport_maps = inline:{{ {{ {NOWHERE} = error:5.1.1 nobody of that name }} }}
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
def postfix(*, long_queue_ids: bool = True, more: str = "", services: str = "") -> Iterator[Postfix]:
    """A real Postfix on this machine; skips where there is none, or nobody may start it.

    *more* are lines of its main.cf that come after ours, *services* those of its master.cf.
    """
    if missing := lacks():
        lacking(missing)
    names = f"enable_long_queue_ids = {'yes' if long_queue_ids else 'no'}\n"
    # It goes on for a moment after it was told to stop.
    with (
        tempfile.TemporaryDirectory(prefix="digest-postfix-", ignore_cleanup_errors=True) as folder,
        discarding(Path(folder), MORE + names + more, services) as relay,
    ):
        yield Postfix(relay.port, relay.log)

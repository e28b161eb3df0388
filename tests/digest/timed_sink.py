"""A relay of its own process that takes everything and says when: `python timed_sink.py FILE`.

Prints its port. For every letter it appends a line to FILE: the recipient, when the RCPT command named
them, when the letter was there; both in seconds of the machine's monotonic clock, which all processes share.
"""

import contextlib
import os
import socketserver
import sys
import time
from pathlib import Path

ANSWERS = {b"EHLO": b"250-sink\r\n250 SMTPUTF8\r\n", b"DATA": b"354 go on\r\n", b"QUIT": b"221 bye\r\n"}


class Talk(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Until the other side leaves."""
        with contextlib.suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        to, begun = b"", 0.0
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"RCPT":
                to, begun = line[line.index(b"<") + 1 : line.index(b">")], time.monotonic()
            self.wfile.write(ANSWERS.get(verb, b"250 ok\r\n"))
            if verb == b"QUIT":
                return
            if verb == b"DATA":
                while (part := self.rfile.readline()) != b".\r\n":
                    if not part:
                        return
                os.write(KEPT, b"%s %.6f %.6f\n" % (to, begun, time.monotonic()))
                self.wfile.write(b"250 2.0.0 taken\r\n")


class Sink(socketserver.ThreadingTCPServer):
    """Every connection in a thread."""

    daemon_threads = True
    request_queue_size = 100


if __name__ == "__main__":
    KEPT = os.open(Path(sys.argv[1]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with Sink(("127.0.0.1", 0), Talk) as sink:
        sys.stdout.write(f"{sink.server_address[1]}\n")
        sys.stdout.flush()
        sink.serve_forever()

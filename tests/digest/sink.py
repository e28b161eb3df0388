"""A relay of its own process that keeps what it accepts: each letter's name is on the disk before its 250.

Usage: python sink.py FILE [DELAY [EXTENSION…]]. Prints its port. Its EHLO offers each EXTENSION. After
every letter it appends a line to FILE: the Message-ID, a space, and SHA-256 of the content. *DELAY* is the
most seconds it thinks before an answer to the dot.
"""

import contextlib
import hashlib
import os
import random
import re
import socketserver
import sys
import threading
import time
from pathlib import Path

OFFERS = "".join(f"250-{one}\r\n" for one in sys.argv[3:]).encode()
ANSWERS = {
    b"EHLO": b"250-sink\r\n" + OFFERS + b"250 SIZE 10000000\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}
KEEPING = threading.Lock()


class Talk(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Until the other side leaves or is killed."""
        with contextlib.suppress(OSError):
            self._talk()

    def _talk(self) -> None:
        self.wfile.write(b"220 ready\r\n")
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb == b"BDAT":
                size = int(line.split()[1])
                content = self.rfile.read(size)
                if len(content) < size:
                    return
                self._keep(content)
                continue
            self.wfile.write(ANSWERS.get(verb, b"250 ok\r\n"))
            if verb == b"QUIT":
                return
            if verb == b"DATA" and not self._data():
                return

    def _data(self) -> bool:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return False  # no dot: no letter
            lines.append(line)
        self._keep(b"".join(lines))
        return True

    def _keep(self, content: bytes) -> None:
        time.sleep(random.uniform(0, DELAY))
        name = re.search(rb"(?m)^Message-ID: (\S+)", content)
        assert name is not None
        with KEEPING:
            os.write(KEPT, b"%s %s\n" % (name[1], hashlib.sha256(content).hexdigest().encode()))
            os.fsync(KEPT)
        time.sleep(random.uniform(0, DELAY))
        self.wfile.write(b"250 2.0.0 kept\r\n")


class Sink(socketserver.ThreadingTCPServer):
    """Every connection in a thread."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 100


if __name__ == "__main__":
    KEPT = os.open(Path(sys.argv[1]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    DELAY = float(sys.argv[2]) if len(sys.argv) > 2 else 0.0
    with Sink(("127.0.0.1", 0), Talk) as sink:
        sys.stdout.write(f"{sink.server_address[1]}\n")
        sys.stdout.flush()
        sink.serve_forever()

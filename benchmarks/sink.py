"""A mail server that takes everything at once and keeps nothing: `python -m benchmarks.sink`.

It runs in a process of its own, so that it does not share the interpreter with whoever is measured,
and names its port on standard output. One thread a connection; it is Python and has a limit of its own.
"""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"
END = b"\r\n.\r\n"
ANSWERS = {
    b"EHLO": b"250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n",
    b"DATA": b"354 go on\r\n",
    b"QUIT": b"221 bye\r\n",
}
_READ = 1024 * 1024  # bytes


@contextmanager
def sink() -> Iterator[int]:
    """The port of a sink in a process of its own, until the end."""
    command = [sys.executable, "-m", "benchmarks.sink"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def main() -> None:
    """Serves until it is ended."""
    with socket.create_server((HOST, 0), backlog=128) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"220 ready\r\n")
        waiting = b""
        while octets := connection.recv(_READ):
            waiting += octets
            while (found := waiting.find(b"\r\n")) >= 0:
                verb, waiting = waiting[:4].upper(), waiting[found + 2 :]
                connection.sendall(ANSWERS.get(verb, b"250 ok\r\n"))
                if verb == b"QUIT":
                    return
                if verb == b"DATA":
                    waiting = _taken(connection, waiting)
                    connection.sendall(b"250 2.0.0 taken\r\n")


def _taken(connection: socket.socket, begun: bytes) -> bytes:
    """What stands behind the letter that begins with *begun*."""
    while (found := begun.find(END)) < 0:
        octets = connection.recv(_READ)
        if not octets:
            raise ConnectionResetError("closed inside a letter")
        # Of what was read only the end can still belong to the dot.
        begun = begun[-len(END) :] + octets
    return begun[found + len(END) :]


if __name__ == "__main__":
    main()

"""An SMTP server that does as it is told: answers, drops, resets, garbage, slowness, at any phase."""

import contextlib
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import lacking

#: ends the connection, politely or with a reset, instead of answering
DROP = "drop"
RESET = "reset"


@dataclass(frozen=True)
class Slow:
    """Answers after *seconds*."""

    seconds: float
    answer: bytes


@dataclass(frozen=True)
class Drip:
    """Answers one byte every *seconds*."""

    seconds: float
    answer: bytes


@dataclass(frozen=True)
class Then:
    """Answers and ends the connection."""

    answer: bytes


Answer = bytes | str | Slow | Drip | Then
#: one answer for ever; several: one after the other over all connections, the last one for ever
Script = dict[str, Answer | list[Answer] | Callable[[str], Answer]]

GOOD: dict[str, bytes] = {
    "greeting": b"220 ready\r\n",
    "EHLO": b"250-evil\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n250 DSN\r\n",
    "STARTTLS": b"220 go\r\n",
    "AUTH": b"235 2.7.0 in\r\n",
    "MAIL": b"250 2.1.0 ok\r\n",
    "RCPT": b"250 2.1.5 ok\r\n",
    "DATA": b"354 go on\r\n",
    "dot": b"250 2.0.0 queued as 4F2\r\n",
    "RSET": b"250 ok\r\n",
    "QUIT": b"221 bye\r\n",
}
#: asked for a letter that has no recipient
NOBODY = b"554 5.5.1 no valid recipients\r\n"
PIPELINED, CHUNKED = ("PIPELINING",), ("PIPELINING", "CHUNKING")
OFFERS = tuple(os.environ.get("EVIL_OFFERS", "").split())


class End(Exception):
    """The connection is over."""


@dataclass
class Caught:
    """A letter that was answered 2xx, as it came over the wire (dots unstuffed)."""

    mail: str
    rcpt: str
    content: bytes

    @property
    def message_id(self) -> str:
        match = re.search(rb"(?im)^Message-ID:\s*(\S+)", self.content)
        return match[1].decode() if match else ""


@dataclass
class EvilServer:
    """Use as a context: `with EvilServer({"RCPT": b"550 5.1.1 no\\r\\n"}) as server`.

    The key "body" is asked for as soon as the first bytes of a letter are there. A callable gets the
    line of the command, or RCPT's for "dot". Bodies are kept also where the dot never came.
    """

    script: Script = field(default_factory=dict)
    #: what else its EHLO offers: "PIPELINING", "CHUNKING"; EVIL_OFFERS for all that say nothing else
    offers: Sequence[str] = OFFERS
    #: to DATA or BDAT where no recipient was taken
    nobody: bytes = NOBODY
    tls: ssl.SSLContext | None = None
    #: gets each letter that was taken
    deliver: Callable[[Caught], None] = lambda caught: None
    #: TLS from the first byte
    at_once: bool = False
    letters: list[Caught] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_at_most: int = 0

    def __enter__(self) -> "EvilServer":
        self._asked: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        # What is not read must not fit into the kernel: inherited by every connection.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join(5)
        for one in list(self._open):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def asked(self, phase: str) -> int:
        """How often *phase* was come to."""
        return self._asked[phase]

    @property
    def copies(self) -> Counter[int]:
        """How many letters were accepted once, how many twice, and so on."""
        return Counter(Counter(caught.message_id for caught in self.letters).values())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self.open_now += 1
                self.open_at_most = max(self.open_at_most, self.open_now)
                self._open.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        talk = _Talk(self, connection)
        try:
            talk.go()
        except (End, OSError):
            pass
        finally:
            with self._lock:
                self.open_now -= 1
                self._open.discard(connection)
            talk.connection.close()

    def answer_to(self, phase: str, line: str) -> Answer:
        with self._lock:
            count = self._asked[phase]
            self._asked[phase] += 1
        found = self.script.get(phase, GOOD.get(phase, b"500 what\r\n"))
        if phase == "EHLO" and found is GOOD[phase]:
            return found.replace(b" DSN", "".join(f"-{one}\r\n250" for one in self.offers).encode() + b" DSN")
        if callable(found):
            return found(line)
        return found[min(count, len(found) - 1)] if isinstance(found, list) else found


class _Talk:
    """One connection."""

    def __init__(self, server: EvilServer, connection: socket.socket) -> None:
        self.server = server
        self.connection = connection
        self.buffer = b""
        self.rcpt = self.mail = ""
        #: MAIL was taken; a recipient was taken: there may be a letter
        self.has_sender = self.is_addressed = False

    def go(self) -> None:
        if self.server.at_once:
            self._wrap()
        self._say("greeting")
        while True:
            line = self._line()
            self.server.lines.append(line)
            verb = line[:4].upper() if line[:8].upper() != "STARTTLS" else "STARTTLS"
            if verb == "MAIL":
                self.mail, self.is_addressed = line, False
            elif verb == "RCPT":
                self.rcpt = line
            if verb == "BDAT":
                self._chunk(int(line.split()[1]))
                continue
            if verb == "DATA" and not self.is_addressed:
                self._give(self.server.nobody)
                continue
            if verb == "RCPT" and not self.has_sender:
                self._give(b"503 5.5.1 MAIL first\r\n")
                continue
            code = self._say(verb, line)
            if verb == "MAIL":
                self.has_sender = code.startswith(b"2")
            if verb == "RCPT":
                self.is_addressed = code.startswith(b"2")
            if verb == "DATA" and code.startswith(b"354"):
                self._data()
            elif verb == "STARTTLS" and code.startswith(b"220"):
                self._wrap()
            elif verb == "QUIT":
                raise End

    def _chunk(self, size: int) -> None:
        """A whole letter; the other chunks that BDAT knows nobody sends."""
        if "body" in self.server.script:
            self._say("body", self.rcpt)
        while len(self.buffer) < size:
            self._more()
        content, self.buffer = self.buffer[:size], self.buffer[size:]
        if self.is_addressed:
            self._take(content)
        else:
            self._give(self.server.nobody)

    def _data(self) -> None:
        if not self.buffer:
            self._more()
        if "body" in self.server.script:
            self._say("body", self.rcpt)
        # What was looked through is not looked through again: some letters have megabytes.
        letter, looked = bytearray(b"\r\n" + self.buffer), 0
        while (end := letter.find(b"\r\n.\r\n", looked)) < 0:
            looked = max(0, len(letter) - 4)
            letter += self._octets()
        self.buffer = bytes(letter[end + 5 :])
        content = bytes(letter[2:end]) + b"\r\n"
        self._take(re.sub(rb"(?m)^\.\.", b".", content))

    def _take(self, content: bytes) -> None:
        caught = Caught(self.mail, self.rcpt, content)
        answer = self.server.answer_to("dot", self.rcpt)
        plain = answer if isinstance(answer, bytes) else getattr(answer, "answer", b"")
        if plain.startswith(b"2") or answer == "take and drop":
            self.server.letters.append(caught)
            self.server.deliver(caught)
        self._give(answer)

    def _say(self, phase: str, line: str = "") -> bytes:
        return self._give(self.server.answer_to(phase, line))

    def _give(self, answer: Answer) -> bytes:
        if answer == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if isinstance(answer, str):
            raise End
        if isinstance(answer, Slow):
            time.sleep(answer.seconds)
            answer = answer.answer
        if isinstance(answer, Drip):
            for byte in answer.answer:
                self.connection.sendall(bytes([byte]))
                time.sleep(answer.seconds)
            return answer.answer
        if isinstance(answer, Then):
            self.connection.sendall(answer.answer)
            self._part()
            raise End
        self.connection.sendall(answer)
        return answer

    def _part(self) -> None:
        """What still comes is read: closing before that resets the connection, answer and all."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.connection, socket.SHUT_WR)
            self.connection.settimeout(0.2)
            while self.connection.recv(65536):
                pass

    def _line(self) -> str:
        while b"\n" not in self.buffer:
            self._more()
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode("utf-8", "replace").rstrip("\r")

    def _more(self) -> None:
        self.buffer += self._octets()

    def _octets(self) -> bytes:
        octets = self.connection.recv(65536)
        if not octets:
            raise End
        return octets

    def _wrap(self) -> None:
        assert self.server.tls is not None
        self.buffer = b""
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)


def certificate(folder: Path, name: str, days: int = 2) -> Path:
    """A self-signed certificate for *name* and so many *days* with its key, in one file of *folder*."""
    path = folder / f"{name}-{days}.pem"
    subject = f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", str(days), "-subj", f"/CN={name}", "-addext", subject, "-keyout", "-", "-out", "-"]
    try:
        made = subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        lacking("openssl")
    path.write_bytes(made.stdout)
    return path


def serving(path: Path) -> ssl.SSLContext:
    """A server's side of TLS with the certificate at *path*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


def trusting(path: Path) -> ssl.SSLContext:
    """A client's side that trusts the certificate at *path* and nothing else."""
    return ssl.create_default_context(cafile=path)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port

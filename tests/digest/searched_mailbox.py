"""An IMAP server on loopback, over TLS, with one mailbox: as much of RFC 3501 as a reader of it asks."""

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

USER, PASSWORD = "bounces", "the mailbox's password"


class ImapServer:
    """INBOX, whose messages are *messages*, and what was moved from it; the first has the UID 1."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.messages: list[bytes] = []
        self.moved: list[bytes] = []
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in [self._accepting, *self._threads]:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, plain: socket.socket) -> None:
        plain.settimeout(20)
        with (
            contextlib.suppress(OSError),
            plain,
            self._tls.wrap_socket(plain, server_side=True) as connection,
        ):
            connection.sendall(b"* OK ready\r\n")
            here = self.messages
            with connection.makefile("rb") as lines:
                for line in lines:
                    tag, _, command = line.decode().strip().partition(" ")
                    if command.startswith(("SELECT", "EXAMINE")):
                        here = self.moved if "Processed" in command else self.messages
                    answer = self._answer(command, here)
                    connection.sendall(answer + f"{tag} {self._done(command)}\r\n".encode())
                    if command == "LOGOUT":
                        return

    def _done(self, command: str) -> str:
        if command.startswith("LOGIN") and PASSWORD not in command:
            return "NO [AUTHENTICATIONFAILED] no"
        return "OK done"

    def _answer(self, command: str, here: list[bytes]) -> bytes:
        number = len(here)
        if command == "CAPABILITY":
            return b"* CAPABILITY IMAP4rev1\r\n"
        if command.startswith(("SELECT", "EXAMINE")):
            return b"* %d EXISTS\r\n* OK [UIDVALIDITY 1] fixed\r\n" % number
        if command.startswith("LIST"):
            return b'* LIST () "." "INBOX"\r\n* LIST () "." "INBOX.Processed"\r\n'
        if command.startswith("STATUS"):
            told = f"MESSAGES {number} RECENT 0 UIDNEXT {number + 1} UIDVALIDITY 1 UNSEEN {number}"
            return f'* STATUS "INBOX" ({told})\r\n'.encode()
        if found := re.match(r'UID SEARCH .*SUBJECT "([^"]+)"', command):
            holding = [uid for uid, raw in enumerate(here, 1) if found[1].encode() in subject(raw)]
            return f"* SEARCH {' '.join(map(str, holding))}".rstrip().encode() + b"\r\n"
        if found := re.match(r"UID FETCH (\d+) ", command, re.IGNORECASE):
            raw = here[int(found[1]) - 1]
            head = f"* {found[1]} FETCH (UID {found[1]} BODY[] {{{len(raw)}}}\r\n".encode()
            return head + raw + b")\r\n"
        return b"* BYE\r\n" if command == "LOGOUT" else b""


def subject(raw: bytes) -> bytes:
    """The line of the subject of *raw*."""
    found = re.search(rb"(?mi)^subject:.*$", raw)
    return found[0] if found else b""


@contextmanager
def imap_server(tls: ssl.SSLContext) -> Iterator[ImapServer]:
    """One that runs meanwhile."""
    server = ImapServer(tls)
    yield server
    server.close()

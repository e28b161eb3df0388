"""A small IMAP server on this machine: one account, TLS, folders of messages, and what a test may spoil."""

import re
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

USERNAME, PASSWORD = "bounces@example.org", 'pass "word" \\ 1'


@dataclass
class Server:
    """What the server has and does; folders are messages by UID."""

    port: int = 0
    folders: dict[str, dict[int, bytes]] = field(default_factory=lambda: {"INBOX": {}})
    capabilities: str = "IMAP4rev1 UIDPLUS MOVE"
    #: folders below INBOX only, as with Courier
    is_nested: bool = False
    #: called with each command before and after it is done
    watch: Callable[[str, str], None] = lambda when, command: None
    commands: list[str] = field(default_factory=list)

    def put(self, *messages: bytes, folder: str = "INBOX") -> None:
        """*messages* are in the folder."""
        for raw in messages:
            there = self.folders.setdefault(folder, {})
            there[max([0, *(uid for one in self.folders.values() for uid in one)]) + 1] = raw

    @property
    def messages(self) -> list[bytes]:
        """Those in the INBOX."""
        return list(self.folders["INBOX"].values())


class Connection(socketserver.StreamRequestHandler):
    """One client."""

    def handle(self) -> None:
        self.state: Server = self.server.state  # type: ignore[attr-defined]
        self.folder = self.state.folders["INBOX"]
        self.say("* OK ready")
        while line := self.rfile.readline():
            tag, _, command = line.decode().strip().partition(" ")
            name = re.match(r"(?:UID )?\w+", command.upper())
            assert name is not None
            self.state.commands.append(command)
            self.state.watch("before", name[0])
            answer = getattr(self, name[0].replace(" ", "_").lower())(command)
            self.state.watch("after", name[0])
            self.say(f"{tag} {answer} done")
            if name[0] == "LOGOUT":
                return

    def say(self, line: str, literal: bytes | None = None) -> None:
        self.wfile.write(line.encode() + (b"" if literal is None else b"\r\n" + literal + b")") + b"\r\n")

    def capability(self, _command: str) -> str:
        # As Dovecot: what it can do it says only to whom it knows.
        self.say(f"* CAPABILITY {self.state.capabilities if self.is_known else 'IMAP4rev1'}")
        return "OK"

    is_known = False

    def login(self, command: str) -> str:
        quoted = [one.replace("\\", "\\\\").replace('"', '\\"') for one in (USERNAME, PASSWORD)]
        if command != 'LOGIN "{}" "{}"'.format(*quoted):
            return "NO \x1b[31mwrong"
        self.is_known = True
        return "OK"

    def select(self, command: str) -> str:
        name = command.split()[1].strip('"')
        if name not in self.state.folders:
            return "NO not there"
        self.folder = self.state.folders[name]
        self.say(f"* {len(self.folder)} EXISTS")
        return "OK [READ-WRITE]"

    examine = select

    def status(self, command: str) -> str:
        number = len(self.state.folders[command.split()[1].strip('"')])
        self.say(f'* STATUS "INBOX" (MESSAGES {number} RECENT 0 UIDNEXT 1 UIDVALIDITY 1 UNSEEN {number})')
        return "OK"

    def list(self, _command: str) -> str:
        for name in self.state.folders:
            self.say(f'* LIST () "." "{name}"')
        return "OK"

    def create(self, command: str) -> str:
        name = command.split()[1].strip('"')
        if self.state.is_nested and not name.startswith("INBOX."):
            return "NO not there"
        self.state.folders[name] = {}
        return "OK"

    def uid_search(self, command: str) -> str:
        wanted = re.search(r'SUBJECT "([^"]+)"', command)
        found = [uid for uid, raw in self.folder.items() if wanted is None or wanted[1] in subject(raw)]
        self.say("* SEARCH " + " ".join(map(str, found)))
        return "OK"

    def uid_fetch(self, command: str) -> str:
        _, _, uid, what = command.split(maxsplit=3)
        found = re.fullmatch(r"\(BODY\.PEEK\[\]<0\.(\d+)>\)", what)
        assert found is not None
        raw = self.folder.get(int(uid))
        if raw is not None:
            part = raw[: int(found[1])]
            self.say(f"* 1 FETCH (UID {uid} BODY[]<0> {{{len(part)}}}", part)
        return "OK"

    def uid_move(self, command: str) -> str:
        _, _, uid, folder = command.split()
        if (raw := self.folder.pop(int(uid), None)) is not None:
            self.state.folders[folder.strip('"')][int(uid)] = raw
        return "OK"

    def logout(self, _command: str) -> str:
        self.say("* BYE")
        return "OK"


class _Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, context: ssl.SSLContext, state: Server) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.context, self.state = context, state

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    def handle_error(self, _request: object, _address: object) -> None:
        """A client that was killed, or trusts us not, is no error of the server's."""


def subject(raw: bytes) -> str:
    """The line of the subject of *raw*."""
    found = re.search(rb"(?mi)^subject:.*$", raw)
    return found[0].decode(errors="replace") if found else ""


@contextmanager
def running(tls: ssl.SSLContext) -> Iterator[Server]:
    """A running server, whose side of TLS is *tls*."""
    state = Server()
    with _Listener(tls, state) as listener:
        state.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        yield state
        listener.shutdown()
        thread.join()

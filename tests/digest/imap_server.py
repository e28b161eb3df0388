"""A small IMAP server on this machine: one account, TLS, folders of messages, and what a test may spoil."""

import re
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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

    def put(self, *messages: bytes) -> None:
        """*messages* are in the INBOX."""
        for raw in messages:
            inbox = self.folders["INBOX"]
            inbox[max([0, *(uid for folder in self.folders.values() for uid in folder)]) + 1] = raw


class Connection(socketserver.StreamRequestHandler):
    """One client."""

    def handle(self) -> None:
        self.state: Server = self.server.state  # type: ignore[attr-defined]
        self.folder = "INBOX"
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

    def select(self, _command: str) -> str:
        self.say(f"* {len(self.state.folders['INBOX'])} EXISTS")
        return "OK [READ-WRITE]"

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

    def uid_search(self, _command: str) -> str:
        self.say("* SEARCH " + " ".join(map(str, self.state.folders["INBOX"])))
        return "OK"

    def uid_fetch(self, command: str) -> str:
        _, _, uid, what = command.split(maxsplit=3)
        found = re.fullmatch(r"\(BODY\.PEEK\[\]<0\.(\d+)>\)", what)
        assert found is not None
        raw = self.state.folders["INBOX"].get(int(uid))
        if raw is not None:
            part = raw[: int(found[1])]
            self.say(f"* 1 FETCH (UID {uid} BODY[]<0> {{{len(part)}}}", part)
        return "OK"

    def uid_move(self, command: str) -> str:
        _, _, uid, folder = command.split()
        if (raw := self.state.folders["INBOX"].pop(int(uid), None)) is not None:
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


def certificate(folder: Path) -> Path:
    """A self-signed certificate of localhost and its key, in one file."""
    path = folder / "imap.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    places = ["-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    subprocess.run(["openssl", "req", *options, *names, *places], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return path


@contextmanager
def serving(pem: Path) -> Iterator[Server]:
    """A running server with the certificate *pem*, of localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    state = Server()
    with _Listener(context, state) as listener:
        state.port = listener.server_address[1]
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        yield state
        listener.shutdown()
        thread.join()

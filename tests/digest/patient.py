"""An installation as it should be, and the world around it on loopback: DNS, relay, pages, mailbox.

Each thing in it can be broken on its own. The relay signs what it takes and a receiving side delivers it.
"""

import hashlib
import os
import re
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from digest.database import open_engine, writing
from digest.doctor.choices import Choices
from digest.doctor.examine import examine
from digest.doctor.installation import Asked, Installation, Tools
from digest.doctor.line import Level, Line
from digest.doctor.names import Names
from digest.health import beat
from digest.initial import write_env
from digest.mailbox import Account
from digest.migrating import upgrade
from digest.models import Issue, Status
from digest.month import Month
from digest.sending.relay import Relay, Security, Timeouts
from subscribers.tokens import Keyring
from tests.conftest import lacking
from tests.digest import imap_server, website
from tests.digest.evil_server import Caught, EvilServer, certificate, free_port, serving, trusting
from tests.digest.nameserver import NameServer, Zone, name_server

#: under a top-level domain that there is not, so that none of it can be anybody's
DOMAIN = "slowwater.harbour"
BOUNCES = f"bounces.{DOMAIN}"
PAGES = f"letters.{DOMAIN}"
SELECTOR = "letters2026"
#: where letters leave from, by what the receiving side says; never connected to
LEAVES, MAIL = "93.184.216.34", f"mail.{DOMAIN}"
RECEIVER = "mx.receiver.example"
EHLO = (
    b"250-relay\r\n250-SIZE 20000000\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-8BITMIME\r\n"
    b"250-SMTPUTF8\r\n250-AUTH PLAIN\r\n250-STARTTLS\r\n250 DSN\r\n"
)
KEYS = [
    "c1f0f3b97be04d8aa7165ee23e0b9c5d2f61a8b34c9d7e10",
    "97ad5c0be216f48d3e7b90c1a2d44f6e8b3c5d7f9a0e1b2c",
]


def zone_of(key: str) -> Zone:
    """The zone as it should be, with the public *key* in it."""
    exchanger = {"MX": [f"10 mx.{DOMAIN}."]}
    return {
        DOMAIN: {
            **exchanger,
            "SOA": [f"ns.{DOMAIN}. desk.{DOMAIN}. 1 3600 600 86400 60"],
            "TXT": [f"v=spf1 mx a:{MAIL} -all", "something-else=1"],
        },
        BOUNCES: {**exchanger, "TXT": [f"v=spf1 include:_spf.{DOMAIN} -all"]},
        f"_spf.{DOMAIN}": {"TXT": [f"v=spf1 ip4:{LEAVES}/32 ~all"]},
        f"mx.{DOMAIN}": {"A": ["93.184.216.36"]},
        MAIL: {"A": [LEAVES]},
        PAGES: {"A": ["93.184.216.40"], "AAAA": ["2606:2800:220:1::40"]},
        f"_dmarc.{DOMAIN}": {"TXT": [f"v=DMARC1; p=quarantine; rua=mailto:dmarc@{DOMAIN}"]},
        f"{SELECTOR}._domainkey.{DOMAIN}": {"TXT": [f"v=DKIM1; k=rsa; p={key}"]},
        "34.216.184.93.in-addr.arpa": {"PTR": [f"{MAIL}."]},
    }


@dataclass(frozen=True)
class Signer:
    """What signs at the relay: a key in a file, and what it puts under its signature."""

    key: Path
    domain: str = DOMAIN
    selector: str = SELECTOR
    headers: str = "from:to:subject:date:message-id:list-unsubscribe:list-unsubscribe-post"

    @classmethod
    def fresh(cls, folder: Path, bits: int = 2048) -> "Signer":
        """One with a new key of so many *bits* in *folder*."""
        path = folder / f"dkim{bits}.pem"
        _openssl("genrsa", "-out", str(path), str(bits))
        return cls(path)

    @property
    def public(self) -> str:
        """The public key, as a TXT record holds it."""
        return b64encode(_openssl("rsa", "-in", str(self.key), "-pubout", "-outform", "DER")).decode()

    def signed(self, content: bytes) -> bytes:
        """*content* under a signature, relaxed/relaxed; it shares no code with what verifies it."""
        head, _, body = content.partition(b"\r\n\r\n")
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
        while lines and not lines[-1]:
            lines.pop()
        digest = b64encode(hashlib.sha256(b"".join(line + b"\r\n" for line in lines)).digest()).decode()
        value = (
            f"v=1; a=rsa-sha256; c=relaxed/relaxed; d={self.domain}; s={self.selector};\r\n"
            f"\th={self.headers};\r\n\tbh={digest}; b="
        )
        fields = re.findall(rb"(?m)^([^\s:]+):((?:.*\r?\n?)(?:[ \t].*\r?\n?)*)", head + b"\r\n")
        found = {name.decode().lower(): _relaxed(name, text) for name, text in fields}
        chosen = [found[name] + b"\r\n" for name in self.headers.split(":") if name in found]
        chosen.append(_relaxed(b"DKIM-Signature", value.encode()))
        signature = _openssl("dgst", "-sha256", "-sign", str(self.key), given=b"".join(chosen))
        folded = re.sub(r"(.{70})", r"\1\r\n\t", b64encode(signature).decode())
        return f"DKIM-Signature: {value}{folded}\r\n".encode() + content


def _relaxed(name: bytes, text: bytes) -> bytes:
    return name.lower() + b":" + b" ".join(text.split())


def _openssl(*arguments: str, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(["openssl", *arguments], input=given, check=True, capture_output=True)
    except FileNotFoundError:
        lacking("openssl")
    return done.stdout


@dataclass
class Receiver:
    """The receiving side: what the relay takes comes here, signed or not, and is put into the mailbox."""

    mailbox: imap_server.Server
    signer: Signer | None
    results: str = f"{RECEIVER}; dkim=pass header.d={DOMAIN}; spf=pass smtp.mailfrom={BOUNCES}; dmarc=pass"
    return_path: str | None = None
    #: what the way does to a letter before it is signed, and after
    before: Callable[[bytes], bytes] | None = None
    after: Callable[[bytes], bytes] | None = None
    ahead: timedelta = timedelta(0)
    loses: str = ""

    def take(self, caught: Caught) -> None:
        sender, to = (re.search(r"<(.*?)>", line)[1] for line in (caught.mail, caught.rcpt))  # type: ignore[index]
        if self.loses and self.loses in to:
            return
        content = self.before(caught.content) if self.before else caught.content
        content = self.signer.signed(content) if self.signer else content
        content = self.after(content) if self.after else content
        at = format_datetime(datetime.now(UTC) + self.ahead)
        added = (
            f"Return-Path: <{self.return_path or sender}>\r\n"
            + (f"Authentication-Results: {self.results}\r\n" if self.results else "")
            + f"Received: from {MAIL} ({MAIL} [{LEAVES}])\r\n\tby {RECEIVER} with ESMTPS id 1; {at}\r\n"
            + f"Received: from app ([127.0.0.1]) by {MAIL} with ESMTPSA id 2; {at}\r\n"
        )
        self.mailbox.put(added.encode() + content)


@dataclass
class Front:
    """The web server before the pages: it ends TLS, and passes on, or does as *script* says."""

    tls: ssl.SSLContext
    site: website.Site
    #: status, headers, seconds to wait; None: what comes in is passed on
    script: tuple[int, dict[str, str], float] | None = None
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    #: its clock; "" for the right time
    dated: str = ""

    def __post_init__(self) -> None:
        front = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                front.seen.append((self.headers["Host"], body))
                if front.script is not None:
                    status, headers, seconds = front.script
                    time.sleep(seconds)
                    content = b"what a web server says"
                else:
                    answer = front.site.post(self.path, body)
                    status, headers, content = answer.status, {}, answer.body
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def date_time_string(self, timestamp: float | None = None) -> str:
                return front.dated or super().date_time_string(timestamp)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that does not trust it
        self._thread = threading.Thread(target=partial(self._server.serve_forever, poll_interval=0.05))
        self._thread.start()

    @property
    def at(self) -> tuple[str, int]:
        return "127.0.0.1", self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


@dataclass
class World:
    """What runs for a whole module; `patient` gives each test its own state of it."""

    folder: Path
    names: NameServer
    front: Front
    relay: EvilServer
    mailbox: imap_server.Server
    signer: Signer
    pages_tls: ssl.SSLContext
    local_tls: ssl.SSLContext
    #: the certificate of what listens on this machine
    local: Path


@contextmanager
def world(folder: Path) -> Iterator[World]:
    """Everything runs meanwhile."""
    # As the command line does.
    before = os.umask(0o077)
    pages, local = certificate(folder, PAGES, 90), certificate(folder, "127.0.0.1", 90)
    signer = Signer.fresh(folder)
    with ExitStack() as stack:
        stack.callback(os.umask, before)
        engine = open_engine(f"sqlite:///{folder}/digest.db")
        stack.callback(engine.dispose)
        upgrade(engine)
        write_env(folder / ".env", lambda _length: "", {})
        described = website.publication()
        _skip_last_month(engine)
        site = stack.enter_context(website.serving(engine, folder / "digest.db-spool", described))
        mailbox = stack.enter_context(imap_server.running(serving(local)))
        front = Front(serving(pages), site)
        stack.callback(front.close)
        relay = stack.enter_context(EvilServer({"EHLO": EHLO}, tls=serving(local)))
        names = stack.enter_context(name_server({}))
        yield World(folder, names, front, relay, mailbox, signer, trusting(pages), trusting(local), local)


def _skip_last_month(engine: Engine) -> None:
    """Last month's issue is not missing."""
    month = Month.of(datetime.now(UTC), website.publication().zone).previous
    with writing(engine) as session:
        session.add(
            Issue(
                month=str(month),
                status=Status.SKIPPED,
                reason="too few posts",
                window_start=month.start,
                window_end=month.end,
                timezone=month.zone.key,
                created_at=month.end,
            )
        )


@dataclass
class Patient:
    """One installation in the world, as it should be until a test breaks something."""

    world: World
    engine: Engine
    installation: Installation
    receiver: Receiver
    #: looks at the key and the addresses without a letter; `seeded` sends one
    asked: Asked = field(default_factory=lambda: Asked(selector=SELECTOR, outgoing=(LEAVES,)))

    #: where the pages answer
    pages_at: tuple[str, int] | None = None

    @property
    def zone(self) -> Zone:
        return self.world.names.zone

    def choose(self, **changes: Any) -> None:
        """Other settings."""
        choices = replace(self.installation.choices, **changes)
        self.installation = replace(self.installation, choices=choices)

    def publish(self, **changes: Any) -> None:
        """Another publication."""
        self.choose(publication=replace(self.installation.choices.publication, **changes))

    def relay(self, **changes: Any) -> None:
        """Another relay."""
        self.choose(relay=replace(self.installation.choices.relay, **changes))

    def unreached(self) -> None:
        """Nothing listens where the pages should."""
        self.pages_at = "127.0.0.1", free_port()

    def account(self, **changes: Any) -> None:
        """Another mailbox."""
        assert self.installation.account is not None
        self.installation = replace(self.installation, account=replace(self.installation.account, **changes))

    def seeded(self, **changes: Any) -> None:
        """A letter is sent and read back; nothing else is told."""
        self.asked = Asked(seed="desk@reader.example", **({"wait": 5.0} | changes))

    def lines(self) -> list[Line]:
        """What doctor says."""
        tools = Tools(
            now=lambda: datetime.now(UTC),
            token=lambda count: hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest()[: 2 * count],
            names=Names(self.world.names.resolver(), patience=0.5),
            pages_at=self.pages_at or self.world.front.at,
        )
        return examine(self.installation, self.asked, tools)

    def wrong(self) -> list[tuple[str, Level]]:
        """What doctor finds wrong, but for the interpreter it runs on."""
        return [(one.name, one.level) for one in self.lines() if one.mend and one.name != "python"]


@contextmanager
def patient(world: World) -> Iterator[Patient]:
    """An installation as it should be."""
    world.names.zone = deepcopy(zone_of(world.signer.public))
    world.names.asked.clear()
    world.front.script, world.front.dated = None, ""
    world.front.seen.clear()
    world.mailbox.folders = {"INBOX": {}}
    receiver = Receiver(world.mailbox, world.signer)
    world.relay.deliver = lambda caught: receiver.take(caught)
    engine = open_engine(f"sqlite:///{world.folder}/digest.db")
    beat(engine, datetime.now(UTC), good=True)
    try:
        yield Patient(world, engine, installation(world, engine), receiver)
    finally:
        engine.dispose()


def installation(world: World, engine: Engine) -> Installation:
    """The installation, as its settings would have it."""
    publication = website.publication(
        sender_address=f"letters@{DOMAIN}", base_url=f"https://{PAGES}", reply_to=f"Desk <desk@{DOMAIN}>"
    )
    account = Account(
        host="127.0.0.1",
        port=world.mailbox.port,
        username=imap_server.USERNAME,
        password=imap_server.PASSWORD,
        trust=world.local_tls,
    )
    relay = Relay(
        host="127.0.0.1",
        port=world.relay.port,
        security=Security.STARTTLS,
        username="letters",
        password="the relay's password",
        context=world.local_tls,
        timeouts=Timeouts().scaled(1 / 30),
    )
    return Installation(
        env_file=world.folder / ".env",
        choices=Choices(
            publication=publication,
            relay=relay,
            bounce_domain=BOUNCES,
            has_mailbox=True,
            editors=[f"desk@{DOMAIN}"],
            trusted_proxies=[ip_network("127.0.0.1/32")],
        ),
        # The same keys as the pages have that answer.
        keyring=Keyring(website.KEYS),
        secret_keys=KEYS,
        suppression_key="5b8e2f90a4c7d1e63f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c",
        schedule=website.SCHEDULE,
        engine=engine,
        account=account,
        tls=world.pages_tls,
    )

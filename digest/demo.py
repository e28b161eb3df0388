"""`digest demo`: the main job on sample posts, with no accounts and no network.

A store, an import, an issue, a preview, an approval, and a dispatch to a real SMTP server that is
started on loopback for the purpose: what a publication does in a month, in a few seconds.
"""

import shlex
import shutil
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from sqlalchemy import Engine

from digest.accounts.editors import add_editor
from digest.accounts.models import Role
from digest.accounts.passwords import Passwords
from digest.collect import FILE, collect, note_document, source_at
from digest.database import open_engine, reading, writing
from digest.errors import DigestError
from digest.initial import write_env
from digest.issue.compose import compose, issue_of, items_of
from digest.issue.edit import pin, reword
from digest.letter.preview import write_preview
from digest.migrating import upgrade
from digest.month import Month
from digest.outfit import clock, means_of, suppression_secret_of
from digest.samples_site import PICTURES, ROOT, SAMPLES, add_samples
from digest.sending.dispatch import Outcome
from digest.sending.send import send
from digest.settings import Settings, load
from digest.sources.reading import read_file
from digest.web.serving import listen, serve
from digest.wiring import answering, pages_of, press_of
from subscribers.address import parse
from subscribers.exchange import apply, dry_run
from subscribers.report import Terms

MONTH = "2026-10"
#: what a demo leaves, beside the store's files
OURS = {".env", "mailbox", "preview"}
HOST, PORT = "127.0.0.1", 8025
EDITOR = "editor@slow-water.example"
Say = Callable[[str], None]

VALUES = {
    "DIGEST_PUBLICATION_NAME": "Slow Water",
    "DIGEST_PUBLICATION_URL": ROOT.rstrip("/"),
    "DIGEST_SENDER": "Slow Water <letters@slow-water.example>",
    "DIGEST_BASE_URL": f"http://{HOST}:{PORT}",
    "DIGEST_POSTAL_ADDRESS": "The Reading Room, North Quay 7, 1234 Harbour",
    "DIGEST_TIMEZONE": "Europe/Lisbon",
    "DIGEST_SMTP_SECURITY": "none",
    "DIGEST_FIRST_NUMBER": "9",
}
INTRO = (
    "October belongs to those who wait: for a ferry, for the ebb, for somebody to come down the hill."
    " Nine pieces this month, two of them from neighbours who write in their own hand."
)


def run_demo(directory: Path, token: Callable[[int], str], say: Say) -> None:
    """*directory* holds a store, a preview and a mailbox of letters; an earlier demo there is made anew.

    DigestError where it holds anything else.
    """
    _clear(directory)
    mailbox = directory / "mailbox"
    mailbox.mkdir(parents=True)
    with _mail_server(mailbox) as port:
        write_env(directory / ".env", token, VALUES | {"DIGEST_SMTP_PORT": str(port)})
        settings = load(directory / ".env")
        engine = open_engine(settings.database_url)
        try:
            upgrade(engine)
            say(f"1  a store: {directory}/digest.db")
            _fill(engine, settings, say)
            _prepare(engine, settings, directory, say)
            outcome = _dispatch(engine, settings)
        finally:
            engine.dispose()
    counted = outcome.tally
    if not (outcome.is_finished and counted.balanced and counted.accepted == counted.frozen):
        raise DigestError(f"the demo did not come out as it should: {counted.as_json()} {outcome.stopped}")
    letters = sorted(mailbox.glob("*.eml"))
    say(f"6  dispatched: {counted.accepted} of {counted.frozen} letters accepted; the ledger adds up")
    say("")
    for line in (
        "Now open:",
        f"  {directory}/preview/index.html",
        "      the letter, wide and on a phone, and its text part",
        f"  {letters[0]}",
        "      one of the letters as it arrived",
        f"  {_program()} demo --dir {directory} --serve",
        f"      makes it again and then serves the pages its links lead to, on {VALUES['DIGEST_BASE_URL']}",
    ):
        say(line)


def _program() -> str:
    """How this program is called from here: `make` installs it where a shell does not look."""
    program = Path(sys.executable).with_name("digest")
    here = Path.cwd()
    return shlex.quote(str(program.relative_to(here) if program.is_relative_to(here) else program))


def serve_demo(directory: Path, token: Callable[[int], str], say: Say) -> None:
    """The pages and the desk of the demo in *directory*, and the sample posts, are served until Ctrl-C.

    What the form asks for is answered into the demo's mailbox. The desk's account gets a new password.
    """
    settings = load(directory / ".env")
    with _mail_server(directory / "mailbox") as port:
        settings = settings.model_copy(update={"smtp_port": port})
        engine = open_engine(settings.database_url)
        app = pages_of(settings, engine, answering(settings, engine))
        add_samples(app, clock())
        listening = listen(HOST, PORT)
        say(f"serving {VALUES['DIGEST_BASE_URL']}/archive and what the letters link to; Ctrl-C ends it")
        say(f"subscribe at {VALUES['DIGEST_BASE_URL']}/subscribe: the mail comes into {directory}/mailbox")
        password = _approver(engine, token)
        say(f"the desk is at {VALUES['DIGEST_BASE_URL']}/desk/: log in as {EDITOR} with {password}")
        serve(app, listening)


def _approver(engine: Engine, token: Callable[[int], str]) -> str:
    """The password of the demo's editor, who may do everything at the desk."""
    password, address = token(8), parse(EDITOR)
    kept = Passwords().hashed(password)
    with writing(engine) as session:
        add_editor(session, address, "The editor", Role.APPROVER, kept, clock())
    return password


def _clear(directory: Path) -> None:
    """*directory* is free for a demo; only what an earlier one left is taken away."""
    if not directory.exists():
        return
    inside = [one.name for one in directory.iterdir()] if directory.is_dir() else [directory.name]
    foreign = [name for name in inside if name not in OURS and not name.startswith("digest.db")]
    if foreign:
        raise DigestError(
            f"{directory} is not an earlier demo (it holds {foreign[0]}): name another folder with --dir"
        )
    shutil.rmtree(directory)


def _fill(engine: Engine, settings: Settings, say: Say) -> None:
    """The sample posts and subscribers are in the store."""
    now = clock()
    with writing(engine) as session:
        document = read_file(SAMPLES / "feed.xml", base=ROOT, zone=settings.zone, now=now)
        source = source_at(session, f"{FILE}{ROOT}feed.xml")
        collected = collect(session, source, document, now)
        note_document(session, source, document, collected, now)
    say(f"2  posts: {collected.new} imported from a feed")
    terms, secret = Terms(ground="a sample of the demo"), suppression_secret_of(settings)
    people = SAMPLES / "subscribers.csv"
    report = dry_run(partial(reading, engine), people, terms, secret)
    report = apply(partial(writing, engine), people, terms, report.hash, secret, now)
    say(f"3  subscribers: {report.rows} imported")


def _prepare(engine: Engine, settings: Settings, directory: Path, say: Say) -> None:
    """The month is built, previewed, checked and approved."""
    month, press, now = Month.parse(MONTH, settings.zone), press_of(settings), clock()
    with writing(engine) as session:
        composed = compose(session, month, now, settings.min_posts)
        reword(composed.issue, intro=INTRO)
        session.add(composed.issue)
        # The oldest is the best of the month: an editor would let it lead.
        pin(session, composed.issue, len(items_of(session, composed.issue)))
    say(f"4  the issue of {MONTH}: {composed.taken} posts; two more stand just outside the month")
    shutil.copytree(PICTURES, directory / "preview" / "pictures")
    with reading(engine) as session:
        proof = press.proof(session, issue_of(session, month), now)
    write_preview(proof.letter, directory / "preview", {f"{ROOT}pictures/": "pictures/"})
    with writing(engine) as session:
        fingerprint = press.approve(session, issue_of(session, month), "the demo", now)
    found = f"{len(proof.errors)} errors, {len(proof.warnings)} warnings"
    say(f"5  checked ({found}), approved: {fingerprint[:16]}…")


def _dispatch(engine: Engine, settings: Settings) -> Outcome:
    return send(
        engine,
        Month.parse(MONTH, settings.zone),
        means_of(settings),
        report=lambda _progress: None,
        stop=threading.Event(),
    )


class _Mailbox:
    """Keeps each letter as it came."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._count = sum(1 for _ in folder.iterdir())

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """The letter is a file before the relay's answer says so."""
        with self._lock:
            self._count += 1
            number = self._count
        name = envelope.rcpt_tos[0].replace("/", "_")
        content = envelope.original_content
        (self._folder / f"{number:02}-{name}.eml").write_bytes(content or b"")
        return "250 2.0.0 kept"


@contextmanager
def _mail_server(folder: Path) -> Iterator[int]:
    """The port of an SMTP server on loopback that keeps its mail in *folder*."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    controller = Controller(_Mailbox(folder), hostname=HOST, port=port, enable_SMTPUTF8=True)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()

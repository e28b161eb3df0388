"""Doctor's round: everything is asked that may be asked, and each answer becomes its line.

`examine` is all that a command or a page needs: values in, lines out. What fails in the asking is a line,
too; each question to the outside has its own time, and each part of the round has `WHOLE`.
"""

import platform
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from digest.database import reading
from digest.doctor import choices, cycle, dmarc, domains, keys, machine, offers, one_click, trip
from digest.doctor import signature as dkim
from digest.doctor import spf as spf_of
from digest.doctor.installation import Asked, Installation, Tools
from digest.doctor.line import NAMES, Level, Line, failed, idle, passed, told
from digest.doctor.mailbox import OnServer
from digest.doctor.names import Unanswered, Unasked
from digest.doctor.patience import in_time
from digest.errors import DigestError
from digest.forgetting import list_of_erased
from digest.letter.headers import ascii_domain
from digest.mailbox import Shut
from digest.month import Month
from digest.sending.lineage import file_of
from digest.sending.runs import clock as database_clock
from digest.sending.spool import spool_of
from digest.settings import mailbox as mailbox_of
from subscribers.tokens import NOBODY, Purpose

#: seconds for one part of the round; a letter's way comes on top
WHOLE = 90.0

Part = Callable[[], list[Line]]


def unreadable(env_file: Path, error: DigestError) -> list[Line]:
    """The lines of an installation whose settings cannot be read: what is wrong with them."""
    files = machine.files_of([env_file])
    modes = machine.modes_judged(files)
    if files and modes.level is Level.FAIL:
        # That is all there is to be told: the rest of the file is not read while others may read it.
        return _with_rest([modes], "the settings are not read while others may read them")
    mend = f"correct {env_file}: .env.example explains each setting; `digest init` writes a new one"
    lines = [failed("settings", problem, mend) for problem in str(error).splitlines()]
    return _with_rest([*lines, *([modes] if files else [])], "the settings cannot be read")


def examine(installation: Installation, asked: Asked, tools: Tools) -> list[Line]:
    """A line for every name in `line.NAMES`, in that order.

    Nothing is changed, and nothing is sent but the letters of `Asked.seed`.
    """
    return _with_rest(_Round(installation, asked, tools).lines(), "it was not come to")


def _with_rest(lines: Iterable[Line], why: str) -> list[Line]:
    lines = list(lines)
    there = {line.name for line in lines}
    rest = [idle(name, why) for names in NAMES.values() for name in names if name not in there]
    return told([*lines, *rest])


def kept(names: Sequence[str], part: Part, seconds: float = WHOLE) -> list[Line]:
    """The lines of *part*; where it cannot be asked, its first name says why and the others say so."""
    try:
        return in_time(part, seconds)
    except Unasked as error:
        # The line of whoever asked first has the mend; this one has nothing wrong that is known.
        return [idle(name, str(error)) for name in names]
    except Unanswered as error:
        why, mend = str(error), "see /etc/resolv.conf and `resolvectl status`, then type it again"
    except DigestError as error:
        why, mend = str(error), "put that right, then type it again"
    except Exception as error:  # noqa: BLE001  (whatever fails here is one line among the others)
        why = f"could not be looked at: {type(error).__name__}: {error}"
        mend = "type it again; if it stays so, report this line"
    return [
        failed(names[0], why, mend),
        *(idle(name, f"{names[0]} could not be asked") for name in names[1:]),
    ]


class _Round:
    """One round. What one part finds out is kept for those that come after it."""

    def __init__(self, installation: Installation, asked: Asked, tools: Tools) -> None:
        self._on = installation
        self._asked = asked
        self._tools = tools
        self._names = tools.names
        #: other clocks: theirs, and ours at the same moment
        self._clocks: dict[str, tuple[datetime, datetime]] = {}
        #: addresses that letters are known to leave from
        self._sources = list(asked.outgoing)
        self._signer: dkim.Signature | None = None
        #: the pages' name is not in the DNS
        self._is_unknown = False
        #: why a letter would not come out, or back; what says so is a line already
        self._shut = ""

    def lines(self) -> list[Line]:
        """All lines, in the order in which one part needs another."""
        found = [passed("settings", f"{self._on.env_file} can be read"), *choices.judged(self._on.choices)]
        for names, part in self._inside():
            found += kept(names, part)
        # A letter may be long on its way, and a second one goes to a return address.
        found += kept(NAMES["Seed letter"], self._letter, WHOLE + self._asked.wait)
        found += kept(("return-address",), self._probe, WHOLE + self._asked.wait)
        for names, part in self._dns():
            found += self._unasked(names) or kept(names, part)
        return [*found, *kept(("clock",), self._clock)]

    def _inside(self) -> list[tuple[Sequence[str], Part]]:
        return [
            (("secret-keys", "suppression-key"), self._keys),
            (("python",), self._python),
            (("file-modes",), self._modes),
            (("disk",), self._disk),
            (("store", "lineage", "tick", "issue"), self._store),
            (("pages-address",), self._address),
            (("one-click", "pages-certificate"), self._pages),
            (NAMES["Relay"], self._relay),
            (("mailbox",), self._mailbox),
        ]

    def _dns(self) -> list[tuple[Sequence[str], Part]]:
        return [
            (("sender-domain",), self._sender_domain),
            (("envelope-domain",), self._envelope_domain),
            (("replies",), self._replies),
            (("spf",), self._spf),
            (("dkim-key",), self._dkim_key),
            (("dmarc", "alignment"), self._dmarc),
            (("reverse-dns",), self._reverse),
        ]

    def _unasked(self, names: Sequence[str]) -> list[Line]:
        """The lines of what does not apply where nothing leaves this machine."""
        if not self._on.choices.stays_here:
            return []
        return [
            idle(name, "relay and pages are this machine's own: nothing outside is asked") for name in names
        ]

    # This machine

    def _keys(self) -> list[Line]:
        signing, other = self._on.secret_keys, self._on.suppression_key
        return [keys.signing_judged(signing), keys.suppression_judged(other, signing)]

    def _python(self) -> list[Line]:
        return [machine.python_judged(platform.python_version(), machine.writes_false_headers())]

    def _modes(self) -> list[Line]:
        on = self._on
        paths = [on.env_file, *(where(on.engine) for where in (file_of, spool_of, list_of_erased))]
        if on.database:
            paths += [
                on.database,
                *(on.database.with_name(f"{on.database.name}-{end}") for end in ("wal", "shm")),
            ]
        return [machine.modes_judged(machine.files_of(paths))]

    def _disk(self) -> list[Line]:
        if self._on.database is None:
            return [idle("disk", "the store is on a database server: its disk is to be watched there")]
        return [machine.disk_judged(machine.disk_of(self._on.database))]

    def _store(self) -> list[Line]:
        on, now = self._on, self._tools.now()
        line = cycle.store_judged(on.engine)
        if line.level is Level.FAIL:
            return [line, *(idle(name, "the store cannot be read") for name in ("lineage", "tick", "issue"))]
        if on.database is None:
            with reading(on.engine) as session:
                self._clocks["the database"] = database_clock(session).astimezone(UTC), self._tools.now()
        found = cycle.ticked(on.engine, on.schedule, Month.of(now, on.choices.publication.zone).previous, now)
        return [line, cycle.lineage_judged(on.engine, now), *cycle.tick_judged(found, str(on.env_file), now)]

    def _clock(self) -> list[Line]:
        return [machine.clock_judged(self._clocks)]

    # What readers and providers meet

    def _address(self) -> list[Line]:
        host = self._on.choices.host
        if self._on.choices.stays_here:
            return [idle("pages-address", "the pages are this machine's own: nobody else reads them")]
        found = self._names.addresses(host)
        self._is_unknown = not found
        return [domains.reachable(host, found)]

    def _pages(self) -> list[Line]:
        if self._is_unknown:
            why = "the pages' name leads nowhere"
            return [idle("one-click", why), idle("pages-certificate", why)]
        on, token = self._on, self._on.keyring.sign(Purpose.ONE_CLICK, NOBODY)
        answer = one_click.ask(
            on.choices.publication.base_url, token, self._tools.now, on.tls, self._tools.pages_at
        )
        if answer.server_at and answer.asked_at:
            self._clocks["the web server"] = answer.server_at, answer.asked_at
        return [one_click.judged(answer), one_click.certificate_judged(answer, self._tools.now())]

    def _relay(self) -> list[Line]:
        found = offers.ask(self._on.choices.relay, self._on.envelope)
        if found.refused:
            self._shut = "the relay did not let us in"
        return offers.judged(found, self._tools.now())

    def _mailbox(self) -> list[Line]:
        account = self._on.account
        if account is None:
            return [
                idle("mailbox", "DIGEST_IMAP_HOST is not set: reports come by a pipe or as files, if at all")
            ]
        try:
            return [passed("mailbox", f"{account}: {OnServer(account).count()} messages")]
        except Shut as error:
            if self._asked.folder is None:
                self._shut = "the mailbox does not open"
            return [failed("mailbox", str(error), "see DIGEST_IMAP_HOST, _PORT, _USERNAME and _PASSWORD")]

    def _letter(self) -> list[Line]:
        if self._asked.seed is not None and self._shut:
            return [idle(name, f"{self._shut}, so no letter was sent") for name in NAMES["Seed letter"]]
        made = trip.made(self._on, self._asked, self._tools)
        by = trip.Signed()
        if made.letter is not None:
            asking = None if self._on.choices.stays_here else self._names.texts
            by = trip.signed(made.letter, self._on.author, asking)
            self._signer = by.signer
            if not self._sources and made.letter.source:
                self._sources = [made.letter.source]
        if made.clock is not None:
            self._clocks["the receiving server"] = made.clock
        return [made.line, *trip.judged(made, by, self._on, self._asked.trusted)]

    def _probe(self) -> list[Line]:
        if self._asked.seed is not None and self._shut:
            return [idle("return-address", f"{self._shut}, so no letter was sent")]
        return [trip.probed(self._on, self._asked, self._tools)]

    # The DNS

    def _sender_domain(self) -> list[Line]:
        return [domains.sending("sender-domain", domains.domain_of(self._on.author, self._names))]

    def _envelope_domain(self) -> list[Line]:
        is_own = self._on.choices.bounce_domain is not None
        return [domains.returning(domains.domain_of(self._on.envelope_domain, self._names), own=is_own)]

    def _replies(self) -> list[Line]:
        publication = self._on.choices.publication
        address = mailbox_of(publication.reply_to)[1] if publication.reply_to else publication.sender_address
        found = domains.domain_of(ascii_domain(address.rpartition("@")[2]), self._names)
        return [domains.replying(found, address)]

    def _spf(self) -> list[Line]:
        known, relay = self._sources, self._on.choices.relay.host
        guessed = [] if known else domains.public_only(domains.addresses_of(relay, self._names))
        found = spf_of.read(self._on.envelope_domain, self._names)
        return [spf_of.judged(found, known or guessed, relay, certain=bool(known))]

    def _dkim_key(self) -> list[Line]:
        selector, domain = self._asked.selector, self._on.author
        if selector is None and self._signer is not None:
            selector, domain = self._signer.selector, self._signer.domain
        if selector is None:
            return [dkim.key_unknown()]
        return [dkim.key_judged(selector, domain, self._names.texts(dkim.key_name(selector, domain)))]

    def _dmarc(self) -> list[Line]:
        ask, signer = self._names.texts, self._signer
        author = dmarc.walk(self._on.author, ask)
        found = dmarc.Alignment(
            author,
            dmarc.walk(self._on.envelope_domain, ask),
            dmarc.walk(signer.domain, ask) if signer else None,
        )
        return [dmarc.judged(author), dmarc.aligned(found)]

    def _reverse(self) -> list[Line]:
        return [domains.reversed_judged([domains.reverse_of(one, self._names) for one in self._sources])]

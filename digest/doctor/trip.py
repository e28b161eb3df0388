"""The seed letter's trip: out by the relay, back by the mailbox, and what is to be seen of it there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from digest.doctor import arrived, dmarc, seed
from digest.doctor import signature as dkim
from digest.doctor.arrived import Arrived, Meant
from digest.doctor.installation import Asked, Installation, Tools
from digest.doctor.line import NAMES, Line, failed, idle, passed
from digest.doctor.mailbox import Folder, OnServer, read_message
from digest.errors import DigestError

#: what is said of a letter once it is here
OF_LETTER = NAMES["Seed letter"][1:]
_PROBE = "return-address"


@dataclass(frozen=True, slots=True)
class Trip:
    """How far a letter came."""

    line: Line
    letter: Arrived | None = None
    #: None where it was not sent just now
    sent: seed.Sent | None = None
    came_at: datetime | None = None

    @property
    def clock(self) -> tuple[datetime, datetime] | None:
        """The receiving server's time and ours; known to within the time the letter was on its way."""
        theirs = self.letter.taken_at if self.letter else None
        if theirs is None or self.sent is None or self.came_at is None:
            return None
        return theirs, min(max(theirs, self.sent.at), self.came_at)


def made(on: Installation, asked: Asked, tools: Tools) -> Trip:
    """The trip that was *asked* for; DigestError where the relay or the mailbox does not let us in."""
    if asked.letter is not None:
        line = passed("seed", f"{asked.letter} is judged; no letter was sent")
        return Trip(line, Arrived.of(_read(asked.letter)))
    if asked.seed is None:
        why = "`digest doctor --seed ADDRESS` sends one and judges what arrives; --letter FILE judges one"
        return Trip(idle("seed", why))
    sent = _out(on, tools, asked.seed)
    if sent.refused:
        return Trip(failed("seed", f"the relay refused it: {sent.refused}", "see the lines of the relay"))
    mailbox = OnServer(on.account) if on.account else None
    box = Folder(asked.folder) if asked.folder else mailbox
    if box is None:
        # Nothing is wrong: a person reads that mailbox.
        how = "save it there with all its headers, then `digest doctor --letter FILE`"
        return Trip(idle("seed", f"a letter is on its way to {asked.seed}: {how}"))
    raw = seed.read_back(box, sent.mark, asked.wait)
    if raw is None:
        return Trip(
            failed(
                "seed",
                f"the relay took the letter to {asked.seed}; it is not in {box} after {asked.wait:.0f} s",
                f"look for {sent.mark} among the spam and in the relay's log; --wait SECONDS waits longer",
            )
        )
    line = passed("seed", f"{sent.mark}: went to {asked.seed}, and came to {box}")
    return Trip(line, Arrived.of(raw), sent, tools.now())


def probed(on: Installation, asked: Asked, tools: Tools) -> Line:
    """The line on whether mail to a signed return address reaches the mailbox (D-7)."""
    domain, account = on.choices.bounce_domain, on.account
    if asked.seed is None or not domain or account is None:
        return idle(_PROBE, "asked with --seed, where DIGEST_BOUNCE_DOMAIN and DIGEST_IMAP_HOST are set")
    shown = f"mail to b+…@{domain}"
    mend = f"let all mail of {domain}, whatever stands before the @, reach {account.username}"
    sent = _out(on, tools, on.envelope)
    if sent.refused:
        return failed(_PROBE, f"{shown}: {sent.refused}", mend)
    if seed.read_back(OnServer(account), sent.mark, asked.wait) is None:
        return failed(_PROBE, f"{shown} did not reach {account} within {asked.wait:.0f} s", mend)
    return passed(_PROBE, f"{shown} reaches {account}")


def _out(on: Installation, tools: Tools, to: str) -> seed.Sent:
    mark, now, choices = tools.token(8), tools.now(), on.choices
    letter = seed.written(choices.publication, on.keyring, choices.bounce_domain, to, mark, now)
    return seed.send(choices.relay, letter, mark, now)


@dataclass(frozen=True, slots=True)
class Signed:
    """The signatures of a letter, and which of them speak for its author."""

    signatures: Sequence[dkim.Signature] = ()
    own: Sequence[bool] = ()

    @property
    def signer(self) -> dkim.Signature | None:
        """The one that counts: the author's first, else anybody's; None where there is none."""
        mine = [one for one, is_own in zip(self.signatures, self.own, strict=True) if is_own]
        return next(iter([*mine, *self.signatures]), None)


def signed(letter: Arrived, author: str, texts: Callable[[str], list[str]] | None) -> Signed:
    """The signatures of *letter* by *author*; *texts* answers TXT records, None: nobody is asked."""
    found = dkim.signatures_of(letter.raw, texts)
    return Signed(found, [_speaks_for(author, one.domain, texts) for one in found])


def _speaks_for(author: str, domain: str, texts: Callable[[str], list[str]] | None) -> bool:
    if author == domain or texts is None:
        return author == domain
    mine, other = dmarc.walk(author, texts), dmarc.walk(domain, texts)
    return dmarc.is_aligned(mine, other, (mine.policy.tags if mine.policy else {}).get("adkim", "r"))


def judged(trip: Trip, by: Signed, on: Installation, trusted: Sequence[str]) -> list[Line]:
    """The lines of the letter of *trip*, as it arrived."""
    letter, choices = trip.letter, on.choices
    if letter is None:
        return [idle(name, "there is no letter to look at") for name in OF_LETTER]
    meant = Meant(
        base_url=choices.publication.base_url,
        mail_from=trip.sent.letter.mail_from if trip.sent else None,
        bounce_domain=choices.bounce_domain,
        trusted=trusted,
    )
    return [
        *dkim.signed_judged(by.signatures, by.own),
        arrived.list_headers(letter, meant),
        arrived.results_judged(letter, meant),
        arrived.returned_path(letter, meant),
    ]


def _read(path: Path) -> bytes:
    try:
        return read_message(path)
    except OSError as error:
        raise DigestError(f"{path} cannot be read: {error.strerror}") from error

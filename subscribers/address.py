"""An address: parsed once, compared by its key, and shown without giving it away.

This is the only parser of subscribers' addresses. The standard library's answers the first of
`a@b,c@d` on one Python and nothing on the next (CVE-2023-27043). No name is looked up here and no
server asked (A-8): whether a mailbox exists is what a bounce tells.
"""

from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from unicodedata import name, normalize

from email_validator import EmailNotValidError, validate_email

LONGEST_ADDRESS = 254  # octets, RFC 5321, section 4.5.3.1.3 less the angle brackets
LONGEST_LOCAL_PART = 64  # octets, RFC 5321, section 4.5.3.1.1

#: what a spreadsheet or a pasted line leaves around an address
_AROUND = " \t\u00a0\ufeff"

#: mailboxes of a function, not of a person (RFC 2142, sections 4 and 5), and of machines
_ROLES = {
    "abuse", "daemon", "devnull", "donotreply", "do-not-reply", "ftp", "hostmaster", "mailer-daemon",
    "maildaemon", "majordomo", "no-reply", "no_reply", "noc", "noreply", "nobody", "null", "phishing",
    "postmaster", "registrar", "root", "security", "spam", "sysadmin", "undisclosed-recipients",
    "unsubscribe", "usenet", "uucp", "webmaster", "www",
}  # fmt: skip

#: large mailbox providers: a domain one slip away from one of these is likely a slip
_PROVIDERS = (
    "aol.com", "email.com", "fastmail.com", "free.fr", "freenet.de", "gmail.com", "gmx.at", "gmx.ch",
    "gmx.com", "gmx.de", "gmx.net", "googlemail.com", "hotmail.co.uk", "hotmail.com", "hotmail.de",
    "hotmail.fr", "icloud.com", "laposte.net", "libero.it", "live.com", "mail.com", "mail.ru",
    "mailbox.org", "me.com", "msn.com", "orange.fr", "outlook.com", "posteo.de", "proton.me",
    "protonmail.com", "rambler.ru", "t-online.de", "ukr.net", "web.de", "yahoo.co.uk", "yahoo.com",
    "yahoo.de", "yahoo.fr", "yandex.com", "yandex.ru", "ymail.com",
)  # fmt: skip

#: endings that no domain has, and the one that was meant
_ENDINGS = {
    "cmo": "com", "comm": "com", "con": "com", "coom": "com", "ocm": "com", "vom": "com", "xom": "com",
    "nte": "net", "nett": "net", "ogr": "org", "orgg": "org",
}  # fmt: skip

#: scripts that are written together: a Japanese or Korean name is not a disguise (UTS 39, section 5.2)
_TOGETHER = (
    {"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"},
    {"LATIN", "CJK", "BOPOMOFO", "IDEOGRAPHIC"},
    {"LATIN", "CJK", "HANGUL", "IDEOGRAPHIC"},
)


class BadAddress(ValueError):
    """Not an address that can be written to; the message is the reason, one line."""


@dataclass(frozen=True, slots=True)
class Address:
    """A mailbox. Two spellings of one mailbox have one key; letters go to `address`."""

    #: as typed, with the domain in lower case and Unicode normalised
    address: str
    #: compared, never written to: case folded, compatibility characters folded, domain as A-labels
    key: str


def parse(text: str) -> Address:
    """The address *text* is; spaces around it do not matter. Raises BadAddress for anything else.

    Refused are, beside what is no address: display names, quoted local parts, domain literals,
    controls and invisible characters, more than 254 octets or 64 before the @, and names that are
    reserved (`.test`, `.local`, `localhost`). Dots and plus signs stay: they are other mailboxes
    with most providers.
    """
    typed = text.strip(_AROUND)
    if len(typed.encode(errors="surrogatepass")) > LONGEST_ADDRESS:
        raise BadAddress(f"It is longer than {LONGEST_ADDRESS} octets.")
    try:
        found = validate_email(typed, check_deliverability=False)
    except EmailNotValidError as error:
        raise BadAddress(" ".join(str(error).split())) from None
    # The library holds this limit only in its strict mode, which also judges domain names' content.
    if len(found.local_part.encode()) > LONGEST_LOCAL_PART:
        raise BadAddress(f"There are more than {LONGEST_LOCAL_PART} octets before the @-sign.")
    if len(found.normalized.encode()) > LONGEST_ADDRESS:
        raise BadAddress(f"It is longer than {LONGEST_ADDRESS} octets.")
    return Address(found.normalized, f"{_folded(found.local_part)}@{found.ascii_domain.lower()}")


def _folded(local_part: str) -> str:
    """*local_part* without the differences of case and of compatibility characters."""
    # NFKC_Casefold takes the second round: folding may undo a normal form (Unicode, section 3.13).
    for _ in range(2):
        local_part = normalize("NFKC", normalize("NFKC", local_part).casefold())
    return local_part


def is_role(address: Address) -> bool:
    """Whether it is a function's or a machine's mailbox rather than a person's (A-6)."""
    return address.key.partition("@")[0].partition("+")[0] in _ROLES


def mixes_scripts(address: Address) -> bool:
    """Whether its local part or a label of its domain mixes alphabets, as disguises do (A-4)."""
    local_part, _, domain = address.address.rpartition("@")
    return any(not _is_one_script(part) for part in (local_part, *domain.split(".")))


def _is_one_script(part: str) -> bool:
    # The first word of a letter's name is its script; the standard library knows no property for it.
    found = {
        name(letter, "").removeprefix("FULLWIDTH ").partition(" ")[0] for letter in part if letter.isalpha()
    }
    return len(found) <= 1 or any(found <= together for together in _TOGETHER)


def suggestion(address: Address) -> str | None:
    """The address that was probably meant, where the domain looks like a slip of the hand; else None.

    A hint to a person, never a reason to refuse (A-5).
    """
    local_part, _, domain = address.address.rpartition("@")
    meant = _meant(domain)
    return None if meant == domain else f"{local_part}@{meant}"


@lru_cache(maxsize=10_000)
def _meant(domain: str) -> str:
    """The domain that was probably meant by *domain*. Kept: a list of 100,000 has few domains."""
    stem, _, ending = domain.rpartition(".")
    meant = f"{stem}.{_ENDINGS[ending]}" if ending in _ENDINGS else domain
    if meant in _PROVIDERS:
        return meant
    # 0.88: one wrong, missing, doubled or swapped letter in nine.
    return (get_close_matches(meant, _PROVIDERS, n=1, cutoff=0.88) or [meant])[0]


def with_ascii_domain(address: Address) -> str:
    """The address with its domain as A-labels: for SMTP, and for whoever must see through a disguise."""
    return f"{address.address.rpartition('@')[0]}@{address.key.rpartition('@')[2]}"


def masked(address: str) -> str:
    """*address* so that its owner knows it and nobody else does: `a•••@e•••.org`; "" stays ""."""
    local_part, at, domain = address.rpartition("@")
    if not at:
        return ""
    return f"{local_part[:1]}•••@{domain[:1]}•••.{domain.rpartition('.')[2]}"

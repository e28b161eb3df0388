"""What the DNS says, through dnspython: each answer once, within a time.

A name without an answer is an empty list. Where no server answers, or answers that it cannot, `Unanswered`
is raised, and after two of those in a row nobody is asked again: a machine whose resolver is gone shall not
be waited for thirty times. A resolver that says of the root itself that it does not exist (RFC 8020: then
nothing does) stands in a closed network, and its "no" is no answer either.
"""

from contextlib import suppress

import dns.exception
import dns.name
import dns.resolver
import dns.reversename

from digest.errors import DigestError

PATIENCE = 5.0  # seconds for one question, all its servers and tries included
MOST_SILENCES = 2


class Unanswered(DigestError):
    """The resolver gave no answer, which is not the answer that there is nothing."""


class Unasked(Unanswered):
    """Nobody was asked any more: the resolver has shown before that it gives no answers."""


class Names:
    """One look at the DNS; what was asked once is remembered."""

    def __init__(self, resolver: dns.resolver.Resolver | None = None, patience: float = PATIENCE) -> None:
        """*resolver*: None for the one this machine is set up with."""
        self._resolver = resolver
        self._patience = patience
        self._silences = 0
        self._has_root = False
        self._known: dict[tuple[str, str], list[str]] = {}

    def texts(self, name: str) -> list[str]:
        """The TXT records of *name*, each as one text: its strings are joined (RFC 7208, section 3.3)."""
        return self._asked(name, "TXT")

    def addresses(self, name: str) -> list[str]:
        """The IPv4 and IPv6 addresses of *name*."""
        return self._asked(name, "A") + self._asked(name, "AAAA")

    def exchangers(self, name: str) -> list[str]:
        """The hosts that take mail for *name*, the preferred first; "." alone is a null MX (RFC 7505)."""
        ordered = sorted((int(one.split()[0]), one.split()[1]) for one in self._asked(name, "MX"))
        return [host.rstrip(".").lower() or "." for _, host in ordered]

    def zone(self, name: str) -> str:
        """The zone that *name* lies in, by its SOA record; "" where that would be a top-level one."""
        labels = name.split(".")
        # Not up to the top-level domain, which is always there; a hostile name is not walked for ever.
        above = [".".join(labels[place:]) for place in range(min(len(labels) - 1, 10))]
        return next((one for one in above if self._asked(one, "SOA")), "")

    def pointers(self, address: str) -> list[str]:
        """The names that *address* points back to."""
        reverse = dns.reversename.from_address(address).to_text(omit_final_dot=True)
        return [one.rstrip(".").lower() for one in self._asked(reverse, "PTR")]

    def _asked(self, name: str, kind: str) -> list[str]:
        name = name.rstrip(".").lower()
        if (name, kind) not in self._known:
            self._known[name, kind] = self._answer(name, kind)
        return self._known[name, kind]

    def _answer(self, name: str, kind: str) -> list[str]:
        if self._silences >= MOST_SILENCES:
            raise Unasked("could not be asked: the resolver gave no answer before, and was not tried again")
        try:
            absolute = dns.name.from_text(name)
        except (dns.exception.DNSException, UnicodeError):
            return []  # what cannot be a name has no records
        try:
            self._resolver = self._resolver or dns.resolver.Resolver()
            found = self._resolver.resolve(absolute, kind, lifetime=self._patience)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
            if isinstance(error, dns.resolver.NXDOMAIN):
                self._require_root()
            self._silences = 0
            return []
        except dns.exception.DNSException as error:
            self._silences += isinstance(error, dns.exception.Timeout)
            raise Unanswered(f"the DNS does not answer for {kind} {name}: {_why(error)}") from error
        self._silences = 0
        return [_text(record) for record in found]

    def _require_root(self) -> None:
        """`Unanswered` where the resolver says that not even the root exists; asked once."""
        if self._has_root or self._resolver is None:
            return
        try:
            # What else comes of it says nothing: some resolvers refuse to talk about the root.
            with suppress(dns.resolver.NoAnswer, dns.resolver.NoNameservers, dns.exception.Timeout):
                self._resolver.resolve(dns.name.root, "NS", lifetime=self._patience)
        except dns.resolver.NXDOMAIN as error:
            self._silences = MOST_SILENCES
            raise Unanswered(
                "the resolver says that no name exists, not even the root: it does not know the public DNS"
            ) from error
        self._has_root = True


def _why(error: dns.exception.DNSException) -> str:
    if isinstance(error, dns.exception.Timeout):
        return "nothing came back in time"
    if isinstance(error, dns.resolver.NoNameservers):
        return "no server could (SERVFAIL: a broken zone, or DNSSEC)"
    return str(error)[:120] or type(error).__name__


def _text(record: object) -> str:
    strings = getattr(record, "strings", None)
    return b"".join(strings).decode(errors="replace") if strings is not None else str(record)

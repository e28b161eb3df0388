"""SPF (RFC 7208): the whole record of a domain, with all it includes, and whether it lets our letters leave.

`read` looks everything up, once and to the end, for a record that needs eleven look-ups for one reader
needs them for some other one, too; what it returns is judged without the DNS. Macros (section 7) are not
expanded: what hangs on them lets nobody through here, and says so.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from digest.doctor.line import Line, failed, passed, warned
from digest.doctor.names import Names

#: RFC 7208, section 4.6.4: terms that ask the DNS, and answers that were empty
MOST_LOOKUPS = 10
MOST_VOID = 2
#: where reading ends, whatever is still included
_ENOUGH = 30
_ASKING = frozenset({"include", "a", "mx", "ptr", "exists", "redirect"})
_TERM = re.compile(r"([+?~-]?)(all|include|a|mx|ptr|ip4|ip6|exists)(?:[:](\S+?))?((?:/\d+)?(?://\d+)?)", re.I)
_MODIFIER = re.compile(r"([a-z][a-z0-9_.-]*)=(\S*)", re.I)
_RESULTS = {"": "pass", "+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Term:
    """One mechanism: whom it matches, and what then comes out."""

    result: str
    networks: tuple[Network, ...] = ()
    everybody: bool = False
    #: an include matches whom this record lets through
    inner: "Record | None" = None
    #: whom it matches cannot be told here
    unclear: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """One domain's record; after its terms comes the one it redirects to."""

    domain: str
    text: str
    terms: tuple[Term, ...] = ()
    after: "Record | None" = None

    def result(self, address: str) -> str:
        """What SPF says of a letter from *address* (section 2.6); "unclear" where that hangs on a macro."""
        ip = ip_address(address)
        unclear = False
        for term in self.terms:
            inner = term.inner.result(address) if term.inner else ""
            if term.everybody or inner == "pass" or any(ip in network for network in term.networks):
                return "unclear" if unclear else term.result
            unclear = unclear or term.unclear or inner == "unclear"
        if unclear:
            return "unclear"
        return self.after.result(address) if self.after else "neutral"

    @property
    def lets_everybody(self) -> bool:
        """Whether any machine of the world may send as this domain."""
        last = any(term.everybody and term.result == "pass" for term in self.terms)
        inner = any(term.inner and term.inner.lets_everybody and term.result == "pass" for term in self.terms)
        return last or inner or bool(self.after and self.after.lets_everybody)


@dataclass(slots=True)
class Spf:
    """A domain's SPF as it was found."""

    domain: str
    #: None: it has none
    record: Record | None = None
    lookups: int = 0
    void: int = 0
    #: what makes a receiver give up on it (permerror)
    faults: list[str] = field(default_factory=list)


def read(domain: str, names: Names) -> Spf:
    """The SPF of *domain*; raises what *names* raises where nothing is answered."""
    found = Spf(domain)
    found.record = _Reading(found, names).record(domain)
    return found


class _Reading:
    def __init__(self, found: Spf, names: Names) -> None:
        self._found = found
        self._names = names

    def record(self, domain: str) -> Record | None:
        texts = [text for text in self._names.texts(domain) if re.match(r"v=spf1( |$)", text, re.I)]
        if len(texts) > 1:
            self._found.faults.append(f"{domain} has {len(texts)} SPF records, and may have one")
        if not texts:
            return None
        terms, after = [], None
        words = texts[0].split()[1:]
        for word in words:
            if modifier := _MODIFIER.fullmatch(word):
                has_all = any(re.fullmatch(r"[+?~-]?all", one, re.I) for one in words)
                if modifier[1].lower() == "redirect" and not has_all:
                    after = self._other(modifier[2], "redirect")
                continue
            if (term := self._term(domain, word)) is not None:
                terms.append(term)
            if terms and terms[-1].everybody:
                break
        return Record(domain, texts[0], tuple(terms), after)

    def _term(self, domain: str, word: str) -> Term | None:
        found = _TERM.fullmatch(word)
        if found is None:
            self._found.faults.append(f"{domain} says {word[:60]!r}, which SPF does not know")
            return None
        result, kind, target = _RESULTS[found[1]], found[2].lower(), found[3] or ""
        if kind == "all":
            return Term(result, everybody=True)
        if kind in ("ip4", "ip6"):
            return self._network(result, kind, f"{target}{found[4]}")
        if kind == "include" and "%" not in target:
            return Term(result, inner=self._other(target, kind))
        if not self._counted(kind):
            return None
        if "%" in target or kind in ("exists", "ptr"):
            return Term(result, unclear=True)
        try:
            return Term(result, self._hosts(kind, target or domain, found[4]))
        except ValueError:
            self._found.faults.append(f"{word[:60]} asks for longer networks than there are")
            return None

    def _counted(self, kind: str) -> bool:
        """Whether one more look-up is made."""
        self._found.lookups += kind in _ASKING
        return self._found.lookups <= _ENOUGH

    def _other(self, domain: str, kind: str) -> Record | None:
        if not self._counted(kind) or "%" in domain:
            return None
        record = self.record(domain)
        if record is None:
            self._found.void += 1
            self._found.faults.append(f"{kind} leads to {domain[:80]}, which has no SPF record")
        return record

    def _network(self, result: str, kind: str, text: str) -> Term | None:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            network = None
        if network is None or network.version != int(kind[-1]):
            self._found.faults.append(f"{kind}:{text[:60]} is no address or network of that kind")
            return None
        return Term(result, (network,))

    def _hosts(self, kind: str, target: str, lengths: str) -> tuple[Network, ...]:
        hosts = [target]
        if kind == "mx":
            hosts = self._names.exchangers(target)
            if len(hosts) > MOST_LOOKUPS:
                self._found.faults.append(f"mx:{target} has more than {MOST_LOOKUPS} hosts")
        addresses = [one for host in hosts[:MOST_LOOKUPS] for one in self._names.addresses(host)]
        self._found.void += not addresses
        return tuple(_widened(addresses, lengths))


def _widened(addresses: Sequence[str], lengths: str) -> Iterator[Network]:
    """The networks of *addresses* with the prefix *lengths* "/24//64"; each alone where there is none."""
    four, _, six = lengths.partition("//")
    for address in addresses:
        length = six if ":" in address else four.removeprefix("/")
        yield ip_network(f"{address}/{length}" if length else address, strict=False)


def judged(spf: Spf, sources: Sequence[str], relay: str, *, certain: bool) -> Line:
    """The line of *spf*: whether it is sound and lets letters leave from *sources*.

    *certain*: letters are known to leave from there; else those are only the addresses of *relay*.
    """
    name, record = "spf", spf.record
    if record is None:
        return failed(
            name,
            f"{spf.domain} has no SPF record",
            f'publish it: {spf.domain}. TXT "v=spf1 {" ".join(_named(sources)) or "ip4:ADDRESS"} -all", with'
            " every address that letters leave from, or the include: that the relay's operator names",
        )
    shown = f"{spf.domain}: {record.text}"
    if spf.faults:
        return failed(
            name, f"{shown}: {spf.faults[0]}, so no receiver can use it", "correct the TXT record there"
        )
    if spf.lookups > MOST_LOOKUPS:
        return failed(
            name,
            f"{shown}: it takes {spf.lookups} look-ups, and receivers stop at {MOST_LOOKUPS}",
            f"take out includes of {spf.domain} that you do not need, or write addresses as ip4: and ip6:",
        )
    if record.lets_everybody:
        return failed(
            name, f"{shown}: it lets everybody send as {spf.domain}", "end it in -all instead of +all"
        )
    if spf.void > MOST_VOID:
        return warned(
            name,
            f"{shown}: {spf.void} of its look-ups find nothing, and many receivers stop at {MOST_VOID}",
            f"take out the names in the record of {spf.domain} that are no more",
        )
    return _let_through(spf, record, shown, sources, relay, certain)


def _let_through(
    spf: Spf, record: Record, shown: str, sources: Sequence[str], relay: str, certain: bool
) -> Line:
    results = {one: record.result(one) for one in sources}
    shut = [one for one, result in results.items() if result not in ("pass", "unclear")]
    if shut and certain:
        return failed(
            "spf",
            f"{shown}: letters leave from {shut[0]}, which it does not name ({results[shut[0]]})",
            f"add {' '.join(_named(shut))} to the TXT record of {spf.domain}, before its all",
        )
    if shut:
        return warned(
            "spf",
            f"{shown}: it does not name {relay} ({shut[0]}); letters may leave from elsewhere",
            "`digest doctor --seed ADDRESS`, or --outgoing IP, to see from where; then add it to the record",
        )
    if not results:
        note = "from where letters leave is not known: --outgoing IP, or --seed"
    elif "unclear" in results.values():
        note = "whether it names the relay hangs on a macro, which is not looked into"
    else:
        note = f"names {', '.join(results)}"
    return passed("spf", f"{shown} ({spf.lookups} look-ups); {note}")


def _named(sources: Sequence[str]) -> list[str]:
    return [f"ip{ip_address(one).version}:{one}" for one in sources]

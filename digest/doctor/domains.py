"""The domains of a letter as receivers look at them: do they exist, do they take mail, who sends for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from digest.doctor.line import Line, failed, idle, passed, warned
from digest.doctor.names import Names
from digest.sources.addresses import is_public, parsed

NULL_MX = "."  # RFC 7505: it takes no mail


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain of an address."""

    name: str
    #: where its SOA record is; "" where it lies in no zone
    zone: str
    exchangers: tuple[str, ...]
    addresses: tuple[str, ...]

    @property
    def takes_mail(self) -> bool:
        """Whether mail to it has somewhere to go (RFC 5321, section 5.1)."""
        return NULL_MX not in self.exchangers and bool(self.exchangers or self.addresses)


def domain_of(name: str, names: Names) -> Domain:
    """What the DNS says of the domain *name*."""
    exchangers = tuple(names.exchangers(name))
    return Domain(name, names.zone(name), exchangers, () if exchangers else tuple(names.addresses(name)))


def sending(name: str, domain: Domain) -> Line:
    """The line *name* of a domain that letters come from: receivers look whether it is there (D-4)."""
    if not domain.zone or not (domain.exchangers or domain.addresses):
        return failed(
            name,
            f"{domain.name} {'has neither MX nor address' if domain.zone else 'does not exist'}",
            f"publish an MX record for {domain.name}, or correct the address in .env",
        )
    return passed(name, f"{domain.name}: {_where(domain)}")


def returning(domain: Domain, *, own: bool) -> Line:
    """The line of the envelope's domain, to which reports come back; *own*: it is DIGEST_BOUNCE_DOMAIN."""
    if not domain.takes_mail:
        setting = "DIGEST_BOUNCE_DOMAIN" if own else "DIGEST_SENDER"
        return failed(
            "envelope-domain",
            f"{domain.name} takes no mail, so what bounces is lost",
            f"publish an MX record for {domain.name} ({setting}) that leads to your mailbox",
        )
    return sending("envelope-domain", domain)


def replying(domain: Domain, address: str) -> Line:
    """The line on whether an answer to a letter reaches anybody."""
    local = address.partition("@")[0].lower()
    if not domain.takes_mail:
        return failed(
            "replies",
            f"{address}: {domain.name} takes no mail, so no answer arrives",
            "set DIGEST_REPLY_TO to an address that somebody reads",
        )
    if local.replace("-", "").replace("_", "").replace(".", "") in ("noreply", "donotreply"):
        return warned(
            "replies",
            f"answers go to {address}; Microsoft wants an address that can be answered",
            "set DIGEST_REPLY_TO to an address that somebody reads",
        )
    return passed("replies", f"answers go to {address}")


def _where(domain: Domain) -> str:
    takers = domain.exchangers or domain.addresses
    return f"{'MX' if domain.exchangers else 'address'} {', '.join(takers[:3])}"


@dataclass(frozen=True, slots=True)
class Reverse:
    """What an address that letters leave from points back to."""

    address: str
    #: each name, and the addresses that it stands for
    names: Mapping[str, Sequence[str]]

    @property
    def confirmed(self) -> str:
        """A name that stands for the address in turn; "" where there is none."""
        return next((name for name, found in self.names.items() if _among(self.address, found)), "")


def _among(address: str, found: Sequence[str]) -> bool:
    return parsed(address) in map(parsed, found)


def reverse_of(address: str, names: Names) -> Reverse:
    """The names of *address*, and what they stand for."""
    return Reverse(address, {name: names.addresses(name) for name in names.pointers(address)[:5]})


def reversed_judged(found: Sequence[Reverse]) -> Line:
    """The line of the addresses letters are known to leave from; Gmail wants each to be confirmed."""
    name = "reverse-dns"
    if not found:
        return idle(name, "from where letters leave is not known: --outgoing IP, or --seed ADDRESS")
    for one in found:
        if not one.names:
            return failed(
                name,
                f"{one.address} has no name (PTR), and many receivers refuse it",
                f"let whoever hosts {one.address} set its reverse DNS to the relay's name",
            )
        if not one.confirmed:
            return failed(
                name,
                f"{one.address} is called {next(iter(one.names))}, which does not lead back to it",
                f"publish {'AAAA' if ':' in one.address else 'A'} {one.address} for that name",
            )
    return passed(name, ", ".join(f"{one.address} is {one.confirmed}" for one in found))


def addresses_of(host: str, names: Names) -> list[str]:
    """The addresses of *host*, which may be one itself."""
    try:
        return [str(parsed(host))]
    except ValueError:
        return names.addresses(host)


def public_only(addresses: Sequence[str]) -> list[str]:
    """Those of *addresses* that are of the public internet."""
    return [one for one in addresses if is_public(parsed(one))]


def reachable(host: str, addresses: Sequence[str]) -> Line:
    """The line on whether readers find the pages' *host* by its *addresses* (D-5)."""
    name = "pages-address"
    if not addresses:
        return failed(
            name,
            f"{host} is not in the DNS, so no link of a letter works",
            f"publish an A or AAAA record for {host}, or correct DIGEST_BASE_URL",
        )
    inside = [one for one in addresses if not is_public(parsed(one))]
    if inside:
        return failed(
            name,
            f"{host} is {inside[0]}, which only your own network reaches",
            f"let {host} lead to a public address, or set DIGEST_BASE_URL to a name that does",
        )
    return passed(name, f"{host} is {', '.join(addresses[:3])}")

"""Settings that can be read and are odd: left as the example has them, or at odds with each other."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from urllib.parse import urlsplit

from digest.doctor.line import Line, failed, idle, passed, warned
from digest.letter.page import Publication
from digest.sending.relay import Relay, Security
from digest.settings import is_loopback
from digest.sources.addresses import parsed

#: RFC 2606 and 6761: nobody's
_NOBODYS = re.compile(r"(?:^|\.)(?:example(?:\.(?:com|net|org))?|test|invalid|local|localhost)$")
#: what nobody's own fetching should ever reach: the metadata of every cloud lies in it
_METADATA = parsed("169.254.169.254")
EXAMPLE_NAME = "My publication"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """The settings that are looked at here."""

    publication: Publication
    relay: Relay
    bounce_domain: str | None = None
    has_mailbox: bool = False
    editors: Sequence[str] = ()
    trusted_proxies: Sequence[IPv4Network | IPv6Network] = ()
    fetch_allow: Sequence[IPv4Network | IPv6Network] = ()

    @property
    def host(self) -> str:
        """The pages' host."""
        return urlsplit(self.publication.base_url).hostname or ""

    @property
    def stays_here(self) -> bool:
        """Whether nothing of it leaves this machine: its relay and its pages are the machine's own."""
        return is_loopback(self.relay.host) and is_loopback(self.host)


def judged(found: Choices) -> list[Line]:
    """The lines of the settings, in their order."""
    return [
        _publication(found),
        _sender(found),
        _postal_address(found),
        _base_url(found),
        _privacy(found),
        _port(found),
        _editors(found),
        _bounces(found),
        _proxies(found),
        _fetching(found),
    ]


def _publication(found: Choices) -> Line:
    if found.publication.name == EXAMPLE_NAME:
        return warned(
            "publication",
            f"it is called {EXAMPLE_NAME!r}, as the example has it",
            "set DIGEST_PUBLICATION_NAME to your own",
        )
    return passed("publication", found.publication.name)


def _sender(found: Choices) -> Line:
    name, address = found.publication.sender_name, found.publication.sender_address
    # H-2: Gmail takes an address or a badge in a name for deceit.
    if "@" in name or any(ord(character) >= 0x2600 and not character.isalpha() for character in name):
        return failed(
            "sender",
            f"the name {name!r} holds an address or a sign, which providers take for deceit",
            "set DIGEST_SENDER to `Name <address>` with the publication's name alone",
        )
    if _NOBODYS.search(address.rpartition("@")[2].lower()) and not found.stays_here:
        return failed(
            "sender",
            f"{address} is in a domain that is nobody's",
            "set DIGEST_SENDER to an address of your own domain",
        )
    return passed("sender", f"{name} <{address}>")


def _postal_address(found: Choices) -> Line:
    if not (found.publication.postal_address or "").strip():
        return failed(
            "postal-address", "there is none, and without it nothing is approved", "set DIGEST_POSTAL_ADDRESS"
        )
    return passed("postal-address", "it stands in every letter")


def _base_url(found: Choices) -> Line:
    url = found.publication.base_url
    if found.stays_here:
        return passed("base-url", f"{url}, for this machine alone; a letter that leaves it leads nowhere")
    is_nobodys = bool(_NOBODYS.search(found.host))
    if urlsplit(url).scheme != "https" or is_loopback(found.host) or is_nobodys:
        what = "has a name that is nobody's" if is_nobodys else "is not https for all the world"
        return failed(
            "base-url",
            f"{url} {what}, so the links of letters do not work",
            "set DIGEST_BASE_URL to https:// and your pages' public name",
        )
    return passed("base-url", url)


def _privacy(found: Choices) -> Line:
    relay = found.relay
    if relay.security is Security.NONE and not is_loopback(relay.host):
        return warned(
            "relay-privacy",
            f"letters travel to {relay.host} in clear (DIGEST_SMTP_INSECURE)",
            "set DIGEST_SMTP_SECURITY=starttls and take DIGEST_SMTP_INSECURE out",
        )
    how = "in clear, on this machine" if relay.security is Security.NONE else f"by {relay.security}, checked"
    return passed("relay-privacy", f"letters travel {how}")


def _port(found: Choices) -> Line:
    relay = found.relay
    usual = {465: Security.TLS, 587: Security.STARTTLS}.get(relay.port)
    if usual is not None and relay.security not in (usual, Security.NONE):
        return warned(
            "relay-port",
            f"port {relay.port} is the one for {usual}, and DIGEST_SMTP_SECURITY is {relay.security}",
            f"set DIGEST_SMTP_SECURITY={usual}, or the port to {'587' if relay.port == 465 else '465'}",
        )
    if relay.port == 25 and not is_loopback(relay.host):
        return warned(
            "relay-port",
            f"port 25 of {relay.host} takes mail from other servers; many networks shut it",
            "set DIGEST_SMTP_PORT=587 with starttls, or 465 with tls",
        )
    return passed("relay-port", f"port {relay.port}, {relay.security}")


def _editors(found: Choices) -> Line:
    if not found.editors:
        return warned(
            "editors",
            "nobody is told of drafts, deadlines and stops",
            "set DIGEST_EDITORS to your desk's address",
        )
    return passed("editors", f"{len(found.editors)} told by mail")


def _bounces(found: Choices) -> Line:
    own = found.publication.sender_address.rpartition("@")[2].lower()
    if not found.bounce_domain:
        return warned(
            "bounces",
            f"what bounces goes to {found.publication.sender_address}, and no machine reads it",
            "set DIGEST_BOUNCE_DOMAIN to a subdomain whose mail all reaches one mailbox; docs/operating.md",
        )
    if found.bounce_domain.lower() == own:
        return warned(
            "bounces",
            f"DIGEST_BOUNCE_DOMAIN is the sender's own domain, {own}: all of its mail must reach one mailbox",
            f"set it to a subdomain, as in bounces.{own}",
        )
    reader = (
        "the mailbox is read"
        if found.has_mailbox
        else "no DIGEST_IMAP_ settings: it comes by a pipe or files"
    )
    return passed("bounces", f"{found.bounce_domain}; {reader}")


def _proxies(found: Choices) -> Line:
    everybody = [one for one in found.trusted_proxies if one.prefixlen == 0]
    if everybody:
        return failed(
            "proxies",
            f"DIGEST_TRUSTED_PROXIES={everybody[0]}: every visitor may say where they come from",
            "set it to your web server's address, as in 127.0.0.1/32",
        )
    if urlsplit(found.publication.base_url).scheme == "https" and not found.trusted_proxies:
        return warned(
            "proxies",
            "a web server ends https in front of `digest serve` and is not trusted to say who asks:"
            " all visitors share the limits of one",
            "set DIGEST_TRUSTED_PROXIES to its address, as in 127.0.0.1/32",
        )
    if not found.trusted_proxies:
        return idle("proxies", "no web server stands in front of the pages")
    return passed("proxies", ", ".join(map(str, found.trusted_proxies)))


def _fetching(found: Choices) -> Line:
    for network in found.fetch_allow:
        if network.prefixlen == 0 or _METADATA in network:
            return failed(
                "fetching",
                f"DIGEST_FETCH_ALLOW={network}: a feed may lead the program to this network's own servers",
                "name only the networks your sources are in",
            )
    return passed("fetching", "public addresses only" if not found.fetch_allow else "and networks of yours")

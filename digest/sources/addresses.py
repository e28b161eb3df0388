"""Which addresses may be connected to: the public internet, and what the operator allows. Pure.

A name or a spelling (`2130706433`, `0x7f.1`, `[::ffff:127.0.0.1]`) is never judged, only the
numeric address a connection would go to. The tables are written out because `is_global` is no
rule to rest on: Python 3.11.7 says True for multicast, 6to4 and NAT64 forms of 127.0.0.1,
64:ff9b:1::/48, fec0::/10 and 192.88.99.0/24, and later patch levels answer differently.
Sources: the IANA registries of special-purpose IPv4 and IPv6 addresses (RFC 6890).
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: the ports of the public internet; inside an allowed network every port is open
PUBLIC_PORTS = frozenset({80, 443})

_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by a carrier's customers
        "127.0.0.0/8",
        "168.63.129.16/32",  # in form public; inside Azure the platform's own, with credentials
        "169.254.0.0/16",  # link-local, and every cloud's metadata
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

#: all that has been given out for global unicast (RFC 4291, section 2.4); loopback, ULA,
#: link-local, site-local, multicast, 5f00::/16 and 64:ff9b:1::/48 lie outside
_GLOBAL_V6 = IPv6Network("2000::/3")
_NOT_PUBLIC_V6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, ORCHID, benchmarks and other protocols; no site among them
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation (RFC 9637)
    )
)

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: every IPv4 site looks so on an IPv6-only network
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # RFC 5214, section 6.1


def parsed(text: str) -> Address:
    """The address written *text*, without a scope (`%eth0`); ValueError where it is none."""
    return ip_address(text.partition("%")[0])


def meant(address: Address) -> Address:
    """The IPv4 address a packet to *address* ends at, where an IPv6 form carries one; else itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def is_public(address: Address) -> bool:
    """Whether *address* is a host of the public internet."""
    ends = meant(address)
    if isinstance(ends, IPv4Address):
        return not any(ends in network for network in _NOT_PUBLIC_V4)
    if (int(ends) >> 32) & 0xFFFFFFFF in _ISATAP:
        return False
    return ends in _GLOBAL_V6 and not any(ends in network for network in _NOT_PUBLIC_V6)


def is_allowed(address: Address, allow: Iterable[Network]) -> bool:
    """Whether *address*, or the IPv4 address it carries, lies in a network of *allow*."""
    ends = meant(address)
    return any(address in network or ends in network for network in allow)


def may_connect(address: Address, port: int, allow: Iterable[Network]) -> bool:
    """Whether *address* may be connected to on *port*."""
    return is_allowed(address, allow) or (port in PUBLIC_PORTS and is_public(address))

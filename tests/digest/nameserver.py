"""A name server on loopback that knows a zone, or says what it is told to."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.resolver
import dns.rrset

#: a name's records by type; "*" instead of records: no answer at all; "!": SERVFAIL
Zone = dict[str, Mapping[str, Sequence[str]] | str]
SILENT, BROKEN = "*", "!"


class NameServer:
    """Answers for *zone*; what is not in it does not exist, and where it is empty not even the root."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        # A datagram of no length, which no resolver sends, ends it.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
            ending.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join(5)
        self._socket.close()

    def resolver(self) -> dns.resolver.Resolver:
        """dnspython's own resolver, set up with this server only."""
        found = dns.resolver.Resolver(configure=False)
        found.nameservers = ["127.0.0.1"]
        found.port = self.port
        return found

    def _serve(self) -> None:
        while True:
            octets, peer = self._socket.recvfrom(4096)
            if not octets:
                return
            query = dns.message.from_wire(octets)
            answer = self._answer(query)
            if answer is not None:
                self._socket.sendto(answer.to_wire(), peer)

    def _answer(self, query: dns.message.Message) -> dns.message.Message | None:
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        records = self.zone.get(name)
        if records == SILENT:
            return None
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if records == BROKEN:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records is None:
            below = bool(self.zone) if name == "." else any(one.endswith(f".{name}") for one in self.zone)
            answer.set_rcode(dns.rcode.NOERROR if below else dns.rcode.NXDOMAIN)
        elif not isinstance(records, str) and records.get(kind):
            texts = [quoted(one) if kind == "TXT" else one for one in records[kind]]
            answer.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, texts))
        return answer


def quoted(text: str) -> str:
    """*text* as the strings of a TXT record, of 255 characters at most."""
    parts = [text[start : start + 250] for start in range(0, len(text), 250)]
    return " ".join(f'"{part}"' for part in parts)


@contextmanager
def name_server(zone: Zone) -> Iterator[NameServer]:
    """One that runs meanwhile."""
    server = NameServer(zone)
    yield server
    server.close()

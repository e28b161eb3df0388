"""The wire under the fetcher: connections only to checked addresses, all under one deadline.

httpcore asks its network backend for a connection to a host name. This one resolves the name once,
judges every address, and connects to one of exactly those: no second lookup can answer otherwise
(DNS rebinding). TLS and the Host header keep the name, so certificates are checked as ever.
Answers are decompressed here, under a limit on what comes out: 292 KB of gzip become 300 MB, and
httpx counts its first chunk after 67 MB.
"""

import queue
import socket
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from ssl import SSLContext
from threading import Thread
from typing import Any

import httpcore

from digest.errors import DigestError
from digest.sources.addresses import PUBLIC_PORTS, Address, Network, is_public, may_connect, parsed

#: a host name and a port -> the numeric addresses it stands for; OSError where it stands for none
Resolve = Callable[[str, int], Sequence[str]]

#: encodings nobody asked for; any other word there ("utf-8", "none") is a misconfigured server's
_FOREIGN = frozenset({"br", "compress", "deflate", "x-compress", "zstd"})
_GZIP = 16 + zlib.MAX_WBITS  # zlib's way of asking for a gzip header
_SLACK = 64 * 1024  # bytes by which gzip may make a body longer
MEMBERS = 100  # gzip streams one after the other in one body (RFC 1952, section 2.2)
MOST_ADDRESSES = 4  # of one name, tried one after the other


class NotFetched(DigestError):
    """What was asked for did not come; the message is *where* (a URL) and *why*.

    *status* is None where no answer came that could be used; *retry_after* is in seconds.
    """

    def __init__(
        self, why: str, *, where: str = "", status: int | None = None, retry_after: int | None = None
    ) -> None:
        line = f"{where[:200]}: {why[:300]}" if where else why[:300]
        super().__init__("".join(character if character.isprintable() else " " for character in line))
        self.why = why
        self.status = status
        self.retry_after = retry_after


class TooSlow(Exception):
    """The deadline has passed."""


class Deadline:
    """An instant after which nothing of one fetch goes on, *seconds* from its making."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def is_past(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() >= self._end

    def left(self, most: float | None = None) -> float:
        """Seconds until it, or *most* if that is less; raises TooSlow once it has passed."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TooSlow
        return left if most is None else min(left, most)


def by_dns(host: str, port: int) -> list[str]:
    """The addresses the system's resolver gives for *host*; OSError where there are none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label of more than 63 octets
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from error
    return [str(address[0]) for *_, address in found]


class TimedStream(httpcore.NetworkStream):
    """A connection that ends at the deadline, however often a byte comes."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come; waits at most *timeout* seconds and never past the deadline."""
        return self._stream.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """All of *buffer* is on its way."""
        self._stream.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        """The connection is closed."""
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same connection under TLS, its certificate checked against *server_hostname*."""
        inner = self._stream.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a stream."""
        return self._stream.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to a name only if every address it stands for may be connected to."""

    def __init__(self, *, allow: Sequence[Network], resolve: Resolve, deadline: Deadline) -> None:
        self._allow = allow
        self._resolve = resolve
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """A connection to one of the addresses of *host*; NotFetched where it may or can not be."""
        addresses = self._resolved(host, port)
        for address in addresses:
            if not may_connect(address, port, self._allow):
                raise NotFetched(_forbidden(host, address, port))
        return TimedStream(self._connected(addresses, port, timeout), self._deadline)

    def _resolved(self, host: str, port: int) -> list[Address]:
        try:
            found = _waited(lambda: self._resolve(host, port), self._deadline)
        except OSError:
            found = ()
        if not found:
            raise NotFetched(f"no address is known for {host}: check its spelling, or the DNS here")
        return [parsed(text) for text in found]

    def _connected(
        self, addresses: Sequence[Address], port: int, timeout: float | None
    ) -> httpcore.NetworkStream:
        *first, last = addresses[:MOST_ADDRESSES]
        for address in first:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connection(address, port, timeout)
        return self._connection(last, port, timeout)

    def _connection(self, address: Address, port: int, timeout: float | None) -> httpcore.NetworkStream:
        return httpcore.SyncBackend().connect_tcp(str(address), port, self._deadline.left(timeout))


def _waited(work: Callable[[], Sequence[str]], deadline: Deadline) -> Sequence[str]:
    """What *work* returns or raises; TooSlow where it takes longer than *deadline*.

    getaddrinfo takes no timeout and waits half a minute and more for name servers that are silent,
    so it runs in a thread of its own, which is left behind and ends with the lookup.
    """
    answers: queue.SimpleQueue[tuple[Sequence[str], OSError | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((work(), None))
        except OSError as error:
            answers.put(((), error))

    Thread(target=run, daemon=True, name="resolve").start()
    try:
        found, failure = answers.get(timeout=deadline.left())
    except queue.Empty:
        raise TooSlow from None
    if failure is not None:
        raise failure
    return found


def _forbidden(host: str, address: Address, port: int) -> str:
    named = host if host == str(address) else f"{host} ({address})"
    if is_public(address) and port not in PUBLIC_PORTS:
        return f"{named} is on port {port}, not 80 or 443: if you trust it, add it to DIGEST_FETCH_ALLOW"
    return f"{named} is not on the public internet: if it is yours, add its network to DIGEST_FETCH_ALLOW"


def decompressed(chunks: Iterable[bytes], encoding: str, limit: int) -> bytes:
    """The body in *chunks*, decompressed; NotFetched where it is broken or longer than *limit* bytes."""
    coding = encoding.strip().lower()
    if coding in _FOREIGN:
        raise NotFetched(f"is compressed with {coding}, though only gzip was asked for")
    body = bytearray()
    for part in _inflated(chunks, limit) if coding in ("gzip", "x-gzip") else chunks:
        body += part
        if len(body) > limit:
            raise _too_big(limit)
    return bytes(body)


def _inflated(chunks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """The gzip stream of *chunks* decompressed, never more than *limit* and one byte at once."""
    stream = zlib.decompressobj(_GZIP)
    taken = members = 0
    try:
        for chunk in chunks:
            taken += len(chunk)
            if taken > limit + _SLACK:  # an empty block of five bytes comes out as none
                raise _too_big(limit)
            yield stream.decompress(chunk, limit + 1)
            while stream.eof and (rest := stream.unused_data.lstrip(b"\0")):
                members += 1
                if members > MEMBERS:
                    raise NotFetched("is made of too many gzip streams")
                stream = zlib.decompressobj(_GZIP)
                yield stream.decompress(rest, limit + 1)
    except zlib.error as error:
        raise NotFetched("says that it is gzip, and is not") from error
    if taken and not stream.eof:
        raise NotFetched("broke off before its end")


def _too_big(limit: int) -> NotFetched:
    return NotFetched(f"is longer than {limit / 1024 / 1024:g} MB, decompressed")

"""The only outgoing HTTP of the program: feeds, pages, and the heartbeat.

http and https only, on ports 80 and 443 of the public internet; inside the networks the operator
allows, on any port. No proxy, cookie or password is ever taken or sent, from the environment or
from a URL. Every redirect is a new request with every check; there are at most five, and none
leads from https to http. One deadline stands over all of it, name lookup and redirects included.
"""

import re
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from digest.sources.addresses import Network
from digest.sources.decode import charset_of
from digest.sources.wire import CheckedBackend, Deadline, NotFetched, Resolve, TooSlow, by_dns, decompressed

DEADLINE = 30.0  # seconds for one fetch as a whole
CONNECT = 5.0  # seconds for one connection, and for its TLS
SILENCE = 10.0  # seconds without a byte
REDIRECTS = 5
LIMIT = 10 * 1024 * 1024  # bytes, decompressed
PING_LIMIT = 64 * 1024  # bytes

_PERMANENT = frozenset({301, 308})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})

_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_LINK = re.compile(
    r"<([^<>]{0,2000})>"
    r'((?:\s*+;\s*+[\w!#$&+.^`|~*-]++(?:\s*+=\s*+(?:"[^"]*+"|[^\s",;]*+))?)*+)'
)
_REL = re.compile(r';\s*+rel\s*+=\s*+(?:"([^"]*+)"|([^\s",;]*+))', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came, decompressed."""

    #: where it came from in the end
    url: str
    status: int
    body: bytes
    #: as the server wrote it, with its parameters; None where it named none
    content_type: str | None = None
    #: the charset of it, in lower case
    charset: str | None = None
    #: to be given back as they are, to ask whether anything changed
    etag: str | None = None
    last_modified: str | None = None
    #: 304: nothing has changed since, and `body` is empty
    unchanged: bool = False
    #: where it is from now on: set if there was a redirect and every one was permanent
    moved_to: str | None = None
    #: of the Link headers (RFC 8288): relation in lower case -> absolute URL, the first of each
    links: Mapping[str, str] = field(default_factory=dict)
    #: all headers, names in lower case
    headers: Mapping[str, str] = field(default_factory=dict)


class Fetcher:
    """Fetches, for a publication that can be reached at *contact* (a URL or an address).

    *allow* are the networks beyond the public internet. *deadline* (seconds), *resolve* and *tls*
    are for those who must have others.
    """

    def __init__(
        self,
        *,
        allow: Sequence[Network] = (),
        contact: str,
        deadline: float = DEADLINE,
        resolve: Resolve = by_dns,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._deadline = deadline
        self._resolve = resolve
        # trust_env=False: certificates are those of certifi, whatever SSL_CERT_FILE says.
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._agent = f"monthly-digest (+{re.sub(r'[^!-~]', '', contact)})"

    def get(
        self,
        url: str,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        limit: int = LIMIT,
        accept: str | None = None,
    ) -> Fetched:
        """What is at *url*; NotFetched, with one line, for whatever else than an answer to it.

        *etag* and *last_modified* are those of the last `Fetched`: where nothing has changed since,
        `unchanged` is True. *limit* is in bytes, decompressed.
        """
        deadline = Deadline(self._deadline)
        target = _checked(url)
        permanent = True
        headers = self._headers(etag, last_modified, accept)
        for hop in range(REDIRECTS + 1):
            answer = self._answered(target, headers, limit, deadline)
            if answer.status not in _REDIRECTS:
                return _fetched(answer, moved=hop > 0 and permanent, conditional=bool(etag or last_modified))
            permanent = permanent and answer.status in _PERMANENT
            target = _redirected(answer)
        raise NotFetched(f"sends on from one address to the next, more than {REDIRECTS} times", where=url)

    def ping(self, url: str) -> str:
        """Asks for *url*; "" where the answer was good, else one line on what went wrong.

        The line does not repeat the URL: that of a heartbeat is a secret.
        """
        try:
            self.get(url, limit=PING_LIMIT)
        except NotFetched as error:
            return error.why
        return ""

    def _headers(
        self, etag: str | None, last_modified: str | None, accept: str | None
    ) -> list[tuple[str, str]]:
        headers = [
            ("User-Agent", self._agent),
            ("Accept", accept or "*/*"),
            ("Accept-Encoding", "gzip"),
            ("Connection", "close"),
        ]
        for name, value in (("If-None-Match", etag), ("If-Modified-Since", last_modified)):
            # What a server once sent is given back as it was, or not at all.
            if value and value.isascii() and value.isprintable():
                headers.append((name, value))
        return headers

    def _answered(
        self, url: httpx.URL, headers: list[tuple[str, str]], limit: int, deadline: Deadline
    ) -> "_Answer":
        """One request to *url* and what came back, whatever its status."""
        backend = CheckedBackend(allow=self._allow, resolve=self._resolve, deadline=deadline)
        try:
            with (
                httpcore.ConnectionPool(ssl_context=self._tls, network_backend=backend) as pool,
                pool.stream(
                    "GET",
                    httpcore.URL(
                        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                    ),
                    headers=[("Host", url.netloc.decode("ascii")), *headers],
                    extensions={"timeout": {"connect": CONNECT, "read": SILENCE, "write": SILENCE}},
                ) as response,
            ):
                received = httpx.Headers(response.headers)
                body = b""
                if 200 <= response.status < 300:
                    body = decompressed(response.iter_stream(), received.get("content-encoding", ""), limit)
                return _Answer(url, response.status, received, body)
        except NotFetched as error:
            raise NotFetched(error.why, where=str(url)) from error
        except TooSlow:
            raise NotFetched(_too_slow(deadline), where=str(url)) from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            why = _too_slow(deadline) if deadline.is_past else _failure(error)
            raise NotFetched(why, where=str(url)) from error


@dataclass(frozen=True, slots=True)
class _Answer:
    url: httpx.URL
    status: int
    headers: httpx.Headers
    body: bytes


def _checked(url: str) -> httpx.URL:
    """*url* as a URL that may be asked for, without its fragment."""
    try:
        target = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        shown = url.rpartition("@")[2]  # without a password
        raise NotFetched("is not a URL: write it as in https://example.org/feed/", where=shown) from error
    if target.scheme not in ("http", "https"):
        raise NotFetched("only http:// and https:// are fetched", where=str(target))
    if target.userinfo or "@" in url.partition("//")[2].partition("/")[0]:
        raise NotFetched("names a user or a password: leave them out", where=target.host)
    host = target.raw_host.decode("ascii")
    if not _HOST.fullmatch(host) or not (target.port is None or 0 < target.port < 65536):
        raise NotFetched("names no host that could be asked", where=str(target))
    return target.copy_with(fragment=None)


def _redirected(answer: _Answer) -> httpx.URL:
    """The URL *answer* sends to, checked like the first."""
    location = answer.headers.get("location", "")
    try:
        target = answer.url.join(location)
    except httpx.InvalidURL:
        location = ""
    if not location:
        raise NotFetched("sends on to nowhere", where=str(answer.url), status=answer.status)
    if answer.url.scheme == "https" and target.scheme == "http":
        raise NotFetched(f"sends from https to {target}, which anybody could read", where=str(answer.url))
    return _checked(str(target))


def _too_slow(deadline: Deadline) -> str:
    return f"was not done after {deadline.seconds:g} seconds"


def _failure(error: Exception) -> str:
    """What went wrong below HTTP, in one line."""
    # httpcore's pool drops __cause__ on the way up; the argument is the same exception.
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        return f"no TLS connection came about: {cause.reason}"
    if isinstance(error, httpcore.ConnectTimeout):
        return f"did not take the connection within {CONNECT:g} seconds"
    if isinstance(error, httpcore.TimeoutException):
        return f"said nothing for {SILENCE:g} seconds"
    if isinstance(error, httpcore.ConnectError):
        reason = cause.strerror if isinstance(cause, OSError) else None
        return f"cannot be reached: {reason or 'no connection'}"
    if isinstance(error, httpcore.ProtocolError):
        return f"does not speak HTTP as it should: {' '.join(str(error).split())[:200]}"
    return "broke off the connection"


def _fetched(answer: _Answer, *, moved: bool, conditional: bool) -> Fetched:
    """The last *answer* as a value; NotFetched where it is a refusal."""
    headers = answer.headers
    if not (200 <= answer.status < 300 or (answer.status == 304 and conditional)):
        raise _refusal(answer)
    content_type = headers.get("content-type")
    charset = charset_of(content_type)
    # A server that says "expired at once" often keeps an ETag of long ago beside it (miniflux).
    stale = headers.get("expires") == "0"
    return Fetched(
        url=str(answer.url),
        status=answer.status,
        body=answer.body,
        content_type=content_type,
        charset=charset.lower() if charset else None,
        etag=None if stale else headers.get("etag"),
        last_modified=None if stale else headers.get("last-modified"),
        unchanged=answer.status == 304,
        moved_to=str(answer.url) if moved else None,
        links=_links(answer),
        headers={name.lower(): value for name, value in headers.items()},
    )


def _links(answer: _Answer) -> dict[str, str]:
    """The targets of the Link headers by relation, as absolute URLs."""
    found: dict[str, str] = {}
    for target, parameters in _LINK.findall(", ".join(answer.headers.get_list("link"))):
        named = _REL.search(parameters)
        for relation in (named[1] or named[2] or "").lower().split() if named else ():
            try:
                found.setdefault(relation, str(answer.url.join(target)))
            except httpx.InvalidURL:
                continue
    return found


def _refusal(answer: _Answer) -> NotFetched:
    """What a status that is no success means, and what can be done."""
    status, headers = answer.status, answer.headers
    wait = _retry_after(headers)
    later = f"try again in {wait} seconds" if wait else "try again later"
    if headers.get("cf-mitigated") == "challenge":
        why = "Cloudflare wants to see a browser: have the site let feed readers through"
    elif status == 404:
        why = "there is nothing (404): check the address"
    elif status == 410:
        why = "is gone for good (410): take it off the sources"
    elif status in (401, 403):
        why = f"is not shown to us ({status}): have the site let feed readers through"
    elif status == 429:
        why = f"was asked too often (429): {later}"
    elif status >= 500:
        why = f"the server is in trouble ({status}): {later}"
    else:
        why = f"answered {status}, which is no content"
    return NotFetched(why, where=str(answer.url), status=status, retry_after=wait)


def _retry_after(headers: httpx.Headers) -> int | None:
    """Seconds to stay away for (RFC 9110, section 10.2.3); None where that is not said."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,8}", text):
        return int(text)
    try:
        # Against the server's own clock, so that ours does not matter.
        wait = parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return None
    return max(0, int(wait.total_seconds()))

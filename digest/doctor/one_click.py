"""The pages as a mail provider meets them: the one-click POST (RFC 8058) of a token that moves nobody."""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlsplit

import httpx

from digest.doctor.line import Line, failed, idle, passed, warned
from digest.doctor.machine import instant_in

PATIENCE = 10.0  # seconds without a byte
#: what providers wait for gladly (U-2)
SOON = 1.0
BODY = b"List-Unsubscribe=One-Click"
#: where a certificate that is renewed by itself is so at a third of its life, something is wrong at a sixth
LATE = 6
#: and of one that lives long
AT_LAST = timedelta(days=10)
_LONGEST = 64 * 1024
_E = TypeVar("_E", bound=BaseException)
_HEADERS = {"Content-Type": "application/x-www-form-urlencoded", "User-Agent": "monthly-digest"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """From when to when a server's certificate is good."""

    begins_at: datetime
    ends_at: datetime

    @classmethod
    def of(cls, connection: ssl.SSLObject | ssl.SSLSocket) -> "Certificate | None":
        """That of the other side; None where it is not told."""
        found = connection.getpeercert() or {}
        begins, ends = (found.get(name) for name in ("notBefore", "notAfter"))
        if not isinstance(begins, str) or not isinstance(ends, str):
            return None
        return cls(*(datetime.fromtimestamp(ssl.cert_time_to_seconds(one), UTC) for one in (begins, ends)))

    def ends_soon(self, now: datetime) -> bool:
        """Whether it should have been renewed by now."""
        return self.ends_at - now < min((self.ends_at - self.begins_at) / LATE, AT_LAST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back, or why nothing did."""

    url: str
    #: 0: nothing came
    status: int = 0
    #: one line on why nothing came
    why: str = ""
    #: the certificate was not to be trusted
    distrusted: bool = False
    #: the name was not found by this machine's own look-up
    unknown: bool = False
    seconds: float = 0.0
    location: str = ""
    cookies: bool = False
    #: the server's clock, and ours at that moment
    server_at: datetime | None = None
    asked_at: datetime | None = None
    certificate: Certificate | None = None


def ask(
    base_url: str,
    token: str,
    now: Callable[[], datetime],
    tls: ssl.SSLContext,
    at: tuple[str, int] | None = None,
) -> Answer:
    """The answer of the pages at *base_url* to the one-click of *token*; never raises for what they do.

    No proxy is used and no redirect followed: a provider's POST is not sent on. *at*: the address and port to
    connect to; None: those that the name stands for.
    """
    url = httpx.URL(f"{base_url}/u/{token}")
    headers = _HEADERS | {"Host": url.netloc.decode("ascii")}
    sni = {"sni_hostname": url.host}
    if at is not None:
        url = url.copy_with(host=at[0], port=at[1])
    shown = f"{base_url}/u/…"
    began = time.monotonic()
    try:
        with (
            httpx.Client(verify=tls, trust_env=False, timeout=PATIENCE) as client,
            client.stream("POST", url, content=BODY, headers=headers, extensions=sni) as response,
        ):
            certificate = _certificate(response)
            seconds = _read(response, began)
            return Answer(
                url=shown,
                status=response.status_code,
                seconds=seconds,
                location=response.headers.get("location", "").replace(token, "…"),
                cookies="set-cookie" in response.headers,
                server_at=instant_in(response.headers.get("date", "")),
                asked_at=now(),
                certificate=certificate,
            )
    except httpx.HTTPError as error:
        distrusted = _cause(error, ssl.SSLCertVerificationError)
        why = distrusted.verify_message if distrusted else _why(error)
        unknown = _cause(error, socket.gaierror) is not None
        return Answer(url=shown, why=why, distrusted=distrusted is not None, unknown=unknown)


def _read(response: httpx.Response, began: float) -> float:
    """The seconds since *began* once all of *response*, or enough of it, is here."""
    received = 0
    for chunk in response.iter_raw():
        received += len(chunk)
        if received > _LONGEST or time.monotonic() - began > PATIENCE:
            break
    return time.monotonic() - began


def _cause(error: BaseException, kind: type[_E]) -> _E | None:
    found: BaseException | None = error
    while found is not None and not isinstance(found, kind):
        found = found.__cause__ or found.__context__
    return found


def _why(error: httpx.HTTPError) -> str:
    if isinstance(error, httpx.TimeoutException):
        return f"said nothing for {PATIENCE:g} seconds"
    below = _cause(error, OSError)
    return (below.strerror if below else None) or str(error)[:200] or type(error).__name__


def _certificate(response: httpx.Response) -> Certificate | None:
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("ssl_object") if stream is not None else None
    return Certificate.of(connection) if connection is not None else None


def certificate_judged(answer: Answer, now: datetime) -> Line:
    """The line of the pages' certificate."""
    name, host = "pages-certificate", urlsplit(answer.url).hostname
    if urlsplit(answer.url).scheme != "https":
        return idle(name, "the pages are not asked by https")
    if answer.distrusted:
        return failed(
            name,
            f"{host}: {answer.why}",
            f"`certbot certificates` on the web server; the whole chain, for {host}, must be served",
        )
    if answer.certificate is None:
        return idle(name, "the pages did not answer")
    ends = f"{answer.certificate.ends_at:%Y-%m-%d}"
    if answer.certificate.ends_soon(now):
        return warned(
            name,
            f"{host}: it ends on {ends}, and was not renewed",
            "`certbot renew` on the web server, and see to its timer",
        )
    return passed(name, f"{host}: good until {ends}")


def judged(answer: Answer) -> Line:
    """The line of the one-click POST."""
    name, url = "one-click", answer.url
    if not answer.status:
        mend = "start `digest serve`, and see that the web server passes it what comes in for this address"
        if answer.distrusted:
            mend = "mend the certificate first"
        elif answer.unknown:
            mend = "see what is said of pages-address; then /etc/resolv.conf and `resolvectl status`"
        return failed(name, f"POST {url}: {answer.why}", mend)
    if 300 <= answer.status < 400:
        return failed(
            name,
            f"POST {url} is sent on to {answer.location or 'nowhere'}, and providers do not follow",
            "set DIGEST_BASE_URL to where it leads, or take the redirect out of the web server",
        )
    if answer.status == 404:
        return failed(
            name,
            f"POST {url} finds nothing (404)",
            "restart `digest serve` so that it has these keys, and pass it all of DIGEST_BASE_URL's paths",
        )
    if answer.status in (401, 403, 405, 429):
        return failed(
            name,
            f"POST {url} is refused ({answer.status}) before it reaches the program",
            "let the web server, its firewall and its limits pass every POST below /u/",
        )
    if answer.status in (502, 504):
        return failed(
            name,
            f"POST {url}: the web server does not reach the program ({answer.status})",
            "start `digest serve`, on the port that the web server passes on to",
        )
    if answer.status != 200:
        return failed(
            name,
            f"POST {url} is answered {answer.status}",
            "see what `digest serve` says: its journal, its log",
        )
    if answer.cookies:
        return failed(
            name,
            f"POST {url} sets a cookie, so it is not our page that answers",
            "let the web server pass every POST below /u/ to `digest serve`",
        )
    if answer.seconds > SOON:
        return warned(
            name,
            f"POST {url} takes {answer.seconds:.1f} s; providers give up soon",
            "see what holds up the web server or the store",
        )
    return passed(name, f"POST {url} answers 200 in {answer.seconds * 1000:.0f} ms, and moves nobody")

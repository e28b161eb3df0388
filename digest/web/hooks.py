"""What the services that send our letters call: their webhooks, closed unless the settings open one.

A call is taken only from the service itself (`returns.signatures`); all others get the page of what is not
there, whatever is wrong with them. What is taken is kept and committed, then answered; what it says is worked
off later. No browser calls here and no session is looked at, so no rule on a request's origin applies.
"""

import hashlib
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from anyio import to_thread
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Engine

from digest.returns.events import Service, text_at
from digest.returns.keeping import keep
from digest.returns.models import Came
from digest.returns.signatures import (
    Notification,
    Topic,
    by_mailgun,
    by_postmark,
    by_sendgrid,
    by_sns,
    notification,
)
from digest.sources.fetch import Fetcher
from digest.sources.wire import NotFetched
from digest.web.forms import whole_body
from digest.web.pages import Pages

#: certificates asked for in an hour: whoever knows the name of a topic can make us ask for one that is none
MOST_FETCHES, IN = 30, timedelta(hours=1)
LONGEST_CERTIFICATE = 64 * 1024  # bytes
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Doors:
    """Whose calls are taken, and what each is known by; several of a kind while a key is changed."""

    topics: tuple[Topic, ...] = ()
    postmark: tuple[bytes, ...] = ()
    mailgun: tuple[bytes, ...] = ()
    sendgrid: tuple[EllipticCurvePublicKey, ...] = ()

    @property
    def open(self) -> frozenset[Service]:
        """The services whose calls are taken."""
        known = {
            Service.SES: self.topics,
            Service.POSTMARK: self.postmark,
            Service.MAILGUN: self.mailgun,
            Service.SENDGRID: self.sendgrid,
        }
        return frozenset(service for service, by in known.items() if by)


def exactly(fetcher: Fetcher) -> Callable[[str], bytes]:
    """Gives what *fetcher* finds at a URL; NotFetched where it does not, or is sent on to another."""

    def fetch(url: str) -> bytes:
        fetched = fetcher.get(url, limit=LONGEST_CERTIFICATE)
        if fetched.url != url:
            raise NotFetched("sends on to another address", where=url)
        return fetched.body

    return fetch


class Sns:
    """SNS, as far as it is asked: its certificates, each fetched once."""

    def __init__(self, fetch: Callable[[str], bytes]) -> None:
        """*fetch* gives what is at a URL; NotFetched where it does not."""
        self.fetch = fetch
        self._lock = threading.Lock()
        self._known: dict[str, bytes] = {}
        self._asked: list[datetime] = []

    def certificate(self, url: str, now: datetime) -> bytes:
        """The certificate at *url*; NotFetched, also where others were asked for too often."""
        if (known := self._known.get(url)) is not None:
            return known
        # Nobody waits for another's: the pages have only so many threads, and SNS calls again.
        if not self._lock.acquire(blocking=False):
            raise NotFetched("another certificate is being fetched", where=url)
        try:
            self._asked = [at for at in self._asked if now - at < IN]
            if len(self._asked) >= MOST_FETCHES:
                raise NotFetched("too many certificates were asked for in an hour", where=url)
            self._asked.append(now)
            found = self.fetch(url)
            # SNS has one at a time.
            self._known = dict([*self._known.items(), (url, found)][-MOST_FETCHES:])
            return found
        finally:
            self._lock.release()


@dataclass(frozen=True, slots=True)
class Hooks:
    """The webhooks behind *doors*."""

    pages: Pages
    engine: Engine
    doors: Doors
    sns: Sns
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Their one route; it is in no description: who calls it knows what to say."""
        router = APIRouter()
        router.add_api_route("/hooks/{name}", self.called, methods=["POST"], include_in_schema=False)
        return router

    async def called(self, name: str, request: Request) -> Response:
        """Kept, or refused; no thread waits for a body."""
        if name not in self.doors.open:
            return self.pages.missing()
        try:
            body = await whole_body(request)
        except TimeoutError:
            # Not a 4xx: SNS never repeats those (its developer guide, "message delivery retries").
            return self.pages.unavailable()
        if body is None:
            return self.pages.missing(413)
        return await to_thread.run_sync(self.take, Service(name), dict(request.headers), body)

    def take(self, service: Service, headers: Mapping[str, str], body: bytes) -> Response:
        """200 and the call is kept, once however often it comes; 404, and nothing, where it is not genuine.

        503 where the certificate of SNS could not be fetched, or the store not be written to: the service
        will try again. *headers* have names in lower case.
        """
        now = self.now()
        if service is Service.SES:
            return self._of_sns(body, now)
        name = hashlib.sha256(body).hexdigest()
        if service is Service.MAILGUN:
            name = by_mailgun(body, self.doors.mailgun, now)
            genuine = bool(name)
        elif service is Service.SENDGRID:
            genuine = by_sendgrid(headers, body, self.doors.sendgrid, now)
        else:
            genuine = by_postmark(headers, self.doors.postmark)
        return self._keep(service, name, body, now) if genuine else self.pages.missing()

    def _of_sns(self, body: bytes, now: datetime) -> Response:
        found = notification(body, self.doors.topics)
        if found is None:
            return self.pages.missing()
        try:
            if not by_sns(found, self.sns.certificate(found.certificate_url, now), now):
                return self.pages.missing()
            if found.confirms:
                return self._confirm(found)
        except NotFetched as error:
            _log.warning("a call of SNS on %s waits: %s", found.topic.arn, error.why)
            return self.pages.unavailable()
        # Not by its bytes: spaces can be put between what is signed.
        return self._keep(Service.SES, text_at(found.envelope, "MessageId"), body, now)

    def _confirm(self, found: Notification) -> Response:
        # The topic is one of ours: to be named in the settings is the consent.
        self.sns.fetch(found.confirms)
        _log.warning("subscribed to %s", found.topic.arn)
        return self.pages.line("subscribed")

    def _keep(self, service: Service, name: str, body: bytes, now: datetime) -> Response:
        # Its name tells of whom it is: nobody can mail us today what a service calls tomorrow.
        keep(self.engine, body, Came(service), now, name=f"{service} {name}".encode())
        return self.pages.line("kept")

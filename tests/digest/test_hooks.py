"""The webhooks on a running server: open to the services themselves, once, and to nobody else."""

import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import col, select

from digest.database import reading, writing
from digest.errors import UsageError
from digest.letter.personalise import stencil
from digest.returns.classes import Class
from digest.returns.events import Service
from digest.returns.models import Came, Received
from digest.returns.signatures import Topic, sendgrid_key
from digest.returns.working import work_off
from digest.settings import Settings
from digest.sources.fetch import Fetcher
from digest.sources.wire import NotFetched
from digest.web import forms
from digest.web.forms import LONGEST_BODY
from digest.web.hooks import IN, MOST_FETCHES, Doors, Sns, exactly
from digest.wiring import doors_of
from subscribers.models import Consent, State
from tests.digest.hooks import (
    ARN,
    CERTIFICATE,
    HOME,
    MAILGUN_KEY,
    NOW,
    POSTMARK_SECRET,
    TO,
    mailgun,
    mailgun_signed,
    postmark,
    postmark_headers,
    sendgrid,
    sendgrid_pair,
    sendgrid_signed,
    ses,
    ses_bounce,
    sns,
)
from tests.digest.reports import DOMAIN, RING
from tests.digest.returning import (
    CONTENT,
    bounce_address,
    enrol,
    office_of,
    reports,
    state_of,
    went_out,
)
from tests.digest.website import Answer, Site, publication, serving

DOORS = Doors(
    topics=(Topic(ARN),),
    postmark=(POSTMARK_SECRET,),
    mailgun=(MAILGUN_KEY,),
    sendgrid=(sendgrid_key(sendgrid_pair()[1]),),
)
BATCH = json.dumps([sendgrid(), sendgrid("spamreport")]).encode()
BOUNCED = json.dumps(postmark()).encode()
#: service -> the headers and the body of a genuine call
GENUINE: dict[Service, tuple[dict[str, str], bytes]] = {
    Service.SES: ({}, sns().message(ses_bounce())),
    Service.POSTMARK: (postmark_headers(), BOUNCED),
    Service.MAILGUN: ({}, mailgun_signed(mailgun())),
    Service.SENDGRID: (sendgrid_signed(BATCH), BATCH),
}


class Web:
    """What SNS shows, and what it was asked for."""

    def __init__(self) -> None:
        self.pages = {CERTIFICATE: sns().certificate}
        self.asked: list[str] = []

    def __call__(self, url: str) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise NotFetched("there is nothing (404)", where=url)
        return self.pages[url]


@pytest.fixture
def web() -> Web:
    return Web()


@pytest.fixture
def open_to(sqlite_engine: Engine, tmp_path: Path, web: Web) -> Iterator[Site]:
    """The pages with all webhooks open."""
    with serving(sqlite_engine, tmp_path / "spool", publication(), doors=DOORS, fetch=web) as running:
        yield running


def call(site: Site, service: str, body: bytes, headers: dict[str, str]) -> Answer:
    return site.ask("POST", f"/hooks/{service}", body, Content_Type="application/json", **headers)


def kept(site: Site) -> list[tuple[Came, bytes | None]]:
    with reading(site.engine) as session:
        return [(one.came, one.raw) for one in session.exec(select(Received).order_by(col(Received.id)))]


def test_a_genuine_call_is_kept_as_it_came_and_once(engine: Engine, tmp_path: Path, web: Web) -> None:
    """B-3, B-11."""
    with serving(engine, tmp_path / "spool", publication(), doors=DOORS, fetch=web) as site:
        for _ in range(2):
            for service, (headers, body) in GENUINE.items():
                answer = call(site, service, body, headers)
                assert (answer.status, answer.text) == (200, "kept\n")
        assert kept(site) == [(Came(service), body) for service, (_, body) in GENUINE.items()]
        assert web.asked == [CERTIFICATE]


def test_every_service_has_its_name_in_the_store() -> None:
    assert {Came(service) for service in Service} == set(Came) - {Came.MAIL}


OTHERS = sendgrid_signed(b"another body")
FORGED: list[tuple[Service, dict[str, str], bytes]] = [
    *((service, {}, body) for service in Service for body in (b"", b"{}", BOUNCED, BATCH)),
    (Service.SES, {}, sns("another").message(ses_bounce())),
    (Service.SES, {}, sns("another").message(ses_bounce(), SigningCertURL="https://evil.example/x.pem")),
    (Service.POSTMARK, postmark_headers(b"another secret"), BOUNCED),
    (Service.MAILGUN, {}, mailgun_signed(mailgun(), key=b"another key")),
    (Service.SENDGRID, OTHERS, BATCH),
]


def test_a_forger_learns_nothing(open_to: Site, web: Web) -> None:
    """B-11, T-6: whatever is wrong, it is the page of what is not there."""
    nothing = open_to.get("/nothing").body
    for service, headers, body in FORGED:
        answer = call(open_to, service, body, headers)
        assert (answer.status, answer.body) == (404, nothing), (service, body)
    assert kept(open_to) == []
    assert web.asked == [CERTIFICATE]


def test_a_signature_of_mailgun_is_good_for_one_body(open_to: Site) -> None:
    """B-11: it does not sign the body."""
    _, first = GENUINE[Service.MAILGUN]
    second = json.dumps(json.loads(first) | mailgun("complained")).encode()
    for body in (first, second):
        assert call(open_to, "mailgun", body, {}).status == 200
    assert kept(open_to) == [(Came.MAILGUN, first)]


def test_what_sns_signed_is_kept_once_whatever_stands_around_it(open_to: Site) -> None:
    """B-11: it signs fields, not bytes."""
    _, body = GENUINE[Service.SES]
    for said in (body, b" " + body, body.replace(b"{", b'{"more": 1, ', 1)):
        assert call(open_to, "ses", said, {}).status == 200
    assert kept(open_to) == [(Came.SES, body)]


def test_an_old_call_is_none(open_to: Site) -> None:
    """B-11."""
    open_to.clock[0] = NOW + timedelta(days=2)
    for service in (Service.MAILGUN, Service.SENDGRID):
        headers, body = GENUINE[service]
        assert call(open_to, service, body, headers).status == 404
    assert kept(open_to) == []


def test_without_the_setting_nothing_is_there(lite: Site, sqlite_engine: Engine, tmp_path: Path) -> None:
    """B-11: closed unless opened, each by itself."""
    only = Doors(mailgun=(MAILGUN_KEY,))
    with serving(sqlite_engine, tmp_path / "spool2", publication(), doors=only, fetch=Web()) as one:
        for service, (headers, body) in GENUINE.items():
            assert call(lite, service, body, headers).status == 404
            assert call(one, service, body, headers).status == (200 if service is Service.MAILGUN else 404)
        assert call(one, "nobody", b"", {}).status == 404
        assert [came for came, _ in kept(one)] == [Came.MAILGUN]


def test_the_setting_opens_what_it_names() -> None:
    """B-11."""
    known = f"ses:{ARN}, mailgun:{MAILGUN_KEY.decode()}, sendgrid:{sendgrid_pair()[1]},"
    values: dict[str, Any] = {
        "publication_name": "Slow Water",
        "publication_url": "https://example.org",
        "sender": "letters@example.org",
        "base_url": "https://letters.example.org",
        "secret_keys": "k" * 32,
    }
    doors = doors_of(Settings(**values, webhooks=f"{known}postmark:{POSTMARK_SECRET.decode()}"))
    assert doors is not None
    assert doors.open == set(Service)
    assert (doors.topics, doors.mailgun, doors.sendgrid) == (DOORS.topics, DOORS.mailgun, DOORS.sendgrid)
    assert doors_of(Settings(**values)) is None
    with pytest.raises(UsageError, match="verification key"):
        doors_of(Settings(**values, webhooks="sendgrid:" + "A" * 80))


def test_only_a_call_is_a_call(open_to: Site) -> None:
    """U-1, S-11."""
    for service in Service:
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            assert open_to.ask(method, f"/hooks/{service}").status == 405
        headers, body = GENUINE[service]
        for path in (
            f"/hooks/{service}/",
            f"/hooks//{service}",
            f"/hooks/{service.upper()}",
            f"/HOOKS/{service}",
        ):
            assert open_to.ask("POST", path, body, **headers).status == 404
    assert kept(open_to) == []


def test_a_call_is_a_mebibyte_at_most(open_to: Site) -> None:
    """B-4."""
    told = json.dumps(postmark(Content="x" * (LONGEST_BODY - len(BOUNCED) - 20))).encode()
    longest = told + b" " * (LONGEST_BODY - len(told))
    assert call(open_to, "postmark", longest, postmark_headers()).status == 200
    assert call(open_to, "postmark", longest + b" ", postmark_headers()).status == 413
    assert [raw for _, raw in kept(open_to)] == [longest]


def test_who_hangs_up_in_the_middle_has_said_nothing(open_to: Site) -> None:
    """B-11: half a body is not taken for a whole one."""
    head = ["POST /hooks/postmark HTTP/1.1", "Host: x", f"Content-Length: {len(BOUNCED)}"]
    head += [f"{name}: {value}" for name, value in postmark_headers().items()]
    with socket.create_connection(("127.0.0.1", open_to.port), timeout=20) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode() + BOUNCED[:40])
    assert call(open_to, "postmark", BOUNCED, postmark_headers()).status == 200
    assert [raw for _, raw in kept(open_to)] == [BOUNCED]


def test_a_body_that_takes_too_long_may_come_again(open_to: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """B-3: SNS never repeats what was answered 4xx."""
    monkeypatch.setattr(forms, "SLOWEST_BODY", 0.1)
    headers = {**postmark_headers(), "Content_Length": str(len(BOUNCED))}
    assert call(open_to, "postmark", BOUNCED[:40], headers).status == 503
    assert kept(open_to) == []


def test_while_the_store_is_busy_the_service_is_asked_to_come_again(open_to: Site) -> None:
    """B-3: nothing is answered 200 that is not kept."""
    headers, body = GENUINE[Service.SENDGRID]
    with writing(open_to.engine) as session:
        session.connection()
        assert call(open_to, "sendgrid", body, headers).status == 503
    assert call(open_to, "sendgrid", body, headers).status == 200
    assert len(kept(open_to)) == 1


# SNS: what is fetched, and when.


def test_without_its_certificate_a_call_of_sns_waits(open_to: Site, web: Web) -> None:
    """B-11."""
    _, body = GENUINE[Service.SES]
    found = web.pages.pop(CERTIFICATE)
    assert call(open_to, "ses", body, {}).status == 503
    assert kept(open_to) == []
    web.pages[CERTIFICATE] = found
    assert call(open_to, "ses", body, {}).status == 200


def test_a_subscription_to_our_topic_is_confirmed_where_the_topic_lives(open_to: Site, web: Web) -> None:
    """B-11, S-4."""
    url = f"{HOME}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=2336412f37"
    web.pages[url] = b"<ConfirmSubscriptionResponse/>"
    elsewhere = {"SubscribeURL": "https://evil.example/"}
    forged = sns("another").message("", kind="SubscriptionConfirmation", **elsewhere)
    assert call(open_to, "ses", forged, {}).status == 404
    of_another = sns().message("", kind="SubscriptionConfirmation", TopicArn=f"{ARN}-2", **elsewhere)
    assert call(open_to, "ses", of_another, {}).status == 404
    genuine = sns().message("", kind="SubscriptionConfirmation", **elsewhere)
    assert call(open_to, "ses", genuine, {}).text == "subscribed\n"
    assert web.asked == [CERTIFICATE, url]
    assert kept(open_to) == []


def test_who_knows_our_topic_cannot_make_us_ask_for_ever() -> None:
    """B-11."""
    web = Web()
    asked = Sns(web)
    for number in range(MOST_FETCHES + 5):
        with pytest.raises(NotFetched):
            asked.certificate(f"{HOME}/SimpleNotificationService-{number:032x}.pem", NOW)
    assert len(web.asked) == MOST_FETCHES
    with pytest.raises(NotFetched, match="too many"):
        asked.certificate(CERTIFICATE, NOW + IN - timedelta(seconds=1))
    assert asked.certificate(CERTIFICATE, NOW + IN) == sns().certificate


def test_nobody_waits_for_a_certificate_that_another_waits_for() -> None:
    """B-11: the threads of the pages are for readers who leave."""
    begun, go = threading.Event(), threading.Event()

    def slow(url: str) -> bytes:
        begun.set()
        assert go.wait(20)
        return url.encode()

    asked = Sns(slow)
    first = threading.Thread(target=asked.certificate, args=(CERTIFICATE, NOW))
    first.start()
    assert begun.wait(20)
    with pytest.raises(NotFetched, match="another"):
        asked.certificate(f"{HOME}/SimpleNotificationService-0123456789abcdef.pem", NOW)
    go.set()
    first.join(20)
    assert asked.certificate(CERTIFICATE, NOW) == CERTIFICATE.encode()


class SendingOn(BaseHTTPRequestHandler):
    """A page, and a redirect to it."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/page" else 302)
        self.send_header("Location", "/page")
        self.end_headers()
        self.wfile.write(b"the page" if self.path == "/page" else b"")

    def log_message(self, *_: object) -> None:
        pass


def test_what_is_asked_for_is_of_the_very_address() -> None:
    """S-4: from nowhere that it is sent on to, and not from inside."""
    fetch = exactly(Fetcher(allow=[ip_network("127.0.0.0/8")], contact="x", deadline=5))
    with ThreadingHTTPServer(("127.0.0.1", 0), SendingOn) as server:
        threading.Thread(target=server.serve_forever).start()
        here = f"http://127.0.0.1:{server.server_port}"
        try:
            assert fetch(f"{here}/page") == b"the page"
            with pytest.raises(NotFetched, match="sends on"):
                fetch(f"{here}/moved")
            with pytest.raises(NotFetched):
                exactly(Fetcher(contact="x", deadline=5))(f"{here}/page")
        finally:
            server.shutdown()


# What is worked off.

AT = NOW - timedelta(days=1)


@pytest.fixture
def readers(sqlite_engine: Engine) -> list[int]:
    """Twelve who have got the issue of September."""
    found = enrol(sqlite_engine, [f"reader{number}@example.net" for number in range(12)])
    went_out(sqlite_engine, "2015-09", AT)
    return found


def token_of(reader: int) -> str:
    return bounce_address(reader, "2015-09")[2:38]


def name_of(reader: int) -> str:
    return stencil(CONTENT, RING, DOMAIN).message_id(reader)


def worked_off(site: Site) -> list[tuple[str, str]]:
    """What came of all that was kept."""
    work_off(office_of(site.engine), NOW)
    with reading(site.engine) as session:
        found = session.exec(select(Received).order_by(col(Received.id)))
        return [(one.stage.value, one.outcome) for one in found]


def test_what_services_tell_costs_whom_it_is_about_and_nobody_else(open_to: Site, readers: list[int]) -> None:
    """B-2, B-5, B-10: twice is once, and a stranger's token is nobody's."""
    one, two, three, four, five = readers[3:8]
    source = bounce_address(one, "2015-09")
    dead = {
        "bounceType": "Permanent",
        "bounceSubType": "NoEmail",
        "bouncedRecipients": [{"emailAddress": TO}],
    }
    named = {"message": {"headers": {"message-id": name_of(three).strip("<>")}}}
    batch = json.dumps(
        [
            sendgrid("spamreport", digest=token_of(four)),
            sendgrid("open", digest=token_of(five)),
            sendgrid(type="bounce", reason="552 5.2.2 mailbox full", digest=token_of(five)),
            sendgrid("spamreport", **{"digest": "x" * 36, "smtp-id": "<2015-09.of-another@example.org>"}),
        ]
    ).encode()
    again = json.dumps(postmark(Metadata={"digest": token_of(two)}, ID=43)).encode()
    calls = [
        ("ses", sns().message(ses("Bounce", dead, source=source)), {}),
        ("postmark", json.dumps(postmark(Metadata={"digest": token_of(two)})).encode(), postmark_headers()),
        ("postmark", again, postmark_headers()),
        ("mailgun", mailgun_signed(mailgun("unsubscribed", **named)), {}),
        ("sendgrid", batch, sendgrid_signed(batch)),
    ]
    for _ in range(2):
        for service, body, headers in calls:
            assert call(open_to, service, body, headers).status == 200
    assert worked_off(open_to) == [
        ("done", "delivery report, hard: bounced"),
        ("done", "delivery report, hard: bounced"),
        ("done", "delivery report, hard: stays"),
        ("done", "unsubscribe request"),
        (
            "waiting",
            "complaint, complaint: complained; automatic mail; delivery report, soft: stays;"
            " its Message-ID is of no letter of ours",
        ),
    ]
    expected = {one: State.BOUNCED, two: State.BOUNCED, three: State.UNSUBSCRIBED, four: State.COMPLAINED}
    states = {reader: state_of(open_to.engine, reader) for reader in readers}
    assert states == {reader: expected.get(reader, State.ACTIVE) for reader in readers}
    with reading(open_to.engine) as session:
        assert [(each.subscriber_id, each.klass) for each in reports(session)] == [
            (one, Class.HARD),
            (two, Class.HARD),
            (two, Class.HARD),
            (four, Class.COMPLAINT),
            (five, Class.SOFT),
        ]
        lines = session.exec(select(Consent.wording).where(col(Consent.subscriber_id) == three)).all()
    assert lines[-1] == "unsubscribed on a page of mailgun"

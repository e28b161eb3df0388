"""Notices: written with their event, told once, tried again until the relay has them."""

from contextlib import suppress
from datetime import datetime
from email import message_from_bytes
from email.policy import default
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from digest.database import writing
from digest.errors import DigestError
from digest.letter.page import Publication
from digest.notices import send_notices, tell

PUBLICATION = Publication(
    name="Slow Water",
    url="https://example.org",
    language="en",
    zone=ZoneInfo("UTC"),
    sender_name="Slow Water, letters",
    sender_address="letters@example.org",
    reply_to=None,
    postal_address=None,
    base_url="https://letters.example.org",
)
EDITORS = ["one@example.org", "two@example.org"]


class Relay:
    """Keeps what it is handed; refuses while *away*."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], bytes]] = []
        self.away = False

    def __call__(self, sender: str, recipients: object, content: bytes) -> None:
        if self.away:
            raise DigestError("the relay is away")
        self.mails.append((sender, list(recipients), content))  # type: ignore[call-overload]


def test_an_event_is_told_once_however_often_it_is_noticed(engine: Engine, now: datetime) -> None:
    with writing(engine) as session:
        assert tell(session, "draft:2015-09", "A draft waits", "Look.\n", now)
        assert not tell(session, "draft:2015-09", "A draft waits", "Look.\n", now)
    relay = Relay()
    assert send_notices(engine, PUBLICATION, EDITORS, relay, now) == 1
    assert send_notices(engine, PUBLICATION, EDITORS, relay, now) == 0
    assert len(relay.mails) == 1


def test_an_event_that_was_rolled_back_is_not_told(engine: Engine, now: datetime) -> None:
    with suppress(RuntimeError), writing(engine) as session:
        tell(session, "draft:2015-09", "A draft waits", "Look.\n", now)
        raise RuntimeError
    assert send_notices(engine, PUBLICATION, EDITORS, Relay(), now) == 0


def test_a_notice_the_relay_does_not_take_waits_and_goes_later(engine: Engine, now: datetime) -> None:
    with writing(engine) as session:
        tell(session, "one", "One", "1\n", now)
        tell(session, "two", "Two", "2\n", now)
    relay = Relay()
    relay.away = True
    with pytest.raises(DigestError):
        send_notices(engine, PUBLICATION, EDITORS, relay, now)
    relay.away = False
    assert send_notices(engine, PUBLICATION, EDITORS, relay, now) == 2


def test_without_editors_notices_wait(engine: Engine, now: datetime) -> None:
    with writing(engine) as session:
        tell(session, "one", "One", "1\n", now)
    assert send_notices(engine, PUBLICATION, [], Relay(), now) == 0
    assert send_notices(engine, PUBLICATION, EDITORS, Relay(), now) == 1


def test_a_notice_is_a_proper_mail_that_asks_for_no_holiday_reply(engine: Engine, now: datetime) -> None:
    """H-11"""
    with writing(engine) as session:
        tell(session, "one", "The draft of 2015-09 waits", "1. Überschrift – «titre» عنوان\n", now)
    relay = Relay()
    send_notices(engine, PUBLICATION, EDITORS, relay, now)
    sender, recipients, content = relay.mails[0]
    message = message_from_bytes(content, policy=default)
    assert (sender, recipients) == ("letters@example.org", EDITORS)
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] == "The draft of 2015-09 waits"
    assert message.get_content() == "1. Überschrift – «titre» عنوان\r\n"
    assert "List-Unsubscribe-Post" not in message
    assert max(map(len, content.split(b"\r\n"))) <= 78
    assert not message.defects

"""Readers complain while an issue goes out: it is paused until a person has looked."""

from email import message_from_bytes
from email.policy import default

import pytest

from digest.settings import load
from subscribers.tokens import Keyring, Purpose
from tests.digest.reports import complaint
from tests.journeys.conftest import Mailbox, Publication
from tests.journeys.test_bounces import DOMAIN, Pipe

DESK = "desk@quay.example"


def complaint_of(digest: Publication, subscriber_id: int) -> bytes:
    token = Keyring(load(digest.folder / ".env").keys).sign(Purpose.BOUNCE, subscriber_id, 2015 * 12 + 8)
    return complaint(to=f"b+{token}@{DOMAIN}")


def told(mailbox: Mailbox) -> list[str]:
    """What the editors were mailed since it was asked last."""
    mails = [message_from_bytes(raw, policy=default) for to, raw in mailbox.letters if to == DESK]
    mailbox.letters.clear()
    return [mail["Subject"] for mail in mails]


def test_complaints_stop_an_issue_until_a_person_has_looked(
    approved: Publication, mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-9: three are enough in a short list; told once, and once resumed not for the same three again."""
    digest, pipe = approved, Pipe(approved, monkeypatch)
    digest.set(BOUNCE_DOMAIN=DOMAIN, EDITORS=DESK, SMTP_CONNECTIONS=1)
    for name in "cdef":
        digest("subscribers", "add", f"{name}@example.org")
    mailbox.answers["f@example.org"] = "550 5.7.1 our policy is against you"
    digest("dispatch", "2015-09", expect=3)
    mailbox.answers.clear()
    told(mailbox)
    for reader in (1, 2, 3):
        pipe(complaint_of(digest, reader))

    stopped = digest("run", expect=3)
    assert "too many complaints: 3 of 5 readers, more than 0.3 %" in stopped.err
    assert "digest issue resume 2015-09" in stopped.err
    shown = digest("issue", "show", "2015-09").out
    assert "paused" in shown
    assert "too many complaints" in shown
    assert "paused" in digest("dispatch", "2015-09", expect=1).err
    assert digest("run").err == ""
    assert [one for one in told(mailbox) if "paused" in one] == ["2015-09 is paused: complaints"]

    digest("issue", "resume", "2015-09")
    digest("dispatch", "2015-09")
    assert mailbox.recipients() == ["f@example.org"]
    assert digest("audit", "2015-09", "--json").json["accepted"] == 6

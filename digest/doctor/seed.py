"""The seed letter: one letter of our own making, sent like any other and read back where it arrives.

Its links are genuine and move nobody; its subject says that it is a test and carries a mark it is known by.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from digest.doctor.mailbox import Folder, OnServer
from digest.letter.page import Publication
from digest.letter.personalise import Letter, stencil
from digest.letter.rendered import Hole, Rendered, sentinel
from digest.sending.relay import Relay
from digest.sending.replies import Verdict
from digest.sending.smtp import hand_over
from digest.sending.trial import TRIAL
from subscribers.audience import Recipient
from subscribers.tokens import NOBODY, Keyring

#: seconds between two looks into the mailbox
AGAIN = 2.0


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a seed letter on its way out."""

    letter: Letter
    mark: str
    at: datetime
    #: why the relay did not take it; "" where it did
    refused: str = ""


def written(
    publication: Publication, keyring: Keyring, bounce_domain: str | None, to: str, mark: str, now: datetime
) -> Letter:
    """The seed letter to *to*, with the 16 hex digits of *mark* in its subject; ValueError for no address."""
    nonce = mark[::-1]
    leave = sentinel(Hole.UNSUBSCRIBE, nonce)
    line = "digest doctor sent this letter to see how letters arrive. Its links are genuine and move nobody."
    rendered = Rendered(
        month=f"{now:%Y-%m}",
        number=0,
        subject=f"{TRIAL}digest doctor {mark}",
        html=(
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>digest doctor</title></head>'
            f'<body><p>{line}</p><p><a href="{leave}">Unsubscribe</a></p></body></html>'
        ),
        text=f"{line}\n\nUnsubscribe: {leave}\n",
        archive="",
        nonce=nonce,
        publication=publication.name,
        language="en",
        sender_name=publication.sender_name,
        sender_address=publication.sender_address,
        reply_to=publication.reply_to,
        base_url=publication.base_url,
    )
    reader = Recipient(subscriber_id=NOBODY, address=to, name="", token_version=0)
    return stencil(rendered, keyring, bounce_domain).letter(reader, now)


def send(relay: Relay, letter: Letter, mark: str, now: datetime) -> Sent:
    """What became of *letter*, sent *now*, on its way out; DigestError where the relay does not let us in."""
    sent = hand_over(relay, letter)
    return Sent(letter, mark, now, "" if sent.verdict is Verdict.ACCEPTED else sent.why)


def read_back(box: OnServer | Folder, mark: str, patience: float) -> bytes | None:
    """The letter of *mark* as it lies in *box*; None where it was not there after *patience* seconds."""
    end = time.monotonic() + patience
    while (found := box.holding(mark)) is None and time.monotonic() < end:
        time.sleep(min(AGAIN, max(end - time.monotonic(), 0.0)))
    return found

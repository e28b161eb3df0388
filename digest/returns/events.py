"""What the services that send our letters tell by webhook: their JSON -> what became of a letter; pure.

Each service names the letter in its own way, and none of them is believed for the address alone: SES gives
our envelope sender and our headers, Mailgun our Message-ID, Postmark and SendGrid what a header of ours
told them to give back (`letter.headers.tags`). Of SendGrid's Message-ID its documents promise more than it
keeps: complaints and late reports come without (sendgrid/docs, issues 4865 and 5177, read 2026-11-26).

Of two classes, the service's and that of our own table for the words it passes on, the milder is believed.

Sources, read 2026-11-26: awsdocs/amazon-ses-developer-guide, notification-contents.md and
event-publishing-retrieving-sns-contents.md; postmarkapp.com/developer/webhooks, its bounce types and
/support/article/1125-custom-metadata-faq; documentation.mailgun.com, user-manual/events/webhooks;
twilio.com/docs/sendgrid/for-developers/tracking-events/event; and calls as they came, kept by the tests of
anymail/django-anymail (0a07e84).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from digest.letter.headers import TAG
from digest.returns.about import message_ids
from digest.returns.classes import Class, Result, classify, enhanced_of, kept, mildest, refusal, says_nothing
from digest.returns.fields import MOST_RECIPIENTS, address_in

#: events of one call that are looked at
MOST_EVENTS = 10_000


class Service(StrEnum):
    """Who tells."""

    SES = "ses"
    POSTMARK = "postmark"
    MAILGUN = "mailgun"
    SENDGRID = "sendgrid"


@dataclass(frozen=True, slots=True)
class Event:
    """What a service tells of one letter; whose it was is to be found out from what names it."""

    #: none where nothing is to be done
    results: tuple[Result, ...] = ()
    #: the letter's envelope sender
    sender: str = ""
    #: what stood in the letter's header for the service
    token: str = ""
    message_ids: tuple[str, ...] = ()
    #: the reader asked the service for no more letters
    leaves: bool = False


def events_of(service: Service, body: bytes) -> tuple[Event, ...] | None:
    """What *body*, a call of *service*, tells, in order; None where it is nothing that service sends."""
    found = parsed(body.decode(errors="replace"))
    return _READERS[service](found)


def mailed(text: str) -> Event | None:
    """What SES tells in a mail with *text*, as SNS sends it to who subscribed an address; None for others."""
    # Sendmail breaks a line that is too long for SMTP with "!", and begins the next with a space.
    found = parsed("".join(text.replace("!\n ", "").partition("{")[1:]))
    return _ses(found) if _kind(found) else None


def parsed(text: str) -> object:
    """The JSON value that *text* begins with; None where it begins with none."""
    try:
        value: object = json.JSONDecoder().raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return None
    return value


def text_at(value: object, *path: str) -> str:
    """The text or the whole number at *path* in a JSON value; "" where there is neither."""
    found = _at(value, *path)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _at(value: object, *path: str) -> object:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _listed(value: object, *path: str) -> list[object]:
    found = _at(value, *path)
    return found[:MOST_RECIPIENTS] if isinstance(found, list) else []


def _result(recipient: str, klass: Class, status: str, said: str) -> Result:
    return Result(address_in(recipient), klass, enhanced_of(status) or enhanced_of(said), kept(said))


def _judged(own: Class, status: str, said: str, alone: Class | None = None) -> Class:
    """The milder of the service's class and ours; *alone* is what counts where nothing but *own* is told."""
    if says_nothing(status, said):
        return own if alone is None else alone
    return mildest((own, refusal(status, said)))


# SES, by way of SNS.

_PERMANENT = {
    # A hard report without a code or a word of the receiver's is SES's reading of some text.
    "General": (Class.HARD, Class.SOFT),
    "NoEmail": (Class.HARD, Class.HARD),
    # SES did not ask the mailbox: it goes by a report or a complaint of before, which may be another's.
    "Suppressed": (Class.SOFT, Class.SOFT),
    "OnAccountSuppressionList": (Class.SOFT, Class.SOFT),
}
_CONTENT = frozenset({"ContentRejected", "AttachmentRejected"})
#: complaints (RFC 5965, section 7.3); "" where the receiver's report names no type
_SPAM = frozenset({"", "abuse", "fraud"})


def _sns(envelope: object) -> tuple[Event, ...] | None:
    message = _at(envelope, "Message")
    if not isinstance(message, str):
        return None
    # What is no JSON is SNS or SES speaking of the topic itself.
    return (_ses(parsed(message)),)


def _kind(message: object) -> str:
    # Two ways to set it up, two names.
    return text_at(message, "notificationType") or text_at(message, "eventType")


def _ses(message: object) -> Event:
    kind = _kind(message)
    results: list[Result] = []
    if kind == "Bounce":
        results = [
            _bounced(one, _at(message, "bounce")) for one in _listed(message, "bounce", "bouncedRecipients")
        ]
    elif kind == "Complaint":
        results = _complained(_at(message, "complaint"))
    elif kind == "DeliveryDelay":
        results = [_delayed(one) for one in _listed(message, "deliveryDelay", "delayedRecipients")]
    elif kind == "Reject":
        results = [_result("", Class.POLICY, "", text_at(message, "reject", "reason"))]
    headers = _listed(message, "mail", "headers")
    named = [text_at(one, "value") for one in headers if text_at(one, "name").lower() == "message-id"]
    return Event(
        tuple(results),
        sender=text_at(message, "mail", "source"),
        message_ids=message_ids([*named, text_at(message, "mail", "commonHeaders", "messageId")]),
        leaves=_at(message, "subscription", "newTopicPreferences", "unsubscribeAll") is True,
    )


def _bounced(recipient: object, bounce: object) -> Result:
    status, said = text_at(recipient, "status"), text_at(recipient, "diagnosticCode")
    narrower = text_at(bounce, "bounceSubType")
    if text_at(bounce, "bounceType") == "Permanent":
        own, alone = _PERMANENT.get(narrower, (Class.SOFT, Class.SOFT))
    else:
        own = alone = Class.POLICY if narrower in _CONTENT else Class.SOFT
    # A report may speak of others, too, whose letter is only late.
    told = classify(text_at(recipient, "action"), status, said)
    klass = told if told in (Class.NONE, Class.DELAYED) else _judged(own, status, said, alone)
    return _result(text_at(recipient, "emailAddress"), klass, status, said or narrower)


def _delayed(recipient: object) -> Result:
    status, said = text_at(recipient, "status"), text_at(recipient, "diagnosticCode")
    return _result(text_at(recipient, "emailAddress"), Class.DELAYED, status, said)


def _complained(complaint: object) -> list[Result]:
    recipients = [text_at(one, "emailAddress") for one in _listed(complaint, "complainedRecipients")] or [""]
    if text_at(complaint, "complaintSubType") == "OnAccountSuppressionList":
        return [_result(one, Class.SOFT, "", "on the suppression list of the account") for one in recipients]
    kind = text_at(complaint, "complaintFeedbackType")
    said = f"{kind} {text_at(complaint, 'userAgent')}"
    return [_result(one, Class.COMPLAINT, "", said) for one in recipients] if kind in _SPAM else []


# Postmark.

_TYPES = {
    "HardBounce": Class.HARD,
    "BadEmailAddress": Class.HARD,
    "SoftBounce": Class.SOFT,
    "DnsError": Class.SOFT,
    "Unknown": Class.SOFT,
    "ManuallyDeactivated": Class.SOFT,
    "Transient": Class.DELAYED,
    "Blocked": Class.POLICY,
    "SpamNotification": Class.POLICY,
    "VirusNotification": Class.POLICY,
    "DMARCPolicy": Class.POLICY,
    "SMTPApiError": Class.POLICY,
    "SpamComplaint": Class.COMPLAINT,
}


def _postmark(call: object) -> tuple[Event, ...] | None:
    kind = text_at(call, "RecordType")
    if not kind:
        return None
    results: list[Result] = []
    klass = _TYPES.get(text_at(call, "Type"))
    if kind in ("Bounce", "SpamComplaint") and klass is not None:
        said = text_at(call, "Details")
        if klass is not Class.COMPLAINT:
            klass = _judged(klass, "", said)
        results = [_result(text_at(call, "Email"), klass, "", said or text_at(call, "Description"))]
    has_left = (
        text_at(call, "SuppressionReason") == "ManualSuppression" and text_at(call, "Origin") == "Recipient"
    )
    return (
        Event(
            tuple(results),
            token=text_at(call, "Metadata", TAG),
            leaves=kind == "SubscriptionChange" and _at(call, "SuppressSending") is True and has_left,
        ),
    )


# Mailgun.


def _mailgun(call: object) -> tuple[Event, ...] | None:
    told = _at(call, "event-data")
    kind = text_at(told, "event")
    if not kind:
        return None
    recipient = text_at(told, "recipient")
    results: list[Result] = []
    if kind == "failed":
        results = [_failed(recipient, told)]
    elif kind == "complained":
        results = [_result(recipient, Class.COMPLAINT, "", "complained")]
    elif kind == "rejected":
        results = [_result(recipient, Class.POLICY, "", text_at(told, "reject", "reason"))]
    return (
        Event(
            tuple(results),
            sender=text_at(told, "envelope", "sender"),
            message_ids=message_ids([text_at(told, "message", "headers", "message-id")]),
            leaves=kind == "unsubscribed",
        ),
    )


def _failed(recipient: str, told: object) -> Result:
    delivery = _at(told, "delivery-status")
    status = text_at(delivery, "enhanced-code")
    words = text_at(delivery, "message") or text_at(delivery, "description")
    said = f"{text_at(delivery, 'code')} {words}".strip() if words else ""
    if text_at(told, "severity") != "permanent":
        return _result(recipient, Class.DELAYED, status, said)
    # Mailgun did not ask the mailbox: it goes by a report, a complaint or an unsubscription of before.
    own = Class.SOFT if text_at(told, "reason").startswith("suppress-") else Class.HARD
    return _result(recipient, _judged(own, status, said, Class.SOFT), status, said or text_at(told, "reason"))


# SendGrid.

_NOT_ASKED = frozenset({"bounced address", "spam reporting address", "invalid", "unsubscribed address"})
_ABOUT_US = frozenset({"content", "reputation", "frequency or volume too high"})
_LEAVING = frozenset({"unsubscribe", "group_unsubscribe"})


def _sendgrid(call: object) -> tuple[Event, ...] | None:
    return tuple(map(_of_sendgrid, call[:MOST_EVENTS])) if isinstance(call, list) else None


def _of_sendgrid(told: object) -> Event:
    kind = text_at(told, "event")
    said = text_at(told, "reason") or text_at(told, "response")
    klass = _class_of(kind, told, said)
    recipient, status = text_at(told, "email"), text_at(told, "status")
    return Event(
        () if klass is None else (_result(recipient, klass, status, said),),
        token=text_at(told, TAG),
        message_ids=message_ids([text_at(told, "smtp-id")]),
        leaves=kind in _LEAVING,
    )


def _class_of(kind: str, told: object, said: str) -> Class | None:
    if kind == "bounce":
        if text_at(told, "bounce_classification").lower() in _ABOUT_US:
            return Class.POLICY
        # The others are "blocked" and "expired", for a while.
        own = Class.HARD if text_at(told, "type") in ("", "bounce") else Class.SOFT
        return _judged(own, text_at(told, "status"), said, Class.SOFT)
    if kind == "dropped":
        return Class.SOFT if said.strip().lower() in _NOT_ASKED else Class.POLICY
    return {"deferred": Class.DELAYED, "spamreport": Class.COMPLAINT}.get(kind)


_READERS: dict[Service, Callable[[object], tuple[Event, ...] | None]] = {
    Service.SES: _sns,
    Service.POSTMARK: _postmark,
    Service.MAILGUN: _mailgun,
    Service.SENDGRID: _sendgrid,
}

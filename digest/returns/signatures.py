"""Whether a webhook's call is from the service it says it is from; pure.

A call that is not is answered like a page that is not there. What a service signs differs: SNS, for SES, the
fields it sends; SendGrid the bytes; Mailgun an instant and a random word, so that word is good for one call.
Postmark signs nothing and shows a secret.

Sources, read 2026-11-26: docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html, and for the
order of the fields aws/aws-js-sns-message-validator (04505b5); documentation.mailgun.com, user-manual/events/
webhooks; twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-
features; postmarkapp.com/developer/webhooks/webhooks-overview.
"""

import hmac
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_pem_x509_certificate

from digest.returns.events import parsed, text_at

#: SendGrid tries for a day to deliver a call, Mailgun for eight hours, and neither says that it signs anew
FRESH = timedelta(hours=25)
AHEAD = timedelta(minutes=10)

_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-f]{8,64}\.pem", re.ASCII)
_HASHES: dict[str, hashes.HashAlgorithm] = {"1": hashes.SHA1(), "2": hashes.SHA256()}  # noqa: S303
_CONFIRMATION = "SubscriptionConfirmation"
#: what SNS signs of each type of message, in this order; the subject only where there is one
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    _CONFIRMATION: ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": (
        "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of SNS that we listen to."""

    arn: str

    @property
    def host(self) -> str:
        """The one host that speaks for it, told by our own setting and never by a message."""
        _, partition, _, region, *_ = self.arn.split(":")
        return f"sns.{region}.amazonaws.com{'.cn' if partition == 'aws-cn' else ''}"


@dataclass(frozen=True, slots=True)
class Notification:
    """A message of SNS on one of our topics, whose signature is not checked yet."""

    topic: Topic
    #: to be fetched from the topic's own host
    certificate_url: str
    envelope: object

    @property
    def confirms(self) -> str:
        """The URL to be asked for, to be subscribed from then on; "" for a message of another type.

        It is put together here: the one in the message is somebody else's word.
        """
        if text_at(self.envelope, "Type") != _CONFIRMATION:
            return ""
        arn, token = quote(self.topic.arn, safe=":"), quote(text_at(self.envelope, "Token"), safe="")
        return f"https://{self.topic.host}/?Action=ConfirmSubscription&TopicArn={arn}&Token={token}"


def notification(body: bytes, topics: Sequence[Topic]) -> Notification | None:
    """*body* as a message on one of *topics*; None for all else, and for a certificate from elsewhere."""
    envelope = parsed(body.decode(errors="replace"))
    topic = next((one for one in topics if one.arn == text_at(envelope, "TopicArn")), None)
    if topic is None or text_at(envelope, "Type") not in _SIGNED:
        return None
    url = text_at(envelope, "SigningCertURL")
    home = f"https://{topic.host}"
    if not url.startswith(home) or not _CERTIFICATE.fullmatch(url.removeprefix(home)):
        return None
    return Notification(topic, url, envelope)


def by_sns(found: Notification, certificate: bytes, now: datetime) -> bool:
    """Whether the key of *certificate*, which is PEM and valid at *now*, signed *found*."""
    algorithm = _HASHES.get(text_at(found.envelope, "SignatureVersion"))
    names = _SIGNED[text_at(found.envelope, "Type")]
    said = [(name, text_at(found.envelope, name)) for name in names]
    signed = "".join(f"{name}\n{value}\n" for name, value in said if value or name != "Subject")
    try:
        read = load_pem_x509_certificate(certificate)
        key = read.public_key()
        if not read.not_valid_before_utc <= now <= read.not_valid_after_utc:
            return False
        if algorithm is None or not isinstance(key, RSAPublicKey):
            return False
        signature = b64decode(text_at(found.envelope, "Signature"), validate=True)
        key.verify(signature, signed.encode(), PKCS1v15(), algorithm)
    except (ValueError, InvalidSignature):
        return False
    return True


def by_mailgun(body: bytes, keys: Sequence[bytes], now: datetime) -> str:
    """What names the call of Mailgun *body*, which one of *keys* signed lately; "" where none did.

    A name is good for one call: whoever saw one could put any body behind its signature.
    """
    block = parsed(body.decode(errors="replace"))
    at, token, given = (text_at(block, "signature", name) for name in ("timestamp", "token", "signature"))
    # Without a limit between the two, digits could be moved from one to the other.
    name = at + token
    genuine = [_same(hmac.digest(key, name.encode(errors="replace"), "sha256").hex(), given) for key in keys]
    return name if any(genuine) and token and _is_fresh(at, now) else ""


def by_sendgrid(
    headers: Mapping[str, str], body: bytes, keys: Sequence[EllipticCurvePublicKey], now: datetime
) -> bool:
    """Whether one of *keys* signed *body*, a call of SendGrid, lately; names of *headers* in lower case."""
    at = headers.get("x-twilio-email-event-webhook-timestamp", "")
    given = headers.get("x-twilio-email-event-webhook-signature", "")
    return _is_fresh(at, now) and any(_by_curve(key, given, at.encode() + body) for key in keys)


def sendgrid_key(text: str) -> EllipticCurvePublicKey:
    """The verification key as SendGrid shows it, base64 of DER; ValueError where it is none."""
    key = load_der_public_key(b64decode(text, validate=True))
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("is a key of another kind")
    return key


def by_postmark(headers: Mapping[str, str], secrets: Sequence[bytes]) -> bool:
    """Whether *headers*, names in lower case, show one of *secrets* as the password of HTTP Basic."""
    scheme, _, given = headers.get("authorization", "").partition(" ")
    try:
        password = b64decode(given.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return False
    return any(hmac.compare_digest(password, one) for one in secrets) and scheme.lower() == "basic"


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode(errors="replace"))


def _by_curve(key: EllipticCurvePublicKey, given: str, signed: bytes) -> bool:
    try:
        key.verify(b64decode(given, validate=True), signed, ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True


def _is_fresh(text: str, now: datetime) -> bool:
    """Whether *text* is the seconds since 1970 of an instant that was lately, in ten digits."""
    if not re.fullmatch(r"[0-9]{10}", text, re.ASCII):
        return False
    return -AHEAD <= now - datetime.fromtimestamp(int(text), UTC) <= FRESH

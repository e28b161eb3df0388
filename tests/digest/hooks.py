"""Calls as the services make them, in the forms of their documents, and signed as they sign."""

import hmac
import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from tests.digest.reports import BOUNCE, MESSAGE_ID

NOW = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
ARN = "arn:aws:sns:eu-west-1:123456789012:letters"
HOME = "https://sns.eu-west-1.amazonaws.com"
CERTIFICATE = f"{HOME}/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
MAILGUN_KEY = b"key-0123456789abcdef0123456789ab"
POSTMARK_SECRET = b"a-secret-of-our-own-forty-characters"
#: of subscriber 7's letter of September 2015
TOKEN = BOUNCE[2:38]
TO = "ann@example.net"
Json = dict[str, Any]


def ses(kind: str, about: Json, name: str = "notificationType", **mail: Any) -> Json:
    """What SES tells; *about* is what it says under the name of the *kind*."""
    letter = {
        "timestamp": "2015-10-01T06:00:00.000Z",
        "messageId": "0100-ses",
        "source": BOUNCE,
        "destination": [TO],
    }
    under = kind[0].lower() + kind[1:]
    return {name: kind, under: about, "mail": letter | mail}


def ses_bounce(kind: str = "Permanent", narrower: str = "General", **recipient: str) -> Json:
    of_one = {"emailAddress": TO, **recipient}
    return ses("Bounce", {"bounceType": kind, "bounceSubType": narrower, "bouncedRecipients": [of_one]})


def ses_complaint(**more: str | None) -> Json:
    return ses("Complaint", {"complainedRecipients": [{"emailAddress": TO}], "userAgent": "Loop/1.0", **more})


def postmark(kind: str = "HardBounce", record: str = "Bounce", **more: Any) -> Json:
    told = {
        "RecordType": record,
        "ID": 42,
        "Type": kind,
        "MessageID": "883953f4",
        "Email": TO,
        "From": "x@example.org",
    }
    return told | {"Details": "", "Metadata": {"digest": TOKEN}} | more


def mailgun(event: str = "failed", severity: str = "permanent", **more: Any) -> Json:
    told = {
        "event": event,
        "severity": severity,
        "recipient": TO,
        "timestamp": 1443679200.5,
        "user-variables": {},
    }
    told |= {"message": {"headers": {"to": TO, "message-id": MESSAGE_ID.strip("<>")}}}
    return {"event-data": told | more}


def sendgrid(event: str = "bounce", **more: Any) -> Json:
    told = {"email": TO, "timestamp": 1443679200, "event": event, "sg_event_id": "Zm9v", "sg_message_id": ""}
    return told | {"digest": TOKEN, "smtp-id": MESSAGE_ID} | more


# How they sign.


@dataclass(frozen=True)
class Sns:
    """A key of SNS, and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: bytes

    def message(
        self, told: Json | str, version: str = "2", kind: str = "Notification", **changes: str | None
    ) -> bytes:
        """A message of SNS with *told* in it; *changes* come before the signature, None takes a field out."""
        fields: dict[str, str | None] = {
            "Type": kind,
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": ARN,
            "Message": told if isinstance(told, str) else json.dumps(told),
            "Timestamp": "2015-10-01T06:00:00.000Z",
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE,
        }
        if kind != "Notification":
            fields |= {"Token": "2336412f37", "SubscribeURL": f"{HOME}/?Action=ConfirmSubscription"}
        fields = {name: value for name, value in (fields | changes).items() if value is not None}
        signed = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{fields[name]}\n" for name in signed if name in fields)
        by = hashes.SHA1() if version == "1" else hashes.SHA256()
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), by)
        return json.dumps(fields | {"Signature": b64encode(signature).decode()}).encode()


@cache
def sns(name: str = "sns") -> Sns:
    """A key with a certificate valid for a year around NOW; another for each *name*."""
    key = rsa.generate_private_key(65537, 2048)
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(called)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=180))
        .not_valid_after(NOW + timedelta(days=180))
        .sign(key, hashes.SHA256())
    )
    return Sns(key, made.public_bytes(serialization.Encoding.PEM))


def mailgun_signed(
    told: Json, at: datetime = NOW, token: str = "a8ce0edb", key: bytes = MAILGUN_KEY
) -> bytes:
    stamp = str(int(at.timestamp()))
    signature = hmac.digest(key, f"{stamp}{token}".encode(), "sha256").hex()
    return json.dumps(
        {"signature": {"timestamp": stamp, "token": token, "signature": signature}} | told
    ).encode()


@cache
def sendgrid_pair() -> tuple[ec.EllipticCurvePrivateKey, str]:
    """A key of SendGrid, and its verification key as SendGrid shows it."""
    key = ec.generate_private_key(ec.SECP256R1())
    shown = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return key, b64encode(shown).decode()


def sendgrid_signed(body: bytes, at: datetime = NOW) -> dict[str, str]:
    """The headers of a call with *body*."""
    stamp = str(int(at.timestamp()))
    signature = sendgrid_pair()[0].sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-timestamp": stamp,
        "x-twilio-email-event-webhook-signature": b64encode(signature).decode(),
    }


def postmark_headers(secret: bytes = POSTMARK_SECRET) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(b'digest:' + secret).decode()}"}

"""Calls of services: from them, to us, lately, and once; whatever else is said."""

import json
from base64 import b64encode
from datetime import datetime, timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from digest.returns.signatures import (
    AHEAD,
    FRESH,
    Topic,
    by_mailgun,
    by_postmark,
    by_sendgrid,
    by_sns,
    notification,
    sendgrid_key,
)
from tests.digest.hooks import (
    ARN,
    CERTIFICATE,
    HOME,
    MAILGUN_KEY,
    NOW,
    POSTMARK_SECRET,
    mailgun,
    mailgun_signed,
    postmark_headers,
    sendgrid,
    sendgrid_pair,
    sendgrid_signed,
    ses_bounce,
    sns,
)

TOPICS = (Topic("arn:aws:sns:us-east-1:123456789012:other"), Topic(ARN))
SECOND = timedelta(seconds=1)
TOO_EARLY, TOO_LATE = NOW - AHEAD - SECOND, NOW + FRESH + SECOND


def is_of_sns(body: bytes, certificate: bytes | None = None, now: datetime = NOW) -> bool:
    found = notification(body, TOPICS)
    return found is not None and by_sns(found, certificate or sns().certificate, now)


# SNS.


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("kind", ["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"])
def test_sns_signs_by_either_version(version: str, kind: str) -> None:
    """B-11."""
    body = sns().message(ses_bounce(), version, kind)
    found = notification(body, TOPICS)
    assert found is not None
    assert (found.topic, found.certificate_url) == (Topic(ARN), CERTIFICATE)
    assert is_of_sns(body)


def test_a_subject_is_signed_where_there_is_one() -> None:
    """B-11."""
    body = sns().message(ses_bounce(), Subject="Amazon SES")
    assert is_of_sns(body)
    assert not is_of_sns(body.replace(b"Amazon SES", b"Amazon SNS"))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"Permanent", b"Transient"),
        (b"22b80b92", b"22b80b93"),
        (b"06:00:00.000Z", b"07:00:00.000Z"),
        (b'"SignatureVersion": "2"', b'"SignatureVersion": "1"'),
        (b'"SignatureVersion": "2"', b'"SignatureVersion": "3"'),
        (b'"SignatureVersion": "2"', b'"x": "2"'),
        (b'"Signature": "', b'"Signature": "!'),
        (b'"Signature": "', b'"x": "'),
        (b'"Type": "Notification"', b'"Type": "UnsubscribeConfirmation"'),
    ],
)
def test_what_was_changed_on_the_way_is_not_of_sns(was: bytes, becomes: bytes) -> None:
    """B-11."""
    body = sns().message(ses_bounce())
    assert was in body
    assert is_of_sns(body)
    assert not is_of_sns(body.replace(was, becomes))


@pytest.mark.parametrize(
    "changes",
    [
        {"TopicArn": "arn:aws:sns:eu-west-1:999999999999:letters"},
        {"TopicArn": f"{ARN}2"},
        {"TopicArn": None},
        {"Type": "Notice"},
        {"Type": None},
        *(
            {"SigningCertURL": url}
            for url in (
                None,
                "",
                CERTIFICATE.replace("https", "http"),
                CERTIFICATE.replace("eu-west-1", "us-east-1"),
                CERTIFICATE.replace("sns.eu-west-1", "sns.s3-eu-west-1"),
                CERTIFICATE.replace("sns.eu-west-1", "sns.eu-west-1.evil"),
                CERTIFICATE.replace(".com/", ".com.evil.example/"),
                CERTIFICATE.replace(".com/", ".com@evil.example/"),
                CERTIFICATE.replace(".com/", ".com:8443/"),
                CERTIFICATE.replace("https://", "https://evil.example/"),
                f"{HOME}/x/../SimpleNotificationService-0123456789abcdef.pem",
                f"{HOME}/?x=/SimpleNotificationService-0123456789abcdef.pem",
                f"{HOME}/SimpleNotificationService-0123456789abcdef.pem?x",
                f"{HOME}/SimpleNotificationService-0123456789abcdef.pem\n",
                f"{HOME}/bucket.pem",
            )
        ),
    ],
)
def test_nothing_is_fetched_for_another_topic_or_from_another_place(changes: dict[str, str | None]) -> None:
    """B-11, S-4: the host is that of our own setting, and its path that of a certificate."""
    assert notification(sns().message(ses_bounce(), **changes), TOPICS) is None


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"\xff", b"{" * 100_000, json.dumps(ses_bounce()).encode()]
)
def test_what_is_no_message_of_sns_is_none(body: bytes) -> None:
    """B-11."""
    assert notification(body, TOPICS) is None


def test_a_certificate_is_of_the_key_and_of_the_day() -> None:
    """B-11."""
    body = sns().message(ses_bounce())
    assert not is_of_sns(body, sns("another").certificate)
    assert not is_of_sns(body, now=NOW + timedelta(days=181))
    assert not is_of_sns(body, now=NOW - timedelta(days=181))
    assert not is_of_sns(body, b"<html>not found</html>")


def test_where_a_topic_is_confirmed_the_message_has_no_say() -> None:
    """B-11, S-4."""
    body = sns().message(
        "", kind="SubscriptionConfirmation", SubscribeURL="https://evil.example/", Token="2336&x=1"
    )
    found = notification(body, TOPICS)
    assert found is not None
    assert found.confirms == f"{HOME}/?Action=ConfirmSubscription&TopicArn={ARN}&Token=2336%26x%3D1"
    plain = notification(sns().message(ses_bounce()), TOPICS)
    assert plain is not None
    assert plain.confirms == ""


def test_a_topic_in_china_has_its_own_host() -> None:
    assert Topic("arn:aws-cn:sns:cn-north-1:123456789012:letters").host == "sns.cn-north-1.amazonaws.com.cn"


# Mailgun.


def test_mailgun_signs_an_instant_and_a_word_which_name_the_call() -> None:
    """B-11."""
    names = {
        by_mailgun(mailgun_signed(mailgun(), token=token), [b"old", MAILGUN_KEY], NOW)
        for token in ("a1", "b2")
    }
    assert len(names) == 2
    assert "" not in names


@pytest.mark.parametrize("at", [NOW - FRESH, NOW + AHEAD])
def test_mailgun_may_be_late_for_as_long_as_services_try(at: datetime) -> None:
    """B-11."""
    assert by_mailgun(mailgun_signed(mailgun(), at), [MAILGUN_KEY], NOW)


@pytest.mark.parametrize(
    "body",
    [
        mailgun_signed(mailgun(), key=b"another key of the same length.."),
        mailgun_signed(mailgun(), NOW - FRESH - SECOND),
        mailgun_signed(mailgun(), NOW + AHEAD + SECOND),
        mailgun_signed(mailgun(), token=""),
        mailgun_signed(mailgun()).replace(b"a8ce0edb", b"a8ce0edc"),
        json.dumps(mailgun()).encode(),
        json.dumps({"signature": {"timestamp": "", "token": "", "signature": ""}}).encode(),
        json.dumps({"signature": "\ud800"}).encode(),
        json.dumps(
            {"signature": {"timestamp": "1443679200", "token": "\ud800", "signature": "\ud800"}}
        ).encode(),
        b"",
        b"[]",
    ],
)
def test_what_mailgun_did_not_sign_lately_has_no_name(body: bytes) -> None:
    """B-11."""
    assert by_mailgun(body, [MAILGUN_KEY], NOW) == ""


def test_digits_cannot_be_moved_between_the_instant_and_the_word() -> None:
    """B-11: else one signature had many names, and would be good for many calls."""
    stamp = str(int(NOW.timestamp()))
    body = mailgun_signed(mailgun(), token="77a8")
    moved = [(f"{stamp}7", "7a8"), (stamp[:-1], f"{stamp[-1]}77a8"), (f"{stamp}77", "a8")]
    for at, token in moved:
        told = json.loads(body)
        told["signature"] |= {"timestamp": at, "token": token}
        assert by_mailgun(json.dumps(told).encode(), [MAILGUN_KEY], NOW) == ""


# SendGrid.

CALL = json.dumps([sendgrid()]).encode()
KEYS = [sendgrid_key(sendgrid_pair()[1])]


def test_sendgrid_signs_the_instant_and_the_bytes() -> None:
    """B-11."""
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    headers = sendgrid_signed(CALL)
    assert by_sendgrid(headers, CALL, [other, *KEYS], NOW)
    assert not by_sendgrid(headers, CALL, [other], NOW)
    assert not by_sendgrid(headers, CALL, [], NOW)
    assert not by_sendgrid(headers, CALL + b" ", KEYS, NOW)
    assert not by_sendgrid({}, CALL, KEYS, NOW)
    for name in headers:
        assert not by_sendgrid(headers | {name: ""}, CALL, KEYS, NOW)
        assert not by_sendgrid(headers | {name: "\xe9"}, CALL, KEYS, NOW)


def test_an_old_call_of_sendgrid_is_none() -> None:
    """B-11."""
    headers = sendgrid_signed(CALL)
    assert by_sendgrid(headers, CALL, KEYS, NOW + FRESH)
    assert not by_sendgrid(headers, CALL, KEYS, TOO_LATE)
    assert not by_sendgrid(headers, CALL, KEYS, TOO_EARLY)


def test_a_key_of_another_kind_is_refused() -> None:
    shown = ed25519.Ed25519PrivateKey.generate().public_key()
    der = shown.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    for text in (b64encode(der).decode(), "", "not base64", b64encode(b"no DER").decode()):
        with pytest.raises(ValueError):  # noqa: PT011  (each in the words of another library)
            sendgrid_key(text)


# Postmark.


def basic(text: bytes, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {b64encode(text).decode()}"}


def test_postmark_shows_the_password_of_the_address_we_gave_it() -> None:
    """B-11."""
    secrets = [b"an older secret of our own, as long....", POSTMARK_SECRET]
    assert by_postmark(postmark_headers(), secrets)
    assert by_postmark(basic(b"anybody:" + POSTMARK_SECRET, "basic"), secrets)
    for headers in (
        {},
        {"authorization": ""},
        {"authorization": "Basic"},
        {"authorization": "Basic \xe9"},
        {"authorization": POSTMARK_SECRET.decode()},
        basic(b"digest:" + POSTMARK_SECRET, "Bearer"),
        basic(POSTMARK_SECRET),
        basic(POSTMARK_SECRET + b":"),
        basic(b"digest:" + POSTMARK_SECRET[:-1]),
        basic(b"digest:" + POSTMARK_SECRET + b"."),
        basic(b"digest:"),
    ):
        assert not by_postmark(headers, secrets)
    assert not by_postmark(postmark_headers(), [])

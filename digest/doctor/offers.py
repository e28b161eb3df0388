"""The relay as a dispatch will meet it: privacy, login, what its EHLO offers. No letter is sent."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from ssl import SSLSocket

from digest.doctor.line import NAMES, Line, failed, idle, passed, warned
from digest.doctor.one_click import Certificate
from digest.lint.message import ENCODED_LIMIT
from digest.sending.connection import opened
from digest.sending.parcel import Mail, mail_command
from digest.sending.relay import Relay, RelayRefused, RelayUnavailable, Timeouts
from digest.sending.replies import Garbled, Phase

PATIENCE = 20.0  # seconds for each answer; a letter would be waited for much longer
#: bytes: the largest letter the lint lets pass, in base64, with its text part
LARGEST = 3 * ENCODED_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What came of one connection to the relay."""

    relay: Relay
    #: why there was none; "" where there was
    refused: str = ""
    #: the same may work later
    unavailable: bool = False
    #: as OpenSSL calls it; "" for none
    tls: str = ""
    certificate: Certificate | None = None
    #: as EHLO names them, in lower case, with their parameters
    extensions: Mapping[str, str] = field(default_factory=dict)
    #: what it answered to MAIL with our sender
    sender: str = ""
    sender_taken: bool = True


def ask(relay: Relay, mail_from: str) -> Offers:
    """What *relay* offers, and whether it takes *mail_from* as a sender; never raises for what it does."""
    patient = replace(relay, timeouts=Timeouts().all(PATIENCE))
    try:
        client = opened(patient)
    except RelayUnavailable as error:
        return Offers(relay=relay, refused=str(error), unavailable=True)
    except RelayRefused as error:
        return Offers(relay=relay, refused=str(error))
    try:
        connection = client.sock
        found = Offers(relay=relay, extensions=dict(client.esmtp_features))
        if isinstance(connection, SSLSocket):
            tls, certificate = connection.version() or "", Certificate.of(connection)
            found = replace(found, tls=tls, certificate=certificate)
        command = mail_command(Mail(mail_from, mail_from, b""), client.has_extn)
        answer = client.ask(Phase.MAIL, command)
        found = replace(found, sender=str(answer), sender_taken=answer.code // 100 == 2)
        with suppress(OSError, Garbled):
            client.ask(Phase.RSET, b"RSET")
            client.ask(Phase.QUIT, b"QUIT")
    except (OSError, Garbled) as error:
        return Offers(
            relay=relay, refused=f"the relay {relay} broke off after EHLO: {error}", unavailable=True
        )
    finally:
        client.close()
    return found


def judged(found: Offers, now: datetime) -> list[Line]:
    """The lines of the relay."""
    if found.refused:
        mend = (
            "see that it runs and that DIGEST_SMTP_HOST and DIGEST_SMTP_PORT are right"
            if found.unavailable
            else "see DIGEST_SMTP_SECURITY, DIGEST_SMTP_PORT, DIGEST_SMTP_USERNAME and DIGEST_SMTP_PASSWORD"
        )
        rest = [idle(name, "the relay did not let us in") for name in NAMES["Relay"][1:]]
        return [failed("relay", found.refused, mend), *rest]
    return [_reached(found, now), _sender(found), _size(found), *_extensions(found)]


def _reached(found: Offers, now: datetime) -> Line:
    relay = found.relay
    login = f"logged in as {relay.username}" if relay.username else "no login"
    if found.certificate is not None and found.certificate.ends_soon(now):
        return warned(
            "relay",
            f"{relay}: its certificate ends on {found.certificate.ends_at:%Y-%m-%d}",
            "renew it, or tell whoever runs the relay: nothing is sent once it is over",
        )
    return passed("relay", f"{relay}: {found.tls or 'in clear'}, {login}")


def _sender(found: Offers) -> Line:
    if not found.sender_taken:
        return failed(
            "relay-sender",
            f"it refuses our sender: {found.sender}",
            "let the relay allow this login to send as DIGEST_SENDER (and as DIGEST_BOUNCE_DOMAIN)",
        )
    return passed("relay-sender", f"it takes our sender: {found.sender}")


def _size(found: Offers) -> Line:
    told = found.extensions.get("size")
    if told is None:
        return passed("relay-size", "it names no limit")
    limit = int(told) if told.isdigit() else 0
    # RFC 1870, section 4: 0, or no number, is no limit.
    if 0 < limit < LARGEST:
        return failed(
            "relay-size",
            f"it takes {limit:,} bytes, and a letter may have {LARGEST:,}",
            "raise its limit (Postfix: `postconf -e message_size_limit=10240000`), or DIGEST_MAX_POSTS lower",
        )
    return passed("relay-size", f"it takes {limit:,} bytes" if limit else "it has no limit")


def _extensions(found: Offers) -> list[Line]:
    def offered(extension: str, without: str) -> Line:
        # Slower is no fault: beside a relay on this machine it costs nothing.
        has = extension in found.extensions
        return passed(f"relay-{extension}", "it is offered" if has else f"not offered: {without}")

    reports = (
        passed("relay-dsn", "it is offered")
        if "dsn" in found.extensions
        else warned(
            "relay-dsn",
            "not offered: the relay reports what, when and to whom it likes",
            "choose a relay that offers DSN (RFC 3461), or have its operator switch it on",
        )
    )
    return [
        offered("pipelining", "each letter waits four times for the distance to it"),
        offered("chunking", "letters travel one by one"),
        reports,
        offered("smtputf8", "letters to addresses beyond ASCII are held"),
    ]

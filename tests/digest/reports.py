"""Reports as mail systems write them, for tests to change one thing of."""

from subscribers.tokens import Keyring, Purpose

RING = Keyring([b"r" * 32])
DOMAIN = "bounces.example.org"
#: subscriber 7's letter of September 2015
BOUNCE = f"b+{RING.sign(Purpose.BOUNCE, 7, 2015 * 12 + 8)}@{DOMAIN}"
LEAVE = f"u+{RING.sign(Purpose.ONE_CLICK, 7, 3)}@{DOMAIN}"
MESSAGE_ID = "<2015-09.abcdefghijklmnopqrstuvwxyz@example.org>"

FIELDS = """\
Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ann@example.net
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 <ann@example.net>: no such user here
"""


def dsn(
    fields: str = FIELDS,
    *,
    to: str = BOUNCE,
    sender: str = "Mail Delivery System <MAILER-DAEMON@mx.example.net>",
    boundary: str = "=_b",
    declared: str | None = "=_b",
    kind: str = "message/delivery-status",
    encoding: str = "7bit",
    said: str = "Your letter could not be delivered.",
) -> bytes:
    """A delivery status notification; *declared* is the boundary its header names, None for none."""
    parameter = "" if declared is None else f'; boundary="{declared}"'
    return f"""\
Return-Path: <>
From: {sender}
To: {to}
Subject: Undelivered
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status{parameter}

--{boundary}
Content-Type: text/plain

{said}

--{boundary}
Content-Type: {kind}
Content-Transfer-Encoding: {encoding}

{fields}
--{boundary}
Content-Type: message/rfc822

From: news@example.org
Message-ID: {MESSAGE_ID}
Content-Type: multipart/alternative; boundary="inner"

--inner
Content-Type: text/plain

The issue.
--inner--

--{boundary}--
""".encode()


def in_words(said: str, *, to: str = BOUNCE, sender: str = "MAILER-DAEMON@mx.example.net") -> bytes:
    """A report without a field of RFC 3464."""
    return f"From: {sender}\nTo: {to}\nSubject: failure notice\n\n{said}\n".encode()


def complaint(kind: str = "abuse", *, to: str = "complaints@example.org") -> bytes:
    """An abuse report (RFC 5965)."""
    return f"""\
From: feedback@example.net
To: {to}
Subject: FW: September
Content-Type: multipart/report; report-type=feedback-report; boundary=f

--f
Content-Type: text/plain

A reader complained.
--f
Content-Type: message/feedback-report

Feedback-Type: {kind}
User-Agent: Loop/1.0
Version: 1
Original-Rcpt-To: <ann@example.net>

--f
Content-Type: message/rfc822

From: news@example.org
Message-ID: {MESSAGE_ID}

The issue.
--f--
""".encode()

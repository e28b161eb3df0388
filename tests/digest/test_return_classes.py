"""Classes: what a refusal means, and that nothing is called dead that is not plainly so."""

import os

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from digest.returns import classes
from digest.returns.classes import Class, classify, kept, refusal
from digest.sending.replies import KEPT

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))

HARD, SOFT, POLICY = Class.HARD, Class.SOFT, Class.POLICY


@pytest.mark.parametrize(
    ("status", "klass"),
    [
        *((one, HARD) for one in ("5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.4.4")),
        *((one, SOFT) for one in ("5.2.2", "4.2.2", "5.2.3", "5.3.4", "4.4.7", "5.4.7", "5.4.316", "5.4.6")),
        *((one, SOFT) for one in ("4.1.1", "4.3.2", "5.3.5", "5.1.4", "5.4.1", "5.5.2", "5.2.4")),
        *((one, POLICY) for one in ("5.7.0", "5.7.1", "5.7.26", "5.7.606", "4.7.0", "4.7.28")),
        *((one, POLICY) for one in ("5.1.7", "5.1.8", "4.1.8", "5.6.0", "5.6.7", "5.7.27")),
        # What says nothing is believed to be nothing.
        *((one, SOFT) for one in ("5.0.0", "4.0.0", "5.1.0", "5.2.0", "5.2.1", "5.5.0", "", "nonsense")),
    ],
)
def test_a_code_alone_says_what_the_registry_says(status: str, klass: Class) -> None:
    """B-7, B-9."""
    assert refusal(status, "") is klass


@pytest.mark.parametrize(
    ("status", "text", "klass"),
    [
        ("5.0.0", "smtp; 550 <ann@example.net>: User unknown", HARD),
        ("5.2.1", "smtp; 550 5.2.1 This account is disabled", HARD),
        ("5.2.1", "550 5.2.1 receives mail at a rate that prevents more", SOFT),
        ("4.0.0", "smtp; DNS Error: example.net is NXDOMAIN", HARD),
        ("5.7.27", "SMTP; 550 Host does not accept mail", HARD),
        ("5.7.27", "smtp; 550 5.7.27 Sender domain does not accept mail", POLICY),
        ("", "521 this host does not accept mail", HARD),
        ("", "556 no", HARD),
        ("", "550 no", SOFT),
        ("", "550 no such user here", HARD),
        ("", "450 no such user here", SOFT),
        ("", "552 no", SOFT),
        # The sender's domain, not the reader's: whoever answers was found.
        ("", "550 domain does not exist", SOFT),
        ("5.1.8", "553 Domain of sender address news@example.org does not exist", POLICY),
        ("5.1.0", "550 5.1.0 192.0.2.1 may not send from example.org: SPF", POLICY),
        ("5.1.1", "550 5.7.1 rejected as spam", POLICY),
        ("5.1.1", "553 Sender Policy Framework fail", POLICY),
        ("5.1.1", "550 5.1.1 mailbox is over quota", SOFT),
        ("5.1.1", "552 5.2.2 no room", SOFT),
        ("5.0.0", "550 too busy (in reply to MAIL FROM command)", POLICY),
        ("4.3.2", "452 4.3.2 rate limit", POLICY),
        # What names a server, an address or a page says nothing of a letter.
        ("", "host spam.policy.example[192.0.2.4] said: 550 5.1.1 no such user", HARD),
        ("", "550 5.1.1 <spam@example.net> unknown, see https://example.net/policy/spam", HARD),
        # Numbers that are no codes.
        ("", "host mx[5.1.1.10] said: no such user", HARD),
        ("", "550 version 5.1.1.9 says no", SOFT),
        ("", "٥٥٠ ٥.١.١ no", SOFT),
    ],
)
def test_what_costs_the_reader_less_is_believed(status: str, text: str, klass: Class) -> None:
    """B-7, B-9."""
    assert refusal(status, text) is klass


def test_a_5xx_to_mail_from_is_about_us() -> None:
    """B-9."""
    assert refusal("", "550 no such user here", at_mail_from=True) is POLICY


@pytest.mark.parametrize(
    ("action", "status", "klass"),
    [
        ("failed", "5.1.1", HARD),
        ("Failed (bad destination)", "5.1.1", HARD),
        ("", "5.1.1", HARD),
        ("expired", "4.4.7", SOFT),
        ("error", "5.1.1", HARD),
        ("delayed", "4.4.1", Class.DELAYED),
        ("DELAYED", "5.1.1", Class.DELAYED),
        *((action, "2.0.0", Class.NONE) for action in ("delivered", "relayed", "expanded", "")),
        *((action, "5.1.1", Class.NONE) for action in ("delivered", "relayed", "deliverable")),
    ],
)
def test_only_what_failed_is_a_failure(action: str, status: str, klass: Class) -> None:
    """B-9."""
    assert classify(action, status, "") is klass


def test_a_mailbox_that_asks_who_the_sender_is_has_not_failed() -> None:
    """B-9."""
    assert classify("failed", "4.7.0", "X-Boxbe-Notice; Sender not pre-approved.") is Class.NONE


@settings(max_examples=EXAMPLES)
@example("", "", "UNKNOWN HOST")
@given(st.text(), st.text(), st.text())
def test_any_text_has_a_class_and_without_a_plain_word_it_is_never_hard(
    action: str, status: str, said: str
) -> None:
    """B-4: Hypothesis draws the code's own words now and then, so there may be one."""
    has_code = {classes.enhanced_of(status), classes.enhanced_of(said)} & classes._HARD_CODES
    has_word = classes._has(classes._words(said), classes._NO_DOMAIN + classes._NO_MAIL + classes._UNKNOWN)
    is_plain = has_code or has_word or classes.code_of(said) in classes._ACCEPTS_NO_MAIL
    assert is_plain or classify(action, status, said) is not HARD


@settings(max_examples=EXAMPLES)
@given(st.text())
def test_a_diagnostic_is_kept_as_one_printable_line(text: str) -> None:
    """B-8."""
    line = kept(text * 50)
    assert len(line) <= KEPT
    assert line.isprintable()

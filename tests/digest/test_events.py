"""What services tell by webhook: the right class, about nobody but whom a name of ours names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from digest.returns.classes import Class
from digest.returns.events import MOST_EVENTS, Service
from digest.returns.fields import MOST_RECIPIENTS
from digest.returns.returned import Kind, Returned, read, read_call
from tests.digest.hooks import (
    TO,
    TOKEN,
    Json,
    mailgun,
    postmark,
    sendgrid,
    ses,
    ses_bounce,
    ses_complaint,
)
from tests.digest.reports import BOUNCE, DOMAIN, LEAVE, MESSAGE_ID, RING

DEAD = "550 5.1.1 <ann@example.net>: no such user here"
FULL = "552 5.2.2 mailbox full"
BLOCKED = "550 5.7.1 Service unavailable, client host blocked"
OTHER_IDS = [{"name": "From", "value": "x"}, {"name": "message-id", "value": MESSAGE_ID}]


def calls(service: Service, told: Any) -> list[Returned]:
    if service is Service.SES and isinstance(told, dict):
        told = {"Type": "Notification", "Message": json.dumps(told)}
    return read_call(service, json.dumps(told).encode(), RING, DOMAIN)


def one(service: Service, told: Any) -> Returned:
    (found,) = calls(service, [told] if service is Service.SENDGRID else told)
    return found


def failed(code: int = 550, message: str = "", **more: Any) -> Json:
    return mailgun(reason="bounce", **{"delivery-status": {"code": code, "message": message}}, **more)


def suppressed() -> Json:
    """Mailgun's word for an address it does not ask any more."""
    told = failed(605, DEAD)
    told["event-data"]["reason"] = "suppress-bounce"
    return told


@pytest.mark.parametrize(
    ("service", "told", "klass"),
    [
        # SES: its own word, where the receiver's is not given; the milder of the two, where it is
        (Service.SES, ses_bounce(narrower="NoEmail"), Class.HARD),
        (
            Service.SES,
            ses_bounce(status="5.1.1", action="failed", diagnosticCode=f"smtp; {DEAD}"),
            Class.HARD,
        ),
        (Service.SES, ses_bounce(), Class.SOFT),
        (
            Service.SES,
            ses_bounce(status="5.7.1", action="failed", diagnosticCode=f"smtp; {BLOCKED}"),
            Class.POLICY,
        ),
        (Service.SES, ses_bounce(narrower="NoEmail", diagnosticCode=f"smtp; {FULL}"), Class.SOFT),
        (Service.SES, ses_bounce("Transient", "MailboxFull"), Class.SOFT),
        (Service.SES, ses_bounce("Transient", status="5.1.1", diagnosticCode=DEAD), Class.SOFT),
        (Service.SES, ses_bounce("Transient", "ContentRejected"), Class.POLICY),
        (Service.SES, ses_bounce("Undetermined", "Undetermined"), Class.SOFT),
        (Service.SES, ses_bounce(status="4.0.0", action="delayed"), Class.DELAYED),
        (Service.SES, ses_bounce(narrower="Suppressed", status="5.1.1", diagnosticCode=DEAD), Class.SOFT),
        (Service.SES, ses_bounce(narrower="OnAccountSuppressionList", status="5.1.1"), Class.SOFT),
        (Service.SES, ses_bounce(narrower="of another year"), Class.SOFT),
        (
            Service.SES,
            ses("DeliveryDelay", {"delayedRecipients": [{"emailAddress": TO}]}, "eventType"),
            Class.DELAYED,
        ),
        (Service.SES, ses("Reject", {"reason": "Bad content"}, "eventType"), Class.POLICY),
        (Service.SES, ses_complaint(complaintFeedbackType="abuse"), Class.COMPLAINT),
        (Service.SES, ses_complaint(), Class.COMPLAINT),
        (Service.SES, ses_complaint(complaintSubType="OnAccountSuppressionList"), Class.SOFT),
        (Service.POSTMARK, postmark(Details=f"smtp;{DEAD}"), Class.HARD),
        (Service.POSTMARK, postmark(), Class.HARD),
        (Service.POSTMARK, postmark(Details=f"smtp;{BLOCKED}"), Class.POLICY),
        (Service.POSTMARK, postmark("SoftBounce", Details=DEAD), Class.SOFT),
        (Service.POSTMARK, postmark("DnsError"), Class.SOFT),
        (Service.POSTMARK, postmark("Transient", Details="network troubles"), Class.DELAYED),
        (Service.POSTMARK, postmark("Blocked"), Class.POLICY),
        (Service.POSTMARK, postmark("SpamNotification", Details=DEAD), Class.POLICY),
        (Service.POSTMARK, postmark("SpamComplaint", "SpamComplaint", Details="550 5.7.1"), Class.COMPLAINT),
        (Service.MAILGUN, failed(message=DEAD), Class.HARD),
        (Service.MAILGUN, failed(message="5.1.1 does not exist.\n5.1.1 please check"), Class.HARD),
        (Service.MAILGUN, failed(message=FULL), Class.SOFT),
        (Service.MAILGUN, failed(message=BLOCKED), Class.POLICY),
        (Service.MAILGUN, failed(), Class.SOFT),
        (Service.MAILGUN, failed(498, "No MX for example.net", severity="temporary"), Class.DELAYED),
        (Service.MAILGUN, suppressed(), Class.SOFT),
        (Service.MAILGUN, mailgun("complained"), Class.COMPLAINT),
        (Service.MAILGUN, mailgun("rejected", reject={"reason": "Sandbox"}), Class.POLICY),
        (Service.SENDGRID, sendgrid(type="bounce", status="5.1.1", reason=DEAD), Class.HARD),
        (Service.SENDGRID, sendgrid(type="bounce"), Class.SOFT),
        (Service.SENDGRID, sendgrid(type="bounce", status="5.2.2", reason=FULL), Class.SOFT),
        (Service.SENDGRID, sendgrid(type="blocked", reason=DEAD), Class.SOFT),
        (Service.SENDGRID, sendgrid(type="blocked", reason=BLOCKED), Class.POLICY),
        (
            Service.SENDGRID,
            sendgrid(type="bounce", bounce_classification="Reputation", reason=DEAD),
            Class.POLICY,
        ),
        (Service.SENDGRID, sendgrid("dropped", reason="Bounced Address"), Class.SOFT),
        (Service.SENDGRID, sendgrid("dropped", reason="Spam Content"), Class.POLICY),
        (Service.SENDGRID, sendgrid("deferred", response="421 try again"), Class.DELAYED),
        (Service.SENDGRID, sendgrid("spamreport"), Class.COMPLAINT),
    ],
)
def test_of_what_a_service_and_the_receiver_say_the_milder_is_believed(
    service: Service, told: Json, klass: Class
) -> None:
    """B-10."""
    found = one(service, told)
    assert (found.klass, found.kind) == (klass, Kind.COMPLAINT if klass is Class.COMPLAINT else Kind.REPORT)
    assert [result.recipient for result in found.results] == ["" if "reject" in told else TO]


@pytest.mark.parametrize(
    ("service", "told"),
    [
        *(
            (Service.SES, ses(kind, {}, "eventType"))
            for kind in ("Delivery", "Send", "Open", "Click", "Rendering Failure")
        ),
        *(
            (Service.SES, ses_complaint(complaintFeedbackType=kind))
            for kind in ("not-spam", "auth-failure", "virus")
        ),
        (Service.SES, {"notificationType": "AmazonSnsSubscriptionSucceeded"}),
        *((Service.POSTMARK, postmark(kind)) for kind in ("AutoResponder", "Subscribe", "of another year")),
        *((Service.POSTMARK, postmark(record=kind)) for kind in ("Delivery", "Open", "of another year")),
        (
            Service.POSTMARK,
            postmark(record="SubscriptionChange", SuppressSending=False, SuppressionReason=None),
        ),
        (
            Service.POSTMARK,
            postmark(
                record="SubscriptionChange",
                SuppressSending=True,
                SuppressionReason="HardBounce",
                Origin="Recipient",
            ),
        ),
        *(
            (Service.MAILGUN, mailgun(kind))
            for kind in ("accepted", "delivered", "opened", "of another year")
        ),
        *(
            (Service.SENDGRID, sendgrid(kind))
            for kind in ("processed", "delivered", "open", "of another year")
        ),
    ],
)
def test_what_has_not_failed_and_what_nobody_knows_does_nothing(service: Service, told: Json) -> None:
    """B-9, B-10."""
    found = one(service, told)
    assert (found.kind, found.results, found.for_person) == (Kind.AUTOMATIC, (), "")


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (
            Service.SES,
            ses("Subscription", {"newTopicPreferences": {"unsubscribeAll": True}}, "eventType"),
        ),
        (
            Service.POSTMARK,
            postmark(
                record="SubscriptionChange",
                SuppressSending=True,
                SuppressionReason="ManualSuppression",
                Origin="Recipient",
            ),
        ),
        (Service.MAILGUN, mailgun("unsubscribed")),
        (Service.SENDGRID, sendgrid("unsubscribe")),
        (Service.SENDGRID, sendgrid("group_unsubscribe")),
    ],
)
def test_who_leaves_at_the_service_has_left(service: Service, told: Json) -> None:
    """B-10."""
    found = one(service, told)
    assert (found.kind, found.for_person) == (Kind.LEAVE, "")
    assert found.subscriber_id == 7 or found.message_ids == (MESSAGE_ID,)


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (Service.SES, ses_bounce(narrower="NoEmail")),
        (Service.POSTMARK, postmark()),
        (Service.MAILGUN, failed(message=DEAD, envelope={"sender": BOUNCE})),
        (Service.SENDGRID, sendgrid(reason=DEAD)),
    ],
)
def test_a_signed_name_says_whose_letter_of_which_issue_it_was(service: Service, told: Json) -> None:
    """B-1, B-10."""
    found = one(service, told)
    assert (found.subscriber_id, found.issue, found.for_person) == (7, "2015-09", "")


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (
            Service.SES,
            ses(
                "Bounce", ses_bounce(narrower="NoEmail")["bounce"], source="x@example.org", headers=OTHER_IDS
            ),
        ),
        (
            Service.SES,
            ses(
                "Complaint",
                ses_complaint()["complaint"],
                source="",
                commonHeaders={"messageId": f" {MESSAGE_ID}"},
            ),
        ),
        (Service.MAILGUN, failed(message=DEAD)),
        (Service.SENDGRID, sendgrid(reason=DEAD, digest="")),
    ],
)
def test_a_message_id_is_looked_up_where_no_signed_name_came_back(service: Service, told: Json) -> None:
    """B-2, B-10."""
    found = one(service, told)
    assert (found.subscriber_id, found.message_ids, found.for_person) == (None, (MESSAGE_ID,), "")


FORGED = f"{TOKEN[:-1]}{'A' if TOKEN[-1] != 'A' else 'B'}"


@pytest.mark.parametrize(
    ("service", "told"),
    [
        (Service.SES, ses("Bounce", ses_bounce(narrower="NoEmail")["bounce"], source=f"b+{FORGED}@{DOMAIN}")),
        (
            Service.SES,
            ses("Bounce", ses_bounce(narrower="NoEmail")["bounce"], source=f"b+{TOKEN}@elsewhere.example"),
        ),
        # A reader's own way out names nobody in a report.
        (Service.SES, ses("Bounce", ses_bounce(narrower="NoEmail")["bounce"], source=LEAVE)),
        (Service.POSTMARK, postmark(Metadata={})),
        (Service.POSTMARK, postmark(Metadata={"digest": FORGED})),
        (Service.POSTMARK, postmark(Metadata={"digest": LEAVE[2:38]})),
        (Service.POSTMARK, postmark(Metadata=[TOKEN], digest=TOKEN)),
        (
            Service.MAILGUN,
            mailgun("complained", message={}),
        ),
        (Service.SENDGRID, sendgrid("spamreport", **{"digest": 7, "smtp-id": ""})),
    ],
)
def test_an_address_alone_names_nobody(service: Service, told: Json) -> None:
    """B-2, B-10."""
    found = one(service, told)
    assert (found.subscriber_id, found.message_ids) == (None, ())
    assert found.for_person == "no signed address and no Message-ID says whom it is about"


def test_a_batch_is_read_event_by_event_as_far_as_there_is_a_limit() -> None:
    """B-4, B-10."""
    found = calls(
        Service.SENDGRID, [sendgrid("spamreport"), "nonsense", sendgrid("open"), sendgrid(reason=FULL)]
    )
    assert [each.kind for each in found] == [Kind.COMPLAINT, Kind.AUTOMATIC, Kind.AUTOMATIC, Kind.REPORT]
    assert calls(Service.SENDGRID, []) == []
    assert len(calls(Service.SENDGRID, [{}] * (MOST_EVENTS + 1))) == MOST_EVENTS
    many = {"bouncedRecipients": [{"emailAddress": TO}] * (MOST_RECIPIENTS + 1), "bounceType": "Permanent"}
    assert len(one(Service.SES, ses("Bounce", many)).results) == MOST_RECIPIENTS


@pytest.mark.parametrize("service", list(Service))
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe", b"null", b"7", b'"x"', b"{}", b"[" * 100_000, b'{"event-data":[]}', b"1" * 5000],
)
def test_what_nobody_understands_waits_for_a_person(service: Service, body: bytes) -> None:
    """B-4."""
    (found,) = read_call(service, body, RING, DOMAIN)
    assert (found.kind, found.for_person) == (Kind.MAIL, "somebody wrote, or nothing in it was understood")


def test_what_sns_says_of_the_topic_itself_does_nothing() -> None:
    """B-10."""
    said = json.dumps({"Type": "Notification", "Message": "Successfully validated SNS topic"}).encode()
    (found,) = read_call(Service.SES, said, RING, DOMAIN)
    assert (found.kind, found.for_person) == (Kind.AUTOMATIC, "")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([TOKEN, TO, DEAD, BOUNCE]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
SHAPES = {
    Service.SES: ses_bounce(status="5.1.1", diagnosticCode=DEAD),
    Service.POSTMARK: postmark(Details=DEAD),
    Service.MAILGUN: failed(message=DEAD),
    Service.SENDGRID: sendgrid(reason=DEAD),
}


def changed(shape: Any, data: st.DataObject) -> Any:
    """*shape* with anything instead of some of its values."""
    if data.draw(st.integers(0, 5)) == 0:
        return data.draw(VALUES)
    if isinstance(shape, dict):
        return {name: changed(value, data) for name, value in shape.items()}
    return [changed(value, data) for value in shape] if isinstance(shape, list) else shape


@given(service=st.sampled_from(Service), data=st.data())
def test_whatever_stands_in_a_call_it_is_read_and_shown_as_one_line(
    service: Service, data: st.DataObject
) -> None:
    """B-4, B-8."""
    told = changed(SHAPES[service], data)
    for found in calls(service, [told] if service is Service.SENDGRID else told):
        assert found.subscriber_id in (None, 7)
        for result in found.results:
            assert result.diagnostic.isprintable()
            assert result.recipient.isprintable()


# The same by mail.


def by_mail(text: str, name: str = "x-amz-sns-message-id") -> Returned:
    head = f"From: AWS <no-reply@sns.amazonaws.com>\nTo: returns@example.org\nSubject: AWS\n{name}: 1"
    return read(f"{head}\n\n{text}\n\n--\nTo leave, visit https://example.com\n".encode(), RING, DOMAIN)


def test_what_ses_tells_by_mail_is_read_also_where_its_line_was_broken() -> None:
    """B-10."""
    text = json.dumps(ses_complaint(complaintFeedbackType="abuse"))
    middle = text.index(BOUNCE) + 20
    for sent in (text, f"{text[:middle]}!\n {text[middle:]}"):
        found = by_mail(sent)
        assert (found.kind, found.klass, found.subscriber_id) == (Kind.COMPLAINT, Class.COMPLAINT, 7)


@pytest.mark.parametrize("text", ["", "{", "An alarm is on", '{"AlarmName": "disk"}', "{" * 100_000])
def test_what_sns_mails_of_other_things_waits_for_a_person(text: str) -> None:
    found = by_mail(text)
    assert (found.kind, found.results) == (Kind.MAIL, ())


def test_json_in_a_mail_that_is_not_of_sns_is_not_read() -> None:
    """B-2."""
    assert by_mail(json.dumps(ses_complaint()), "x-other").kind is Kind.MAIL

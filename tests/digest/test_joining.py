"""Coming onto the list, changing the address, seeing and erasing what is kept: pages and mails together."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from digest.database import reading, writing
from digest.models import Outgoing
from subscribers.address import parse
from subscribers.departures import bar
from subscribers.models import Cause, Consent, State, Subscriber, Ticket, Wish
from tests.digest.website import (
    EDITOR,
    NOW,
    SECRET,
    Mailroom,
    Site,
    answered,
    asking,
    leave,
    locked,
    one_click,
    preferences,
    publication,
    serving,
    stamp,
)


def lines(site: Site) -> list[tuple[str, str, str | None]]:
    with reading(site.engine) as session:
        return [(line.act.value, line.origin, line.ip) for line in session.exec(select(Consent))]


# The form.


def test_a_stranger_comes_onto_the_list_in_two_steps(site: Site, room: Mailroom) -> None:
    """The whole way: form, mail, page, button; every step with its proof (LC-1, L-2)."""
    form = site.get("/subscribe").text
    field = re.search(r'name="at" value="([\w-]+)"', form)
    assert field is not None
    site.clock[0] += timedelta(seconds=5)
    asked = site.post("/subscribe", asking("Anna@example.org", at=field[1]), User_Agent="Reader/1.0")
    assert (asked.status, "Look into your mailbox" in asked.text) == (200, True)
    with reading(site.engine) as session:
        assert session.exec(select(Subscriber)).all() == []
    path = room.link(to="Anna@example.org")
    assert site.state() == State.PENDING
    page = site.get(path).text
    assert page.count("<button") == page.count("<form") == 1
    assert "A•••@e•••.org" in page
    assert site.state() == State.PENDING
    site.clock[0] += timedelta(hours=1)
    done = site.post(path, User_Agent="Reader/1.0")
    assert (done.status, "You are subscribed" in done.text) == (200, True)
    assert site.state() == State.ACTIVE
    with reading(site.engine) as session:
        found = [
            (one.act.value, one.at - NOW, one.origin, one.ip, one.user_agent, one.wording)
            for one in session.exec(select(Consent))
        ]
    first, second = timedelta(seconds=5), timedelta(hours=1, seconds=5)
    promise = (
        "One letter a month, with what Slow & Water published in it. · A mail asks you to confirm; before"
        " that, nothing is sent. You can leave at any time with one click. · Subscribe"
    )
    pressed = "Yes, send it to me: Press the button, and every issue of Slow & Water goes to …."
    assert found == [
        ("requested", first, "page", "127.0.0.1", "Reader/1.0", promise),
        ("confirmed", second, "page", "127.0.0.1", "Reader/1.0", pressed),
    ]


def test_pressing_twice_says_the_same_and_does_nothing(lite: Site, small: Mailroom) -> None:
    """3.1: a second POST shows the same success; and no link brings back who left since."""
    lite.post("/subscribe", asking("anna@example.org"))
    path = small.link()
    first, before = lite.post(path), lines(lite)
    assert (lite.post(path).text, lite.get(path).text, lines(lite)) == (first.text, first.text, before)
    with reading(lite.engine) as session:
        (who,) = session.exec(select(Subscriber.id))
    assert who is not None
    lite.post(one_click(who))
    assert lite.post(path).status == 200
    assert lite.state() == State.UNSUBSCRIBED


def test_a_link_works_for_seven_days(lite: Site, small: Mailroom) -> None:
    """T-5, T-6: afterwards it is the one page of whatever is not there."""
    lite.post("/subscribe", asking("anna@example.org"))
    path = small.link()
    lite.clock[0] = NOW + timedelta(days=7)
    never = lite.get("/c/AAAAAAAAAAAAAAAAAAAAAA")
    for answer in (lite.get(path), lite.post(path)):
        assert (answer.status, answer.body) == (404, never.body)
    assert lite.state() == State.PENDING


def test_what_is_no_address_is_said_so_and_kept_in_the_field(lite: Site) -> None:
    for typed in ("", "anna", "anna@", "<b>@x", "a@b\r\nBcc: c@d.example", "a" * 400 + "@example.org"):
        answer = lite.post("/subscribe", asking(typed))
        assert answer.status == 422
        assert "does not look like an email address" in answer.text
        assert "<b>" not in answer.text
    with reading(lite.engine) as session:
        assert session.exec(select(Wish)).all() == []


def test_a_slip_of_the_hand_is_asked_about_and_not_refused(lite: Site) -> None:
    """A-5."""
    assert "Did you mean anna@gmail.com?" in lite.post("/subscribe", asking("anna@gmial.com")).text
    with reading(lite.engine) as session:
        assert [one.address for one in session.exec(select(Wish))] == ["anna@gmial.com"]


def test_who_fills_in_what_nobody_sees_gets_the_same_answer_and_no_mail(lite: Site, small: Mailroom) -> None:
    """U-8: the trap."""
    trapped = lite.post("/subscribe", asking("anna@example.org", website="https://spam.example"))
    with reading(lite.engine) as session:
        assert session.exec(select(Wish)).all() == []
    assert (trapped.status, trapped.body) == (200, lite.post("/subscribe", asking("b@example.org")).body)


@pytest.mark.parametrize(
    "at",
    [
        "",
        "nonsense",
        stamp(NOW - timedelta(seconds=1)),
        stamp(NOW - timedelta(hours=12, seconds=1)),
        stamp(NOW + timedelta(hours=1)),
        preferences(12)[3:],
    ],
)
def test_a_form_that_is_too_fresh_too_old_or_not_ours_is_asked_for_once_more(lite: Site, at: str) -> None:
    """U-8: a person presses again, with what they typed still there; nothing is written down."""
    answer = lite.post("/subscribe", asking("anna@example.org", at=at))
    assert (answer.status, "Please press the button once more." in answer.text) == (422, True)
    assert 'value="anna@example.org"' in answer.text
    with reading(lite.engine) as session:
        assert session.exec(select(Wish)).all() == []
    again = re.search(r'name="at" value="([\w-]+)"', answer.text)
    assert again is not None
    lite.clock[0] += timedelta(seconds=2)
    if at != stamp(NOW + timedelta(hours=1)):
        assert lite.post("/subscribe", asking("anna@example.org", at=again[1])).status == 200


def test_without_the_key_of_never_again_nobody_is_taken_on(sqlite_engine: Engine, tmp_path: Path) -> None:
    with serving(sqlite_engine, tmp_path / "spool", publication(), secret=None) as site:
        assert {site.get("/subscribe").status, site.post("/subscribe", asking("a@example.org")).status} == {
            503
        }
        assert site.get(preferences(site.person())).status == 200


def test_while_the_store_is_locked_the_form_says_that_nothing_was_done(lite: Site) -> None:
    with locked(lite.engine):
        assert lite.post("/subscribe", asking("anna@example.org")).status == 503


# The mails.


def test_the_mails_hold_nothing_a_visitor_wrote_and_say_that_a_program_sent_them(
    lite: Site, small: Mailroom
) -> None:
    """U-7, H-11, H-1: what, how often, who, from which page and when; no picture, no name, no tracking."""
    lite.post("/subscribe", asking("anna@example.org", name="CLICK http://spam.example"))
    small.work()
    (mail,) = small.mails()
    assert [name for name, _ in mail.items()] == [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "X-Auto-Response-Suppress",
        "MIME-Version",
        "Content-Type",
    ]
    assert (mail["Auto-Submitted"], mail["Subject"]) == ("auto-generated", "Please confirm: Slow & Water")
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))
    for part in (text, html):
        told = " ".join(re.sub(r"<[^>]+>", " ", part).replace("&amp;", "&").split())
        for said in ("Slow & Water", "one letter a month", "October 1, 2015", "/subscribe", "Quay 7"):
            assert said in told
        assert "spam" not in part
    assert "<img" not in html
    assert len(re.findall("/c/", html)) == len(re.findall("/c/", text)) == 1


def test_a_mail_to_who_receives_already_leads_to_the_preferences(site: Site, room: Mailroom) -> None:
    """3.1: the visitor sees what everybody sees; who owns the mailbox learns where they stand."""
    who = site.person()
    before = site.contents()
    site.post("/subscribe", asking("ANNA@example.org"))
    assert room.link(to="anna@example.org") == preferences(who)
    assert site.contents()[:3] == before[:3]


def test_who_must_not_be_written_to_gets_no_mail(lite: Site, small: Mailroom) -> None:
    for cause, years in ((Cause.MANUAL, 9), (Cause.COMPLAINED, 0)):
        lite.clock[0] = NOW + timedelta(days=366 * years)
        with writing(lite.engine) as session:
            bar(session, parse(f"{cause}@example.org"), cause, EDITOR, SECRET)
        asked = lite.post(
            "/subscribe", asking(f"{cause}@example.org", at=stamp(lite.clock[0] - timedelta(minutes=1)))
        )
        assert (asked.status, small.work()) == (200, 0)


@pytest.mark.parametrize("cause", [Cause.LEFT, Cause.BOUNCED, Cause.ERASED])
def test_a_yes_from_the_mailbox_itself_brings_back(lite: Site, small: Mailroom, cause: Cause) -> None:
    """B-8, P-4."""
    lite.person()
    with writing(lite.engine) as session:
        if cause != Cause.ERASED:
            bar(session, parse("anna@example.org"), cause, EDITOR, SECRET)
    if cause == Cause.ERASED:
        erased(lite, small)
    lite.post("/subscribe", asking("anna@example.org"))
    lite.post(small.link())
    assert lite.state() == State.ACTIVE


def test_a_relay_that_is_away_loses_no_mail(lite: Site, small: Mailroom) -> None:
    """A crash or a relay that is down between asking and sending: the mail goes later, once."""
    lite.post("/subscribe", asking("anna@example.org"))
    small.relay.script["RCPT"] = b"451 4.3.0 later\r\n"
    assert small.work() == 0
    small.relay.script.clear()
    assert small.work() == 0
    lite.clock[0] += timedelta(minutes=10)
    assert [small.work(), small.work()] == [1, 0]
    with reading(lite.engine) as session:
        assert session.exec(select(Outgoing)).all() == []


def test_a_mail_that_is_refused_for_good_is_given_up(lite: Site, small: Mailroom) -> None:
    lite.post("/subscribe", asking("anna@example.org"))
    small.relay.script["RCPT"] = b"550 5.1.1 no such user\r\n"
    assert small.work() == 0
    with reading(lite.engine) as session:
        assert session.exec(select(Outgoing)).all() == []


def test_the_server_answers_by_itself(sqlite_engine: Engine, tmp_path: Path) -> None:
    """A mail is there a second or two after the form, without cron."""
    with answered(sqlite_engine, publication(), lambda: NOW) as room:
        with serving(sqlite_engine, tmp_path / "spool", publication(), answer=room.work) as site:
            site.post("/subscribe", asking("anna@example.org"))
            for _ in range(200):
                if room.relay.letters:
                    break
                room.relay.asked("dot") or __import__("time").sleep(0.05)
        assert [mail["To"] for mail in room.mails()] == ["anna@example.org"]


# Another address.


def moving(site: Site, room: Mailroom, who: int, to: str, version: int = 0) -> str:
    """The path of the link that was sent to the new address."""
    asked = site.post(f"{preferences(who, version)}?act=move", f"email={to}".encode())
    assert "Look into your mailbox" in asked.text
    return room.link(to=to)


def test_an_address_is_changed_by_a_yes_from_the_new_one_and_the_old_one_can_undo_it(
    site: Site, room: Mailroom
) -> None:
    """U-10, T-3."""
    who = site.person()
    path = moving(site, room, who, "ben@example.org")
    assert site.state() == State.ACTIVE
    assert "Your address is changed" in site.post(path).text
    assert site.state("ben") == State.ACTIVE
    assert site.get(preferences(who)).status == 404
    assert site.get(preferences(who, 1)).status == 200
    undo = room.link(to="anna@example.org")
    assert "Your address is changed" in site.post(undo).text
    assert site.state() == State.ACTIVE
    assert site.post(one_click(who)).status == 200
    assert site.state() == State.UNSUBSCRIBED
    with reading(site.engine) as session:
        moved = [(one.act.value, one.address) for one in session.exec(select(Consent))][1:]
    assert moved == [("moved", "anna@example.org"), ("moved", "ben@example.org"), ("withdrawn", "")]


def test_an_address_that_is_somebody_elses_is_not_taken(lite: Site, small: Mailroom) -> None:
    """U-10: it is told only to who owns both mailboxes."""
    anna, _ben = lite.person(), lite.person("ben")
    path = moving(lite, small, anna, "ben@example.org")
    assert lite.post(path).status == 409
    assert (lite.state(), lite.state("ben")) == (State.ACTIVE, State.ACTIVE)


def test_asking_for_another_address_needs_an_address(lite: Site) -> None:
    who = lite.person()
    answer = lite.post(f"{preferences(who)}?act=move", b"email=nonsense")
    assert (answer.status, "does not look like an email address" in answer.text) == (422, True)


# What is kept.


def data_of(site: Site, room: Mailroom, who: int) -> str:
    site.post(f"{preferences(who)}?act=data")
    return room.link(to="anna@example.org")


def erased(site: Site, room: Mailroom) -> None:
    with reading(site.engine) as session:
        (who,) = session.exec(select(Subscriber.id).where(Subscriber.address == "anna@example.org"))
    assert who is not None
    path = data_of(site, room, who)
    assert "Everything is erased" in site.post(path, b"act=erase").text


def test_who_asks_sees_and_takes_along_what_is_kept(site: Site, room: Mailroom) -> None:
    """P-5, L-4: the same as a page and as JSON, by a link that was mailed a moment ago."""
    who = site.person()
    path = data_of(site, room, who)
    page = site.get(path).text
    assert page.count("<button") == 3
    assert "anna" not in page
    shown = site.post(path, b"act=show").text
    for said in ("anna@example.org", "Confirmed", "asked at the counter", "October 1, 2015"):
        assert said in shown
    saved = site.post(path, b"act=json")
    assert saved.headers["content-type"] == "application/json"
    assert "attachment" in saved.headers["content-disposition"]
    told = json.loads(saved.body)
    assert (told["address"], told["state"]) == ("anna@example.org", "active")
    assert [one["wording"] for one in told["events"] if one["kind"] == "consent"] == ["asked at the counter"]
    site.clock[0] += timedelta(days=1)
    assert site.post(path, b"act=show").status == 404


def test_who_asks_is_forgotten(site: Site, room: Mailroom) -> None:
    """P-3, P-4, U-4: the links of old letters still answer, and do nothing."""
    who = site.person()
    erased(site, room)
    with reading(site.engine) as session:
        rows = [(row.address, row.name, row.state.value) for row in session.exec(select(Subscriber))]
        left = [session.exec(select(table)).all() for table in (Consent, Ticket, Wish, Outgoing)]
    assert (rows, left) == ([("", "", "unsubscribed")], [[], [], [], []])
    assert (
        site.post(one_click(who)).status == site.get(leave(who)).status == site.post(leave(who)).status == 200
    )
    assert site.get(preferences(who)).status == 404
    assert site.post("/subscribe", asking("anna@example.org")).status == 200


def test_the_links_of_a_letter_are_no_key_to_what_is_kept(lite: Site) -> None:
    """A letter is forwarded with its links: none of them shows an address, saves or erases anything."""
    who = lite.person()
    before = lite.contents()
    for act in ("show", "json", "erase"):
        for path in (preferences(who), leave(who)):
            assert "anna" not in lite.get(f"{path}?act={act}").text
        assert "anna" not in lite.post(f"{preferences(who)}?act={act}", f"act={act}".encode()).text
    assert lite.contents() == before

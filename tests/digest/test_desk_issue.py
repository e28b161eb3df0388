"""One issue at the desk: shaped by forms, seen as it would go out, approved by its fingerprint."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import col, select

from digest.accounts.models import Role
from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue.approve import frozen_of
from digest.issue.compose import issue_of, items_of
from digest.letter.preview import in_scheme, parts_of
from digest.letter.theme import Theme
from digest.models import Issue, Notice, Post, Status
from digest.month import Month
from digest.press import Press
from digest.web.desk.approval import difference, moment_of
from digest.web.desk.frame import Frame, coded
from tests.digest.desk import Visitor, draft, editor, open_desk, press_of
from tests.digest.evil_server import EvilServer
from tests.digest.website import NOW, Answer, Site, publication

HERE = "/desk/issues/2015-09"
MONTH = Month.parse("2015-09", publication().zone)


class Room:
    """An issue's room, and who is in it."""

    def __init__(self, site: Site, relay: EvilServer) -> None:
        self.site, self.relay = site, relay
        self.posts = draft(site)
        self.anna = Visitor.logged_in(site, editor(site, "anna@example.org", Role.APPROVER))
        self.ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
        self.press: Press = press_of(publication())

    def version(self) -> int:
        """What a form shown now would say."""
        found = re.search(r'name="version" value="(\d+)"', self.ben.get(HERE).text)
        assert found is not None
        return int(found[1])

    def act(
        self, act: str, who: Visitor | None = None, version: int | None = None, **fields: object
    ) -> Answer:
        """A form of the room, sent; by Ben, who has just looked, unless said otherwise."""
        version = self.version() if version is None else version
        return (who or self.ben).post(HERE, {"act": act, "version": version, **fields})

    def titles(self) -> list[str]:
        with reading(self.site.engine) as session:
            return [item.title or post.title for item, post in items_of(session, issue_of(session, MONTH))]

    def issue(self) -> Issue:
        with reading(self.site.engine) as session:
            return issue_of(session, MONTH)

    def fingerprint(self) -> str:
        """As the page that approves shows it."""
        found = re.search(r'name="fingerprint" value="(\w+)"', self.anna.get(f"{HERE}/approve").text)
        assert found is not None
        return found[1]

    def decide(self, act: str, who: Visitor | None = None, **fields: object) -> Answer:
        fields.setdefault("fingerprint", self.fingerprint() if act == "approve" else "")
        return (who or self.anna).post(f"{HERE}/approve", {"act": act, **fields})


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    with EvilServer() as relay, open_desk(tmp_path / "digest.db", relay=relay.port) as site:
        yield Room(site, relay)


def test_forms_move_pin_drop_and_bring_back(room: Room) -> None:
    one, two, _three, four = room.posts
    assert room.titles() == ["Post 1", "Post 2", "Post 3", "Post 4"]
    room.act("down", post=one)
    room.act("up", post=four)
    assert room.titles() == ["Post 2", "Post 1", "Post 4", "Post 3"]
    room.act("move", post=four, to=1)
    assert room.titles() == ["Post 4", "Post 2", "Post 1", "Post 3"]
    room.act("pin", post=two)
    room.act("drop", post=one)
    assert room.titles() == ["Post 2", "Post 4", "Post 3"]
    shown = room.ben.get(HERE).text
    assert "an editor dropped it" in shown
    assert "Bring it back" in shown
    assert "Pinned: it leads" in shown
    room.act("take", post=one)
    room.act("unpin", post=two)
    assert room.titles() == ["Post 4", "Post 2", "Post 3", "Post 1"]
    # Nowhere further up than the first place, and nowhere else by mistake.
    room.act("up", post=four)
    assert room.titles()[0] == "Post 4"
    assert room.act("drop", post=99).status == 409
    assert room.act("nonsense", post=one).status == 409


def test_what_is_out_says_why_and_late_posts_are_offered(room: Room) -> None:
    shown = room.ben.get(HERE).text
    assert "late: no issue has it and its month is closed" in shown
    assert "digest issue edit" not in shown
    assert "it has no date<bdi>: <code>digest posts date guid-6 YYYY-MM-DD</code> gives it one" in shown
    assert shown.count(">Take it up<") == 1
    with reading(room.site.engine) as session:
        late = session.exec(select(Post.id).where(col(Post.title) == "Late")).one()
    room.act("take", post=late)
    assert room.titles()[-1] == "Late"


def test_own_words_are_the_letters_and_emptied_the_posts_again(room: Room) -> None:
    one = room.posts[0]
    with reading(room.site.engine) as session:
        usual = room.press.page(session, issue_of(session, MONTH))
    room.act("item", post=one, title="  My   own title ", excerpt="Mine.\r\nAnd more.")
    room.act("words", subject="Low water", preheader="Four posts", intro="Of *ebb*.\r\n\r\nAnd flow.")
    letter = room.ben.get(f"{HERE}/letter").text
    assert "My own title" in letter
    assert "Mine. And more." in letter
    assert "<em" in letter
    assert "Low water" in letter
    issue = room.issue()
    assert (issue.subject, issue.preheader) == ("Low water", "Four posts")
    assert issue.intro == "Of *ebb*.\n\nAnd flow."
    # What a field shows and nobody touched is not taken for somebody's own words.
    room.act("item", post=one, title="", excerpt=usual.cards[0].excerpt)
    room.act("words", subject=usual.subject, preheader="", intro="")
    with reading(room.site.engine) as session:
        assert room.press.page(session, issue_of(session, MONTH)) == usual
        assert issue_of(session, MONTH).subject is None


def test_a_link_in_the_introduction_stands_in_both_parts(room: Room) -> None:
    room.act(
        "words",
        intro="[*Us* & you](https://example.org/us?a=1&b=2), <https://example.org/x>, [mail](mailto:a@b.org)",
    )
    text = room.ben.get(f"{HERE}/letter?part=text").text
    assert (
        "Us &amp; you (https://example.org/us?a=1&amp;b=2), https://example.org/x, mail (a@b.org)"
        in text.replace("\n", " ")
    )
    assert "in the text" not in room.ben.get(f"{HERE}?look=1").text


def test_each_change_is_in_the_history_and_taken_back(room: Room) -> None:
    room.act("drop", post=room.posts[1])
    answer = room.act("words", intro="Hello", who=room.anna)
    assert answer.status == 303
    shown = room.anna.get(answer.headers["location"]).text
    assert "Saved: <bdi>changed the introduction</bdi>" in shown
    assert "<bdi>ben</bdi> <bdi>dropped “Post 2”</bdi>" in shown
    (drop,) = re.findall(r'value="(\d+)"><button[^>]* aria-label="Take back: dropped', shown)
    room.act("undo", change=drop)
    assert room.titles() == ["Post 1", "Post 2", "Post 3", "Post 4"]
    assert room.issue().intro == "Hello"
    again = room.act("undo", change=drop)
    assert again.status == 409
    assert "changed again since" in again.text
    assert room.act("undo", change=9999).status == 409


def test_the_second_editor_is_told_and_overwrites_nothing_unseen(room: Room) -> None:
    seen = room.version()
    room.act("words", intro="Of Ben", subject="Ben's")
    # Anna's page is older: she touched the introduction, too, and nothing else.
    answer = room.act(
        "words", who=room.anna, version=seen, intro="Of Anna", subject="Slow & Water: September 2015"
    )
    assert answer.status == 409
    for words in ("Of Ben", "Of Anna", "changed the subject; changed the introduction", "Save mine"):
        assert words in answer.text
    assert (room.issue().intro, room.issue().subject) == ("Of Ben", "Ben's")
    fields = dict(re.findall(r'name="(act|intro|subject|version)" value="([^"]*)"', answer.text))
    assert set(fields) == {"act", "intro", "version"}
    room.anna.post(HERE, fields)
    assert (room.issue().intro, room.issue().subject) == ("Of Anna", "Ben's")
    # What nobody else touched is saved, and she is told of what happened meanwhile.
    answer = room.act("pin", who=room.anna, version=seen, post=room.posts[2])
    shown = room.anna.get(answer.headers["location"]).text
    assert "Meanwhile, <bdi>ben</bdi>" in shown
    assert room.titles()[0] == "Post 3"


def test_the_frame_shows_exactly_what_would_go(room: Room) -> None:
    """S-3: under a policy of its own; its links move nobody, whoever it is made out to."""
    room.site.person("zoe")
    with reading(room.site.engine) as session:
        rendered, _page = room.press.render(session, issue_of(session, MONTH))
    parts = parts_of(room.press.sample(rendered, NOW))
    light = room.ben.get(f"{HERE}/letter")
    assert light.text == in_scheme(parts.html, "light")
    policy = light.headers["content-security-policy"]
    assert policy.startswith("sandbox; default-src 'none'; img-src https: http: data:;")
    assert "script" not in policy
    without = room.ben.get(f"{HERE}/letter?pictures=off").headers["content-security-policy"]
    assert "img-src 'none'" in without
    dark = room.ben.get(f"{HERE}/letter?colours=dark").text
    assert dark == in_scheme(parts.html, "dark") != light.text
    # Nothing but the conditions and what is declared differs from the bytes.
    strip = re.compile(r"\((?:min-width:0|max-width:0|prefers-color-scheme: dark)\)|light dark|dark|light")
    assert strip.sub("", light.text) == strip.sub("", dark) == strip.sub("", parts.html)
    text = room.ben.get(f"{HERE}/letter?part=text").text
    assert "Post 1" in text
    # Behind the frame is white: without a ground of its own, dark text would be white on white.
    assert {Theme().dark.paper, Theme().dark.ink} <= set(re.findall(r"#\w{6}", text))
    head = room.ben.get(f"{HERE}/letter?part=headers").text
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in head
    for_zoe = room.ben.get(f"{HERE}/letter?reader=zoe").text
    assert "zoe@example.org" in for_zoe
    (link,) = set(re.findall(r'href="[^"]*(/u/[\w-]+)"', for_zoe))
    assert room.site.get(link).status == 200
    room.site.post(link)
    assert room.site.state("zoe") == "active"
    assert "made out to a reader who does not exist" in room.ben.get(f"{HERE}?reader=nobody").text


def test_what_was_looked_at_is_approved_and_nothing_else(room: Room) -> None:
    """S-5"""
    room.site.person("zoe")
    shown = room.anna.get(f"{HERE}/approve").text
    assert "<strong>1 person</strong> if it went now" in shown
    assert "until 4 October 2015, 09:00, then it is held" in shown
    looked_at = room.fingerprint()
    room.act("words", intro="Something else")
    for fingerprint in (looked_at, "", "f" * 64):
        answer = room.decide("approve", fingerprint=fingerprint)
        assert answer.status == 409
        assert "has changed since you looked at it" in answer.text
    assert room.issue().status is Status.DRAFT
    fingerprint = room.fingerprint()
    assert room.decide("approve", fingerprint=fingerprint, when="usual").status == 303
    issue = room.issue()
    assert (issue.status, issue.fingerprint, issue.approved_by) == (Status.APPROVED, fingerprint, "anna")
    assert issue.send_at is None
    # It cannot be shaped any more, only withdrawn.
    assert room.act("drop", post=room.posts[0], version=0).status == 409
    assert "Save" not in room.ben.get(HERE).text
    assert room.decide("withdraw").status == 303
    assert room.issue().status is Status.DRAFT


def test_only_an_approver_decides(room: Room) -> None:
    """S-24"""
    for act in ("approve", "reject", "withdraw", "leave"):
        answer = room.decide(act, who=room.ben, fingerprint=room.fingerprint(), note="no")
        assert answer.status == 403
    assert room.issue().status is Status.DRAFT
    assert "takes an approver" in room.ben.get(f"{HERE}/approve").text


def test_errors_keep_it_from_being_approved_and_lead_to_the_item(room: Room) -> None:
    with writing(room.site.engine) as session:
        session.get_one(Post, room.posts[2]).url = "https://the-mill.invalid/2015"
    room.act("item", post=room.posts[1], title="About the mill TK")
    # The page does not wait for what is said of the letter; whoever has looked at it, or asks, sees it.
    assert "The letter is being looked at" in room.ben.get(HERE).text
    shown = room.ben.get(f"{HERE}?look=1").text
    assert "it cannot be approved like this" in shown
    for post, what in ((room.posts[2], "a host that cannot exist"), (room.posts[1], "as drafts do")):
        assert re.search(rf'<li><a href="#post-{post}">.*</a>: .*{what}', shown)
    page = room.anna.get(f"{HERE}/approve").text
    assert 'value="approve"' not in page
    found = re.search(r"<code>(\w{64})</code>", page)
    assert found is not None
    answer = room.decide("approve", fingerprint=found[1])
    assert answer.status == 409
    assert "has errors" in answer.text
    room.act("drop", post=room.posts[2])
    assert room.decide("approve").status == 303


def test_words_no_letter_can_hold_are_said_to_be_too_long(room: Room) -> None:
    room.act("words", intro="&" * 20_000)
    for path in ("?look=1", "/approve", "/letter"):
        assert "shorten the introduction" in room.anna.get(HERE + path).text
    room.act("words", intro="Short.")
    assert "shorten" not in room.ben.get(f"{HERE}?look=1").text


def test_who_approves_says_when(room: Room) -> None:
    assert room.decide("approve", when="at", at="2015-09-30T09:00").status == 409
    assert room.decide("approve", when="at", at="tomorrow").status == 409
    assert room.issue().status is Status.DRAFT
    room.decide("approve", when="at", at="2015-10-02T18:30")
    assert room.issue().send_at == datetime(2015, 10, 2, 15, 30, tzinfo=UTC)
    assert "2 October 2015, 18:30" in room.ben.get("/desk/").text
    # Approved again it goes at the same moment, unless another is chosen.
    assert 'value="2015-10-02T18:30"' not in room.anna.get(f"{HERE}/approve").text
    with writing(room.site.engine) as session:
        session.get_one(Post, room.posts[0]).title = "Corrected"
    again = room.anna.get(f"{HERE}/approve").text
    assert 'value="at" checked' in again
    assert 'value="2015-10-02T18:30"' in again
    assert "2 October 2015, 18:30" in room.ben.get(f"{HERE}/approve").text


def test_a_moment_is_one_of_the_publications_clocks() -> None:
    zone, now = publication().zone, NOW
    assert moment_of("usual", "", now, zone) is None
    assert moment_of("now", "", now, zone) == now
    assert moment_of("at", "2015-10-25T02:30", now, zone) == datetime(2015, 10, 24, 23, 30, tzinfo=UTC)
    for wrong in ("2016-03-27T03:30", "2015-10-02T09:00+02:00", "", "2015-10-01T08:59"):
        with pytest.raises(DigestError, match=r"clocks|Say the day|has passed"):
            moment_of("at", wrong, now, zone)


def test_a_drift_is_shown_line_by_line_and_left_approved_again_or_withdrawn(room: Room) -> None:
    room.decide("approve")
    approved = room.issue().fingerprint
    with writing(room.site.engine) as session:
        session.get_one(Post, room.posts[0]).title = "Post 1, corrected"
    shown = room.anna.get(f"{HERE}/approve").text
    assert "would come out otherwise now" in room.ben.get(f"{HERE}?look=1").text
    assert re.search(r"<del[^>]*><span[^>]*>was: </span>[^<]*Post 1\b", shown)
    assert re.search(r"<ins[^>]*><span[^>]*>now: </span>[^<]*Post 1, corrected", shown)
    assert "The posts as they are today" in room.anna.get(HERE).text
    # What was approved is what is seen and what goes.
    assert "corrected" not in room.ben.get(f"{HERE}/letter").text
    fresh = re.findall(r'name="fingerprint" value="(\w+)"', shown)
    room.decide("leave", fingerprint=fresh[-1])
    assert "left it as it was approved" in room.anna.get(f"{HERE}/approve").text
    assert room.issue().fingerprint == approved
    room.decide("approve", when="now")
    assert room.issue().fingerprint == fresh[0] != approved
    assert room.issue().send_at == NOW
    with reading(room.site.engine) as session:
        assert "Post 1, corrected" in frozen_of(session, issue_of(session, MONTH)).text


def test_a_note_says_why_it_is_not_approved(room: Room) -> None:
    assert room.decide("reject", note=" ").status == 409
    room.decide("reject", note="The lead is <b>too</b> long.\r\nCut it.")
    shown = room.ben.get(HERE).text
    assert "The lead is &lt;b&gt;too&lt;/b&gt; long.\nCut it." in shown
    with reading(room.site.engine) as session:
        notice = session.exec(select(Notice).where(col(Notice.event).startswith("rejected:"))).one()
    assert "anna did not approve" in notice.body
    assert "https://letters.example.org/desk/issues/2015-09" in notice.body
    room.decide("approve")
    room.decide("withdraw")
    assert "too&lt;/b&gt; long.\nCut it.</bdi></blockquote>" not in room.ben.get(HERE).text


def test_a_test_copy_reaches_whoever_asks_for_it(room: Room) -> None:
    """H-7"""
    answer = room.ben.post(f"{HERE}/test", {})
    assert "on its way to ben@example.org" in answer.text
    (copy,) = room.relay.letters
    assert b"Subject: [Test]" in copy.content
    (to,) = (line for line in room.relay.lines if line.startswith("RCPT"))
    assert to.startswith("RCPT TO:<ben@example.org>")


def test_a_test_copy_that_cannot_be_sent_says_so(tmp_path: Path) -> None:
    with open_desk(tmp_path / "digest.db") as site:
        draft(site)
        ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
        answer = ben.post(f"{HERE}/test", {})
        assert answer.status == 409
        assert "No copy was sent" in answer.text


def test_an_issue_there_is_not_is_a_page(room: Room) -> None:
    for month in ("2015-07", "2015-13", "x"):
        for path in ("", "/letter", "/approve", "/test"):
            assert room.ben.get(f"/desk/issues/{month}{path}").status == 404
    # One without posts, skipped, is shown, and has nothing to approve.
    skipped = room.ben.get("/desk/issues/2015-08").text
    assert "skipped" in skipped
    assert "as it was approved" not in skipped
    assert "nothing to approve" in room.ben.get("/desk/issues/2015-08/approve").text


def test_the_letter_follows_a_change_of_sixty_posts_at_once(tmp_path: Path) -> None:
    """Measured at 0.2 s, 0.06 s of it for the page, which waits for no letter; the bounds are for hangs."""
    with open_desk(tmp_path / "digest.db") as site:
        posts = draft(site, 60)
        ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
        ben.get(f"{HERE}/letter")
        started = time.monotonic()
        answer = ben.post(HERE, {"act": "drop", "post": posts[3], "version": 0})
        page = ben.get(answer.headers["location"])
        assert "The letter is being looked at" in page.text
        assert page.seconds < 1.5
        letter = ben.get(f"{HERE}/letter").text
        assert time.monotonic() - started < 4
        assert "Post 4<" not in letter
        assert "Post 5<" in letter
        # It is what would be made without looking at what was there before.
        press = press_of(publication())
        with reading(site.engine) as session:
            rendered, _page = press.render(session, issue_of(session, MONTH))
        assert letter == in_scheme(parts_of(press.sample(rendered, NOW)).html, "light")


def test_commands_in_what_is_told_are_code_and_nothing_of_it_is_html() -> None:
    told = coded("type `digest run`, not `<b>` & <i>, nor a lone `")
    assert told == "type <code>digest run</code>, not <code>&lt;b&gt;</code> &amp; &lt;i&gt;, nor a lone `"


def test_pages_are_compiled_and_a_broken_one_of_ones_own_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "months.html").write_text("{% if %}")
    frame = Frame(publication(), Theme(), tmp_path)
    frame.compile()
    ready = {Path(one.filename or "").name for one in frame._templates.cache.values()}
    assert {"issue.html", "growth.html", "sending.html"} <= ready
    assert "months.html" not in ready


def test_a_difference_is_what_differs_and_a_little_around_it() -> None:
    before = "\n".join(map(str, range(20)))
    after = before.replace("5\n", "five\n", 1).replace("15", "--")
    assert difference(before, after) == [
        *((" ", "3"), (" ", "4"), ("-", "5"), ("+", "five"), (" ", "6"), (" ", "7"), ("…", "")),
        *((" ", "13"), (" ", "14"), ("-", "15"), ("+", "--"), (" ", "16"), (" ", "17")),
    ]
    assert difference(before, before) == []

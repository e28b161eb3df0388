"""One issue in a real browser: shaped with and without scripts, for everybody, full of what wants to run."""

import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error
from sqlmodel import col, select

from digest.accounts.editors import add_editor
from digest.accounts.models import Role
from digest.database import reading, writing
from digest.issue import edit as editing
from digest.issue.changes import edit, version
from digest.issue.compose import issue_of, items_of
from digest.models import Issue, Post, Status
from digest.month import Month
from subscribers.address import parse
from tests.digest.desk import draft, editor, kept, open_desk
from tests.digest.evil_server import EvilServer
from tests.digest.test_desk_in_browser import PAYLOADS, hostile, judged, local, logged_in
from tests.digest.website import NOW, Site, publication

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HERE = "/desk/issues/2015-09"
MONTH = Month.parse("2015-09", publication().zone)
#: what no page of ours has
FOREIGN = "img, style, [onload], [onerror], [autofocus]"
#: what Ben's words are in the history and on the page that says so
BEN = f"Ben {PAYLOADS[3]}"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A draft of six posts, two readers, and Anna, who approves."""
    with EvilServer() as relay, open_desk(tmp_path / "digest.db", in_browser=True, relay=relay.port) as site:
        draft(site, 6)
        site.person("zoe")
        site.person("yan")
        editor(site, "anna@example.org", Role.APPROVER)
        yield site
        assert [mail.content.count(b"[Test]") for mail in relay.letters] in ([], [1])


def titles(site: Site) -> list[str]:
    with reading(site.engine) as session:
        return [item.title or post.title for item, post in items_of(session, issue_of(session, MONTH))]


def issue(site: Site) -> Issue:
    with reading(site.engine) as session:
        return issue_of(session, MONTH)


def by_ben(site: Site, intro: str) -> None:
    """Ben writes the introduction, at another desk."""
    with writing(site.engine) as session:
        one = issue_of(session, MONTH)
        edit(session, one, lambda: editing.reword(one, intro=intro), BEN, NOW)


def until(said: Any, expected: Any) -> None:
    """Waits until *said* gives *expected*, for five seconds."""
    for _ in range(100):
        if said() == expected:
            return
        time.sleep(0.05)
    assert said() == expected


def letter(page: Any) -> str:
    """What the frame shows; "" while another takes its place."""
    try:
        if page.locator("iframe").count() == 1:
            text: str = page.frame_locator("iframe").locator("body").inner_text(timeout=1000)
            return text
    except Error:
        pass
    return ""


def shows(page: Any, words: str) -> bool:
    return words in letter(page)


def test_an_editors_way_with_scripts(site: Site, browser: Any) -> None:
    """By keyboard, by dragging and by typing: saved at once, seen in the letter, undone; then approved."""
    page = logged_in(site, browser, viewport={"width": 1280, "height": 1900})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(local(site, HERE))
    until(partial(shows, page, "Post 1"), True)
    # The second post down, the one that came after it pinned, the last one dropped.
    for key in ("j", "j", "J"):
        page.keyboard.press(key)
    until(lambda: titles(site), [f"Post {one}" for one in (1, 3, 2, 4, 5, 6)])
    until(lambda: page.evaluate("document.activeElement.id"), "post-2")
    page.keyboard.press("p")
    until(lambda: titles(site), [f"Post {one}" for one in (2, 1, 3, 4, 5, 6)])
    until(lambda: page.locator("#items > .pinned .title").all_inner_texts(), ["Post 2"])
    for _ in range(9):
        page.keyboard.press("j")
    page.keyboard.press("x")
    until(lambda: titles(site), [f"Post {one}" for one in (2, 1, 3, 4, 5)])
    page.get_by_text("an editor dropped it").wait_for()
    page.keyboard.press("u")
    until(lambda: titles(site), [f"Post {one}" for one in (2, 1, 3, 4, 5, 6)])
    # Edited: e leads into the title, leaving it saves, Escape leads back.
    page.locator("#post-4").focus()
    page.keyboard.press("e")
    page.keyboard.press("Control+a")
    page.keyboard.type("j, k and the mill")
    page.keyboard.press("Escape")
    until(lambda: titles(site)[3], "j, k and the mill")
    until(partial(shows, page, "j, k and the mill"), True)
    page.get_by_text("Nothing in the letter would hurt in an inbox.").wait_for()
    # Dragged to the first place there is below the pinned one.
    page.locator("#post-6").drag_to(page.locator("#post-1"), target_position={"x": 200, "y": 4})
    until(lambda: titles(site)[:3], ["Post 2", "Post 6", "Post 1"])
    # Words are saved when a field is left, and its hint counts them while it is not.
    page.get_by_label("Subject", exact=True).fill("Low water, high words")
    assert page.locator("output[for=subject]").inner_text() == "21"
    page.keyboard.press("Tab")
    until(lambda: issue(site).subject, "Low water, high words")
    page.get_by_label("Introduction", exact=True).fill("Of *ebb* and flow.")
    page.get_by_label("Preheader", exact=True).focus()
    until(lambda: issue(site).intro, "Of *ebb* and flow.")
    until(partial(shows, page, "ebb"), True)
    # Other looks, in the same place.
    page.get_by_role("link", name="text", exact=True).click()
    until(partial(shows, page, "https://example.org/1"), True)
    page.get_by_role("link", name="letter", exact=True).click()
    for name in ("dark", "tablet", "desktop", "inverted", "off"):
        page.get_by_role("link", name=name, exact=True).click()
        page.locator(f"[data-look][aria-current]:text-is('{name}')").wait_for()
    chosen = page.locator("[data-look][aria-current]").all_inner_texts()
    assert chosen == ["letter", "desktop", "inverted", "off"]
    page.get_by_label("As the reader").fill("zoe")
    page.keyboard.press("Enter")
    until(partial(shows, page, "zoe@example.org"), True)
    # Ben writes meanwhile what Anna is writing.
    page.get_by_label("Introduction", exact=True).fill("Of Anna.")
    by_ben(site, "Of Ben.")
    page.get_by_label("Preheader", exact=True).focus()
    page.get_by_role("heading", name="Somebody else changed the same").wait_for()
    assert issue(site).intro == "Of Ben."
    assert page.get_by_text("Of Anna.").count() == 1
    page.get_by_role("button", name="Save mine over theirs").click()
    page.get_by_text("Saved: changed the introduction").wait_for()
    assert issue(site).intro == "Of Anna."
    # Logged out meanwhile: it is said, and what she wrote stays.
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.get_by_label("Introduction", exact=True).fill("Of the one who is out.")
    page.get_by_label("Preheader", exact=True).focus()
    page.get_by_text("Nothing was saved: ").wait_for()
    assert page.get_by_label("Introduction", exact=True).input_value() == "Of the one who is out."
    # What was asked for without them is answered, and its cookies are not the last.
    page.wait_for_load_state("networkidle")
    page.context.add_cookies(cookies)
    page.reload()
    page.keyboard.press("?")
    assert page.get_by_text("take the last step back").is_visible()
    decided(page, site)
    # The page that says that somebody was overtaken comes with the status of a conflict.
    assert [one for one in wrong if not {"409", "403"} & set(one.split())] == []
    page.context.close()


def decided(page: Any, site: Site) -> None:
    """A test copy, a note, approval for a moment, and back."""
    page.get_by_role("link", name="Approve or send a test copy").press("Enter")
    page.get_by_role("button", name="Send a test copy to anna@example.org").click()
    page.get_by_text("A test copy is on its way to anna@example.org").wait_for()
    page.get_by_label("What is to be changed").fill("Shorter, please.")
    page.get_by_role("button", name="Do not approve").click()
    page.get_by_text("Shorter, please.").first.wait_for()
    page.get_by_role("link", name="Approve or send a test copy").press("Enter")
    page.get_by_label("On", exact=True).check()
    page.get_by_label("Day and time in Europe/Kyiv").fill("2015-10-03T07:30")
    page.get_by_role("button", name="Approve for 2 people").click()
    page.get_by_text("3 October 2015, 07:30").first.wait_for()
    assert issue(site).status is Status.APPROVED
    page.get_by_role("link", name="What was approved").click()
    page.get_by_role("button", name="Withdraw the approval").click()
    until(lambda: issue(site).status, Status.DRAFT)


#: a change is sent only when the next gate is opened
GATES = """() => { const real = window.fetch; window.gates = [];
  window.fetch = async (url, how) => {
    if (how && how.method) await new Promise(open => gates.push(open));
    return real(url, how);
  } }"""


def test_an_answer_that_comes_late_takes_no_words_that_wait_to_be_sent(site: Site, browser: Any) -> None:
    """The preheader's answer has the introduction as it was, and comes when a new one waits to be sent."""
    page = logged_in(site, browser)
    page.goto(local(site, HERE))
    page.evaluate(GATES)
    page.get_by_label("Preheader").fill("What the ferry saw, and who was waiting on the quay.")
    page.keyboard.press("Tab")
    page.keyboard.type("Of ebb and flow.")
    page.keyboard.press("Tab")
    until(lambda: page.evaluate("document.activeElement.textContent"), "Save the words")
    page.evaluate("gates.shift()()")
    page.get_by_text("changed the preheader").first.wait_for()
    # Who hears nothing yet of the introduction saves once more.
    page.keyboard.press("Enter")
    for _ in range(2):
        until(lambda: page.evaluate("gates.length"), 1)
        page.evaluate("gates.shift()()")
    until(lambda: page.locator("#out").count() and page.evaluate("gates.length"), 0)
    page.get_by_text("Take back: changed the introduction").wait_for()
    assert page.locator("#intro").input_value() == "Of ebb and flow."
    assert issue(site).intro == "Of ebb and flow."
    page.context.close()


def test_the_same_way_without_scripts(site: Site, browser: Any) -> None:
    """On a phone: by forms and links alone."""
    page = logged_in(site, browser, java_script_enabled=False, viewport={"width": 390, "height": 800})
    page.get_by_role("link", name="September 2015").click()

    def press(item: int, name: str) -> None:
        page.locator(f"#post-{item}").get_by_role("button", name=f"{name}: Post {item}").click()

    press(2, "Down")
    press(2, "Pin")
    until(lambda: titles(site), [f"Post {one}" for one in (2, 1, 3, 4, 5, 6)])
    press(6, "Drop")
    page.get_by_role("button", name="Bring it back: Post 6").click()
    page.get_by_role("button", name="Take it up: Late").click()
    until(lambda: titles(site), ["Post 2", "Post 1", "Post 3", "Post 4", "Post 5", "Post 6", "Late"])
    page.locator("#history").get_by_role("button", name="Take back: pinned “Post 2”").click()
    until(lambda: titles(site)[0], "Post 1")
    page.locator("#post-3 summary").click()
    page.locator("#post-3").get_by_label("Title in the letter").fill("The mill")
    page.locator("#post-3").get_by_role("button", name="Save").click()
    page.get_by_label("Introduction", exact=True).fill("Of *ebb*.")
    by_ben(site, "Of Ben.")
    page.get_by_role("button", name="Save the words").click()
    page.get_by_role("heading", level=1, name="Somebody else changed the same", exact=True).wait_for()
    page.get_by_role("button", name="Save mine over theirs").click()
    until(lambda: ("The mill" in titles(site), issue(site).intro), (True, "Of *ebb*."))
    for word in ("The mill", "ebb"):
        until(partial(shows, page, word), True)
    page.get_by_role("link", name="headers", exact=True).click()
    until(partial(shows, page, "List-Unsubscribe"), True)
    decided(page, site)
    page.context.close()


def test_axe_finds_nothing_in_the_room_of_an_issue(site: Site, browser: Any) -> None:
    """Draft, overtaken, approval, drift and what is skipped; nothing is wider than its window."""
    found: dict[str, list[str]] = {}
    page = logged_in(site, browser, bypass_csp=True)
    with writing(site.engine) as session:
        one = issue_of(session, MONTH)
        edit(session, one, lambda: editing.drop(session, one, 6), "Ben", NOW)
        edit(session, one, lambda: editing.pin(session, one, 2), "Ben", NOW)
        edit(session, one, lambda: editing.retitle(session, one, 4, "The mill TK"), "Ben", NOW)
        edit(session, one, lambda: editing.shorten_to_titles(session, one, [5]), "Ben", NOW)
        session.get_one(Post, 3).url = "https://the-mill.invalid/2015"
    page.goto(local(site, HERE))
    # On a tablet laid on its side, too, the letter is beside what is worked on; upright, it follows.
    for width, is_beside in ((1024, True), (820, False)):
        page.set_viewport_size({"width": width, "height": 800})
        words, letters = page.locator("#subject").bounding_box(), page.locator(".proof").bounding_box()
        assert (letters["x"] > words["x"] + words["width"]) is is_beside
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator("#post-2 summary").click()
    page.locator("#help summary").click()
    page.locator("#findings details[open]").wait_for()
    judged(page, "draft, with errors", found)
    page.get_by_label("Introduction", exact=True).fill("Mine.")
    by_ben(site, "Theirs.")
    page.get_by_role("button", name="Save the words").click()
    page.get_by_role("heading", name="Somebody else changed the same").wait_for()
    judged(page, "overtaken", found)
    with writing(site.engine) as session:
        session.get_one(Post, 3).url = "https://example.org/3"
    page.goto(local(site, f"{HERE}/approve"))
    judged(page, "approve", found)
    page.get_by_role("button", name="Approve for 2 people").click()
    until(lambda: issue(site).status, Status.APPROVED)
    page.wait_for_load_state()
    with writing(site.engine) as session:
        session.get_one(Post, 3).title = "Corrected"
    page.goto(local(site, HERE))
    judged(page, "approved", found)
    page.goto(local(site, f"{HERE}/approve"))
    judged(page, "drift", found)
    page.goto(local(site, "/desk/issues/2015-08"))
    judged(page, "skipped", found)
    page.context.close()
    sys.stdout.write("".join(f"{name}: {html}\n" for name, html in found.items()))
    assert found == {}


def test_nothing_a_post_brings_in_runs_at_the_desk(tmp_path: Path, browser: Any) -> None:
    """S-3: 200 payloads in fields of posts, in the room, the letter and what they are told in."""
    with open_desk(tmp_path / "hostile.db", in_browser=True) as site:
        posts = draft(site, 50, hostile)
        with writing(site.engine) as session:
            add_editor(session, parse("anna@example.org"), BEN, Role.APPROVER, kept(), NOW)
            one = issue_of(session, MONTH)
            for post in posts[:3]:
                place = [item.post_id for item, _post in items_of(session, one)].index(post) + 1
                edit(session, one, lambda place=place: editing.drop(session, one, place), BEN, NOW)  # type: ignore[misc]
            words = {"subject": PAYLOADS[5], "preheader": PAYLOADS[6], "intro": "\n\n".join(PAYLOADS[:10])}
            edit(session, one, lambda: editing.reword(one, **words), BEN, NOW)
            seen = version(session, one)
        page = logged_in(site, browser)
        said, asked = [], []
        page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(
            "window.runs = []; window.ran = number => window.runs.push(number);"
            "document.addEventListener('securitypolicyviolation', event => runs.push(event.blockedURI))"
        )
        for path in ("", "?part=text", "?part=headers", "?pictures=off", f"?since={seen - 4}", "/approve"):
            answer = page.goto(local(site, HERE + path))
            assert answer.status == 200
            assert "unsafe" not in answer.headers["content-security-policy"]
            assert page.evaluate("window.runs") == []
            assert (
                page.locator("script:not([src]), img, style, [onload], [onerror], [autofocus]").count() == 0
            )
        page.goto(local(site, HERE))
        # They are there, as text; and change nothing when the page is changed by our own script.
        assert page.get_by_text(hostile(4 * 5), exact=False).count() > 0
        page.locator(f"#post-{posts[5]}").focus()
        page.keyboard.press("p")
        page.get_by_text("Saved: pinned").wait_for()
        assert page.evaluate("window.runs") == []
        until(page.locator("iframe").count, 1)
        frame = page.frame_locator("iframe")
        assert "ran(" in frame.locator("body").inner_text()
        assert frame.locator(f"script, iframe, {FOREIGN.removeprefix('img, style, ')}, img").count() == 0
        with reading(site.engine) as session:
            assert session.exec(select(Post.title).where(col(Post.title).contains("ran("))).first()
        assert [one for one in said if "409" not in one] == []
        assert {url.partition("/desk")[0] for url in asked} <= {local(site, ""), "data:,"}
        page.context.close()

"""Every public page for everybody: no violation of axe-core, no script, no mouse, a narrow phone, both ways.

An issue's own page in the archive is the letter itself, which has its own tests. PROVE_PAGES asks axe-core
for everything in both schemes.
All pages there are come from a real server; a real browser shows each with the headers it was sent with.
"""

import html
import os
import re
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlmodel import select

from digest.database import reading, writing
from digest.models import Delivered, Delivery, Issue, Status
from subscribers.address import parse
from subscribers.departures import bar
from subscribers.models import Act, Cause, Consent, State, Subscriber
from tests.digest.website import (
    BASE,
    EDITOR,
    NOW,
    SECRET,
    Answer,
    Mailroom,
    Site,
    answered,
    asking,
    issue,
    leave,
    locked,
    preferences,
    publication,
    serving,
    stamp,
)

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NARROW = {"width": 320, "height": 640}
LARGEST = 30_000  # bytes of a page with its style
LEAST = 48  # pixels a button or a field is high
SCHEMES = ("light", "dark")
#: everything in both schemes
FULL = "PROVE_PAGES" in os.environ
#: everything axe-core knows of (WCAG 2.2 A and AA, best practices), also what it leaves out unless asked
WANTED = ["violations", "incomplete"]
RULES = {"rules": {"target-size": {"enabled": True}}, "resultTypes": WANTED}
COLOURS = {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]},
    "resultTypes": WANTED,
}
YEARS = 2  # of letters in a long history


# All pages there are.


class Gallery:
    """Every page of a site, as it was answered, by what it shows."""

    def __init__(self, site: Site, room: Mailroom) -> None:
        """All of them are asked for now."""
        self.site, self.room = site, room
        self.pages: dict[str, Answer] = {}
        self._archive()
        self._form()
        self._preferences()
        self._moves()
        self._mine()
        self._leaving()
        self._nothing()

    def _show(self, name: str, answer: Answer, status: int = 200) -> None:
        assert (name, answer.status) == (name, status)
        self.pages[name] = answer

    def _link(self, path: str, body: bytes = b"") -> str:
        """The path of the link that comes by mail for the asking."""
        # Otherwise the limits would hold it back: here everybody comes from one network.
        self.site.clock[0] += timedelta(hours=2)
        if path == "/subscribe":
            body += f"&at={stamp(self.site.clock[0] - timedelta(seconds=9))}".encode()
        assert self.site.post(path, body).status == 200
        return self.room.link()

    def _archive(self) -> None:
        self._show("archive: empty", self.site.get("/archive"))
        for number in range(1, 31):
            month = f"{2013 + (number - 1) // 12}-{(number - 1) % 12 + 1:02}"
            title = f"Reading the river, part {number}, and what else there was to read"
            issue(self.site, month, number, Status.SENT, subject=title)
        self._show("archive: full", self.site.get("/archive"))

    def _form(self) -> None:
        site = self.site
        self._show("form", site.get("/subscribe"))
        self._show("form: no address", site.post("/subscribe", asking("anna@")), 422)
        self._show("form: once more", site.post("/subscribe", asking("anna@example.org", at="")), 422)
        self._show("asked: a slip", site.post("/subscribe", asking("anna@gmial.com")))
        self.room.work()
        self.room.mails()
        path = self._link("/subscribe", b"email=ben@example.org")
        self._show("asked", site.post("/subscribe", asking("ben@example.org", at=self._fresh())))
        self.room.work()
        self.room.mails()
        self._show("confirm", site.get(path))
        self._show("confirm: joined", site.post(path))
        path = self._link("/subscribe", b"email=carl@example.org")
        with writing(site.engine) as session:
            bar(session, parse("carl@example.org"), Cause.MANUAL, EDITOR, SECRET)
        self._show("confirm: refused", site.post(path), 409)

    def _fresh(self) -> str:
        return stamp(self.site.clock[0] - timedelta(seconds=9))

    def _preferences(self) -> None:
        site = self.site
        path = preferences(site.person("dora"))
        self._show("preferences: active", site.get(path))
        for act in ("pause", "resume", "leave", "rejoin"):
            self._show(f"preferences: {act} done", site.post(f"{path}?act={act}"))
            self._show(f"preferences: after {act}", site.get(path))
        self._show("preferences: data asked", site.post(f"{path}?act=data"))
        self._show("preferences: no address", site.post(f"{path}?act=move", b"email=x"), 422)
        self.room.work()
        self.room.mails()
        for cause in (Cause.BOUNCED, Cause.COMPLAINED, Cause.MANUAL):
            path = preferences(site.person(f"{cause}"))
            with writing(site.engine) as session:
                bar(session, parse(f"{cause}@example.org"), cause, EDITOR, SECRET)
            self._show(f"preferences: {cause}", site.get(path))

    def _moves(self) -> None:
        site = self.site
        eva = site.person("eva")
        site.person("fred")
        path = self._link(f"{preferences(eva)}?act=move", b"email=fred@example.org")
        self._show("move: refused", site.post(path), 409)
        path = self._link(f"{preferences(eva)}?act=move", b"email=gina@example.org")
        self._show("move", site.get(path))
        self._show("move: done", site.post(path))
        path = self.room.link(to="eva@example.org")
        self._show("undo", site.get(path))
        self._show("undo: done", site.post(path))

    def _mine(self) -> None:
        site = self.site
        who = site.person("hal")
        self._live(who)
        path = self._link(f"{preferences(who)}?act=data")
        self._show("mine", site.get(path))
        self._show("mine: kept", site.post(path, b"act=show"))
        self._show("mine: erased", site.post(path, b"act=erase"))

    def _live(self, who: int) -> None:
        """A long history: every act there is, two years of letters of every fate, a name, a move."""
        site = self.site
        with writing(site.engine) as session:
            person = session.get_one(Subscriber, who)
            person.name = "Hal Ōtani-Wünsche"
            for number, act in enumerate(Act):
                session.add(
                    Consent(
                        subscriber_id=who,
                        act=act,
                        at=NOW - timedelta(days=number),
                        origin="page",
                        wording="One letter a month, with what Slow & Water published in it.",
                        ip="2001:db8:85a3:8d3:1319:8a2e:370:7348",
                        user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 " * 3,
                    )
                )
            issues = session.exec(select(Issue.id).order_by(Issue.month)).all()[: 12 * YEARS]
            fates = (Delivered.ACCEPTED, Delivered.REJECTED, Delivered.SKIPPED, Delivered.QUEUED)
            for number, issue_id in enumerate(issues):
                fate = fates[number % 7] if number % 7 < len(fates) else Delivered.ACCEPTED
                assert issue_id is not None
                session.add(
                    Delivery(
                        issue_id=issue_id,
                        subscriber_id=who,
                        state=fate,
                        settled_at=None if fate is Delivered.QUEUED else NOW + timedelta(days=number),
                        reply_code=250 if fate is Delivered.ACCEPTED else None,
                        reply_text="2.0.0 Ok: queued as 4QqXkC1zWvz" if fate is Delivered.ACCEPTED else "",
                        reason="paused" if fate is Delivered.SKIPPED else "",
                    )
                )
        site.post(f"{preferences(who)}?act=pause")
        site.post(f"{preferences(who)}?act=resume")

    def _leaving(self) -> None:
        path = leave(self.site.person("ida"))
        self._show("leave", self.site.get(path))
        self._show("left", self.site.post(path))
        self._show("leave: unknown", self.site.get(leave(999_999)))
        self._show("left: unknown", self.site.post(leave(999_999)))

    def _nothing(self) -> None:
        who = self.site.person("jon")
        self._show("missing", self.site.get("/nothing"), 404)
        self._show("missing: method", self.site.ask("DELETE", "/archive"), 405)
        with locked(self.site.engine):
            self._show("unavailable", self.site.post(f"{preferences(who)}?act=pause"), 503)
            self._show("left: unwritten", self.site.post(f"{preferences(who)}?act=leave"))

    def __iter__(self) -> Iterator[tuple[str, Answer]]:
        return iter(self.pages.items())


def shown_in(context: Any, gallery: Gallery) -> Iterator[tuple[str, Any]]:
    """Each page in the browser, with the bytes and headers that the server sent."""

    def fulfil(route: Any) -> None:
        number = int(route.request.url.rpartition("/")[2])
        answer = list(gallery.pages.values())[number]
        sent = {name: value for name, value in answer.headers.items() if name != "content-length"}
        route.fulfill(status=answer.status, headers=sent, body=answer.body)

    context.route("https://pages.example/*", fulfil)
    page = context.new_page()
    for number, name in enumerate(gallery.pages):
        page.goto(f"https://pages.example/{number}")
        yield name, page


def test_axe_finds_nothing_on_any_page(lite: Site, small: Mailroom, browser: Any) -> None:
    """U-6: light and dark, on a narrow phone; axe-core needs the policy of the page lifted, we do not."""
    from axe_playwright_python.base import AXE_SCRIPT

    context = browser.new_context(viewport=NARROW, bypass_csp=True)
    found, runs = {}, 0
    for name, page in shown_in(context, Gallery(lite, small)):
        page.evaluate(AXE_SCRIPT)
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (int(re.findall(r"\d+", ground)[0]) > 127) == (scheme == "light")
            # Only the colours differ.
            rules = RULES if FULL or scheme == "light" else COLOURS
            results = page.evaluate("rules => axe.run(rules)", rules)
            runs += 1
            for one in results["violations"] + results["incomplete"]:
                found[f"{name}, {scheme}: {one['id']}"] = [node["html"] for node in one["nodes"]]
    context.close()
    sys.stdout.write(f"axe-core looked {runs} times: {len(found)} violations, nothing left undecided\n")
    assert found == {}


def test_every_page_is_small(lite: Site, small: Mailroom) -> None:
    """Below 30 KB with its style, whatever it shows; it loads nothing else."""
    sizes = {name: len(answer.body) for name, answer in Gallery(lite, small)}
    largest = max(sizes, key=sizes.__getitem__)
    sys.stdout.write(f"{len(sizes)} pages; the largest is “{largest}” with {sizes[largest]:,} bytes\n")
    assert {name: size for name, size in sizes.items() if size >= LARGEST} == {}


@pytest.mark.parametrize("language", ["de", "ar"])
def test_no_page_is_wider_than_a_narrow_phone_in_any_direction(
    sqlite_engine: Engine, tmp_path: Path, browser: Any, language: str
) -> None:
    """320 px: nothing overflows, and every button and field is at least 48 px high."""
    described = publication(language=language)
    with (
        serving(sqlite_engine, tmp_path / "spool", described) as site,
        answered(sqlite_engine, described, lambda: site.clock[0]) as room,
    ):
        context = browser.new_context(viewport=NARROW)
        for name, page in shown_in(context, Gallery(site, room)):
            direction = page.evaluate("getComputedStyle(document.body).direction")
            assert (name, direction) == (name, "rtl" if language == "ar" else "ltr")
            assert (name, page.evaluate("document.documentElement.scrollWidth")) == (name, NARROW["width"])
            reaching = "[...document.querySelectorAll('main *')].map(e => e.getBoundingClientRect())"
            edges = page.evaluate(f"{reaching}.filter(r => r.left < 0 || r.right > {NARROW['width']}).length")
            assert (name, edges) == (name, 0)
            shown = "[...document.querySelectorAll('button, input')].filter(e => e.offsetParent)"
            heights = page.evaluate(f"{shown}.map(e => e.offsetHeight)")
            assert all(height >= LEAST for height in heights), name
        context.close()


# Without scripts, without a mouse.


def local(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}{path.removeprefix(BASE)}"


def press(page: Any, name: str) -> str:
    """The title of the page that the button leads to."""
    with page.expect_navigation():
        page.get_by_role("button", name=name, exact=True).click()
    title: str = page.locator("h1").inner_text()
    return title


def test_the_whole_way_works_without_scripts(lite: Site, small: Mailroom, browser: Any) -> None:
    """U-6, U-10, P-5: subscribe, confirm, preferences, another address, what is kept, erase; by buttons."""
    context = browser.new_context(java_script_enabled=False, viewport=NARROW, accept_downloads=True)
    page, said = context.new_page(), list[str]()
    page.on("console", lambda message: said.append(message.text))
    page.goto(local(lite, "/subscribe"))
    lite.clock[0] += timedelta(seconds=5)
    page.get_by_label("Email address").fill("anna@example.org")
    assert press(page, "Subscribe") == "Look into your mailbox"
    page.goto(local(lite, small.link(to="anna@example.org")))
    assert press(page, "Yes, send it to me") == "You are subscribed"
    with reading(lite.engine) as session:
        (who,) = session.exec(select(Subscriber.id))
    assert who is not None
    page.goto(local(lite, preferences(who)))
    assert press(page, "Pause") == "Paused"
    assert press(page, "Resume") == "You are back"
    assert press(page, "Pause") == "Paused"
    assert press(page, "Resume") == "You are back"
    with page.expect_navigation():
        page.get_by_role("link", name="Your subscription").click()
    page.get_by_label("New email address").fill("ben@example.org")
    assert press(page, "Change the address") == "Look into your mailbox"
    page.goto(local(lite, small.link(to="ben@example.org")))
    assert press(page, "Yes, send it here") == "Your address is changed"
    small.work()
    assert [mail["To"] for mail in small.mails()] == ["anna@example.org"]
    page.goto(local(lite, preferences(who, 1)))
    assert press(page, "See or erase my data") == "Look into your mailbox"
    page.goto(local(lite, mine := small.link(to="ben@example.org")))
    assert press(page, "Show it") == "What is kept of you"
    assert "ben@example.org" in page.locator("dl").inner_text()
    page.goto(local(lite, mine))
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save it as a file").click()
    assert saved.value.suggested_filename == "my-data.json"
    assert press(page, "Erase everything") == "Everything is erased"
    with reading(lite.engine) as session:
        assert [(one.address, one.state) for one in session.exec(select(Subscriber))] == [
            ("", State.UNSUBSCRIBED)
        ]
    # The policy of the pages stopped nothing of their own.
    assert said == []
    context.close()


FOCUSED = """() => { const e = document.activeElement, s = getComputedStyle(e);
  return [e.tagName, e.textContent.trim() || e.name, s.outlineStyle, parseFloat(s.outlineWidth)] }"""


def tabbed(page: Any) -> list[tuple[str, str]]:
    """What the tab key reaches, one after the other; each is seen to have the focus."""
    found = []
    for _ in range(20):
        page.keyboard.press("Tab")
        name, text, style, width = page.evaluate(FOCUSED)
        if name == "BODY":
            return found
        assert (text, style, width >= 2) == (text, "solid", True)
        found.append((name, text))
    raise AssertionError(f"the tab key never comes back: {found}")


def test_the_form_and_the_mails_link_need_a_keyboard_only(lite: Site, small: Mailroom, browser: Any) -> None:
    """U-6, U-8: in the order they are read, with a focus to be seen; the field nobody sees is not reached."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(local(lite, "/subscribe"))
    lite.clock[0] += timedelta(seconds=5)
    assert tabbed(page) == [
        ("A", "Slow & Water"),
        ("INPUT", "email"),
        ("BUTTON", "Subscribe"),
        ("A", "All issues"),
    ]
    page.goto(local(lite, "/subscribe"))
    lite.clock[0] += timedelta(seconds=5)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("anna@example.org")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("h1").inner_text() == "Look into your mailbox"
    page.goto(local(lite, path := small.link(to="anna@example.org")))
    assert [name for name, _ in tabbed(page)] == ["A", "BUTTON", "A", "A"]
    page.goto(local(lite, path))
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Space")
    assert page.locator("h1").inner_text() == "You are subscribed"
    assert lite.state() == State.ACTIVE
    context.close()


def test_every_page_says_what_it_is_without_its_style(lite: Site, small: Mailroom) -> None:
    """U-6: one title, which is the window's, too; each field has its label; nothing runs."""
    for name, answer in Gallery(lite, small):
        text = answer.text
        titles = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
        assert (name, len(titles)) == (name, 1)
        assert f"<title>{titles[0]} · Slow &amp; Water</title>" in text
        fields = re.findall(r'<input id="(\w+)"', text)
        assert fields == re.findall(r'<label for="(\w+)"', text)
        assert not re.search(r"<script|<img|<link rel=\"stylesheet|javascript:|\son\w+=", html.unescape(text))

"""An issue on its way in a real browser: with and without scripts, by keyboard, for everybody, on paper."""

import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from digest.accounts.editors import add_editor
from digest.accounts.models import Role
from digest.database import writing
from digest.issue.changes import note
from digest.issue.models import Done
from digest.models import Delivered, Delivery, Issue, Run, Status
from subscribers.address import parse
from tests.digest.desk import kept, open_desk
from tests.digest.evil_server import EvilServer, Slow
from tests.digest.sending import frozen, relay_at, rows, run
from tests.digest.test_desk_in_browser import FOCUSED, PAYLOADS, hostile, judged, local, logged_in
from tests.digest.test_desk_issue_in_browser import until
from tests.digest.website import NOW, Site

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HERE = "/desk/issues/2015-09/sending"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Anna, who approves, at a desk where nothing is sent yet."""
    with open_desk(tmp_path / "digest.db", in_browser=True) as site:
        with writing(site.engine) as session:
            add_editor(session, parse("anna@example.org"), f"Anna {PAYLOADS[1]}", Role.APPROVER, kept(), NOW)
        yield site


def sums(page: Any) -> list[int]:
    """The lines of the sum, and what they come to on the page."""
    lines = page.eval_on_selector_all(
        ".sum .number", "all => all.map(one => +one.textContent.replace(',', ''))"
    )
    assert sum(lines[:-1]) == lines[-1]
    return list(lines)


def everything(site: Site) -> None:
    """A paused issue in which all there is says something that wants to run."""
    issue_id = frozen(site.engine, 40)
    with writing(site.engine) as session:
        issue = session.exec(select(Issue)).one()
        issue.status, issue.reason, issue.approved_by = Status.PAUSED, hostile(0), hostile(1)
        session.add(Run(issue_id=issue_id, host="h", pid=1, started_at=NOW, ended_at=NOW, stopped=hostile(2)))
        note(session, issue, Done.PAUSED, hostile(3), hostile(4), NOW)
        session.flush()
        states = [one for one in Delivered if one is not Delivered.SENDING]
        for number, one in enumerate(session.exec(select(Delivery).order_by(col(Delivery.id)))):
            one.state = states[number % len(states)]
            one.settled_at = NOW + timedelta(seconds=number)
            one.due_at = NOW + timedelta(hours=1) if one.state is Delivered.DEFERRED else None
            one.reply_code, one.reply_text, one.reason = 550, hostile(number), hostile(number + 1)


def test_the_numbers_follow_the_letters_and_a_keyboard_stops_them(site: Site, browser: Any) -> None:
    """By the keyboard alone: opened, paused, let go on, to the report; told each second, nothing reloaded."""
    issue_id = frozen(site.engine, 200)
    page = logged_in(site, browser, viewport={"width": 1280, "height": 1000})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.get_by_role("link", name="0 of 200 letters accepted").press("Enter")
    page.locator("h1", has_text="Sending September 2015").wait_for()
    page.evaluate("window.same = true")

    def go_on(relay: EvilServer) -> threading.Thread:
        thread = threading.Thread(target=lambda: run(site.engine, issue_id, relay_at(relay.port)))
        thread.start()
        return thread

    with EvilServer({"dot": Slow(0.05, b"250 2.0.0 queued\r\n")}) as relay:
        sending = go_on(relay)
        page.get_by_text("The same as a table").press("Enter")
        first = sums(page)[0]
        until(lambda: sums(page)[0] > first + 5, True)
        assert page.locator("#plot-table").get_attribute("open") is not None
        assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
        assert page.evaluate("window.same")
        page.locator("h1").evaluate("one => { one.tabIndex = -1; one.focus() }")
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED)[0] == "Pause the letters"
        with page.expect_navigation():
            page.keyboard.press("Enter")
        sending.join(5)
        assert not sending.is_alive()
        assert "paused its letters" in page.locator("#told").inner_text()
        assert 0 < sums(page)[0] < 200
    with EvilServer() as relay:
        page.get_by_role("button", name="Let the letters go on").press("Enter")
        page.get_by_role("button", name="Pause the letters").wait_for()
        page.evaluate("window.same = true")
        go_on(relay).join(20)
        # The report takes the room's place by itself.
        page.locator("h1", has_text="Report of September 2015").wait_for(timeout=5000)
        assert page.evaluate("window.same")
        assert page.get_by_role("button", name="Pause the letters").count() == 0
        assert sums(page)[0] == 200
        assert page.get_by_role("button", name="Print").is_visible()
    assert wrong == []
    page.emulate_media(media="print")
    assert not page.get_by_role("navigation").is_visible()
    assert not page.get_by_role("button", name="Print").is_visible()
    assert page.locator(".sum").is_visible()
    page.context.close()


def test_the_same_without_scripts(site: Site, browser: Any) -> None:
    """S-5: paused, letters decided about, let go on, called off after it was asked; on a phone."""
    issue_id = frozen(site.engine, 4)
    with EvilServer({"dot": [b"250 ok\r\n", "take and drop"]}) as relay:
        run(site.engine, issue_id, relay_at(relay.port))
    page = logged_in(site, browser, java_script_enabled=False, viewport={"width": 390, "height": 800})
    page.get_by_role("link", name="1 of 4 letters accepted").click()
    assert page.get_by_role("button", name="Print").count() == 0
    page.get_by_role("button", name="Pause the letters").click()
    page.get_by_role("link", name="3 letters wait for your decision").click()
    # Which of the first two letters was taken is up to the two connections.
    page.locator("[name=letter]").first.check()
    page.get_by_role("button", name="They arrived").click()
    page.get_by_role("button", name="Send them again").click()
    assert "tick the letters" in page.locator("#told").inner_text()
    page.get_by_label("All 2").check()
    page.get_by_role("button", name="Send them again").click()
    page.get_by_role("button", name="Let the letters go on").click()
    page.get_by_role("link", name="Look again").click()
    states = sorted(one.state for one in rows(site.engine, issue_id))
    assert states == [Delivered.ACCEPTED] * 2 + [Delivered.QUEUED] * 2
    page.get_by_role("link", name="Cancel the issue…").click()
    assert "2 people, who keep it" in page.locator(".facts").inner_text()
    page.get_by_label("Why").fill("Enough.")
    page.get_by_role("button", name="Cancel it for 2 people").click()
    assert page.locator("h1").inner_text() == "Report of September 2015"
    assert "cancelled it: Enough." in page.locator("#history").inner_text()
    page.context.close()


def test_axe_finds_nothing_where_letters_go_out(site: Site, browser: Any) -> None:
    """Paused and full of everything, about to be cancelled, and the report."""
    found: dict[str, list[str]] = {}
    everything(site)
    page = logged_in(site, browser, bypass_csp=True)
    page.goto(local(site, HERE))
    page.locator("#plot-table summary").click()
    judged(page, "paused", found)
    page.goto(local(site, f"{HERE}/cancel"))
    judged(page, "cancel", found)
    with writing(site.engine) as session:
        issue = session.exec(select(Issue)).one()
        issue.status, issue.sent_at = Status.SENT, NOW
    page.goto(local(site, HERE))
    page.locator("h1", has_text="Report of").wait_for()
    judged(page, "report", found)
    edges = page.eval_on_selector_all(".sum th", "all => all.map(one => one.getBoundingClientRect().left)")
    assert len(set(edges)) == 1, "a line without letters stands where the others do"
    page.context.close()
    sys.stdout.write("".join(f"{name}: {html}\n" for name, html in found.items()))
    assert found == {}


def test_nothing_that_a_relay_says_runs_at_the_desk(site: Site, browser: Any) -> None:
    """S-3: in the page, and in what the stream puts in its place."""
    everything(site)
    page = logged_in(site, browser)
    said: Any = []
    page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.add_init_script(
        "window.runs = []; window.ran = number => window.runs.push(number);"
        "document.addEventListener('securitypolicyviolation', event => runs.push(event.blockedURI))"
    )
    foreign = page.locator("script:not([src]), iframe, img, style, [onload], [onerror], [autofocus]")
    for path in (HERE, f"{HERE}/cancel", HERE):
        answer = page.goto(local(site, path))
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert page.evaluate("window.runs") == []
        assert foreign.count() == 0
    with writing(site.engine) as session:
        one = session.exec(select(Delivery).where(col(Delivery.state) == Delivered.REJECTED)).first()
        assert one is not None
        one.reply_text, one.settled_at = f"now {PAYLOADS[6]} {PAYLOADS[1]}", NOW + timedelta(days=1)
    page.get_by_text(f"now {PAYLOADS[6]} {PAYLOADS[1]}").wait_for()
    assert foreign.count() == 0
    assert page.evaluate("window.runs") == []
    assert said == []
    page.context.close()

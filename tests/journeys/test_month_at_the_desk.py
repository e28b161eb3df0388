"""A whole month as an editor, in a real browser and by keyboard alone: with our scripts, and without any."""

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from playwright.sync_api import Error

from digest.database import open_engine
from digest.settings import load
from digest.wiring import pages_of
from tests.digest.conftest import browser
from tests.digest.desk import WORDS, free_port
from tests.digest.test_desk_issue_in_browser import letter, until
from tests.digest.website import Site, running

from .conftest import READERS, SEPTEMBER, Mailbox, Publication
from .test_restored import dispatching

__all__ = ["browser"]

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ANNA = "anna@example.org"
#: what a screen reader calls what has the focus
NAMED = """() => { const e = document.activeElement, l = e.labels && e.labels[0];
  return (e.getAttribute("aria-label") || (l || e).textContent).trim().replace(/\\s+/g, " ") }"""
MOST_STOPS = 150


@contextmanager
def desk(publication: Publication) -> Iterator[str]:
    """The address of the publication's pages, which are where its settings say."""
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    publication.set(BASE_URL=here, PUBLICATION_URL=here)
    settings = load(publication.folder / ".env")
    engine = open_engine(settings.database_url)
    with running(pages_of(settings, engine), Site(engine, port, publication.folder / "spool")):
        yield here
    engine.dispose()


def reach(page: Any, name: str) -> None:
    """The focus is on what is called *name*, by the Tab key."""
    passed = []
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(NAMED))
        if passed[-1] == name:
            return
    raise AssertionError(f"{name!r} is not reached: {passed}")


def press(page: Any, name: str, stays: bool = True) -> None:
    """Enter on what is called *name*; unless the page *stays*, another one comes of it."""
    reach(page, name)
    if stays:
        page.keyboard.press("Enter")
        return
    with page.expect_navigation():
        page.keyboard.press("Enter")


def write(page: Any, name: str, words: str) -> None:
    reach(page, name)
    page.keyboard.press("Control+a")
    page.keyboard.type(words)


def looked_at(page: Any, scripts: bool, words: str) -> None:
    """What is said of the letter is on the page: by itself, or by its link."""
    until(lambda: letter(page) != "", True)
    if not scripts:
        press(page, "What is said of it", scripts)
    page.get_by_text(words).wait_for()


def months_say(page: Any, words: str) -> bool:
    press(page, "Months", stays=False)
    return bool(page.get_by_text(words).count())


def titles(page: Any) -> list[str]:
    with suppress(Error):
        found: list[str] = page.locator("#items .title bdi").all_inner_texts()
        return found
    # Another page takes its place.
    return []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_month_at_the_desk_by_keyboard(
    publication: Publication,
    mailbox: Mailbox,
    browser: Any,
    monkeypatch: pytest.MonkeyPatch,
    scripts: bool,
) -> None:
    """A month is imported, shaped, seen, tested, mended, approved and watched; readers get those bytes."""
    publication("posts", "import", publication.feed(*SEPTEMBER))
    publication("issue", "build", "2015-09")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{WORDS}\n"))
    publication("editors", "add", ANNA, "--role", "approver")
    with desk(publication) as here:
        page = browser.new_context(java_script_enabled=scripts).new_page()
        page.goto(f"{here}/desk/")
        write(page, "Address", ANNA)
        write(page, "Password", WORDS)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        press(page, "September 2015", stays=False)
        page.get_by_role("heading", name="September 2015").wait_for()
        order = titles(page)
        # The first one down, then the new first by its title only, and back.
        press(page, f"Down: {order[0]}", scripts)
        until(lambda: titles(page), [order[1], order[0], order[2]])
        press(page, f"Title only: {order[1]}", scripts)
        until(lambda: titles(page), [order[0], order[2], order[1]])
        press(page, f"With excerpt: {order[1]}", scripts)
        until(lambda: titles(page), [order[1], order[0], order[2]])
        press(page, f"Edit: {order[0]}")
        write(page, "Title in the letter", "The mill")
        # With scripts a field is saved when it is left, and its row is not replaced before.
        if scripts:
            page.keyboard.press("Escape")
        else:
            with page.expect_navigation():
                page.keyboard.press("Enter")
        until(lambda: titles(page), [order[1], "The mill", order[2]])
        # A link that leads nowhere keeps it from being approved, and is mended.
        write(page, "Introduction", "About [the mill](https://the-mill.invalid/).")
        press(page, "Save the words", scripts)
        looked_at(page, scripts, "it cannot be approved like this")
        write(page, "Preheader", "Three pieces from the quay, and what the ferry saw.")
        write(page, "Introduction", "Of *ebb* and flow.")
        press(page, "Save the words", scripts)
        looked_at(page, scripts, "Nothing in the letter would hurt in an inbox.")
        for look in ("desktop", "dark", "phone", "text", "letter"):
            press(page, look, scripts)
            page.locator(f"[data-look][aria-current]:text-is('{look}')").wait_for()
        assert page.locator(".stage.phone.dark").count() == 1
        until(lambda: "Of ebb and flow." in letter(page), True)
        press(page, "Approve or send a test copy", stays=False)
        press(page, f"Send a test copy to {ANNA}", stays=False)
        page.get_by_text(f"A test copy is on its way to {ANNA}").wait_for()
        ((to, copy),) = mailbox.letters
        mail = message_from_bytes(copy, policy=default)
        assert (to, mail["Subject"][:7]) == (ANNA, "[Test] ")
        assert "The mill" in mail.get_body(("plain",)).get_content()
        press(page, "Approve for 2 people", stays=False)
        page.get_by_text("approved by").wait_for()
        mailbox.letters.clear()
        mailbox.held.add(READERS[1])
        with dispatching(publication) as process:
            until(lambda: months_say(page, "1 of 2 letters accepted"), True)
            press(page, "1 of 2 letters accepted", stays=False)
            page.get_by_role("heading", name="Sending September 2015").wait_for()
            mailbox.held.clear()
            assert process.wait(20) == 0
        if not scripts:
            press(page, "Look again", stays=False)
        page.get_by_role("heading", name="Report of September 2015").wait_for()
        assert page.locator(".sum .number").first.inner_text() == "2"
        assert mailbox.recipients() == list(READERS)
        for _to, sent in mailbox.letters:
            text = message_from_bytes(sent, policy=default).get_body(("plain",)).get_content()
            assert "The mill" in text
            assert "Of ebb and flow." in text.replace("*", "")
        press(page, "Months", stays=False)
        page.get_by_text("2 of 2 letters accepted").wait_for()
        page.context.close()

"""The desk in a real browser: for everybody, without scripts, by keyboard, and full of what wants to run."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from digest.accounts.editors import add_editor
from digest.accounts.models import Role
from digest.database import writing
from digest.doctor.line import GROUP, Line, failed, idle, passed, warned
from digest.models import Dated, Delivered, Delivery, Issue, Post, Source, Status
from subscribers.address import parse
from subscribers.models import Act, Consent, Imported, State, Subscriber
from subscribers.report import Verdict
from tests.digest.desk import WORDS, editor, kept, open_desk
from tests.digest.website import NOW, Site, issue

pytestmark = [pytest.mark.browser, pytest.mark.slow]

WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
#: everything axe-core knows of, also what it leaves out unless asked; and what width and scheme change.
#: Into the letter's frame nothing reaches; letters have tests of their own
RULES = {
    "rules": {"target-size": {"enabled": True}, "frame-tested": {"enabled": False}},
    "resultTypes": ["violations", "incomplete"],
    "iframes": False,
}
LOOKS = {
    "runOnly": {
        "type": "rule",
        "values": ["color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable"],
    },
    "resultTypes": ["violations", "incomplete"],
    "iframes": False,
}
ROOMS = (
    *("/desk/", "/desk/subscribers", "/desk/subscribers?q=nobody", "/desk/subscribers/growth"),
    *("/desk/subscribers/1", "/desk/sources", "/desk/settings", "/desk/logout"),
    *("/desk/password", "/desk/subscribers/imports", "/desk/nothing"),
)
#: 200 ways of running something, told apart by their number
PAYLOADS = tuple(
    form.format(f"ran({number})")
    for number, form in enumerate(
        20
        * (
            *("<script>{}</script>", "<img src=x onerror={}>", "<svg onload={}>", '"><svg/onload={}>'),
            *("' autofocus onfocus={} x='", "<iframe srcdoc='<script>parent.{}</script>'>", "javascript:{}"),
            *("</title><script>{}</script>", "<style>@import 'javascript:{}'</style>", "{{{{{}}}}}<b>"),
        )
    )
)


def hostile(number: int) -> str:
    return PAYLOADS[number % len(PAYLOADS)]


def hostile_source(number: int) -> Source:
    return Source(
        place=f"https://example.org/{number}/{hostile(number)}",
        title=hostile(number + 1),
        problem=hostile(number + 2) if number % 2 else "",
        fetched_at=NOW,
    )


def fill(site: Site) -> None:
    """A store in which everything there is says something that wants to run, or is very long."""
    for number, status in enumerate(Status):
        issue(site, f"2015-{number + 1:02}", number + 1, status)
    with writing(site.engine) as session:
        for number, one in enumerate(session.exec(select(Issue)).all()):
            one.reason, one.approved_by = hostile(number), hostile(number)
        session.add_all(map(hostile_source, range(10)))
        session.flush()
        session.add(
            Post(
                source_id=1,
                identity="a",
                guid="a",
                title=hostile(1),
                published_at=NOW,
                dated=Dated.INSTANT,
                first_seen_at=NOW,
                changed_at=NOW,
            )
        )
        for number in range(40):
            state = list(State)[number % len(State)]
            address = f"reader{number}@{'a-rather-long-name.' * (number % 4)}example.org"
            session.add(
                Subscriber(
                    address=address,
                    address_key=address,
                    suppression_key=f"{number:064}",
                    name=hostile(number),
                    state=state,
                    created_at=NOW,
                    changed_at=NOW,
                )
            )
        session.flush()
        for number in range(20):
            session.add(
                Consent(
                    subscriber_id=1,
                    act=list(Act)[number % len(Act)],
                    at=NOW - timedelta(days=number),
                    origin="page",
                    wording=hostile(number),
                    user_agent=hostile(number),
                )
            )
        session.add(
            Imported(
                at=NOW,
                file=f"{'members-of-' * 12}2015.csv",
                program=hostile(1),
                hash="0" * 16,
                ground=hostile(2),
                rows=1234,
                counts={str(one): 1000 for one in Verdict},
            )
        )
        # The relay's words, and a reason of ours.
        for number, state in enumerate((Delivered.REJECTED, Delivered.HELD), start=3):
            session.add(
                Delivery(
                    issue_id=number,
                    subscriber_id=1,
                    state=state,
                    reply_code=550,
                    reply_text=hostile(number),
                    reason=hostile(number) if state is Delivered.HELD else "",
                    settled_at=NOW,
                )
            )


def examined() -> list[Line]:
    names = list(GROUP)
    return [
        *(failed(name, hostile(place), hostile(place + 1)) for place, name in enumerate(names[:8])),
        warned(names[8], hostile(9), "https://example.org/" + "long" * 60),
        *(passed(name, "well") for name in names[9:20]),
        *(idle(name, "nobody looked") for name in names[20:]),
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A desk that is full, with Anna, and a doctor who finds fault."""
    store = tmp_path_factory.mktemp("full") / "digest.db"
    with open_desk(store, in_browser=True, examine=examined) as running:
        editor(running, "anna@example.org")
        with writing(running.engine) as session:
            name = f"Anna {PAYLOADS[1]}"
            add_editor(session, parse("anna@example.org"), name, Role.APPROVER, kept(), NOW)
        fill(running)
        yield running


def local(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}{path}"


def logged_in(site: Site, browser: Any, **options: Any) -> Any:
    """A page in which Anna has logged in by the form."""
    page = browser.new_context(**options).new_page()
    page.goto(local(site, "/desk/"))
    page.get_by_label("Address").fill("anna@example.org")
    page.get_by_label("Password").fill(WORDS)
    with page.expect_navigation():
        page.get_by_role("button", name="Log in").click()
    assert page.url == local(site, "/desk/")
    return page


def judged(page: Any, name: str, found: dict[str, list[str]]) -> None:
    """What axe-core has against the page, and what is wider than the window, is in *found*."""
    from axe_playwright_python.base import AXE_SCRIPT

    page.evaluate(AXE_SCRIPT)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            where = f"{name}, {width}, {scheme}"
            rules = RULES if (width, scheme) == (WIDTHS[0], "light") else LOOKS
            results = page.evaluate("rules => axe.run(rules)", rules)
            for one in results["violations"] + results["incomplete"]:
                found[f"{where}: {one['id']}"] = [node["html"][:200] for node in one["nodes"]][:5]
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > width:
            found[f"{name}, {width}: {wide} px wide"] = []


def test_axe_finds_nothing_in_any_room(site: Site, browser: Any, tmp_path: Path) -> None:
    """Full and empty, on a phone and a desk, light and dark; nothing is wider than its window."""
    found: dict[str, list[str]] = {}
    page = browser.new_context(bypass_csp=True).new_page()
    page.goto(local(site, "/desk/login"))
    judged(page, "login", found)
    page.get_by_label("Address").fill("anna@example.org")
    page.get_by_label("Password").fill("wrong wrong wrong")
    page.get_by_role("button", name="Log in").click()
    judged(page, "login, wrong", found)
    page.context.close()
    page = logged_in(site, browser, bypass_csp=True)
    for path in ROOMS:
        page.goto(local(site, path))
        judged(page, path, found)
    page.goto(local(site, "/desk/settings"))
    page.get_by_role("button", name="Ask doctor").click()
    page.get_by_role("link", name="See whether it is done").or_(page.get_by_text("As of")).wait_for()
    page.goto(local(site, "/desk/settings"))
    page.get_by_text("8 faults, 1 warning, 11 as it should be").wait_for()
    page.locator("summary").first.click()
    judged(page, "doctor", found)
    page.context.close()
    with open_desk(tmp_path / "empty.db", in_browser=True) as empty:
        editor(empty, "anna@example.org")
        page = logged_in(empty, browser, bypass_csp=True)
        for path in ("/desk/", "/desk/subscribers", "/desk/sources"):
            page.goto(local(empty, path))
            judged(page, f"empty {path}", found)
        page.context.close()
    sys.stdout.write(f"{len(found)} findings in {len(ROOMS) + 5} pages\n")
    assert found == {}


def test_nothing_that_comes_from_outside_runs_at_the_desk(site: Site, browser: Any) -> None:
    """S-3: 200 payloads in titles, addresses, names, reasons and relays' words; the policy has no work."""
    with writing(site.engine) as session:
        session.add_all(map(hostile_source, range(10, 200)))
    page = logged_in(site, browser)
    said, asked = [], []
    page.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.add_init_script("window.runs = []; window.ran = number => window.runs.push(number)")
    for path in ROOMS[:-1]:
        answer = page.goto(local(site, path))
        assert answer.status == 200
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert page.evaluate("window.runs") == []
        foreign = (
            "[...document.querySelectorAll('script, iframe, style, img, [onload], [onerror], [autofocus]')]"
        )
        assert page.evaluate(f"{foreign}.length") == 0
    page.goto(local(site, "/desk/sources"))
    assert page.get_by_text(PAYLOADS[0], exact=True).count() > 0
    assert said == []
    assert {url.partition("/desk")[0] for url in asked} <= {local(site, ""), "data:,"}
    page.context.close()


def test_the_desk_works_without_scripts(site: Site, browser: Any) -> None:
    """S-5, S-6: in, through every room by its links, a search, and out; the browser keeps our cookie."""
    page = logged_in(site, browser, java_script_enabled=False, viewport={"width": 390, "height": 800})
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["sameSite"], cookie["secure"], cookie["httpOnly"]) == (
        "__Host-desk",
        "Strict",
        True,
        True,
    )
    for name in ("Subscribers", "Sources", "Settings", "Months", "Subscribers"):
        page.get_by_role("link", name=name, exact=True).click()
        assert page.locator("h1").inner_text() == name
        assert page.locator("[aria-current=page]").inner_text() == name
    page.get_by_label("Part of an address or name").fill("READER13@")
    page.get_by_label("State").select_option("unsubscribed")
    page.get_by_role("button", name="Look").click()
    assert page.locator(".people").count() == 0
    page.get_by_label("State").select_option("any")
    page.get_by_role("button", name="Look").click()
    assert page.locator(".people").count() == 1
    page.locator(".people a").click()
    assert page.locator("h1").inner_text().startswith("reader13@")
    page.get_by_role("link", name="Log out").click()
    page.get_by_role("button", name="Log out").click()
    assert page.locator("h1").inner_text() == "Slow & Water: the desk"
    page.goto(local(site, "/desk/subscribers"))
    assert page.get_by_label("Password").count() == 1
    page.context.close()


FOCUSED = """() => { const e = document.activeElement, s = getComputedStyle(e);
  return [e.name || e.textContent.trim(), s.outlineStyle, parseFloat(s.outlineWidth)] }"""


def test_the_desk_needs_a_keyboard_only(site: Site, browser: Any) -> None:
    """Each stop is seen to have the focus; the first one leads past the navigation."""
    page = browser.new_context().new_page()
    page.goto(local(site, "/desk/subscribers"))
    for words in ("anna@example.org", WORDS):
        page.keyboard.press("Tab")
        page.keyboard.type(words)
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url == local(site, "/desk/subscribers")
    stops = []
    for _ in range(13):
        page.keyboard.press("Tab")
        text, style, width = page.evaluate(FOCUSED)
        assert (text, style, width >= 2) == (text, "solid", True)
        stops.append(text)
    assert stops == [
        *("To the page", "Slow & Water", "Months", "Subscribers", "Sources", "Settings"),
        *("Password", "Log out"),
        *("how the list grows", "what was imported", "q", "state", "Look"),
    ]
    page.reload()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)[0] == "how the list grows"
    page.context.close()

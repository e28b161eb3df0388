"""The pictures of docs/pictures, taken of the program itself: its demo's letter, and pages it serves.

    python -m benchmarks.pictures              needs Chromium
    python -m benchmarks.pictures --to DIR     into another folder

Nothing is loaded from anywhere but the demo's own folder and this machine.
"""

import argparse
import re
import secrets
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import delete

from benchmarks.tables import DOCS
from digest.accounts.editors import add_editor, editor_of
from digest.accounts.logins import log_in
from digest.accounts.models import Role
from digest.accounts.passwords import Passwords
from digest.database import open_engine, writing
from digest.demo import EDITOR, MONTH, run_demo
from digest.issue.approve import withdraw
from digest.issue.changes import edit
from digest.issue.compose import issue_of
from digest.issue.edit import shorten_to_titles
from digest.models import Delivery, Run, Status
from digest.month import Month
from digest.outfit import clock
from digest.samples_site import PICTURES, ROOT, add_samples
from digest.settings import load
from digest.web.guard import COOKIE, COOKIE_BYTES
from digest.web.serving import server
from digest.wiring import pages_of
from subscribers.address import parse

HOST = "127.0.0.1"
STARTING = 10  # seconds the pages may take to answer
#: CSS pixels
LOWEST = 320
#: of what a picture leaves free above the element that it ends before
MARGIN = 12
EDITOR_NAME = "The editor"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture."""

    name: str
    #: a path of the pages, or "" for the letter
    path: str
    width: int  # CSS pixels
    scheme: Literal["light", "dark"] = "light"
    #: what the picture ends above, as a selector; "": it shows all of the page
    until: str = ""
    #: device pixels for each of CSS: 2 where a README shows it
    scale: int = 1
    #: CSS pixels of a window that shows a part only; 0: the picture is as long as it has to be
    height: int = 0


#: masthead, introduction, contents and the lead; below it begins the second post
LEAD = ".kicker >> nth=1"
LETTER = (
    Shot("letter-600", "", 600, until=LEAD, scale=2),
    Shot("letter-600-dark", "", 600, "dark", until=LEAD, scale=2),
    Shot("letter-320", "", 320, until=LEAD, scale=2),
    Shot("letter-1280", "", 1280, until=LEAD),
    Shot("letter-whole", "", 600),
)


#: the desk, with the demo's issue as a draft again
DESK = (
    Shot("desk", f"/desk/issues/{MONTH}?look=1", 1280, height=900),
    Shot("desk-phone-dark", f"/desk/issues/{MONTH}/approve", 390, "dark", height=1040, scale=2),
)


def main() -> int:
    """The pictures are in their folder, and their names are told."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures", description=__doc__)
    parser.add_argument("--to", type=Path, default=DOCS / "pictures", help="the folder")
    out = parser.parse_args().to
    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        print("there is no Chromium: `apt-get install chromium`", file=sys.stderr)
        return 1
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="digest-pictures-") as folder, browser(chromium) as opened:
        demo = Path(folder) / "demo"
        run_demo(demo, secrets.token_hex, lambda line: None)
        take(opened, demo, out)
    for picture in sorted(out.glob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size / 1000:,.0f} KB")
    return 0


def take(opened: Browser, demo: Path, out: Path) -> None:
    """The letter and the pages of the demo in *demo* are pictures in *out*."""
    letter = demo / "preview" / "shown.html"
    html = (demo / "preview" / "message.html").read_text(encoding="utf-8")
    letter.write_text(html.replace(f"{ROOT}pictures/", "pictures/"), encoding="utf-8")
    for shot in LETTER:
        shoot(opened, shot, letter.as_uri(), out)
    with serving(demo) as address:
        for shot in pages(demo):
            shoot(opened, shot, f"{address}{shot.path}", out)
        cookie = draft_again(demo)
        for shot in DESK:
            shoot(opened, shot, f"{address}{shot.path}", out, cookie)


def draft_again(demo: Path) -> str:
    """The cookie of an editor to whom the demo's issue is a draft, as before it was approved and sent."""
    settings, now = load(demo / ".env"), clock()
    engine = open_engine(settings.database_url)
    kept, cookie = Passwords().hashed(secrets.token_urlsafe()), secrets.token_urlsafe(COOKIE_BYTES)
    with writing(engine) as session:
        issue = issue_of(session, Month.parse(MONTH, settings.zone))
        session.execute(delete(Delivery))
        session.execute(delete(Run))
        issue.status, issue.frozen_at, issue.frozen_count = Status.APPROVED, None, None
        session.flush()
        withdraw(session, issue, EDITOR_NAME, now)
        edit(session, issue, lambda: shorten_to_titles(session, issue, [7]), EDITOR_NAME, now)
        address = parse(EDITOR)
        add_editor(session, address, EDITOR_NAME, Role.APPROVER, kept, now)
        session.flush()
        editor = editor_of(session, address.key)
        assert editor is not None
        assert editor.id is not None
        assert log_in(session, editor.id, kept, cookie, now)
    engine.dispose()
    return cookie


def pages(demo: Path) -> Iterator[Shot]:
    """The pages a reader meets."""
    letter = min((demo / "mailbox").glob("*.eml")).read_bytes()
    # List-Unsubscribe is never encoded or broken inside a URI.
    link = re.search(rb"^List-Unsubscribe:\s*<https?://[^/]+(/u/[\w-]+)>", letter, re.MULTILINE)
    assert link is not None
    path = link[1].decode("ascii")
    body = message_from_bytes(letter, policy=default).get_body(("plain",))
    assert body is not None
    mine = re.search(r"https?://[^/]+(/p/[\w-]+)", body.get_content())
    assert mine is not None
    yield Shot("unsubscribe", path, 600, scale=2)
    yield Shot("unsubscribe-dark", path, 600, "dark", scale=2)
    yield Shot("archive", "/archive", 600, scale=2)
    yield Shot("subscribe", "/subscribe", 600, scale=2)
    yield Shot("preferences-dark", mine[1], 600, "dark", scale=2)


def shoot(opened: Browser, shot: Shot, address: str, out: Path, cookie: str = "") -> None:
    """The picture of *address* is in *out*; with the *cookie* of an editor."""
    page = opened.new_page(
        viewport={"width": shot.width, "height": shot.height or LOWEST},
        device_scale_factor=shot.scale,
        color_scheme=shot.scheme,
        java_script_enabled=False,
    )
    if cookie:
        page.set_extra_http_headers({"Cookie": f"{COOKIE}={cookie}"})
        # The letter's pictures are the sample site's.
        page.route(
            f"{ROOT}pictures/*",
            lambda route: route.fulfill(path=PICTURES / Path(route.request.url).name),
        )
    answer = page.goto(address, wait_until="load")
    if answer is not None and not answer.ok:
        raise AssertionError(f"{shot.path} answers {answer.status}")
    if shot.until:
        box = page.locator(shot.until).bounding_box()
        assert box is not None
        page.set_viewport_size({"width": shot.width, "height": round(box["y"]) - MARGIN})
    page.screenshot(path=out / f"{shot.name}.png", full_page=not shot.until and not shot.height)
    page.close()


@contextmanager
def browser(chromium: str) -> Iterator[Browser]:
    """A headless Chromium that stays on this machine."""
    with sync_playwright() as playwright:
        flags = [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
        ]
        opened = playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            yield opened
        finally:
            opened.close()


@contextmanager
def serving(demo: Path) -> Iterator[str]:
    """The address of the demo's pages, on a free port of this machine, until the end."""
    settings = load(demo / ".env")
    engine = open_engine(settings.database_url)
    app = pages_of(settings, engine)
    add_samples(app, clock())
    started = server(app, HOST, 0)
    thread = threading.Thread(target=started.run)
    thread.start()
    try:
        until = time.monotonic() + STARTING
        while not started.started:
            if time.monotonic() > until or not thread.is_alive():
                raise AssertionError("the pages do not answer")
            time.sleep(0.02)
        yield f"http://{HOST}:{started.servers[0].sockets[0].getsockname()[1]}"
    finally:
        started.should_exit = True
        thread.join()
        app.state.engine.dispose()
        engine.dispose()


if __name__ == "__main__":
    sys.exit(main())

"""The public pages where they live: behind a real proxy, and in a real browser."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from digest.letter.words import words
from digest.models import Status
from subscribers.models import State
from tests.conftest import ROOT, lacking
from tests.digest.test_pages import VARIANTS
from tests.digest.website import Site, issue, leave, one_click, preferences, publication, serving

LANGUAGES = ["en", *sorted(path.stem for path in (ROOT / "templates" / "words").glob("*.po"))]


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


# Behind a proxy.

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://127.0.0.1:{upstream};
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https;
    }}
  }}
}}
"""


@pytest.fixture
def proxied(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """The pages behind nginx, configured as most people do."""
    nginx = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if nginx is None:
        lacking("nginx")
        return
    with serving(sqlite_engine, tmp_path / "digest.db-spool", publication()) as site:
        folder, port = tmp_path / "nginx", free_port()
        folder.mkdir()
        (folder / "conf").write_text(NGINX.format(folder=folder, port=port, upstream=site.port))
        running = subprocess.Popen([nginx, "-p", str(folder), "-c", str(folder / "conf")])
        try:
            for _ in range(200):
                with socket.socket() as tried:
                    if tried.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.02)
            yield Site(site.engine, port, site.spool, site.clock)
        finally:
            running.terminate()
            running.wait(10)


def test_one_click_works_behind_a_proxy(proxied: Site) -> None:
    """U-2, order of proof 2: every way a provider may send it, each for a person of its own."""
    for number, (variant, send) in enumerate(VARIANTS.items()):
        name = f"reader{number}"
        answer = send(proxied, one_click(proxied.person(name)))
        if "host" in variant and answer.status == 400:
            continue  # nginx itself refuses HTTP/1.1 without a proper host
        assert (variant, answer.status) == (variant, 200)
        assert {"location", "set-cookie"} & set(answer.headers) == set()
        assert len(answer.whole) < 1024
        assert proxied.state(name) == State.UNSUBSCRIBED


def test_the_pages_work_behind_a_proxy(proxied: Site) -> None:
    who = proxied.person()
    issue(proxied, "2015-09", 9, Status.SENT)
    for path in (leave(who), preferences(who), "/archive", "/archive/2015-09", "/archive/feed.xml"):
        assert proxied.get(path).status == 200
    assert "Paused" in proxied.post(f"{preferences(who)}?act=pause").text


# In a browser.


@pytest.mark.browser
def test_leaving_needs_a_keyboard_and_nothing_else(lite: Site, browser: Any) -> None:
    """U-6: no script, no mouse; the policy of the page stops nothing of its own."""
    context = browser.new_context(java_script_enabled=False)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.goto(f"http://127.0.0.1:{lite.port}{leave(lite.person())}")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.locator("h1").inner_text() == "You are unsubscribed"
    assert lite.state() == State.UNSUBSCRIBED
    assert said == []
    context.close()


@pytest.mark.browser
def test_preferences_work_in_a_browser(lite: Site, browser: Any) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{lite.port}{preferences(lite.person())}")
    for button, title, state in (
        ("Pause", "Paused", State.PAUSED),
        ("Resume", "You are back", State.ACTIVE),
    ):
        with page.expect_navigation():
            page.get_by_role("button", name=button).click()
        assert page.locator("h1").inner_text() == title
        assert lite.state() == state
    with page.expect_navigation():
        page.get_by_role("link", name="Your subscription").click()
    buttons = page.locator("button").all_inner_texts()
    assert buttons == ["Unsubscribe", "Pause", "Change the address", "See or erase my data"]
    context.close()


@pytest.mark.browser
def test_an_archived_issue_runs_nothing_and_its_links_work(lite: Site, browser: Any) -> None:
    """S-3."""
    issue(lite, "2015-09", 9, Status.SENT)
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{lite.port}/archive/2015-09")
    assert page.title() == ""
    with page.expect_navigation():
        page.get_by_role("link", name="all").click()
    assert page.locator("h1").inner_text() == "All issues"
    page.close()


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "de", "ru", "ar"])
def test_no_page_is_wider_than_a_narrow_phone(
    sqlite_engine: Engine, tmp_path: Path, browser: Any, language: str
) -> None:
    """320 px, and every button at least 48 px high."""
    with serving(sqlite_engine, tmp_path / "spool", publication(language=language)) as site:
        issue(site, "2015-09", 9, Status.SENT, subject="Donaudampfschifffahrtsgesellschaft " * 3)
        who = site.person()
        page = browser.new_page(viewport={"width": 320, "height": 640})
        for path in (leave(who), preferences(who), "/archive", "/nothing"):
            page.goto(f"http://127.0.0.1:{site.port}{path}")
            assert page.evaluate("document.documentElement.scrollWidth") == 320
            heights = page.evaluate("[...document.querySelectorAll('button')].map(b => b.offsetHeight)")
            assert all(height >= 48 for height in heights)
        page.close()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_speaks_every_language_whole(sqlite_engine: Engine, tmp_path: Path, language: str) -> None:
    """U-6: no word of a page falls back to English."""
    say = words(language, None).say
    direction = "rtl" if language in ("ar", "he") else "ltr"
    with serving(sqlite_engine, tmp_path / "spool", publication(language=language)) as site:
        who = site.person()
        assert f"<h1>{say('web.preferences_title')}</h1>" in site.get(preferences(who)).text
        for path in (leave(who), "/archive", "/nothing"):
            assert f'<html lang="{language}" dir="{direction}">' in site.get(path).text
        for act in ("pause", "resume", "leave", "rejoin"):
            assert say(f"web.{act}_done") in site.post(f"{preferences(who)}?act={act}").text

"""The public pages through a real server: reading changes nothing, and leaving always works."""

import fcntl
import gzip
import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, ip_network
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from digest.database import open_engine, reading, writing
from digest.models import Status
from digest.sending.spool import append, apply_spool, waiting
from subscribers.address import parse
from subscribers.departures import bar
from subscribers.models import Act, Cause, Consent, State, Subscriber
from subscribers.tokens import NOBODY, Keyring, Purpose
from tests.digest.website import (
    BASE,
    EDITOR,
    KEYS,
    NOW,
    RING,
    SECRET,
    Answer,
    Site,
    exchange,
    issue,
    leave,
    locked,
    one_click,
    preferences,
    publication,
    serving,
)

LIMIT = 10.0  # seconds: ten times what U-2 allows, so that only a hang fails


# Reading changes nothing.

ENDS = ("", "/", "?page", "?act=leave")


def test_no_link_of_a_letter_changes_anything_by_being_looked_at(lite: Site) -> None:
    """U-1: every page, by GET, HEAD and OPTIONS, three times; the store's files stay as they are."""
    who = lite.person()
    issue(lite, "2015-09", 9, Status.SENT)
    paths = [
        *(
            link(who) + end
            for link in (one_click, leave, preferences)
            for end in ("", "/", "?page", "?act=leave")
        ),
        *("/archive", "/archive/", "/archive/2015-09", "/archive/feed.xml", "/healthz", "/", "/subscribe"),
    ]
    where = Path(str(lite.engine.url.database))
    lite.engine.dispose()
    files = (where, where.with_name(f"{where.name}-wal"))
    before = [path.read_bytes() if path.exists() else b"" for path in files]
    for _ in range(3):
        for path in paths:
            for method in ("GET", "HEAD", "OPTIONS"):
                assert lite.ask(method, path).status < 500
    assert [path.read_bytes() for path in files] == before
    assert not lite.spool.exists()


def test_every_link_on_every_page_may_be_followed(site: Site) -> None:
    """U-1 on both engines: what a scanner finds by following links changes no row."""
    who = site.person()
    issue(site, "2015-09", 9, Status.SENT)
    before = site.contents()
    waiting_to_be_read, seen = [leave(who), preferences(who), "/archive"], set[str]()
    while waiting_to_be_read:
        path = waiting_to_be_read.pop()
        seen.add(path)
        page = site.get(path)
        assert page.status == 200
        links = re.findall(r'(?:href|action|src)="([^"]*)"', page.text)
        own = {link.removeprefix(BASE) or "/" for link in links if link.startswith((BASE, "/"))}
        waiting_to_be_read += own - seen
    assert {"/archive", "/archive/feed.xml", "/archive/2015-09"} <= seen
    assert site.contents() == before


def test_head_answers_like_get_without_a_body(lite: Site) -> None:
    who = lite.person()
    got, asked = lite.get(leave(who)), lite.ask("HEAD", leave(who))
    assert (asked.status, asked.body) == (200, b"")
    assert asked.headers["content-length"] == got.headers["content-length"] == str(len(got.body))


# One click.

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = (
    b'--x\r\nContent-Disposition: form-data; name="List-Unsubscribe"\r\n\r\nOne-Click\r\n--x--\r\n',
    "multipart/form-data; boundary=x",
)
VARIANTS: dict[str, Callable[[Site, str], Answer]] = {
    "urlencoded": lambda site, path: site.post(path, b"List-Unsubscribe=One-Click"),
    "multipart": lambda site, path: site.post(path, MULTIPART[0], Content_Type=MULTIPART[1]),
    "no body": lambda site, path: site.post(path),
    "no body, no type, no length": lambda site, path: exchange(
        site.port, f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    ),
    "another body": lambda site, path: site.post(path, b'{"a": 1}', Content_Type="application/json"),
    "broken multipart": lambda site, path: site.post(path, b"--y", Content_Type=MULTIPART[1]),
    "broken urlencoded": lambda site, path: site.post(path, b"%ff%00=&&&\xff"),
    "chunked": lambda site, path: site.post(
        path, b"1a\r\nList-Unsubscribe=One-Click\r\n0\r\n\r\n", Transfer_Encoding="chunked"
    ),
    "gzipped": lambda site, path: site.post(
        path, gzip.compress(b"List-Unsubscribe=One-Click"), Content_Encoding="gzip"
    ),
    "trailing slash": lambda site, path: site.post(f"{path}/", b"List-Unsubscribe=One-Click"),
    "a query": lambda site, path: site.post(f"{path}?utm_source=x", b"List-Unsubscribe=One-Click"),
    "upper-case host": lambda site, path: site.post(path, Host="LETTERS.EXAMPLE.ORG:443"),
    "a foreign host": lambda site, path: site.post(path, Host="evil.example"),
    "HTTP/1.0": lambda site, path: site.ask("POST", path, b"List-Unsubscribe=One-Click", "1.0"),
    "HTTP/1.0 without host": lambda site, path: exchange(
        site.port, f"POST {path} HTTP/1.0\r\nContent-Length: 0\r\n\r\n".encode()
    ),
    "cross-site": lambda site, path: site.post(
        path, Origin="https://evil.example", Sec_Fetch_Site="cross-site", Referer="https://evil.example/"
    ),
    "null origin": lambda site, path: site.post(path, Origin="null", Cookie="session=x; a=b"),
    "a large body": lambda site, path: site.post(path, b"x" * 900_000),
    "a body that comes late": lambda site, path: exchange(
        site.port,
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 26\r\n\r\n".encode(),
        b"List-Unsubscribe=One-Click",
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_click_works_however_a_provider_sends_it(lite: Site, variant: str) -> None:
    """U-2, RFC 8058: 200, no redirect, no cookie, below 1 KiB; twice."""
    who = lite.person()
    for _ in range(2):
        answer = VARIANTS[variant](lite, one_click(who))
        assert answer.status == 200
        assert {"location", "set-cookie"} & set(answer.headers) == set()
        assert len(answer.whole) < 1024
        assert answer.seconds < LIMIT
        assert lite.state() == State.UNSUBSCRIBED
    with reading(lite.engine) as session:
        lines = [(line.act, line.origin, line.ip) for line in session.exec(select(Consent))]
    assert lines == [("confirmed", "editor", None), ("withdrawn", "one-click", None)]


def test_one_click_works_for_who_hangs_up_before_the_answer(lite: Site) -> None:
    """The body never comes whole: leaving does not wait for it."""
    who = lite.person()
    with socket.create_connection(("127.0.0.1", lite.port), timeout=20) as connection:
        head = f"POST {one_click(who)} HTTP/1.1\r\nHost: x\r\nContent-Length: 26\r\n\r\nList"
        connection.sendall(head.encode())
    for _ in range(200):
        if lite.state() == State.UNSUBSCRIBED:
            break
        time.sleep(0.02)
    assert lite.state() == State.UNSUBSCRIBED


def test_one_click_works_on_both_engines(site: Site) -> None:
    who = site.person()
    assert site.post(one_click(who), b"List-Unsubscribe=One-Click").status == 200
    assert site.state() == State.UNSUBSCRIBED


def test_one_click_needs_no_pause_between_connections(lite: Site) -> None:
    """Forty providers at once."""
    people = [lite.person(f"reader{n}") for n in range(40)]
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda who=who: answers.append(lite.post(one_click(who)).status))  # type: ignore[misc]
        for who in people
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 40
    apply_spool(lite.engine, lite.spool)
    assert {lite.state(f"reader{n}") for n in range(40)} == {State.UNSUBSCRIBED}


def test_a_link_works_for_ever_and_for_everybody(lite: Site) -> None:
    """U-4, T-3, T-4: ten years later, under an old key, an old version, and for who is gone."""
    who = lite.person()
    with writing(lite.engine) as session:
        row = session.get(Subscriber, who)
        assert row is not None
        row.token_version = 7
    lite.clock[0] = NOW + timedelta(days=3653)
    old = Keyring(KEYS[1:]).sign(Purpose.ONE_CLICK, who, 2)
    assert lite.post(f"/u/{old}").status == 200
    assert lite.state() == State.UNSUBSCRIBED
    for absent in (999_999, NOBODY):
        assert lite.post(one_click(absent)).status == 200
        assert lite.get(leave(absent)).status == 200
        assert "this address" in lite.post(leave(absent)).text


def test_the_links_of_a_test_copy_unsubscribe_nobody(lite: Site) -> None:
    """H-7."""
    lite.person()
    before = lite.contents()
    assert lite.post(one_click(NOBODY)).status == lite.post(leave(NOBODY)).status == 200
    assert lite.contents() == before


# The page with the button.


def test_the_page_asks_once_and_says_what_happened(lite: Site) -> None:
    """U-1, T-6: the address is masked; after it the page tells how to come back."""
    who = lite.person()
    asked = lite.get(leave(who))
    assert asked.text.count("<form") == asked.text.count("<button") == 1
    assert "a•••@e•••.org" in asked.text
    assert "anna" not in asked.text
    action = re.search(r'action="([^"]*)"', asked.text)
    assert action is not None
    done = lite.post(leave(who) + action[1])
    assert done.status == 200
    assert "You are unsubscribed" in done.text
    assert "Preferences" in done.text
    assert lite.state() == State.UNSUBSCRIBED
    with reading(lite.engine) as session:
        last = session.exec(select(Consent)).all()[-1]
    assert (last.act, last.origin) == ("withdrawn", "page")
    assert last.wording == "Unsubscribe: Nothing more is sent, from now on."


def test_the_link_of_the_header_opens_the_same_page_for_a_person(lite: Site) -> None:
    """Some mail programs show the header's link; its button answers with a page, too."""
    who = lite.person()
    assert lite.get(one_click(who)).body == lite.get(leave(who)).body
    assert "<h1>You are unsubscribed</h1>" in lite.post(f"{one_click(who)}?page").text


# Tokens.


def test_a_token_that_is_none_gets_the_one_page(lite: Site) -> None:
    """T-2, T-6: forged, cut, of another purpose or another key: the same bytes, and nothing happens."""
    who = lite.person()
    good = RING.sign(Purpose.LEAVE, who)
    stranger = Keyring([b"s" * 32]).sign(Purpose.LEAVE, who)
    preferring = RING.sign(Purpose.PREFERENCES, who)
    paths = [
        *(
            f"/u/{token}"
            for token in ("x", good[:-1], good[:-1] + "~", good.swapcase(), stranger, preferring)
        ),
        f"/u/{RING.sign(Purpose.BOUNCE, who)}",
        f"/u/{good}/x",
        *(f"/p/{RING.sign(purpose, who)}" for purpose in Purpose if purpose != Purpose.PREFERENCES),
        preferences(who, 1),
        preferences(999_999),
        "/u/",
        "/nothing",
    ]
    before = lite.contents()
    answers = {
        re.sub(rb"date: [^\r]*", b"", answer.whole)
        for path in paths
        for answer in (lite.get(path), lite.post(f"{path}?act=leave", b"act=leave"))
        if answer.status != 405
    }
    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 404")
    assert lite.contents() == before


def test_no_token_is_ever_logged(
    lite: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """T-7: nor an address, whatever happens to a request."""
    caplog.set_level(logging.DEBUG)
    who = lite.person()
    tokens = [RING.sign(purpose, who) for purpose in Purpose]
    for token in tokens:
        for path in (f"/u/{token}", f"/p/{token}", f"/u/{token}/", f"/x/{token}"):
            lite.get(path)
            lite.post(f"{path}?act=leave")
            exchange(lite.port, f"BREW {path} HTTP/9.9\r\nConnection: close\r\n\r\n".encode())
    with locked(lite.engine):
        lite.post(one_click(who))
    said = caplog.text + "".join(capfd.readouterr())
    assert not [token for token in tokens if token in said]
    assert "anna" not in said
    assert "left into the spool" in said


# Preferences.


def choose(site: Site, who: int, act: str, **headers: str) -> str:
    answer = site.post(f"{preferences(who)}?act={act}", **headers)
    assert answer.status == 200
    return answer.text


def buttons(page: str) -> list[str]:
    return re.findall(r'action="\?act=(\w+)"', page)


def test_preferences_do_and_undo(site: Site) -> None:
    """U-6: leaving comes first, and after each act the page offers its undoing."""
    who = site.person()
    page = site.get(preferences(who)).text
    assert buttons(page) == ["leave", "pause", "move", "data"]
    assert "Every issue of Slow &amp; Water goes to" in page
    for act, undo, state in (
        ("pause", "resume", State.PAUSED),
        ("resume", "pause", State.ACTIVE),
        ("leave", "rejoin", State.UNSUBSCRIBED),
        ("rejoin", "leave", State.ACTIVE),
    ):
        assert buttons(choose(site, who, act)) == [undo]
        assert site.state() == state
    with reading(site.engine) as session:
        lines = [(line.act, line.origin, line.ip) for line in session.exec(select(Consent))][1:]
    assert lines == [
        ("paused", "page", None),
        ("resumed", "page", None),
        ("withdrawn", "page", None),
        ("confirmed", "page", "127.0.0.1"),
    ]


def test_coming_back_leaves_a_proof(lite: Site) -> None:
    """L-2: the words, the address it came from, the program, and both cut to size."""
    who = lite.person()
    choose(lite, who, "leave")
    choose(lite, who, "rejoin", User_Agent="Reader/1.0 " + "x" * 999)
    with reading(lite.engine) as session:
        last = session.exec(select(Consent)).all()[-1]
    assert last.wording == "Come back: The next issue comes to you again."
    assert last.user_agent == "Reader/1.0 " + "x" * 289


def test_preferences_offer_only_what_is_possible(lite: Site) -> None:
    """I-4: nobody who bounced, complained or is suppressed comes back from here."""
    for name, cause, offered in (
        ("manual", Cause.MANUAL, []),
        ("bounced", Cause.BOUNCED, []),
        ("complained", Cause.COMPLAINED, []),
    ):
        who = lite.person(name)
        with writing(lite.engine) as session:
            bar(session, parse(f"{name}@example.org"), cause, EDITOR, SECRET)
        assert buttons(lite.get(preferences(who)).text) == offered
        before = lite.contents()
        for act in ("rejoin", "resume", "pause"):
            choose(lite, who, act)
        assert lite.contents() == before


def test_an_act_that_is_none_changes_nothing(lite: Site) -> None:
    who = lite.person()
    before = lite.contents()
    for query in ("", "?", "?act=", "?act=erase", "?act=leave&act=nonsense", "?ACT=leave", "?%ff=%ff"):
        assert lite.post(preferences(who) + query, b"act=leave").status == 200
    assert lite.contents() == before
    assert buttons(choose(lite, who, "resume")) == ["pause"]
    assert lite.contents() == before


def test_a_revoked_preferences_link_has_lost_its_power_and_the_old_way_out_has_not(lite: Site) -> None:
    """T-3."""
    who = lite.person()
    with writing(lite.engine) as session:
        row = session.get(Subscriber, who)
        assert row is not None
        row.token_version = 1
    assert lite.get(preferences(who)).status == 404
    assert lite.post(f"{preferences(who)}?act=pause").status == 404
    assert lite.get(preferences(who, 1)).status == 200
    assert lite.post(leave(who)).status == 200
    assert lite.state() == State.UNSUBSCRIBED


# When the store does not answer.


def test_leaving_works_while_the_store_is_locked(site: Site) -> None:
    """U-3: it is in the spool, the answer is the same, and then it is applied."""
    anna, ben, cleo = site.person("anna"), site.person("ben"), site.person("cleo")
    with locked(site.engine):
        answers = [
            site.post(one_click(anna)),
            site.post(leave(ben)),
            site.post(f"{preferences(cleo)}?act=leave"),
        ]
        assert [answer.status for answer in answers] == [200, 200, 200]
        assert max(answer.seconds for answer in answers) < LIMIT
        assert len(answers[0].whole) < 1024
        assert all("unsubscribed" in answer.text for answer in answers)
        assert waiting(site.spool) == {anna, ben, cleo}
    assert site.state("anna") == State.ACTIVE
    assert apply_spool(site.engine, site.spool) == 3
    assert {site.state(name) for name in ("anna", "ben", "cleo")} == {State.UNSUBSCRIBED}


def test_who_waits_in_the_spool_is_shown_as_gone(lite: Site) -> None:
    who, other = lite.person(), lite.person("ben")
    with locked(lite.engine):
        lite.post(one_click(who))
        assert buttons(lite.get(preferences(who)).text) == ["rejoin", "data"]
    # The next act of anybody brings the spool in first.
    assert buttons(choose(lite, who, "rejoin")) == ["leave"]
    assert lite.state() == State.ACTIVE
    lite.post(one_click(other))
    assert waiting(lite.spool) == frozenset()


def test_leaving_does_not_wait_for_whoever_holds_the_spool(lite: Site) -> None:
    anna, ben = lite.person("anna"), lite.person("ben")
    append(lite.spool, anna, EDITOR)
    with lite.spool.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert lite.post(one_click(ben)).status == 200
    assert lite.state("ben") == State.UNSUBSCRIBED
    assert waiting(lite.spool) == {anna}


def test_what_is_not_leaving_asks_for_patience_while_the_store_is_locked(lite: Site) -> None:
    who = lite.person()
    with locked(lite.engine):
        for act in ("pause", "resume"):
            answer = lite.post(f"{preferences(who)}?act={act}")
            assert answer.status == 503
            assert answer.headers["retry-after"] == "120"
            assert "nothing was changed" in answer.text
    assert lite.state() == State.ACTIVE


def fill(engine: Engine, who: int) -> None:
    """The store holds as many lines as it can; the last one raises."""
    for _ in range(10_000):
        with writing(engine) as session:
            session.add(Consent(subscriber_id=who, act=Act.PAUSED, at=NOW, origin="page"))


def test_leaving_works_while_the_store_is_full(sqlite_engine: Engine, tmp_path: Path) -> None:
    """U-3: full, as SQLite itself says it."""
    most = 0

    def bounded(connection: object, _record: object) -> None:
        if most:
            connection.execute(f"PRAGMA max_page_count={most}")  # type: ignore[attr-defined]

    event.listen(Engine, "connect", bounded)
    try:
        with serving(sqlite_engine, tmp_path / "digest.db-spool", publication()) as site:
            who = site.person()
            with sqlite_engine.connect() as connection:
                most = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            sqlite_engine.dispose()

            with pytest.raises(OperationalError, match="full"):
                fill(sqlite_engine, who)
            assert site.post(one_click(who)).status == 200
            assert waiting(site.spool) == {who}
    finally:
        event.remove(Engine, "connect", bounded)
    sqlite_engine.dispose()
    assert apply_spool(sqlite_engine, tmp_path / "digest.db-spool") == 1


def test_where_even_the_spool_fails_nobody_is_told_that_they_left(
    sqlite_engine: Engine, tmp_path: Path
) -> None:
    """U-3: 503, never 200; and the pages that only read go on."""
    (tmp_path / "file").write_text("in the way")
    with serving(sqlite_engine, tmp_path / "file" / "spool", publication()) as site:
        who = site.person()
        with locked(sqlite_engine):
            answer = site.post(one_click(who))
            assert answer.status == 503
            assert "unsubscribed" not in answer.text
            assert site.get(leave(who)).status == 200
        assert site.post(one_click(who)).status == 200
        assert site.state() == State.UNSUBSCRIBED


def test_the_pages_are_there_without_the_store(tmp_path: Path) -> None:
    """The store cannot be opened: whoever wants to leave still can, and a monitor is told."""
    away = open_engine(f"sqlite:///{tmp_path}/away/digest.db")
    with serving(away, tmp_path / "spool", publication()) as site:
        paths = (preferences(1), "/archive", "/archive/2015-09", "/archive/feed.xml", "/healthz")
        assert [site.get(path).status for path in paths] == [503] * len(paths)
        assert site.get("/nothing").status == 404
        assert "this address" in site.get(leave(1)).text
        assert site.post(one_click(1)).status == 200
        assert waiting(site.spool) == {1}


# What every answer carries.


def test_every_answer_is_closed_to_scripts_frames_and_other_sites(lite: Site) -> None:
    """S-3, T-7: on every page, also on errors."""
    who = lite.person()
    issue(lite, "2015-09", 9, Status.SENT)
    answers = [
        *(lite.get(path) for path in (leave(who), preferences(who), "/archive", "/archive/2015-09")),
        *(lite.get(path) for path in ("/archive/feed.xml", "/healthz", "/nothing", "/u/x")),
        lite.ask("DELETE", "/archive"),
        lite.post(preferences(who), b"--y", Content_Type="multipart/form-data; boundary=x"),
        lite.post(one_click(who)),
        lite.post(leave(who)),
    ]
    for answer in answers:
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers
        assert "set-cookie" not in answer.headers
    for answer in (answers[0], answers[1], answers[-1]):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-robots-tag"] == "noindex"


def test_the_host_of_a_request_is_in_no_link(lite: Site) -> None:
    """S-20."""
    who = lite.person()
    issue(lite, "2015-09", 9, Status.SENT)
    poison = {"Host": "evil.example", "X_Forwarded_Host": "evil.example", "Forwarded": "host=evil.example"}
    for path in (
        leave(who),
        preferences(who),
        "/archive",
        "/archive/feed.xml",
        "/archive/",
        "/nothing",
        "/u",
    ):
        answer = lite.get(path, **poison)
        assert b"evil" not in answer.whole
        assert answer.status in (200, 404)
    assert f'href="{BASE}/archive/2015-09"' in lite.get("/archive", **poison).text


@pytest.mark.parametrize(
    ("trusted", "seen"), [([], "127.0.0.1"), ([ip_network("127.0.0.0/8")], "198.51.100.7")]
)
def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    sqlite_engine: Engine, tmp_path: Path, trusted: list[IPv4Network], seen: str
) -> None:
    """S-20: and then it is the hop that proxy saw, not what the visitor wrote before it."""
    with serving(sqlite_engine, tmp_path / "spool", publication(), trusted) as site:
        who = site.person()
        choose(site, who, "leave")
        choose(site, who, "rejoin", X_Forwarded_For="203.0.113.9, 198.51.100.7", X_Forwarded_Proto="ftp")
        with reading(sqlite_engine) as session:
            assert session.exec(select(Consent)).all()[-1].ip == seen

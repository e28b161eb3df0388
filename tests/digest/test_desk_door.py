"""Logging in, staying in, being put out: a real server, real hashes, and a clock that is told the time."""

import os
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete
from sqlmodel import select

from digest.accounts.attempts import FREE, LONGEST_WAIT, REMEMBERED, wait
from digest.accounts.editors import add_editor, change_password, editor_of, remove_editor
from digest.accounts.logins import IDLE, LONGEST, NOTED_EVERY, log_in, who
from digest.accounts.models import Attempt, Editor, Login, Role
from digest.accounts.passwords import AT_ONCE, WAITING, Busy, Passwords, fault
from digest.database import reading, writing
from digest.models import Notice
from subscribers.address import parse
from tests.digest.desk import PASSWORDS, WORDS, Visitor, editor, kept, open_desk
from tests.digest.website import NOW, Answer, Site, leave, locked

ANNA = "anna@example.org"
LIMIT = 2.0  # seconds: ten times what a page of a reader may take meanwhile, so that only a hang fails
SEED_TRIES = int(os.environ.get("PROVE_LOGINS", "12"))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The desk, behind a proxy."""
    store = tmp_path_factory.mktemp("desk") / "digest.db"
    with open_desk(store, trusted=(ip_network("127.0.0.1/32"),)) as running:
        yield running


@pytest.fixture
def site(desk: Site) -> Site:
    """The desk with Anna, and nothing of the test before."""
    with writing(desk.engine) as session:
        for table in (Login, Attempt, Notice, Editor):
            session.execute(delete(table))
    editor(desk, ANNA, Role.APPROVER)
    desk.clock[0] = NOW
    return desk


def is_in(visitor: Visitor) -> bool:
    """Whether the desk opens for them."""
    return visitor.get("/desk/").status == 200


def ids(site: Site) -> int:
    with reading(site.engine) as session:
        found = editor_of(session, ANNA)
        assert found is not None
        assert found.id is not None
        return found.id


# In.


def test_a_login_gets_a_new_cookie_and_the_one_before_opens_nothing(site: Site) -> None:
    """S-6: whoever planted a cookie, or read the login page over a shoulder, has nothing."""
    anna = Visitor(site)
    anna.get("/desk/login")
    planted = anna.cookie
    assert planted
    answer = anna.log_in(ANNA)
    assert (answer.status, answer.headers["location"]) == (303, "/desk/")
    assert anna.cookie != planted
    assert is_in(anna)
    assert not is_in(Visitor(site, planted))
    again = Visitor(site, anna.cookie)
    again.log_in(ANNA)
    assert again.cookie != anna.cookie


def test_the_cookie_is_for_this_host_and_for_no_script(site: Site) -> None:
    """S-5, S-6: and the store holds neither it nor the password."""
    anna = Visitor(site)
    given = anna.log_in(ANNA).headers["set-cookie"]
    name, *rest = given.split("; ")
    assert name == f"__Host-desk={anna.cookie}"
    wanted = {"HttpOnly", "Max-Age=604800", "Path=/", "SameSite=strict", "Secure"}
    assert set(rest) == wanted
    with reading(site.engine) as session:
        rows = repr([session.exec(select(table)).all() for table in (Editor, Login, Attempt)])
    assert anna.cookie not in rows
    assert WORDS not in rows


def test_who_logs_in_goes_on_to_where_they_were_going(site: Site) -> None:
    anna = Visitor(site)
    sent = anna.get("/desk/subscribers/growth")
    page = anna.get(sent.headers["location"])
    assert 'name="to" value="/desk/subscribers/growth"' in page.text
    fields = {"address": ANNA, "password": WORDS, "to": "/desk/subscribers/growth"}
    assert anna.post("/desk/login", fields).headers["location"] == "/desk/subscribers/growth"
    assert anna.get("/desk/login").headers["location"] == "/desk/"


def test_a_link_of_another_site_leads_by_way_of_a_page_of_ours(site: Site) -> None:
    """Such a link carries no SameSite=Strict cookie: without that page it would log its editor out."""
    anna = Visitor(site)
    anna.log_in(ANNA)
    from_mail = Visitor(site)
    answer = from_mail.get("/desk/login?to=/desk/sources", Sec_Fetch_Site="cross-site")
    assert 'content="0; url=/desk/sources"' in answer.text
    assert "set-cookie" not in answer.headers
    assert anna.get("/desk/sources", Sec_Fetch_Site="same-origin").status == 200


# Who it is not tells nothing.


def test_a_wrong_password_and_an_unknown_address_get_one_answer(site: Site) -> None:
    """S-6: the same bytes; of the address only what was typed."""
    seen = set()
    for typed, password in ((ANNA, "wrong wrong wrong"), ("none@example.org", WORDS), ("none", WORDS)):
        answer = Visitor(site, "z" * 43).log_in(typed, password)
        left = {
            name: value for name, value in answer.headers.items() if name not in ("date", "content-length")
        }
        seen.add((answer.status, repr(left), answer.text.replace(f'value="{typed}"', "")))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 403


def test_an_unknown_address_takes_as_long_as_a_wrong_password() -> None:
    """S-6: the work is done for nobody, too. Processor time of this thread, for other tests run beside it."""

    def cost(known: str | None) -> float:
        started = time.thread_time()
        assert not PASSWORDS.is_right("wrong wrong wrong", known)
        return time.thread_time() - started

    costs = [(cost(kept()), cost(None)) for _ in range(3)]
    wrong, nobody = (statistics.median(one) for one in zip(*costs, strict=True))
    assert 0.5 < nobody / wrong < 2


def test_who_guesses_waits_longer_and_longer_and_locks_nobody_out(site: Site) -> None:
    """S-6: five are free; then not even the right password is looked at; from elsewhere it is."""

    def tried(password: str, network: str) -> Answer:
        return Visitor(site, "z" * 43).log_in(ANNA, password, X_Forwarded_For=network)

    for _ in range(FREE):
        assert tried("wrong wrong wrong", "203.0.113.5").status == 403
    refused = tried(WORDS, "203.0.113.77")
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert "Wait 1 minute," in refused.text
    assert tried(WORDS, "198.51.100.5").status == 303
    site.clock[0] += timedelta(seconds=61)
    assert tried("wrong wrong wrong", "203.0.113.5").status == 403
    assert tried(WORDS, "203.0.113.5").headers["retry-after"] == "120"
    site.clock[0] += timedelta(seconds=121)
    assert tried(WORDS, "203.0.113.5").status == 303
    # Whoever gets in begins anew.
    assert tried("wrong wrong wrong", "203.0.113.5").status == 403


def test_many_accounts_tried_from_one_network_are_counted_together(site: Site) -> None:
    """S-6: and no row names an address or a network."""
    with writing(site.engine) as session:
        for number in range(60):
            add_editor(session, parse(f"e{number}@example.org"), "e", Role.EDITOR, kept(), NOW)
            session.flush()
    from digest.accounts.attempts import FREE_FOR_NETWORK, try_once

    with writing(site.engine) as session:
        waits = [try_once(session, f"e{n}@example.org", "203.0.113.0/24", b"s", NOW) for n in range(60)]
        assert waits[:FREE_FOR_NETWORK] == [timedelta(0)] * FREE_FOR_NETWORK
        assert min(waits[FREE_FOR_NETWORK:]) > timedelta(0)
        assert try_once(session, "e1@example.org", "198.51.100.0/24", b"s", NOW) == timedelta(0)
        rows = session.exec(select(Attempt)).all()
        # What was refused is not written down, or a flood would fill the store.
        assert len(rows) == 2 * FREE_FOR_NETWORK + 2
        assert not any("example" in one.key or "203" in one.key[:4] for one in rows)
        try_once(session, "e1@example.org", "198.51.100.0/24", b"s", NOW + REMEMBERED)
        assert len(session.exec(select(Attempt)).all()) == 2


@given(st.lists(st.integers(0, 90_000), max_size=40), st.integers(0, 90_000))
def test_nobody_ever_waits_longer_than_the_longest_wait(ago: list[int], later: int) -> None:
    """S-6: whatever was tried when, and the wait ends by waiting."""
    tries = [NOW - timedelta(seconds=one) for one in ago]
    pause = wait(tries, FREE, NOW)
    assert pause <= LONGEST_WAIT
    assert pause <= timedelta(0) or len(tries) >= FREE
    assert wait(tries, FREE, NOW + max(pause, timedelta(0))) <= timedelta(0)


def test_no_more_than_two_hashes_are_made_at_once() -> None:
    """S-6: some wait, and who comes on top is sent away at once, not kept on a thread of the pages."""
    passwords = Passwords()
    everybody = threading.Barrier(12)

    def try_one(_number: int) -> bool:
        everybody.wait(20)
        try:
            return passwords.is_right(WORDS, kept())
        except Busy:
            return False

    with ThreadPoolExecutor(12) as pool:
        served = sum(pool.map(try_one, range(12)))
    assert AT_ONCE + WAITING <= served < 12
    assert passwords.is_right(WORDS, kept())


def test_many_who_log_in_at_once_keep_no_reader_waiting(site: Site) -> None:
    """S-6, U-2: leaving is answered while logins are."""
    reader = site.person()
    done = threading.Event()

    def log_in_again_and_again(number: int) -> set[int]:
        seen = set()
        while not done.is_set():
            visitor = Visitor(site, "z" * 43)
            seen.add(visitor.log_in(ANNA, "wrong", X_Forwarded_For=f"203.0.{number}.1").status)
        return seen

    with ThreadPoolExecutor(12) as pool:
        logins = [pool.submit(log_in_again_and_again, number) for number in range(12)]
        taken = [site.get(leave(reader)).seconds for _ in range(SEED_TRIES)]
        done.set()
        statuses = set().union(*(one.result() for one in logins))
    assert statistics.median(taken) < LIMIT
    assert statuses <= {403, 429, 503}


# Staying in, and being put out.


def test_a_login_ends_after_twelve_hours_unused(site: Site) -> None:
    """S-6: and is kept by use, though not every use is written down."""
    anna = Visitor.logged_in(site, ids(site))
    site.clock[0] += IDLE - timedelta(seconds=1)
    assert is_in(anna)
    site.clock[0] += IDLE - timedelta(seconds=1)
    assert is_in(anna)
    # Written down this often only, so this use is not.
    site.clock[0] += NOTED_EVERY - timedelta(seconds=1)
    assert is_in(anna)
    site.clock[0] += IDLE - NOTED_EVERY + timedelta(seconds=1)
    assert not is_in(anna)


def test_a_login_ends_after_seven_days_however_much_it_is_used(site: Site) -> None:
    """S-6"""
    anna = Visitor.logged_in(site, ids(site))
    for _ in range(28):
        assert is_in(anna)
        site.clock[0] += LONGEST / 28
    assert not is_in(anna)


def test_a_busy_store_keeps_nobody_out(site: Site) -> None:
    """While letters are being written down, pages can still be looked at."""
    anna = Visitor.logged_in(site, ids(site))
    site.clock[0] += timedelta(hours=1)
    with locked(site.engine):
        assert is_in(anna)


def test_logging_out_opens_nothing_any_more(site: Site) -> None:
    """S-6: the old cookie, replayed; other browsers stay in."""
    anna, other = Visitor.logged_in(site, ids(site)), Visitor.logged_in(site, ids(site))
    old = Visitor(site, anna.cookie)
    assert anna.get("/desk/logout").status == 200
    assert is_in(anna)
    answer = anna.post("/desk/logout", {})
    assert answer.headers["location"] == "/desk/login"
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert not is_in(old)
    assert is_in(other)


@pytest.mark.parametrize("what", ["password", "removed"])
def test_another_password_or_none_ends_every_login(site: Site, what: str) -> None:
    """S-6: listmonk's CVE-2026-34828 was that it did not. The editors are told."""
    browsers = [Visitor.logged_in(site, ids(site)) for _ in range(3)]
    ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
    with writing(site.engine) as session:
        if what == "password":
            add_editor(session, parse(ANNA), "Anna", Role.EDITOR, kept(), NOW + timedelta(hours=1))
        else:
            remove_editor(session, parse(ANNA), NOW + timedelta(hours=1))
    assert not any(map(is_in, browsers))
    assert is_in(ben)
    with reading(site.engine) as session:
        told = session.exec(select(Notice.body).order_by(Notice.id)).all()  # type: ignore[arg-type]
    assert [ANNA in one for one in told] == [True, False, True]


def test_a_role_that_is_taken_away_is_gone_at_once(site: Site) -> None:
    """S-24: the login knows the editor, not the role."""
    anna = Visitor.logged_in(site, ids(site))
    assert "anna</bdi>, approver" in anna.get("/desk/").text
    with writing(site.engine) as session:
        session.get_one(Editor, ids(site)).role = Role.EDITOR
    assert "anna</bdi>, editor" in anna.get("/desk/").text


def test_a_password_changed_while_the_old_one_is_checked_wins(site: Site) -> None:
    """S-6: the old one was right a moment ago, and opens nothing now."""
    with writing(site.engine) as session:
        assert not log_in(session, ids(site), "what it was", "c" * 43, NOW)
    with reading(site.engine) as session:
        assert who(session, "c" * 43, NOW) is None


def test_logins_that_have_ended_are_forgotten(site: Site) -> None:
    Visitor.logged_in(site, ids(site))
    site.clock[0] += LONGEST
    Visitor.logged_in(site, ids(site))
    with reading(site.engine) as session:
        assert len(session.exec(select(Login)).all()) == 1


# Passwords.


def test_a_hash_made_with_less_is_made_anew_at_the_next_login(site: Site) -> None:
    """S-6"""
    from argon2 import PasswordHasher

    weak = PasswordHasher(1, 8, 1).hash(WORDS)
    with writing(site.engine) as session:
        session.get_one(Editor, ids(site)).password_hash = weak
    anna = Visitor(site)
    anna.log_in(ANNA)
    assert is_in(anna)
    with reading(site.engine) as session:
        now = session.get_one(Editor, ids(site)).password_hash
    assert now.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PASSWORDS.is_right(WORDS, now)


@pytest.mark.parametrize(
    ("password", "is_good"),
    [
        ("river ferry gauge ledger", True),
        ("вода повільна й глибока", True),
        ("fourteen chars", False),
        ("aaaaaaaaaaaaaaaaaaaaaaa", False),
        ("121212121212121212121212", False),
        ("the ferry of anna, wet", False),
        ("x1" + "river" * 200, False),
        ("", False),
    ],
)
def test_a_password_is_long_and_not_to_be_guessed(password: str, is_good: bool) -> None:
    assert (fault(password, ANNA) == "") is is_good


def test_garbage_in_the_store_is_nobodys_password() -> None:
    assert not PASSWORDS.is_right(WORDS, "not a hash")
    assert not PASSWORDS.is_right(WORDS, kept().replace("m=19456", "m=19457"))


def rekey(visitor: Visitor, old: str, new: str, again: str | None = None) -> Answer:
    """The form for another password, sent."""
    return visitor.post("/desk/password", {"old": old, "new": new, "again": again or new})


NEW = "harbour lamp eleven crows"


def test_another_password_ends_every_login_but_this_one(site: Site) -> None:
    """S-6: the old one is asked, the cookie is a new one, and the editors are told."""
    here, elsewhere = (Visitor.logged_in(site, ids(site)) for _ in range(2))
    before = here.cookie
    site.clock[0] = NOW + timedelta(hours=1)
    answer = rekey(here, WORDS, NEW)
    assert answer.status == 200
    assert "Every other browser" in answer.text
    assert here.cookie != before
    assert is_in(here)
    assert not is_in(elsewhere)
    assert not is_in(Visitor(site, before))
    assert Visitor(site).log_in(ANNA).status == 403
    assert Visitor(site).log_in(ANNA, NEW).status == 303
    with reading(site.engine) as session:
        assert "another password" in session.exec(select(Notice)).all()[-1].body


def test_another_password_takes_the_old_one_and_a_good_one(site: Site) -> None:
    """S-6: whoever sits down at an open desk guesses no more often than at the door."""
    anna = Visitor.logged_in(site, ids(site))
    for old, new, again, status, why in (
        (WORDS, "short", None, 409, "at least 15 characters"),
        (WORDS, NEW, f"{NEW}s", 409, "not typed alike twice"),
        ("wrong wrong wrong", NEW, None, 403, "the old password is another one"),
    ):
        answer = rekey(anna, old, new, again)
        assert (answer.status, why in answer.text) == (status, True)
    for _ in range(FREE):
        last = rekey(anna, "wrong wrong wrong", NEW)
    assert last.status == 429
    assert rekey(anna, WORDS, NEW).status == 429
    assert is_in(anna)
    with reading(site.engine) as session:
        kept_now = session.get_one(Editor, ids(site)).password_hash
    assert PASSWORDS.is_right(WORDS, kept_now)
    site.clock[0] = NOW + LONGEST_WAIT
    assert rekey(anna, WORDS, NEW).status == 200
    # Where it was changed meanwhile, the old hash that was checked opens nothing.
    with writing(site.engine) as session:
        assert not change_password(session, ids(site), kept_now, kept(), NOW)

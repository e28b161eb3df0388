"""A scanner that opens everything: whatever it follows, nothing changes, and no link is burnt by it (U-1).

The letter is one of a really rendered issue, to a real subscriber; the mails are all the kinds there are,
as the relay got them.
"""

import html
import re
from dataclasses import asdict
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from urllib.parse import urljoin

from sqlalchemy import Engine
from sqlmodel import SQLModel, select

from digest.database import reading
from digest.letter.personalise import stencil
from digest.letter.rendered import Rendered
from digest.models import Status
from subscribers.audience import Recipient
from subscribers.models import State
from subscribers.tokens import Purpose
from subscribers.wishes import NoteKind
from tests.digest.letters import page, rendered
from tests.digest.website import (
    BASE,
    NOW,
    RING,
    Mailroom,
    Site,
    asking,
    issue,
    preferences,
    publication,
)

METHODS = ("GET", "HEAD", "OPTIONS")
TIMES = 3
#: links followed at most: far more than there are
MOST = 200


def sent(site: Site) -> Rendered:
    """An issue of ten posts, as it was sent; its page is in the archive."""
    content, _ = rendered(page(10, publication()))
    given = ("month", "number", "reply_to")
    frozen = {name: value for name, value in asdict(content).items() if name not in given}
    issue(site, content.month, content.number, Status.SENT, **frozen)
    return content


def letter_to(site: Site, content: Rendered, name: str) -> EmailMessage:
    """The letter that the subscriber *name* gets."""
    who = Recipient(site.person(name), f"{name}@example.org", "Annabella", 0)
    return parsed(stencil(content, RING, "bounces.example.org").letter(who, NOW).content)


def parsed(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=default)


def mails_of_every_kind(site: Site, room: Mailroom) -> dict[NoteKind, EmailMessage]:
    """One of each, to: ben, who is new; anna, who receives already; cleo and eva; and dora, who has moved."""
    eva, dora = site.person("eva"), site.person("dora")
    wishes = (
        (NoteKind.CONFIRM, "/subscribe", asking("ben@example.org")),
        (NoteKind.MANAGE, "/subscribe", asking("anna@example.org")),
        (NoteKind.MOVE, f"{preferences(eva)}?act=move", b"email=cleo@example.org"),
        (NoteKind.DATA, f"{preferences(eva)}?act=data", b""),
        (NoteKind.MOVED, f"{preferences(dora)}?act=move", b"email=dora.new@example.org"),
    )
    found = {}
    for kind, path, body in wishes:
        assert site.post(path, body).status == 200
        room.work()
        (found[kind],) = room.mails()
    assert site.post(link_of(found[NoteKind.MOVED])).status == 200
    room.work()
    (found[NoteKind.MOVED],) = room.mails()
    assert set(found) == set(NoteKind)
    return found


def bodies(mail: EmailMessage) -> tuple[str, str]:
    """The text part and the HTML part."""
    text, page = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert page is not None
    return text.get_content(), page.get_content()


def links(mail: EmailMessage) -> set[str]:
    """Every URL of our own in both parts and in List-Unsubscribe; that there are others, too."""
    text, page = bodies(mail)
    found = set(re.findall(r"https?://[^\s<>]+", text))
    found |= {html.unescape(one) for one in re.findall(r'(?:href|src|action)="(https?:[^"]*)"', page)}
    found |= set(re.findall(r"<(https?:[^>]*)>", mail.get("List-Unsubscribe", "")))
    return {one.removeprefix(BASE) or "/" for one in found if one.startswith(BASE)}


def link_of(mail: EmailMessage) -> str:
    """The one link with a token in it."""
    (found,) = {link for link in links(mail) if link.startswith(("/c/", "/p/"))}
    return found


def followed(site: Site, path: str, text: str) -> set[str]:
    """What of our own the page at *path* leads to, its forms' addresses among it."""
    leads = {html.unescape(one) for one in re.findall(r'(?:href|action|src)="([^"]*)"', text)}
    whole = {urljoin(BASE + path, one) for one in leads}
    return {one.removeprefix(BASE) or "/" for one in whole if one.startswith(BASE)}


def contents(engine: Engine) -> dict[str, list[object]]:
    """Every row of every table."""
    with reading(engine) as session:
        return {
            name: sorted(map(repr, session.exec(select(table)).all()))
            for name, table in SQLModel.metadata.tables.items()
        }


def files(engine: Engine) -> list[bytes]:
    """The bytes of the store's file and of its log; nothing where another server keeps it."""
    if engine.dialect.name != "sqlite":
        return []
    engine.dispose()
    where = Path(str(engine.url.database))
    both = (where, where.with_name(f"{where.name}-wal"))
    return [path.read_bytes() if path.exists() else b"" for path in both]


def crawl(site: Site, start: set[str]) -> dict[str, int]:
    """Every link of *start* and whatever those pages lead to, by each method, three times; what GET said."""
    waiting, seen = sorted(start), dict[str, int]()
    while waiting:
        assert len(seen) < MOST
        path = waiting.pop()
        for _ in range(TIMES):
            for method in METHODS:
                answer = site.ask(method, path)
                assert answer.status < 500
                assert "set-cookie" not in answer.headers
                if method == "GET":
                    seen[path] = answer.status
                    waiting += sorted(followed(site, path, answer.text) - set(seen) - set(waiting))
    return seen


def test_a_crawler_changes_nothing_and_burns_no_link(site: Site, room: Mailroom) -> None:
    """U-1: every link of a letter and of each mail, by GET, HEAD and OPTIONS, three times; then they work."""
    content = sent(site)
    letter = letter_to(site, content, "anna")
    mails = mails_of_every_kind(site, room)
    of_letter, of_mails = links(letter), {kind: links(mail) for kind, mail in mails.items()}
    paths = of_letter.union(*of_mails.values())
    rows, before = contents(site.engine), files(site.engine)
    asked = crawl(site, paths)
    assert files(site.engine) == before
    assert contents(site.engine) == rows
    assert not site.spool.exists()
    assert room.work() == 0
    assert {path: asked[path] for path in paths} == dict.fromkeys(paths, 200)
    assert len([path for path in paths if path.startswith(("/u/", "/p/", "/c/"))]) == 7
    press_every_button(site, letter, mails)


def press_every_button(site: Site, letter: EmailMessage, mails: dict[NoteKind, EmailMessage]) -> None:
    """Each link does what it is for; the one-click last, for it ends the subscription."""
    site.post(link_of(mails[NoteKind.CONFIRM]))
    assert site.state("ben") == State.ACTIVE
    assert "Paused" in site.post(f"{link_of(mails[NoteKind.MANAGE])}?act=pause").text
    assert site.state("anna") == State.PAUSED
    assert "eva@example.org" in site.post(link_of(mails[NoteKind.DATA]), b"act=show").text
    assert "Your address is changed" in site.post(link_of(mails[NoteKind.MOVE])).text
    assert site.state("cleo") == State.ACTIVE
    assert site.post(link_of(mails[NoteKind.MOVED])).status == 200
    assert site.state("dora") == State.ACTIVE
    (leave,) = {path for path in links(letter) if path.startswith("/u/")} - set(one_click_of(letter))
    (one_click,) = one_click_of(letter)
    (choose,) = {path for path in links(letter) if path.startswith("/p/")}
    for path, state in ((leave, State.UNSUBSCRIBED), (one_click, State.UNSUBSCRIBED)):
        assert site.post(f"{choose}?act=rejoin").status == 200
        assert site.post(f"{choose}?act=resume").status == 200
        assert site.state("anna") == State.ACTIVE
        assert site.post(path, b"List-Unsubscribe=One-Click").status == 200
        assert site.state("anna") == state


def one_click_of(letter: EmailMessage) -> list[str]:
    return re.findall(rf"<{BASE}(/u/[\w-]+)>", letter["List-Unsubscribe"])


def test_view_in_browser_opens_the_archive_without_anything_of_the_reader(site: Site) -> None:
    """T-7, S-23: both parts lead to the issue's page; it holds no token and no address."""
    content = sent(site)
    letter = letter_to(site, content, "anna")
    text, page = bodies(letter)
    shown = re.search(rf'<a[^>]*href="{BASE}(/[^"]*)"[^>]*>\s*View in browser', page)
    assert shown is not None
    assert shown[1] == "/archive/2015-09"
    assert BASE + shown[1] in text
    answer = site.get(shown[1])
    assert (answer.status, answer.text) == (200, content.archive)
    assert content.subject in html.unescape(answer.text)
    tokens = [path.rpartition("/")[2] for path in links(letter) if path.startswith(("/u/", "/p/"))]
    assert len(tokens) == 3
    kinds = [RING.sign(purpose, 1)[:8] for purpose in Purpose]
    told = answer.whole.decode()
    for secret in (*tokens, *kinds, "anna", "Annabella", "/u/", "/p/", "/c/", ".invalid"):
        assert secret not in told
    assert content.nonce not in told
    assert re.findall(r"[\w.+-]+@[\w-]+\.[\w.-]+", told) == []

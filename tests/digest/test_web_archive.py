"""The public archive: what was sent, to everybody, and nothing of anybody."""

from datetime import timedelta
from xml.etree import ElementTree

import pytest

from digest.database import reading
from digest.issue.history import PUBLIC, Published, archived, published
from digest.models import Status
from subscribers.tokens import Purpose
from tests.digest.website import BASE, NOW, RING, Site, issue

ATOM = "{http://www.w3.org/2005/Atom}"
UNPUBLISHED = [one for one in Status if one not in PUBLIC]


def test_what_is_sent_is_listed_and_shown_the_newest_month_first(site: Site) -> None:
    issue(site, "2015-08", 8, Status.SENT)
    issue(site, "2015-09", 9, Status.SENDING)
    with reading(site.engine) as session:
        assert published(session) == [
            Published("2015-09", 9, "Slow & Water, 2015-09", NOW + timedelta(days=9)),
            Published("2015-08", 8, "Slow & Water, 2015-08", NOW + timedelta(days=8)),
        ]
    page = site.get("/archive").text
    assert page.index("September 2015") < page.index("August 2015")
    assert "No. 9" in page
    assert "Slow &amp; Water, 2015-09" in page
    shown = site.get("/archive/2015-08")
    assert (shown.status, shown.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "<p id='it'>2015-08</p>" in shown.text


@pytest.mark.parametrize("status", UNPUBLISHED)
def test_what_is_not_sent_is_as_if_it_were_not(site: Site, status: Status) -> None:
    """S-23: drafts are missing, like what never was."""
    issue(site, "2015-09", 9, status)
    never = site.get("/archive/2014-01")
    hidden = site.get("/archive/2015-09")
    assert (hidden.status, hidden.body) == (never.status, never.body) == (404, site.get("/x").body)
    assert "2015" not in site.get("/archive").text
    assert "<entry>" not in site.get("/archive/feed.xml").text
    with reading(site.engine) as session:
        assert archived(session, "2015-09") is None


@pytest.mark.parametrize(
    "month",
    ["2015-9", "2015-13", "0000-00", "..", "%2e%2e", "2015-09%00", "2015-09.html", "%D9%A2015-09", "'--"],
)
def test_what_is_no_month_is_missing(lite: Site, month: str) -> None:
    """S-10, S-12."""
    issue(lite, "2015-09", 9, Status.SENT)
    assert lite.get(f"/archive/{month}").status == 404


def test_the_archive_names_no_reader(lite: Site) -> None:
    """S-23, T-7: no address, no token, no hole, whoever is on the list."""
    who = lite.person()
    issue(lite, "2015-09", 9, Status.SENT)
    for path in ("/archive", "/archive/2015-09", "/archive/feed.xml", "/healthz"):
        answer = lite.get(path)
        assert answer.status == 200
        for secret in ("anna", ".invalid", "zq0123", "letters@", *(RING.sign(one, who) for one in Purpose)):
            assert secret not in answer.text


def test_the_feed_is_atom_with_stable_ids(lite: Site) -> None:
    """RFC 4287, sections 4.1.1 and 4.1.2."""
    issue(lite, "2015-08", 8, Status.SENT)
    issue(lite, "2015-09", 9, Status.SENT, subject='Of <b> & "others"')
    answer = lite.get("/archive/feed.xml")
    assert answer.headers["content-type"] == "application/atom+xml"
    feed = ElementTree.fromstring(answer.body)
    assert feed.findtext(f"{ATOM}title") == "Slow & Water"
    assert feed.findtext(f"{ATOM}updated") == "2015-10-10T06:00:00+00:00"
    entries = [
        tuple(entry.findtext(f"{ATOM}{name}") for name in ("id", "title", "updated"))
        for entry in feed.iter(f"{ATOM}entry")
    ]
    assert entries == [
        (f"{BASE}/archive/2015-09", 'Of <b> & "others"', "2015-10-10T06:00:00+00:00"),
        (f"{BASE}/archive/2015-08", "Slow & Water, 2015-08", "2015-10-09T06:00:00+00:00"),
    ]


def test_an_empty_archive_says_so(lite: Site) -> None:
    assert "No issue has been sent yet." in lite.get("/archive").text
    feed = ElementTree.fromstring(lite.get("/archive/feed.xml").body)
    assert feed.findtext(f"{ATOM}updated") == NOW.isoformat()


def test_a_monitor_sees_which_issue_was_the_last(lite: Site) -> None:
    """R-10."""
    assert lite.get("/healthz").text == "ok\n"
    issue(lite, "2015-09", 9, Status.SENT)
    assert lite.get("/healthz").text == "ok; the last issue is 2015-09\n"


def test_an_issue_is_shown_in_a_sandbox(lite: Site) -> None:
    """S-3: an issue is made of foreign text; scripts and forms are off, pictures are not."""
    issue(lite, "2015-09", 9, Status.SENT)
    policy = lite.get("/archive/2015-09").headers["content-security-policy"]
    assert "sandbox " in policy
    assert "allow-scripts" not in policy
    assert "allow-same-origin" not in policy
    assert "script-src" not in policy
    assert "img-src https: http: data:" in policy


def test_the_bare_address_shows_the_archive(lite: Site) -> None:
    issue(lite, "2015-09", 9, Status.SENT)
    assert lite.get("/").body == lite.get("/archive").body

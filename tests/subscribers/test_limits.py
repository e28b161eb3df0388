"""The limits: how often an address, a network and everybody may cause a mail."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from digest.database import writing
from subscribers.address import parse
from subscribers.limits import Breach, breach, count, forget_old, mailbox_of, network_of
from subscribers.models import Asked, Tried
from tests.subscribers.people import NOW, SECRET

HOURLY = 60
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SECOND = timedelta(seconds=1)


def ask(
    session: Session,
    text: str,
    at: datetime,
    ip: str | None = None,
    asked: Asked = Asked.SUBSCRIBE,
    hourly: int = HOURLY,
) -> Breach | None:
    """What one more wish breaks; if nothing, its mail is counted."""
    address = parse(text)
    broken = breach(session, asked, address, ip, hourly, SECRET, at)
    if broken is None:
        count(session, asked, address, ip, SECRET, at)
    return broken


@pytest.mark.parametrize(
    ("typed", "mailbox"),
    [
        ("Reader@Example.org", "reader@example.org"),
        ("reader+digest@example.org", "reader@example.org"),
        ("reader+a+b@example.org", "reader@example.org"),
        ("+reader@example.org", "+reader@example.org"),
        ("r.e.a.der@gmail.com", "reader@gmail.com"),
        ("r.eader+x.y@googlemail.com", "reader@gmail.com"),
        ("r.eader@example.org", "r.eader@example.org"),
    ],
)
def test_tags_and_gmails_dots_lead_to_one_mailbox(typed: str, mailbox: str) -> None:
    """U-8: for counting only."""
    assert mailbox_of(parse(typed)) == mailbox


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.1", "192.0.2.0/24"),
        ("192.0.2.255", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", ""),
        ("192.0.2.1, 198.51.100.1", ""),
    ],
)
def test_who_shares_a_network_is_counted_together(ip: str, network: str) -> None:
    """U-8."""
    assert network_of(ip) == network


def test_an_address_gets_one_mail_a_day_and_three_a_month_whatever_the_network(engine: Engine) -> None:
    """U-8."""
    with writing(engine) as session:
        told = [
            (at, ask(session, "reader@example.org", NOW + at, f"192.0.{n}.1"))
            for n, at in enumerate(
                [timedelta(0), DAY - SECOND, DAY, 2 * DAY, 3 * DAY, 30 * DAY - SECOND, 30 * DAY, 31 * DAY]
            )
        ]
        assert told == [
            (timedelta(0), None),
            (DAY - SECOND, Breach.ADDRESS),
            (DAY, None),
            (2 * DAY, None),
            (3 * DAY, Breach.ADDRESS),
            (30 * DAY - SECOND, Breach.ADDRESS),
            (30 * DAY, None),
            (31 * DAY, None),
        ]


def test_another_spelling_of_a_mailbox_is_the_same_limit(engine: Engine) -> None:
    """U-8."""
    with writing(engine) as session:
        spellings = ["re.ader@gmail.com", "reader@googlemail.com", "READER+1@gmail.com", "reader@example.org"]
        assert [ask(session, one, NOW) for one in spellings] == [None, Breach.ADDRESS, Breach.ADDRESS, None]


def test_a_network_causes_five_mails_an_hour(engine: Engine) -> None:
    """U-8: its neighbours' wishes go on, and so does it an hour later."""
    with writing(engine) as session:
        told = [ask(session, f"r{n}@example.org", NOW, f"192.0.2.{n}") for n in range(7)]
        assert told == [None] * 5 + [Breach.NETWORK] * 2
        assert ask(session, "next@example.org", NOW, "192.0.3.1") is None
        six = [ask(session, f"six{n}@example.org", NOW, f"2001:db8::{n}") for n in range(6)]
        assert six == [None] * 5 + [Breach.NETWORK]
        assert ask(session, "late@example.org", NOW + HOUR - SECOND, "192.0.2.9") == Breach.NETWORK
        assert ask(session, "late@example.org", NOW + HOUR, "192.0.2.9") is None


@pytest.mark.parametrize("ip", [None, "", "unknown"])
def test_who_has_no_network_is_held_by_the_other_limits_only(sqlite_engine: Engine, ip: str | None) -> None:
    """U-8."""
    with writing(sqlite_engine) as session:
        told = [ask(session, f"r{n}@example.org", NOW, ip, hourly=7) for n in range(8)]
        assert told == [None] * 7 + [Breach.ALL]


def test_everybody_together_causes_so_many_mails_an_hour(engine: Engine) -> None:
    """U-8, S-7."""
    with writing(engine) as session:
        told = [ask(session, f"r{n}@example.org", NOW, f"192.0.{n}.1") for n in range(HOURLY + 2)]
        assert told == [None] * HOURLY + [Breach.ALL] * 2
        assert ask(session, "late@example.org", NOW + HOUR - SECOND) == Breach.ALL
        assert ask(session, "late@example.org", NOW + HOUR) is None


def test_the_limit_that_no_waiting_helps_against_is_named_first(engine: Engine) -> None:
    """U-8: whoever waits for the others would wait in vain."""
    with writing(engine) as session:
        for n in range(5):
            ask(session, f"r{n}@example.org", NOW, "192.0.2.1")
        assert ask(session, "r0@example.org", NOW, "192.0.2.1", hourly=5) == Breach.ADDRESS
        assert ask(session, "new@example.org", NOW, "192.0.2.1", hourly=5) == Breach.NETWORK
        assert ask(session, "new@example.org", NOW, "192.0.9.1", hourly=5) == Breach.ALL


def test_a_move_shares_the_limit_of_an_address_and_a_look_at_ones_data_does_not(engine: Engine) -> None:
    """U-8: both ask a mailbox for a yes; who looks at their data is on the list already."""
    with writing(engine) as session:
        assert ask(session, "a@example.org", NOW, asked=Asked.SUBSCRIBE) is None
        assert ask(session, "a@example.org", NOW, asked=Asked.MOVE) == Breach.ADDRESS
        assert ask(session, "a@example.org", NOW, asked=Asked.DATA) is None
        assert ask(session, "a@example.org", NOW, asked=Asked.DATA) == Breach.ADDRESS
        assert ask(session, "b@example.org", NOW, asked=Asked.MOVE) is None
        assert ask(session, "b@example.org", NOW, asked=Asked.SUBSCRIBE) == Breach.ADDRESS


def test_every_kind_of_mail_counts_against_the_network_and_everybody(engine: Engine) -> None:
    """U-8."""
    with writing(engine) as session:
        for n, asked in enumerate([*Asked, Asked.DATA, Asked.MOVE]):
            assert ask(session, f"r{n}@example.org", NOW, "192.0.2.1", asked) is None
        assert ask(session, "six@example.org", NOW, "192.0.2.1") == Breach.NETWORK
        assert ask(session, "six@example.org", NOW, hourly=5) == Breach.ALL


def test_what_is_counted_names_neither_an_address_nor_a_network(engine: Engine) -> None:
    """P-1: three HMACs for each mail."""
    with writing(engine) as session:
        ask(session, "reader@example.org", NOW, "192.0.2.1")
        kept = list(session.exec(select(Tried)))
        assert [(len(one.key), one.at) for one in kept] == [(64, NOW)] * 3
        assert len({one.key for one in kept}) == 3
        other = b"q" * 32
        assert breach(session, Asked.SUBSCRIBE, parse("reader@example.org"), None, 1, other, NOW) is None


def test_what_no_limit_looks_at_any_more_is_gone(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        ask(session, "reader@example.org", NOW)
        ask(session, "reader@example.org", NOW + 2 * DAY)
        forget_old(session, NOW + 31 * DAY)
        assert {one.at for one in session.exec(select(Tried))} == {NOW + 2 * DAY}

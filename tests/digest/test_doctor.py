"""`examine`: a good installation passes; whatever is broken is the line that says so, with its mend."""

import re
import shutil
import sqlite3
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_network
from pathlib import Path

import pytest
from sqlalchemy import Engine

from digest.database import open_engine
from digest.doctor import one_click
from digest.doctor.choices import judged
from digest.doctor.examine import kept, unreadable
from digest.doctor.installation import Asked
from digest.doctor.line import GROUP, Level, Line, passed
from digest.doctor.machine import Disk, clock_judged, disk_judged, python_judged
from digest.doctor.mailbox import Folder, OnServer
from digest.doctor.one_click import Answer, Certificate, certificate_judged
from digest.errors import DigestError
from digest.health import beat
from digest.sending.relay import Security
from digest.vintage import newest
from subscribers.tokens import Keyring
from tests.conftest import ROOT
from tests.digest.evil_server import EvilServer, serving, trusting
from tests.digest.nameserver import BROKEN, SILENT
from tests.digest.patient import (
    BOUNCES,
    DOMAIN,
    EHLO,
    LEAVES,
    MAIL,
    PAGES,
    SELECTOR,
    Patient,
    Signer,
    World,
    patient,
    world,
)

FAIL, WARN = Level.FAIL, Level.WARN
Break = Callable[[Patient], object]


@pytest.fixture(scope="module")
def around(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The world around the installation."""
    with world(tmp_path_factory.mktemp("patient")) as running:
        yield running


@pytest.fixture
def here(around: World) -> Iterator[Patient]:
    """An installation as it should be."""
    with patient(around) as one:
        yield one


def test_a_good_installation_passes_and_a_letter_comes_back(here: Patient) -> None:
    """D-1 to D-10, H-9: every line is there once, in order; none but the interpreter's wants a mend."""
    here.seeded()
    lines = here.lines()
    assert [line.name for line in lines] == list(GROUP)
    assert [line for line in lines if line.level is not Level.PASS and line.name != "python"] == []
    assert here.world.front.seen == [(PAGES, b"List-Unsubscribe=One-Click")]
    assert len(here.world.mailbox.messages) == 2


def test_nothing_is_sent_and_nothing_is_changed_unasked(here: Patient) -> None:
    """D-6: the relay sees no letter, the store and its folder stay as they are."""
    here.world.relay.lines.clear()
    before = sorted((path.name, path.stat().st_size) for path in here.world.folder.iterdir())
    letters = len(here.world.relay.letters)
    assert here.wrong() == []
    assert len(here.world.relay.letters) == letters
    said = {line.split()[0].upper() for line in here.world.relay.lines}
    assert said == {"EHLO", "STARTTLS", "AUTH", "MAIL", "RSET", "QUIT"}
    assert sorted((path.name, path.stat().st_size) for path in here.world.folder.iterdir()) == before


# What is asked of the DNS, the settings and this machine: no letter is needed


def record(name: str, kind: str, *values: str) -> Break:
    """The records *kind* of *name* are *values*."""
    return lambda one: one.zone.update({name: {**dict(one.zone.get(name, {})), kind: list(values)}})


def gone(name: str) -> Break:
    """There is no *name*."""
    return lambda one: one.zone.pop(name)


def spf(text: str, **more: str) -> Break:
    """The envelope's domain has that SPF record, and others have *more*."""

    def change(one: Patient) -> None:
        record(BOUNCES, "TXT", text)(one)
        for name, value in more.items():
            record(f"{name}.{DOMAIN}", "TXT", value)(one)

    return change


def eleven(one: Patient) -> None:
    spf("v=spf1 " + " ".join(f"include:n{n}.{DOMAIN}" for n in range(11)) + f" ip4:{LEAVES} -all")(one)
    for number in range(11):
        record(f"n{number}.{DOMAIN}", "TXT", "v=spf1 ip4:192.0.2.1 -all")(one)


def short_key(one: Patient) -> None:
    signer = Signer.fresh(one.world.folder, 1024)
    record(f"{SELECTOR}._domainkey.{DOMAIN}", "TXT", f"v=DKIM1; p={signer.public}")(one)


def settings(**changes: object) -> Break:
    return lambda one: one.choose(**changes)


def keys(*values: str) -> Break:
    return lambda one: setattr(one, "installation", replace(one.installation, secret_keys=values))


def suppression(value: str | None) -> Break:
    return lambda one: setattr(one, "installation", replace(one.installation, suppression_key=value))


KEY = f"{SELECTOR}._domainkey.{DOMAIN}"
DMARC = f"_dmarc.{DOMAIN}"
GOOD_DMARC = f"rua=mailto:dmarc@{DOMAIN}"
BROKEN_HERE: dict[str, tuple[Break, str, Level, str]] = {
    "no spf": (record(BOUNCES, "TXT"), "spf", FAIL, f'{BOUNCES}. TXT "v=spf1 ip4:{LEAVES} -all"'),
    "two spf": (record(BOUNCES, "TXT", "v=spf1 -all", "v=spf1 +mx -all"), "spf", FAIL, "correct the TXT"),
    "spf typo": (spf("v=spf1 ipv4:192.0.2.1 -all"), "spf", FAIL, "correct the TXT"),
    "spf leads nowhere": (spf(f"v=spf1 include:no.{DOMAIN} -all"), "spf", FAIL, "correct the TXT"),
    "spf of eleven": (eleven, "spf", FAIL, "take out includes"),
    "spf for all": (spf("v=spf1 +all"), "spf", FAIL, "-all instead of +all"),
    "spf of another": (spf("v=spf1 ip4:192.0.2.0/24 -all"), "spf", FAIL, f"add ip4:{LEAVES}"),
    "spf of the void": (
        spf(f"v=spf1 a:x1.{DOMAIN} a:x2.{DOMAIN} a:x3.{DOMAIN} ip4:{LEAVES} -all"),
        *("spf", WARN, "that are no more"),
    ),
    "no key": (gone(KEY), "dkim-key", FAIL, SELECTOR),
    "key revoked": (record(KEY, "TXT", "v=DKIM1; p="), "dkim-key", FAIL, "another selector"),
    "key cut off": (record(KEY, "TXT", "v=DKIM1; p=MIIBIjANBgkq"), "dkim-key", FAIL, "once more"),
    "key too short": (short_key, "dkim-key", WARN, "2048"),
    "two keys": (record(KEY, "TXT", "v=DKIM1; p=", "v=DKIM1; p=A"), "dkim-key", FAIL, "leave one"),
    "no dmarc": (gone(DMARC), "dmarc", FAIL, f"{DMARC}. TXT"),
    "two dmarc": (record(DMARC, "TXT", "v=DMARC1; p=none", "v=DMARC1; p=reject"), "dmarc", FAIL, "leave one"),
    "dmarc with pct": (
        record(DMARC, "TXT", f"v=DMARC1; p=none; pct=50; {GOOD_DMARC}"),
        "dmarc",
        WARN,
        "pct=",
    ),
    "dmarc without p": (record(DMARC, "TXT", "v=DMARC1; sp=none"), "dmarc", FAIL, "p=none"),
    "dmarc on trial": (record(DMARC, "TXT", f"v=DMARC1; p=reject; t=y; {GOOD_DMARC}"), "dmarc", WARN, "t=y"),
    "dmarc unheard": (record(DMARC, "TXT", "v=DMARC1; p=none"), "dmarc", WARN, "rua="),
    "spf not aligned": (
        record(DMARC, "TXT", f"v=DMARC1; p=none; aspf=s; {GOOD_DMARC}"),
        *("alignment", FAIL, "DIGEST_BOUNCE_DOMAIN"),
    ),
    "no pointer": (gone("34.216.184.93.in-addr.arpa"), "reverse-dns", FAIL, "reverse DNS"),
    "pointer elsewhere": (record(MAIL, "A", "93.184.216.99"), "reverse-dns", FAIL, f"publish A {LEAVES}"),
    "no bounces": (record(BOUNCES, "MX", "0 ."), "envelope-domain", FAIL, "DIGEST_BOUNCE_DOMAIN"),
    "no replies": (
        lambda one: (record(f"null.{DOMAIN}", "MX", "0 .")(one), one.publish(reply_to=f"desk@null.{DOMAIN}")),
        *("replies", FAIL, "DIGEST_REPLY_TO"),
    ),
    "replies unwanted": (
        lambda one: one.publish(reply_to=f"no-reply@{DOMAIN}"),
        *("replies", WARN, "DIGEST_REPLY_TO"),
    ),
    "pages unknown": (gone(PAGES), "pages-address", FAIL, "A or AAAA record"),
    "pages at home": (record(PAGES, "A", "192.168.1.4"), "pages-address", FAIL, "public address"),
    "a name servers quarrel over": (
        lambda one: one.zone.update({KEY: BROKEN}),
        *("dkim-key", FAIL, "/etc/resolv.conf"),
    ),
    "keys like the example's": (keys("changeme" * 8), "secret-keys", FAIL, "digest keys rotate"),
    "a key of one letter": (keys("a" * 64), "secret-keys", FAIL, "digest keys rotate"),
    "no suppression key": (suppression(None), "suppression-key", FAIL, "openssl rand -hex 32"),
    "a short suppression key": (suppression("f83c0e"), "suppression-key", FAIL, "openssl rand -hex 32"),
    "nobody is told": (settings(editors=()), "editors", WARN, "DIGEST_EDITORS"),
    "no postal address": (
        lambda one: one.publish(postal_address=None),
        "postal-address",
        FAIL,
        "DIGEST_POSTAL",
    ),
    "a name as of a badge": (
        lambda one: one.publish(sender_name="Slow ✓ Water"),
        "sender",
        FAIL,
        "DIGEST_SENDER",
    ),
    "an unnamed publication": (lambda one: one.publish(name="My publication"), "publication", WARN, "_NAME"),
    "all proxies": (
        settings(trusted_proxies=[ip_network("0.0.0.0/0")]),
        *("proxies", FAIL, "127.0.0.1/32"),
    ),
    "no proxy": (settings(trusted_proxies=()), "proxies", WARN, "DIGEST_TRUSTED_PROXIES"),
    "fetches anything": (settings(fetch_allow=[ip_network("169.254.0.0/16")]), "fetching", FAIL, "networks"),
    "port and security": (lambda one: one.relay(port=465), "relay-port", WARN, "DIGEST_SMTP_SECURITY=tls"),
    "bounces at home": (settings(bounce_domain=DOMAIN), "bounces", WARN, f"bounces.{DOMAIN}"),
}


@pytest.mark.parametrize(
    ("publication", "relay", "name", "level"),
    [
        ({"base_url": "http://letters.slowwater.harbour"}, {}, "base-url", FAIL),
        ({"base_url": "https://letters.example.org"}, {}, "base-url", FAIL),
        ({"base_url": "https://127.0.0.1:8000"}, {}, "base-url", FAIL),
        ({"sender_address": "letters@example.org"}, {}, "sender", FAIL),
        ({}, {"security": Security.NONE, "insecure": True, "username": None}, "relay-privacy", WARN),
        ({}, {"port": 25}, "relay-port", WARN),
        ({}, {"port": 587, "security": Security.TLS}, "relay-port", WARN),
    ],
)
def test_settings_that_are_odd_with_a_relay_elsewhere(
    here: Patient, publication: dict[str, object], relay: dict[str, object], name: str, level: Level
) -> None:
    """D-5, D-6: nobody is asked to see that these do not fit."""
    here.publish(**publication)
    here.relay(**{"host": f"smtp.{DOMAIN}", "port": 2525, **relay})
    odd = [line for line in judged(here.installation.choices) if line.mend]
    assert [(line.name, line.level) for line in odd] == [(name, level)]


def test_a_letter_that_the_reader_of_reports_took_first_is_found(here: Patient) -> None:
    """D-7: it lies in the folder of what was read then."""
    account = here.installation.account
    assert account is not None
    moved = b"Subject: [Test] digest doctor a1b2\r\n\r\nmoved\r\n"
    here.world.mailbox.put(moved, folder="INBOX.Processed")
    assert OnServer(account).holding("a1b2") == moved
    assert OnServer(account).holding("c3d4") is None


def test_a_mailbox_must_be_the_one_it_says(here: Patient) -> None:
    """D-7: its certificate is checked before the password is said."""
    here.account(trust=ssl.create_default_context())
    (line,) = [line for line in here.lines() if line.mend and line.name != "python"]
    assert (line.name, line.level) == ("mailbox", FAIL)
    assert "certificate" in line.found


@pytest.mark.parametrize("case", BROKEN_HERE)
def test_the_right_line_fails_with_the_right_mend(here: Patient, case: str) -> None:
    """D-1, D-2, D-3, D-4, D-10: one thing is broken, one line says so, and its mend is what to type."""
    change, name, level, mend = BROKEN_HERE[case]
    change(here)
    lines = here.lines()
    # The relay is not where it is said to be in the case about its port.
    wrong = [line for line in lines if line.mend and line.name not in ("python", "relay")]
    assert [(line.name, line.level) for line in wrong] == [(name, level)]
    assert mend in wrong[0].mend


# What the pages answer


def answers(status: int, seconds: float = 0, **headers: str) -> Break:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda one: setattr(one.world.front, "script", (status, named, seconds))


def ran_ahead(one: Patient) -> None:
    one.world.front.dated = format_datetime(datetime.now(UTC) + timedelta(minutes=5), usegmt=True)


def old_certificate(one: Patient) -> None:
    one.installation = replace(one.installation, tls=trusting(one.world.local))


PAGES_BROKEN: dict[str, tuple[Break, list[tuple[str, Level]], str]] = {
    "sent on": (
        answers(301, Location="https://a.example/"),
        [("one-click", FAIL)],
        "take the redirect out",
    ),
    "other keys": (
        lambda one: setattr(one, "installation", replace(one.installation, keyring=Keyring([b"n" * 32]))),
        *([("one-click", FAIL)], "restart `digest serve`"),
    ),
    "a firewall": (answers(403), [("one-click", FAIL)], "pass every POST below /u/"),
    "no program": (answers(502), [("one-click", FAIL)], "start `digest serve`"),
    "in trouble": (answers(500), [("one-click", FAIL)], "see what `digest serve` says"),
    "somebody else": (answers(200, Set_Cookie="a=b"), [("one-click", FAIL)], "to `digest serve`"),
    "slow": (answers(200, 1.1), [("one-click", WARN)], "holds up"),
    "nobody there": (lambda one: one.unreached(), [("one-click", FAIL)], "start `digest serve`"),
    "not to be trusted": (
        old_certificate,
        *([("pages-certificate", FAIL), ("one-click", FAIL)], "certbot certificates"),
    ),
    "another clock": (ran_ahead, [("clock", FAIL)], "timedatectl set-ntp true"),
}


@pytest.mark.parametrize("case", PAGES_BROKEN)
def test_the_pages_fail_as_a_provider_would_see_it(here: Patient, case: str) -> None:
    """D-5, D-8: the one-click is posted to the pages, and what is in its way is named with its mend."""
    change, expected, mend = PAGES_BROKEN[case]
    change(here)
    wrong = [line for line in here.lines() if line.mend and line.name != "python"]
    assert [(line.name, line.level) for line in wrong] == expected
    assert mend in wrong[0].mend


def test_a_name_that_is_not_found_is_no_fault_of_the_web_server() -> None:
    """D-5."""
    line = one_click.judged(Answer(url=f"https://{PAGES}/u/…", why="Name or service not known", unknown=True))
    assert (line.level, "pages-address" in line.mend) == (FAIL, True)


def test_a_certificate_that_ends_soon_is_told() -> None:
    """D-5."""
    now = datetime(2026, 11, 26, tzinfo=UTC)

    def level(life: int, left: float) -> Level:
        ends = now + timedelta(days=left)
        certificate = Certificate(ends - timedelta(days=life), ends)
        return certificate_judged(Answer(url=f"https://{PAGES}/u/…", certificate=certificate), now).level

    assert [level(90, left) for left in (30, 11, 9, 0, -1)] == [Level.PASS, Level.PASS, WARN, WARN, WARN]
    assert [level(398, left) for left in (60, 9)] == [Level.PASS, WARN]
    # Those of six days are renewed after three or four.
    assert [level(6, left) for left in (2, 0.5)] == [Level.PASS, WARN]


# What the relay offers

RELAYS: dict[str, tuple[dict[str, object], dict[str, object], list[tuple[str, Level]], str]] = {
    "small": (
        {"EHLO": EHLO.replace(b"20000000", b"200000")},
        {},
        [("relay-size", FAIL)],
        "_size_limit",
    ),
    "no reports": (
        {"EHLO": EHLO.replace(b"250 DSN", b"250 HELP")},
        *({}, [("relay-dsn", WARN)], "DSN"),
    ),
    "no starttls": (
        {"EHLO": EHLO.replace(b"250-STARTTLS\r\n", b"")},
        *({}, [("relay", FAIL)], "DIGEST_SMTP_SECURITY"),
    ),
    "a wrong password": ({"AUTH": b"535 5.7.8 no\r\n"}, {}, [("relay", FAIL)], "DIGEST_SMTP_PASSWORD"),
    "a foreign sender": ({"MAIL": b"550 5.7.1 not yours\r\n"}, {}, [("relay-sender", FAIL)], "DIGEST_SENDER"),
    "a false certificate": ({}, {"context": ssl.create_default_context()}, [("relay", FAIL)], "_SECURITY"),
    "away": ({"greeting": "drop"}, {}, [("relay", FAIL)], "DIGEST_SMTP_HOST"),
    "broken off": ({"MAIL": "drop"}, {}, [("relay", FAIL)], "DIGEST_SMTP_HOST"),
}


@pytest.mark.parametrize("case", RELAYS)
def test_the_relay_is_asked_as_a_dispatch_would(here: Patient, case: str) -> None:
    """D-6: what is wrong with the relay is one line with its mend, and no letter goes out."""
    script, changes, expected, mend = RELAYS[case]
    with EvilServer({"EHLO": EHLO, **script}, tls=serving(here.world.local)) as relay:
        here.relay(port=relay.port, **changes)
        wrong = [line for line in here.lines() if line.mend and line.name != "python"]
        assert relay.letters == []
    assert [(line.name, line.level) for line in wrong] == expected
    assert mend in wrong[0].mend


# What a letter shows


def signer(**changes: str) -> Break:
    def change(one: Patient) -> None:
        assert one.receiver.signer is not None
        one.receiver.signer = replace(one.receiver.signer, **changes)

    return change


def received(**changes: object) -> Break:
    return lambda one: [setattr(one.receiver, name, value) for name, value in changes.items()]


def another_key(one: Patient) -> None:
    one.receiver.signer = Signer.fresh(one.world.folder, 2050)


LETTERS: dict[str, tuple[Break, list[tuple[str, Level]], str]] = {
    "one header unsigned": (
        signer(headers="from:to:subject:date:message-id:list-unsubscribe"),
        *([("dkim-headers", FAIL)], "+list-unsubscribe-post"),
    ),
    "the date unsigned": (
        signer(headers="from:to:subject:message-id:list-unsubscribe:list-unsubscribe-post"),
        *([("dkim-headers", WARN)], "sign them, too"),
    ),
    "unsigned": (received(signer=None), [("dkim-signature", FAIL)], "sign with DKIM"),
    "signed by another": (
        lambda one: (
            signer(domain="relay.harbour")(one),
            record(f"{SELECTOR}._domainkey.relay.harbour", "TXT", f"p={one.world.signer.public}")(one),
        ),
        *([("alignment", WARN), ("dkim-signature", FAIL)], "d=slowwater.harbour"),
    ),
    "another key": (another_key, [("dkim-signature", FAIL)], "publish the key the relay signs with"),
    "changed on the way": (
        received(after=lambda content: content.replace(b"doctor sent", b"doctor has sent")),
        *([("dkim-signature", FAIL)], "after it is signed"),
    ),
    "a link for counting": (
        received(
            before=lambda content: content.replace(f"https://{PAGES}/u".encode(), b"https://c.example/u")
        ),
        *([("list-headers", FAIL)], "tracking"),
    ),
    "an encoded header": (
        received(before=lambda content: re.sub(rb"(?m)^(List-Unsubscribe: ).*$", rb"\1=?u?q?x?=\r", content)),
        *([("list-headers", FAIL)], "leave the headers"),
    ),
    "a header lost": (
        received(before=lambda content: re.sub(rb"(?m)^List-Unsubscribe-Post: .*\n", b"", content)),
        *([("list-headers", FAIL)], "leave the headers"),
    ),
    "dmarc fails there": (
        received(results="mx.receiver.example; spf=fail; dkim=fail; dmarc=fail"),
        *([("results", FAIL)], "alignment"),
    ),
    "spf fails there": (
        received(results="mx.receiver.example; spf=softfail; dkim=pass; dmarc=pass"),
        *([("results", WARN)], "spf"),
    ),
    "its own return path": (
        received(return_path="0100@amazonses.example"),
        *([("return-path", WARN)], "Message-ID"),
    ),
    "reports lost": (received(loses=BOUNCES), [("return-address", FAIL)], f"all mail of {BOUNCES}"),
    "lost": (received(loses="reader.example"), [("seed", FAIL)], "--wait"),
    "leaves elsewhere": (
        lambda one: record(f"_spf.{DOMAIN}", "TXT", "v=spf1 ip4:192.0.2.1 ~all")(one),
        *([("spf", FAIL)], f"add ip4:{LEAVES}"),
    ),
    "our clock is behind": (received(ahead=timedelta(minutes=3)), [("clock", FAIL)], "set-ntp"),
    "the mailbox shuts": (
        lambda one: one.account(password="another"),
        *([("mailbox", FAIL)], "DIGEST_IMAP_HOST"),
    ),
}


@pytest.mark.parametrize("case", LETTERS)
def test_a_seed_letter_shows_what_the_way_did_to_it(here: Patient, case: str) -> None:
    """H-9, D-2, D-7, B-1: a letter is sent, read back over IMAP, and judged; each harm is its own line."""
    change, expected, mend = LETTERS[case]
    here.seeded(wait=0.3 if "lost" in case else 5.0)
    change(here)
    wrong = [line for line in here.lines() if line.mend and line.name != "python"]
    assert [(line.name, line.level) for line in wrong] == expected
    assert mend in wrong[0].mend


def test_a_letter_that_arrived_elsewhere_is_judged_without_sending_one(here: Patient, tmp_path: Path) -> None:
    """H-9, D-2: the key and the addresses are the letter's own; what is not trusted is not believed."""
    here.seeded()
    here.lines()
    saved = tmp_path / "letter.eml"
    saved.write_bytes(b"From somebody Thu Nov 26 08:00:00 2026\n" + here.world.mailbox.messages[0])
    sent = len(here.world.relay.letters)
    here.asked = Asked(letter=saved)
    lines = {line.name: line for line in here.lines()}
    assert [line for line in lines.values() if line.mend and line.name != "python"] == []
    assert LEAVES in lines["spf"].found
    assert lines["dkim-key"].level is Level.PASS
    assert len(here.world.relay.letters) == sent
    forged = saved.read_bytes().replace(b"by mx.receiver.example", b"by somewhere.example")
    saved.write_bytes(forged)
    lines = {line.name: line for line in here.lines()}
    assert lines["results"].level is Level.NONE
    here.asked = Asked(letter=saved, trusted=["mx.receiver.example"])
    assert {line.name: line.level for line in here.lines()}["results"] is Level.PASS


def test_a_letter_to_a_mailbox_that_a_person_reads_is_sent_and_left_to_them(here: Patient) -> None:
    """H-9: without a mailbox to look into nothing is wrong; the line says how to go on."""
    here.seeded()
    here.installation = replace(here.installation, account=None)
    lines = {line.name: line for line in here.lines()}
    assert lines["seed"].level is Level.NONE
    assert "--letter FILE" in lines["seed"].found
    assert len(here.world.mailbox.messages) == 1
    assert [line for line in lines.values() if line.mend and line.name != "python"] == []


def test_a_letter_is_read_back_from_a_maildir_and_from_a_file(tmp_path: Path) -> None:
    """D-7: what lies in tmp/ is not whole yet."""
    for name in ("new", "cur", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "tmp" / "1").write_bytes(b"Subject: a1b2\n\nhalf")
    box = Folder(tmp_path)
    assert box.holding("a1b2") is None
    (tmp_path / "cur" / "2:2,S").write_bytes(b"Subject: a1b2\n\nwhole")
    assert box.holding("a1b2") == b"Subject: a1b2\n\nwhole"
    assert Folder(tmp_path / "cur" / "2:2,S").holding("a1b2") == b"Subject: a1b2\n\nwhole"


# This machine, and the store


@pytest.fixture
def apart(here: Patient, tmp_path: Path) -> Iterator[Patient]:
    """The same on a copy of the store, to be broken."""
    tmp_path.chmod(0o700)
    shutil.copyfile(here.world.folder / ".env", tmp_path / ".env")
    with (
        closing(sqlite3.connect(here.world.folder / "digest.db")) as store,
        closing(sqlite3.connect(tmp_path / "digest.db")) as copy,
    ):
        store.backup(copy)
    here.engine.dispose()
    here.engine = open_engine(f"sqlite:///{tmp_path}/digest.db")
    here.installation = replace(here.installation, engine=here.engine, env_file=tmp_path / ".env")
    yield here
    here.engine.dispose()


def statement(text: str) -> Break:
    """The store was changed by it."""

    def change(one: Patient) -> None:
        with one.engine.begin() as connection:
            connection.exec_driver_sql(text)

    return change


def late(one: Patient) -> None:
    beat(one.engine, datetime.now(UTC) - timedelta(hours=5), good=True)


def moded(name: str, mode: int) -> Break:
    return lambda one: (one.installation.env_file.parent / name).chmod(mode)


def emptied(one: Patient) -> None:
    one.engine.dispose()
    for path in one.installation.env_file.parent.glob("digest.db*"):
        path.unlink()


MACHINE: dict[str, tuple[Break, list[tuple[str, Level]], str]] = {
    ".env is readable": (moded(".env", 0o644), [("file-modes", FAIL)], "chmod go-rwx "),
    "the store is readable": (moded("digest.db", 0o640), [("file-modes", FAIL)], "chmod go-rwx "),
    "the folder is open": (moded(".", 0o777), [("file-modes", FAIL)], "chmod go-w "),
    "no store": (emptied, [("store", FAIL)], "digest init"),
    "an older store": (
        statement("UPDATE alembic_version SET version_num = '0001'"),
        *([("store", FAIL)], "digest init"),
    ),
    "a newer store": (
        statement("UPDATE alembic_version SET version_num = '9999'"),
        *([("store", FAIL)], "newer version"),
    ),
    "another machine's": (
        statement("UPDATE store SET home = 'elsewhere'"),
        *([("lineage", FAIL)], "docs/operating.md"),
    ),
    "never ticked": (
        statement("DELETE FROM tick"),
        *([("tick", WARN)], f"*/5 * * * *  {Path(sys.executable).with_name('digest')} --env /"),
    ),
    "ticks no more": (late, [("tick", FAIL)], "crontab -l"),
    "no issue": (statement("DELETE FROM issue"), [("issue", FAIL)], "digest run"),
}


@pytest.mark.parametrize("case", MACHINE)
def test_this_machine_and_the_store(apart: Patient, case: str) -> None:
    """D-9, D-10, R-10: modes, the store and the tick, each with what to type."""
    change, expected, mend = MACHINE[case]
    change(apart)
    if case == "no issue" and datetime.now(apart.installation.choices.publication.zone).day == 1:
        pytest.skip("nothing is due on the first")
    wrong = [line for line in apart.lines() if line.mend and line.name != "python"]
    assert [(line.name, line.level) for line in wrong] == expected
    assert mend in wrong[0].mend


def test_a_disk_is_local_and_has_room() -> None:
    """D-9, F-26."""
    path = Path("/srv/letters/digest.db")
    judged = [
        disk_judged(Disk(path, kind, free * 1024 * 1024)).level
        for kind, free in (("ext4", 10_000), ("ext4", 100), ("ext4", 5), ("nfs4", 10_000), ("", 10_000))
    ]
    assert judged == [Level.PASS, WARN, FAIL, FAIL, Level.PASS]


def test_an_interpreter_that_lets_titles_become_headers_is_told() -> None:
    """S-1: it is tried, not looked up."""
    assert python_judged("3.11.7", True).level is WARN
    assert python_judged("3.13.0", False).level is Level.PASS


def test_clocks_may_differ_by_a_minute() -> None:
    """D-8."""
    now = datetime(2026, 11, 26, tzinfo=UTC)
    levels = [
        clock_judged({"another": (now - timedelta(seconds=ahead), now)}).level
        for ahead in (0, 59, -60, 61, -61)
    ]
    assert levels == [Level.PASS, Level.PASS, Level.PASS, FAIL, FAIL]
    assert clock_judged({}).level is Level.NONE


def test_the_clock_of_the_database_server_is_heard(here: Patient, postgres_engine: Engine) -> None:
    """D-8, D-9: on PostgreSQL there is another clock, and the disk is the server's."""
    with postgres_engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE alembic_version (version_num text)")
        connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{newest()}')")
    here.installation = replace(here.installation, engine=postgres_engine)
    here.unreached()
    lines = {line.name: line for line in here.lines()}
    with postgres_engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    assert lines["clock"].level is Level.PASS
    assert "the database" in lines["clock"].found
    assert lines["disk"].level is Level.NONE


# Whatever fails is a line


RESOLVER = "see /etc/resolv.conf and `resolvectl status`, then type it again"
DNS_LINES = {name for name, group in GROUP.items() if group == "DNS"}


def test_a_resolver_that_is_silent_costs_seconds_and_is_no_fault_of_the_domains(here: Patient) -> None:
    """D-1: after two silences nobody is asked again, and each other line says that it could not ask."""
    here.zone.update(dict.fromkeys([DOMAIN, BOUNCES, PAGES, KEY, DMARC, f"mx.{DOMAIN}", MAIL], SILENT))
    here.zone["34.216.184.93.in-addr.arpa"] = SILENT
    lines = here.lines()
    assert len(set(here.world.names.asked)) == 2
    wrong = [(line.name, line.mend) for line in lines if line.mend and line.name != "python"]
    assert wrong == [("pages-address", RESOLVER), ("sender-domain", RESOLVER)]
    assert {line.name for line in lines if "could not be asked" in line.found} >= DNS_LINES - {
        "sender-domain"
    }


def test_a_resolver_that_knows_no_root_is_not_believed(here: Patient) -> None:
    """D-1: in a closed network it says of every name that it does not exist."""
    here.zone.clear()
    lines = here.lines()
    wrong = [(line.name, line.mend) for line in lines if line.mend and line.name != "python"]
    assert wrong == [("pages-address", RESOLVER)]
    assert {line.name for line in lines if "could not be asked" in line.found} >= DNS_LINES


def test_whatever_is_raised_becomes_one_line() -> None:
    """D-1: also what nobody thought of, and what has no end."""

    def stumble() -> list[Line]:
        raise ZeroDivisionError("a\nsurprise")

    def hang() -> list[Line]:
        threading.Event().wait(5)
        return [passed("disk", "")]

    assert kept(("dmarc", "alignment"), stumble) == [
        Line(
            "dmarc",
            FAIL,
            "could not be looked at: ZeroDivisionError: a surprise",
            "type it again; if it stays so, report this line",
        ),
        Line("alignment", Level.NONE, "dmarc could not be asked"),
    ]
    assert [line.found for line in kept(("disk",), hang, 0.05)] == [
        "could not be looked at: TimeoutError: was not done after 0.05 seconds"
    ]


def test_nothing_outside_is_asked_where_nothing_leaves_the_machine(here: Patient) -> None:
    """D-5, D-6: on a demo relay and pages are asked, the DNS is not, and each line says why."""
    here.publish(base_url="http://127.0.0.1:8025", sender_address="letters@slow-water.example")
    here.relay(security=Security.NONE, username=None, password=None)
    here.choose(trusted_proxies=())
    here.installation = replace(here.installation, account=None)
    here.pages_at = "127.0.0.1", here.world.front.site.port
    here.asked = Asked()
    lines = {line.name: line for line in here.lines()}
    assert here.world.names.asked == []
    assert [line for line in lines.values() if line.mend and line.name != "python"] == []
    idle = {name for name, line in lines.items() if line.level is Level.NONE}
    assert idle >= {*DNS_LINES, "pages-address", "pages-certificate", "proxies", "mailbox", "seed"}
    assert {lines[name].found for name in DNS_LINES} == {
        "relay and pages are this machine's own: nothing outside is asked"
    }


def test_settings_that_cannot_be_read_are_told_line_by_line(tmp_path: Path) -> None:
    """D-10, S-16: each mistake is a line; a .env that others may read is not read at all."""
    path = tmp_path / ".env"
    error = DigestError("DIGEST_SENDER: is missing; for example …\nDIGEST_SENDR: there is no such setting")
    told = [line for line in unreadable(path, error) if line.mend]
    assert [(line.name, line.found) for line in told] == [
        ("settings", line) for line in str(error).splitlines()
    ]
    path.touch()
    path.chmod(0o644)
    (told_,) = [line for line in unreadable(path, error) if line.mend]
    assert (told_.name, told_.mend) == ("file-modes", f"chmod go-rwx {path}")


def test_a_line_has_a_mend_where_something_is_to_be_mended() -> None:
    """D-10: and only there; what was found is one line of bounded length."""
    with pytest.raises(ValueError, match="not a line"):
        Line("spf", FAIL, "wrong")
    with pytest.raises(ValueError, match="not a line"):
        Line("unheard-of", Level.PASS, "right")
    assert len(passed("spf", "a\n" * 1000).found) == 300


def test_every_line_is_explained() -> None:
    """D-10: docs/operating.md tells of each line what it looks at and what mends it."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    section = page.partition("## What doctor asks")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| ((?:`[a-z0-9-]+` ?)+)\|", section)
    assert sorted(re.findall(r"`([a-z0-9-]+)`", "".join(rows))) == sorted(GROUP)

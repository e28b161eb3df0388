"""SPF, DMARC and DKIM as doctor reads them: the examples of their RFCs, and what receivers trip over."""

import random

import pytest

from digest.doctor import dmarc, spf
from digest.doctor.arrived import Arrived
from digest.doctor.keys import weakness
from digest.doctor.line import Level
from digest.doctor.names import Names
from digest.doctor.signature import key_judged, signatures_of
from tests.digest.nameserver import Zone, name_server

#: RFC 7208, appendix A, as far as these records need it; its records name it example.com
ZONE: Zone = {
    "example.com": {
        "MX": ["10 mail-a.example.com.", "20 mail-b.example.com."],
        "A": ["192.0.2.10", "192.0.2.11"],
    },
    "amy.example.com": {"A": ["192.0.2.65"]},
    "bob.example.com": {"A": ["192.0.2.66"]},
    "mail-a.example.com": {"A": ["192.0.2.129"]},
    "mail-b.example.com": {"A": ["192.0.2.130"]},
    "example.org": {"MX": ["10 mail-c.example.org."]},
    "mail-c.example.org": {"A": ["192.0.2.140"], "AAAA": ["2001:db8::140"]},
}


@pytest.mark.parametrize(
    ("record", "passing", "failing"),
    [
        # RFC 7208, appendix A.1
        ("v=spf1 +all", ["192.0.2.1"], []),
        ("v=spf1 a -all", ["192.0.2.10", "192.0.2.11"], ["192.0.2.12"]),
        ("v=spf1 a:example.org -all", [], ["192.0.2.10"]),
        ("v=spf1 mx -all", ["192.0.2.129", "192.0.2.130"], ["192.0.2.10"]),
        ("v=spf1 mx:example.org -all", ["192.0.2.140", "2001:db8::140"], ["192.0.2.129"]),
        ("v=spf1 mx mx:example.org -all", ["192.0.2.129", "192.0.2.130", "192.0.2.140"], ["192.0.2.10"]),
        ("v=spf1 mx/30 mx:example.org/30 -all", ["192.0.2.131", "192.0.2.143"], ["192.0.2.132"]),
        ("v=spf1 ip4:192.0.2.128/28 -all", ["192.0.2.129"], ["192.0.2.65"]),
        # and what else there is
        ("V=SPF1 IP4:192.0.2.0/24 -ALL", ["192.0.2.1"], ["198.51.100.1"]),
        ("v=spf1 -ip4:192.0.2.1 ip4:192.0.2.0/24 -all", ["192.0.2.2"], ["192.0.2.1"]),
        ("v=spf1 mx:example.org//120 -all", ["2001:db8::1ff", "192.0.2.140"], ["2001:db8::200"]),
        ("v=spf1 redirect=_spf.example.net", ["203.0.113.5"], ["203.0.113.4"]),
        ("v=spf1 include:_spf.example.net ?all", ["203.0.113.5"], []),
        ("v=spf1 -all redirect=_spf.example.net", [], ["203.0.113.5"]),
        ("v=spf1 ip6:2001:db8::/32 -all", ["2001:db8::1"], ["192.0.2.1"]),
    ],
)
def test_spf_lets_through_whom_the_record_names(record: str, passing: list[str], failing: list[str]) -> None:
    """D-1: what RFC 7208 says of a letter from each address."""
    more: Zone = {"_spf.example.net": {"TXT": ["v=spf1 ip4:203.0.113.5 -all"]}}
    with name_server({**ZONE, **more, "example.com": {**ZONE["example.com"], "TXT": [record]}}) as server:
        found = spf.read("example.com", Names(server.resolver()))
    assert found.record is not None
    assert found.faults == []
    assert [found.record.result(one) for one in passing] == ["pass"] * len(passing)
    assert [found.record.result(one) for one in failing] == ["fail"] * len(failing)


@pytest.mark.parametrize(
    ("record", "lookups", "void", "faults"),
    [
        ("v=spf1 ip4:192.0.2.1 -all", 0, 0, 0),
        ("v=spf1 a mx include:other.example ptr exists:x.example redirect=y.example -all", 5, 0, 0),
        ("v=spf1 a:gone.example mx:gone.example -all", 2, 2, 0),
        ("v=spf1 include:gone.example -all", 1, 1, 1),
        ("v=spf1 include:loop.example -all", 31, 0, 0),
        ("v=spf1 include:%{i}.example -all", 1, 0, 0),
        ("v=spf1 ip4:2001:db8::1 ip6:192.0.2.1 ip4:nonsense -all", 0, 0, 3),
        ("v=spf1 unknown=modifier -all", 0, 0, 0),
        ("v=spf1 a/99 -all", 1, 0, 1),
        ("v=spf1 foo -all", 0, 0, 1),
    ],
)
def test_spf_counts_what_receivers_count(record: str, lookups: int, void: int, faults: int) -> None:
    """D-1: ten look-ups at most (section 4.6.4), two of them void; loops have an end."""
    zone: Zone = {
        **ZONE,
        "example.com": {**ZONE["example.com"], "TXT": [record]},
        "other.example": {"TXT": ["v=spf1 -all"]},
        "loop.example": {"TXT": ["v=spf1 include:loop.example -all"]},
    }
    with name_server(zone) as server:
        found = spf.read("example.com", Names(server.resolver()))
    assert (found.lookups, found.void, len(found.faults)) == (lookups, void, faults)


def test_spf_by_the_relays_name_alone_is_a_guess() -> None:
    """D-1: where letters may leave from elsewhere, what is not named is a warning; a macro is not known."""
    zone: Zone = {
        "a.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
        "b.example": {"TXT": ["v=spf1 exists:%{i}.x -all"]},
    }
    with name_server(zone) as server:
        names = Names(server.resolver())
        known, macro = (spf.read(name, names) for name in ("a.example", "b.example"))
    levels = [
        spf.judged(found, sources, "smtp.example", certain=False).level
        for found, sources in (
            (known, ["192.0.2.1"]),
            (known, ["192.0.2.2"]),
            (known, []),
            (macro, ["192.0.2.2"]),
        )
    ]
    assert levels == [Level.PASS, Level.WARN, Level.PASS, Level.PASS]
    assert "macro" in spf.judged(macro, ["192.0.2.2"], "smtp.example", certain=True).found


@pytest.mark.parametrize(
    ("record", "level"),
    [
        ("v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=", Level.WARN),
        ("{}", Level.WARN),  # 1024 bits
        ("{}; t=y", Level.WARN),
        ("{}; h=sha1", Level.FAIL),
        ("{}; h=sha1:sha256; s=*", Level.WARN),
        ("{}; s=tlsrpt", Level.FAIL),
        ("v=DKIM1; k=rsa", Level.FAIL),
        (
            "v=DKIM1; p=MDwwDQYJKoZIhvcNAQEBBQADKwAwKAIhAMZ4Y9p2m3FQ0Q8n1wq0nZ0Jr7m5w3fJ8QdQF1X0uVvXAgMBAAE=",
            Level.FAIL,
        ),
    ],
)
def test_a_key_is_judged_as_receivers_would(record: str, level: Level) -> None:
    """D-2: RFC 6376, section 3.6.1; RFC 8301; RFC 8463."""
    assert key_judged("s", "example.com", [record.format(KEY)]).level is level


def test_a_record_of_another_kind_beside_a_key_is_none() -> None:
    """D-2: a wildcard answers for every name, as with a record of SPF, whose exp= ends in p=."""
    other = "v=spf1 -all exp=why.example.com"
    assert "has no key" in key_judged("s", "example.com", [other]).found
    assert key_judged("s", "example.com", [other, KEY]) == key_judged("s", "example.com", [KEY])


def walked(domain: str, **records: str) -> dmarc.Walk:
    """The walk from *domain* over *records*, whose names have "_" for "."; the questions must be those."""
    zone = {f"_dmarc.{name.replace('_', '.')}": text for name, text in records.items()}
    return dmarc.walk(domain, lambda name: [zone[name]] if name in zone else [])


@pytest.mark.parametrize(
    ("domain", "records", "organisation", "policy"),
    [
        # RFC 9989, section 4.10.2: its two examples
        (
            "a.mail.example.com",
            {"mail_example_com": "v=DMARC1;p=none", "example_com": "v=DMARC1;p=reject"},
            *("example.com", "example.com"),
        ),
        ("a.mail.example.com", {"com": "v=DMARC1;p=reject;psd=y"}, "example.com", "com"),
        ("example.com", {"example_com": "v=DMARC1;p=none"}, "example.com", "example.com"),
        (
            "mail.example.com",
            {"mail_example_com": "v=DMARC1;p=none;psd=n", "example_com": "v=DMARC1"},
            *(["mail.example.com"] * 2),
        ),
        ("gov.example", {"gov_example": "v=DMARC1;p=none;psd=y"}, "gov.example", "gov.example"),
        ("nobody.example.com", {}, "nobody.example.com", None),
        ("example.com", {"example_com": "v=spf1 -all"}, "example.com", None),
        ("example.com", {"example_com": "v=dmarc1; p=none"}, "example.com", None),
    ],
)
def test_the_tree_walk_finds_organisation_and_policy(
    domain: str, records: dict[str, str], organisation: str, policy: str | None
) -> None:
    """D-3: RFC 9989, section 4.10, in place of a list of public suffixes."""
    found = walked(domain, **records)
    assert found.organisation == organisation
    assert (found.policy.domain if found.policy else None) == policy


def test_the_tree_walk_asks_eight_times_at_most() -> None:
    """D-3: the name itself, then from its last seven labels up."""
    asked: list[str] = []
    dmarc.walk("a.b.c.d.e.f.g.h.i.j.mail.example.com", lambda name: asked.append(name) or [])  # type: ignore[func-returns-value]
    assert asked[:2] == ["_dmarc.a.b.c.d.e.f.g.h.i.j.mail.example.com", "_dmarc.g.h.i.j.mail.example.com"]
    assert asked[-1] == "_dmarc.com"
    assert len(asked) == 8


def test_the_tree_walk_ends_where_a_record_says_so() -> None:
    """D-3: at psd=n; at psd=y, but for where it began."""
    asked: list[str] = []

    def ask(name: str) -> list[str]:
        asked.append(name)
        return {"_dmarc.b.c": ["v=DMARC1; p=none; psd=n"], "_dmarc.d": ["v=DMARC1; p=none; psd=y"]}.get(
            name, []
        )

    assert dmarc.walk("a.b.c", ask).organisation == "b.c"
    assert dmarc.walk("x.y.d", ask).organisation == "y.d"
    assert asked == ["_dmarc.a.b.c", "_dmarc.b.c", "_dmarc.x.y.d", "_dmarc.y.d", "_dmarc.d"]


def test_alignment_is_by_organisation_or_strict() -> None:
    """D-3."""
    policy = {"example_com": "v=DMARC1; p=none"}
    author, bounces, other = (
        walked(name, **policy) for name in ("example.com", "bounces.example.com", "example.net")
    )
    assert [dmarc.is_aligned(author, one, "r") for one in (author, bounces, other)] == [True, True, False]
    assert [dmarc.is_aligned(author, one, "s") for one in (author, bounces, other)] == [True, False, False]


#: RFC 8463, appendix A.3: the RSA signature of its sample, by the key of RFC 6376, appendix A
SIGNED = b"""\
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
"""
KEY = (
    "v=DKIM1; k=rsa; "
    "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/"
    "J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kr"
    "yOTIKT+l/K4w3QIDAQAB"
)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (SIGNED, ""),
        (SIGNED.replace(b"\n", b"\r\n"), ""),
        (SIGNED.replace(b"Subject: Is dinner", b"Subject:   Is   dinner"), ""),
        (SIGNED + b"\n\n", ""),
        (b"Received: from somewhere\n" + SIGNED, ""),
        (SIGNED.replace(b"Is dinner", b"Is lunch"), "a signed header was changed"),
        (SIGNED.replace(b"Joe.\n", b"Joe!\n"), "the body is not"),
        (SIGNED.replace(b"Date:", b"Subject: More\nDate:"), "a signed header was changed"),
        (SIGNED.replace(b"b=F45d", b"b=F45e"), "a signed header was changed"),
        (SIGNED.replace(b"b=F45d", b"b=\xff F45"), "cannot be read"),
    ],
)
def test_a_signature_is_verified_as_its_rfc_says(raw: bytes, fault: str) -> None:
    """D-2: RFC 8463's own sample passes, refolded and with headers above it, and fails once it is changed."""
    asked: list[str] = []
    (found,) = signatures_of(raw, lambda name: asked.append(name) or [KEY])  # type: ignore[func-returns-value]
    assert asked == ["test._domainkey.football.example.com"]
    assert found.fault is not None
    assert (fault in found.fault) if fault else (found.fault == "")


@pytest.mark.parametrize("key", ["", "v=DKIM1; p=", "p=AAAA", "p=MIGfMA0GCSqGSIb3DQEB", "p=äöü"])
def test_a_key_that_is_none_is_no_error(key: str) -> None:
    """D-2."""
    (found,) = signatures_of(SIGNED, lambda _name: [key])
    assert found.fault


def test_whatever_a_letter_is_it_is_read() -> None:
    """D-2, H-9: any bytes, and a million empty lines, are a letter; none is an error, or takes long."""
    chance = random.Random(1)
    for _ in range(300):
        raw = bytearray(SIGNED)
        for _ in range(chance.randrange(1, 6)):
            raw[chance.randrange(len(raw))] = chance.choice(b"\0\r\n:;= \xff()[]<>b")
        signatures_of(bytes(raw), lambda _name: [KEY])
        letter = Arrived.of(bytes(raw))
        _ = letter.results, letter.source, letter.takers, letter.taken_at
    assert signatures_of(SIGNED + b"\n" * 1_000_000 + b"x", lambda _name: [KEY])[0].fault


def test_results_are_read_past_comments_and_the_source_is_the_one_outside() -> None:
    """H-9: of several Authentication-Results the topmost, and the address that the receiving side saw."""
    letter = Arrived.of(
        b"Authentication-Results: mx.google.com;\n dkim=pass header.i=@x (dkim=fail is a comment);\n"
        b" spf=softfail (google.com: 93.184.216.34 is not permitted) smtp.mailfrom=b@x; dmarc=pass\n"
        b"Authentication-Results: forged.example; spf=fail\n"
        b"Received: by 2002:a05:6000:: with SMTP id 1; Thu, 26 Nov 2026 08:00:01 -0800 (PST)\n"
        b"Received: from mail.x ([93.184.216.34]) by mx.google.com with ESMTPS id 2;\n"
        b" Thu, 26 Nov 2026 08:00:00 -0800 (PST)\n"
        b"Received: from app ([10.0.0.1]) by mail.x; Thu, 26 Nov 2026 16:00:00 +0000\n\nbody\n"
    )
    assert letter.results == ("mx.google.com", {"dkim": ["pass"], "spf": ["softfail"], "dmarc": ["pass"]})
    assert letter.source == "93.184.216.34"
    # What our own relay says of itself is not the receiving side's word.
    assert "mx.google.com" in letter.takers
    assert "mail.x" not in letter.takers
    assert letter.taken_at is not None
    assert letter.taken_at.isoformat() == "2026-11-26T16:00:01+00:00"


@pytest.mark.parametrize(
    ("key", "is_weak"),
    [
        ("c1f0f3b97be04d8aa7165ee23e0b9c5d2f61a8b34c9d7e10", False),
        ("kJ8-qz_W3pXv7RfT0aLmN5cYbH2dE9sU", False),
        ("c1f0f3b97be04d8a", True),
        ("a1" * 32, True),
        ("0123456789abcdef" * 4, True),
        ("c1f0f3b97be04d8ac1f0f3b97be04d8a", True),
        ("a line of `openssl rand -hex 32`", True),
        ("please-change-me-before-production-use", True),
    ],
)
def test_a_key_that_could_be_guessed_is_known(key: str, is_weak: bool) -> None:
    """D-10: and what is said of it does not hold it."""
    assert bool(weakness(key)) is is_weak
    assert key not in weakness(key)


def test_no_random_key_is_called_weak() -> None:
    """D-10."""
    import secrets

    assert [key for key in (secrets.token_hex(32) for _ in range(2000)) if weakness(key)] == []


#: RFC 8463, appendix A.3: the other signature of the same sample, and appendix A.2: its key
ED25519 = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
"""
ED25519_KEY = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.mark.parametrize(
    ("key", "change", "fault"),
    [
        (ED25519_KEY, b"Is dinner", ""),
        (ED25519_KEY, b"Is lunch", "a signed header was changed"),
        (KEY, b"Is dinner", "not of the kind that signed"),
        ("v=DKIM1; k=ed25519; p=AAAA", b"Is dinner", "cannot be read"),
    ],
)
def test_an_ed25519_signature_is_verified_too(key: str, change: bytes, fault: str) -> None:
    """D-2: RFC 8463's own sample."""
    raw = ED25519 + SIGNED[SIGNED.index(b"From: Joe") :].replace(b"Is dinner", change)
    (found,) = signatures_of(raw, lambda _name: [key])
    assert found.fault is not None
    assert fault in found.fault
    assert bool(fault) == bool(found.fault)

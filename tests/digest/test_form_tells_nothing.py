"""The form and the change of address answer everybody alike: no word, header or time tells who is known.

Each address is asked for once, in random order, from a network of its own, while the postroom really
answers in the background. PROVE_FORM says how many of each kind there are, PROVE_SEED their order.
"""

import itertools
import os
import random
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from statistics import median

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from digest.database import reading, writing
from digest.models import Outgoing
from subscribers.address import parse
from subscribers.arrivals import add, ask
from subscribers.departures import bar
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.lifecycle import unsubscribe
from subscribers.models import Cause, Wish
from subscribers.roll import find
from tests.digest.website import (
    EDITOR,
    NOW,
    SECRET,
    Answer,
    Mailroom,
    Site,
    answered,
    asking,
    preferences,
    publication,
    serving,
)

FULL = "PROVE_FORM" in os.environ
EACH = int(os.environ.get("PROVE_FORM", "15"))
SEED = int(os.environ.get("PROVE_SEED", "2015"))
#: the bars of U-9; with small counts, on a machine that does other things, only a gross difference fails
APART = 3.0 if FULL else 30.0  # milliseconds between two medians
UNLIKE = 1e-3 if FULL else 1e-5  # a difference by chance that is less likely than this is none by chance
#: seconds until all mails must be out, once the last was asked for
PATIENCE = 60 + EACH
PAUSE = 0.02  # seconds between two visitors at most
VISITOR = Evidence(origin=Origin.PAGE, at=NOW, wording="asked before")


def known(session: Session, address: str) -> None:
    add(session, Newcomer(parse(address)), EDITOR, SECRET)


def left(session: Session, address: str) -> None:
    known(session, address)
    found = find(session, parse(address).key)
    assert found is not None
    assert found.id is not None
    unsubscribe(session, found.id, VISITOR)


def barred(cause: Cause) -> Callable[[Session, str], None]:
    def act(session: Session, address: str) -> None:
        known(session, address)
        bar(session, parse(address), cause, EDITOR, SECRET)

    return act


#: what the store knows of an address -> how it came to that, and which mail its owner gets
STATES: Mapping[str, tuple[Callable[[Session, str], object], str]] = {
    "new": (lambda _session, _address: None, "confirm"),
    "pending": (lambda session, address: ask(session, parse(address), VISITOR, SECRET), "confirm"),
    "active": (known, "manage"),
    "unsubscribed": (left, "confirm"),
    "bounced": (barred(Cause.BOUNCED), "confirm"),
    "suppressed": (barred(Cause.MANUAL), "none"),
}
TARGETS = {
    "free": (STATES["new"][0], "move"),
    "taken": (known, "move"),
    "suppressed": (barred(Cause.MANUAL), "none"),
}
SUBJECTS = {
    "Please confirm: Slow & Water": "confirm",
    "Your subscription to Slow & Water": "manage",
    "Please confirm your new address: Slow & Water": "move",
}


def addresses(engine: Engine, kinds: Mapping[str, tuple[Callable[[Session, str], object], str]]) -> list[str]:
    """As many of each kind as are asked for, known to the store as their kind says, in random order."""
    # All names are equally long, and none tells its kind by its place. In each round every kind has its turn:
    # what else the machine does changes over minutes, and is no difference between kinds.
    chance = random.Random(SEED)
    names = [kind for _ in range(EACH) for kind in chance.sample(sorted(kinds), len(kinds))]
    with writing(engine) as session:
        for number, kind in enumerate(names):
            kinds[kind][0](session, address_of(number))
    return names


def address_of(number: int) -> str:
    return f"reader{number:05}@example.org"


def ask_all(names: Sequence[str], ask_for: Callable[[str, str], Answer]) -> dict[str, list[Answer]]:
    """What each kind was answered; every visitor comes from a network of their own."""
    chance = random.Random(SEED + 1)
    answers: dict[str, list[Answer]] = {name: [] for name in sorted(set(names))}
    networks = ip_network("10.0.0.0/8").subnets(new_prefix=24)
    ask_for("before.all@example.org", "192.0.2.1")
    for number, (kind, network) in enumerate(zip(names, networks, strict=False)):
        answers[kind].append(ask_for(address_of(number), str(network[1])))
        time.sleep(chance.uniform(0, PAUSE))
    return answers


def told(answer: Answer) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
    """All that came back but the date."""
    headers = tuple(item for item in answer.headers.items() if item[0] != "date")
    return answer.status, headers, answer.body


def nothing_tells(answers: Mapping[str, Sequence[Answer]], what: str) -> None:
    """One answer for all, in times that no test tells apart; says what was measured."""
    from scipy.stats import ks_2samp  # here, for every worker that collects tests would wait a second for it

    # The nonce of nothing: the page of one visitor is that of every other, byte for byte.
    assert len({told(answer) for given in answers.values() for answer in given}) == 1
    assert "set-cookie" not in next(iter(answers.values()))[0].headers
    times = {kind: [1000 * answer.seconds for answer in given] for kind, given in answers.items()}
    pairs = list(itertools.combinations(sorted(times), 2))
    apart = max(abs(median(times[one]) - median(times[other])) for one, other in pairs)
    with warnings.catch_warnings():
        # Where two samples are nearly alike it rounds to more than 1, and says that it takes another way.
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful", RuntimeWarning)
        likely = holm([float(ks_2samp(times[one], times[other]).pvalue) for one, other in pairs])
    medians = ", ".join(f"{kind} {median(given):.2f}" for kind, given in times.items())
    sys.stdout.write(
        f"{what}, {EACH} each, seed {SEED}: medians in ms: {medians}; at most {apart:.2f} apart;"
        f" least p of {len(pairs)} pairs after Holm {min(likely):.3f}\n"
    )
    assert apart < APART
    assert min(likely) > UNLIKE


def holm(chances: Sequence[float]) -> list[float]:
    """The p-values as if each were the only one (Holm, 1979)."""
    ordered = sorted(chances)
    worst = itertools.accumulate(
        (min(1.0, p * (len(ordered) - rank)) for rank, p in enumerate(ordered)), func=max
    )
    return list(worst)


def answered_all(site: Site, room: Mailroom) -> None:
    """The background is through: nothing waits any more."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with reading(site.engine) as session:
            waits = [session.exec(select(table.id).limit(1)).first() for table in (Wish, Outgoing)]
        if waits == [None, None]:
            return
        time.sleep(0.1)
    raise AssertionError("the mails did not go out")


def mails_of(room: Mailroom, names: Sequence[str]) -> dict[str, Counter[str]]:
    """Which mails each kind of address got; "none" for those that got none."""
    got = {mail["To"]: SUBJECTS[mail["Subject"]] for mail in room.mails()}
    found: dict[str, Counter[str]] = {name: Counter() for name in set(names)}
    for number, kind in enumerate(names):
        found[kind][got.get(address_of(number), "none")] += 1
    return found


LOOPBACK = [ip_network("127.0.0.0/8")]


def test_the_form_tells_nobody_who_is_on_the_list(engine: Engine, tmp_path: Path) -> None:
    """U-9, T-6, S-9: six states, one answer; and behind it each got the mail that is right for it."""
    names = addresses(engine, STATES)
    with (
        answered(engine, publication(), lambda: NOW, hourly=10 * EACH + 10) as room,
        serving(engine, tmp_path / "spool", publication(), LOOPBACK, room.work) as site,
    ):
        answers = ask_all(
            names, lambda address, ip: site.post("/subscribe", asking(address), X_Forwarded_For=ip)
        )
        assert {answer.status for given in answers.values() for answer in given} == {200}
        answered_all(site, room)
        mails = mails_of(room, names)
    assert mails == {state: Counter({mail: EACH}) for state, (_, mail) in STATES.items()}
    nothing_tells(answers, f"subscribe, {engine.dialect.name}")


def test_the_change_of_address_tells_nobody_who_is_on_the_list(engine: Engine, tmp_path: Path) -> None:
    """U-9, U-10, S-9: whether the new address is free, somebody's, or never to be written to."""
    names = addresses(engine, TARGETS)
    with (
        answered(engine, publication(), lambda: NOW, hourly=10 * EACH + 10) as room,
        serving(engine, tmp_path / "spool", publication(), LOOPBACK, room.work) as site,
    ):
        form = f"{preferences(site.person())}?act=move"
        answers = ask_all(
            names, lambda address, ip: site.post(form, f"email={address}".encode(), X_Forwarded_For=ip)
        )
        assert {answer.status for given in answers.values() for answer in given} == {200}
        answered_all(site, room)
        mails = mails_of(room, names)
    assert mails == {target: Counter({mail: EACH}) for target, (_, mail) in TARGETS.items()}
    nothing_tells(answers, f"change of address, {engine.dialect.name}")


def test_holm_takes_the_least_times_all_and_the_largest_times_one() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert ip_address("10.0.0.1") in next(ip_network("10.0.0.0/8").subnets(new_prefix=24))

"""What the lint says of letters made of what real sites wrote: every file that `posts import` reads."""

import csv
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select

from digest.collect import collect, source_at
from digest.issue.compose import compose
from digest.letter.theme import Theme
from digest.models import Dated, Post
from digest.month import Month
from digest.press import Press, Proof
from digest.sources.reading import read_file
from subscribers.tokens import Keyring
from tests.conftest import SHARED
from tests.digest.conftest import publication

FEEDS = SHARED / "feeds"
NOW = datetime(2026, 11, 1, tzinfo=UTC)
#: of each file the fullest month; every month where claims are proved
EVERY_MONTH = "PROVE_EXAMPLES" in os.environ


def files() -> list[tuple[str, str | None]]:
    """The files `posts import` reads, and the pages they come from where links are relative."""
    manifest = FEEDS / "MANIFEST.tsv"
    if not manifest.is_file():
        return []
    with manifest.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["when"] == "first"]
    return [(row["file"], row["args"].removeprefix("--url").strip() or None) for row in rows]


FILES = files()


def proofs(engine: Engine, name: str, base: str | None) -> Iterator[Proof]:
    """The letters of the months in the file *name*; what has no date is of one month."""
    of = publication(name="Everything", url="https://slowwater.example.org/", language="en")
    press = Press(
        publication=of,
        theme=Theme(),
        templates_dir=None,
        excerpt_length=280,
        max_posts=30,
        first_number=1,
        keyring=Keyring([b"k" * 32]),
        secret=b"k" * 32,
        bounce_domain=None,
    )
    with Session(engine) as session:
        document = read_file(FEEDS / name, base=base, zone=of.zone, now=NOW)
        collect(session, source_at(session, f"file:{name}"), document, NOW)
        months: Counter[str] = Counter()
        for post in session.exec(select(Post)).all():
            if post.dated is Dated.NONE:
                post.dated, post.month = Dated.MONTH, "2018-11"
                session.add(post)
            at = post.published_at
            months[post.month or at.astimezone(of.zone).strftime("%Y-%m") if at or post.month else ""] += 1
        session.flush()
        for month, _count in months.most_common(None if EVERY_MONTH else 1):
            issue = compose(session, Month.parse(month, of.zone), NOW, 1).issue
            yield press.proof(session, issue, NOW)


@pytest.mark.skipif(not FILES, reason="../shared/data is not here")
@pytest.mark.parametrize(("name", "base"), FILES, ids=[name for name, _ in FILES])
def test_a_letter_of_what_a_site_wrote_has_no_error(
    name: str, base: str | None, sqlite_engine: Engine
) -> None:
    found = [proof.errors for proof in proofs(sqlite_engine, name, base)]

    assert found
    assert [errors for errors in found if errors] == []

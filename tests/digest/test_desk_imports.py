"""What imports came to stays to be read at the desk, without an address in it."""

import re
from functools import partial
from pathlib import Path

from sqlmodel import select

from digest.database import reading, writing
from digest.web.desk.people import SAID
from subscribers.exchange import apply, dry_run
from subscribers.models import Imported
from subscribers.report import Terms, Verdict
from tests.digest.desk import Visitor, editor, open_desk
from tests.digest.website import NOW, SECRET

#: as Mailchimp exports those who are subscribed, and one who is not any more
ROWS = "Email Address,First Name\nanna@example.org,Anna\nzoe@example.org,Zoe\nzoe@example.org,Z\nnobody\n"
TERMS = Terms(ground="members of the <society>")


def test_an_import_is_told_with_what_was_taken_and_what_was_left_out(tmp_path: Path) -> None:
    """By the numbers of its report, which add up to the rows of the file."""
    file = tmp_path / "members.csv"
    file.write_text(ROWS)
    with open_desk(tmp_path / "digest.db") as site:
        ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
        assert "Nothing has been imported yet" in ben.get("/desk/subscribers/imports").text
        site.person("zoe")
        promised = dry_run(partial(reading, site.engine), file, TERMS, SECRET)
        assert "Nothing has been imported yet" in ben.get("/desk/subscribers/imports").text
        apply(partial(writing, site.engine), file, TERMS, promised.hash, SECRET, NOW)
        shown = ben.get("/desk/subscribers/imports").text
        for words in ("members.csv", "4 rows", promised.hash, "members of the &lt;society&gt;"):
            assert words in shown
        assert re.findall(r'"number">(\d+)</span> ([^<]*)</li>', shown) == [
            ("1", "taken on"),
            ("1", "on the list already"),
            ("1", "left out: another row has the same mailbox"),
            ("1", "left out: no address"),
        ]
        with reading(site.engine) as session:
            kept = session.exec(select(Imported)).one().model_dump_json()
        assert "@" not in kept
        assert "what was imported" in ben.get("/desk/subscribers").text


def test_everything_that_may_become_of_a_row_has_its_words() -> None:
    assert list(SAID) == list(Verdict)


def test_somebody_is_found_by_a_part_or_by_the_whole_address(tmp_path: Path) -> None:
    with open_desk(tmp_path / "digest.db") as site:
        ben = Visitor.logged_in(site, editor(site, "ben@example.org"))
        for name in ("anna", "joanna", "zoe"):
            site.person(name)

        def found(asked: str) -> list[str]:
            shown = ben.get(f"/desk/subscribers?{asked}").text
            return re.findall(r'dir="ltr">(\w+)@example.org</a>', shown)

        assert found("q=anna") == found("q=anna&state=active") == ["joanna", "anna"]
        assert found("q=ANNA@example.org") == ["anna"]
        assert found("q=anna&state=bounced") == found("state=bounced") == []
        assert found("state=active") == ["zoe", "joanna", "anna"]

"""The life of a subscriber by the commands: asked, confirmed, written to, traced, shown, erased."""

import json
import re
import stat
import time
from pathlib import Path

import pytest
from dotenv import dotenv_values

from digest.database import open_engine
from digest.settings import load
from digest.wiring import pages_of
from subscribers.tokens import Keyring, Purpose
from tests.conftest import ROOT
from tests.digest.website import Site, running
from tests.journeys.conftest import Mailbox, Publication

WHO = "Zenobia.Quux@example.org"


def found_in(folder: Path, *traces: str) -> list[str]:
    """The files in which `grep -a -i` finds one of *traces*."""
    return [
        file.name
        for file in sorted(folder.rglob("*"))
        if file.is_file() and any(one.lower().encode() in file.read_bytes().lower() for one in traces)
    ]


def test_after_erase_no_file_of_the_publication_knows_the_address(
    approved: Publication, mailbox: Mailbox
) -> None:
    """P-3, bar 5: database, journals, spool, settings, a new export; and "never again" still holds."""
    digest, folder = approved, approved.folder
    digest("subscribers", "add", WHO, "--name", "Zenobia Qx", "--ground", "asked by Zenobia at the counter")
    mailbox.answers[WHO] = f"550 5.1.1 <{WHO}>: no such user here"
    digest("dispatch", "2015-09")
    assert "no such user here" in digest("trace", WHO).out
    assert found_in(folder, "zenobia", "quux") != []
    assert digest("subscribers", "erase", WHO).out == "erased\n"
    assert digest("subscribers", "export", "--out", str(folder / "people.csv")).code == 0
    assert found_in(folder, "zenobia", "quux") == []
    story = digest("trace", WHO, "--json").json
    assert (story["state"], story["suppressed"]) == (None, True)
    audit = digest("audit", "2015-09", "--json").json
    assert (audit["frozen"], audit["rejected"], audit["balanced"]) == (3, 1, True)
    again = digest("subscribers", "add", WHO, expect=1)
    assert "suppressed" in again.err
    assert "nobody has this address" in digest("subscribers", "erase", WHO).out


def test_without_the_key_of_never_again_nothing_is_imported_or_sent(
    approved: Publication, mailbox: Mailbox
) -> None:
    """P-1: one line that says what to do, exit 2, and nothing happens."""
    digest = approved
    digest.set(SUPPRESSION_KEY="")
    people = digest.folder / "people.csv"
    people.write_text("email\nc@example.org\n")
    for words in (
        ("dispatch", "2015-09"),
        ("subscribers", "import", str(people)),
        ("subscribers", "add", "c@d.example"),
    ):
        answer = digest(*words, expect=2)
        assert "DIGEST_SUPPRESSION_KEY: is missing" in answer.err
        assert answer.err.count("\n") == 1
    assert mailbox.letters == []


def test_trace_tells_the_whole_story(approved: Publication, mailbox: Mailbox) -> None:
    """Asked, confirmed, frozen into which issue, what the relay said, left, why."""
    digest = approved
    mailbox.answers["a@example.org"] = "550 5.1.1 no such user"
    digest("dispatch", "2015-09")
    digest("subscribers", "unsubscribe", "a@example.org")
    digest("subscribers", "suppress", "a@example.org", "--reason", "asked by telephone")
    lines = digest("trace", "a@example.org").out.splitlines()
    told = [re.sub(r"^[\d :-]+UTC\s+", "", line) for line in lines]
    assert told == [
        "a@example.org: unsubscribed, suppressed",
        "confirmed (editor): asked for it; the editor vouches",
        "in the audience of 2015-09",
        "issue of 2015-09: rejected: 550 5.1.1 no such user",
        "withdrawn (editor): asked an editor",
        "suppressed, manual: asked by telephone",
    ]
    kinds = [one["kind"] for one in digest("trace", "a@example.org", "--json").json["events"]]
    assert kinds == ["consent", "frozen", "delivery", "consent", "suppression"]


def test_one_persons_data_is_a_document_and_a_page(publication: Publication) -> None:
    """P-5: the same by command as by the person's own link."""
    digest = publication
    told = digest("subscribers", "show", "a@example.org", "--json").json
    assert (told["address"], told["state"], len(told["events"])) == ("a@example.org", "active", 1)
    page = digest.folder / "a.html"
    digest("subscribers", "show", "a@example.org", "--html", str(page))
    assert "<h1>What is kept of you</h1>" in page.read_text()
    assert "a@example.org" in page.read_text()
    assert stat.S_IMODE(page.stat().st_mode) == 0o600


def test_links_made_under_five_older_keys_all_unsubscribe(publication: Publication) -> None:
    """T-4, S-16: each rotation puts a fresh key in front and keeps the file closed."""
    path = publication.folder / ".env"
    tokens = []
    for number in range(5):
        keys = load(path).keys
        tokens.append(Keyring(keys).sign(Purpose.ONE_CLICK, number))
        said = publication("keys", "rotate")
        assert f"{number + 1} older" in said.out
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ring = Keyring(load(path).keys)
    assert len(load(path).keys) == 6
    assert [ring.read(Purpose.ONE_CLICK, token) is not None for token in tokens] == [True] * 5
    assert Keyring(load(path).keys[:1]).read(Purpose.ONE_CLICK, tokens[-1]) is None
    assert [one.name for one in publication.folder.glob(".env*")] == [".env"]


@pytest.mark.parametrize(
    ("line", "refusal"), [("#DIGEST_SECRET_KEYS=", "has no line"), ("DIGEST_SECRET_KEYS=${OTHER}", "by hand")]
)
def test_keys_that_stand_elsewhere_are_not_touched(
    publication: Publication, monkeypatch: pytest.MonkeyPatch, line: str, refusal: str
) -> None:
    path = publication.folder / ".env"
    keys = dotenv_values(path)["DIGEST_SECRET_KEYS"]
    assert keys is not None
    monkeypatch.setenv("DIGEST_SECRET_KEYS", keys)
    text = path.read_text().replace(f"DIGEST_SECRET_KEYS={keys}", line)
    path.write_text(text)
    assert refusal in publication("keys", "rotate", expect=1).err
    assert path.read_text() == text


def test_keys_are_not_rotated_while_letters_are_on_their_way(approved: Publication, mailbox: Mailbox) -> None:
    """R-4: a letter in doubt is sent again with the same bytes, and its links are among them."""
    mailbox.answers["a@example.org"] = "451 4.3.0 later"
    approved("dispatch", "2015-09")
    assert "is being sent" in approved("keys", "rotate", expect=1).err
    mailbox.answers.clear()
    approved("resolve", "2015-09", "--accepted", "a@example.org", expect=None)


def test_the_tick_answers_what_was_asked_for_on_the_pages(publication: Publication, mailbox: Mailbox) -> None:
    """Without a web server at work just then, cron sends the mail."""
    settings = load(publication.folder / ".env")
    engine = open_engine(settings.database_url)
    site = Site(engine, 0, publication.folder / "spool")
    with running(pages_of(settings, engine), site):
        form = site.get("/subscribe").text
        field = re.search(r'name="at" value="([\w-]+)"', form)
        assert field is not None
        time.sleep(2.1)
        body = f"email=c%40example.org&website=&at={field[1]}".encode()
        assert site.post("/subscribe", body).status == 200
    publication("run", expect=None)
    assert mailbox.recipients() == ["c@example.org"]
    engine.dispose()


def test_every_new_setting_and_command_is_told_of() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("subscribers erase", "keys rotate"):
        assert command in readme
    assert "DIGEST_SUBSCRIBE_RATE" in (ROOT / ".env.example").read_text(encoding="utf-8")


def test_a_dry_run_of_a_strangers_story_is_empty(publication: Publication) -> None:
    story = json.loads(publication("trace", "nobody@example.org", "--json").out)
    assert story == {
        "address": "nobody@example.org",
        "name": "",
        "state": None,
        "since": None,
        "suppressed": False,
        "events": [],
    }

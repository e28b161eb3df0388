"""A month by the commands an editor types, from a feed to a mailbox."""

import stat
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from .conftest import SEPTEMBER, Mailbox, Publication

pytestmark = pytest.mark.slow


def test_a_month_in_six_commands(publication: Publication, mailbox: Mailbox, tmp_path: Path) -> None:
    digest = publication
    imported = digest("posts", "import", digest.feed(*SEPTEMBER), "--json").json
    assert (imported["seen"], imported["new"], imported["undated"]) == (5, 5, 0)

    built = digest("issue", "build", "2015-09", "--json").json
    assert built["window"] == {
        "start": "2015-09-01T00:00:00+03:00",
        "end": "2015-10-01T00:00:00+03:00",
        "timezone": "Europe/Kyiv",
    }
    assert [item["title"] for item in built["items"]] == ["The third", "The second", "The first"]

    said = {
        one["title"]: one["verdict"] for one in digest("issue", "explain", "2015-09", "--json").json["posts"]
    }
    assert said == {
        "Too early": "out",
        "The first": "in",
        "The second": "in",
        "The third": "in",
        "Too late": "out",
    }

    digest(
        "issue", "edit", "2015-09", "--pin", "3", "--item", "1", "--title", "My own", "--intro", "Hello *you*"
    )
    shown = digest("issue", "show", "2015-09", "--json").json
    assert [(item["position"], item["pinned"], item["title"]) for item in shown["items"]] == [
        (1, True, "The first"),
        (2, False, "My own"),
        (3, False, "The second"),
    ]

    digest("issue", "preview", "2015-09", "--out", str(tmp_path / "preview"))
    assert sorted(one.name for one in (tmp_path / "preview").iterdir()) == [
        "index.html",
        "message.eml",
        "message.html",
        "message.txt",
    ]
    assert digest("issue", "check", "2015-09", "--json").json["errors"] == []

    approved = digest("issue", "approve", "2015-09", "--by", "the desk")
    assert "2 would get it now" in approved.out
    assert "it is due, so that the next `digest run` sends it" in approved.out
    assert "nobody is to get it yet" in digest("audit", "2015-09").out
    fingerprint = digest("issue", "show", "2015-09", "--json").json["fingerprint"]
    assert fingerprint in approved.out

    tally = digest("dispatch", "2015-09", "--json").json
    assert tally == {
        "frozen": 2,
        "queued": 0,
        "sending": 0,
        "accepted": 2,
        "rejected": 0,
        "deferred": 0,
        "in_doubt": 0,
        "held": 0,
        "skipped": {},
        "balanced": True,
    }
    assert mailbox.recipients() == ["a@example.org", "b@example.org"]
    assert digest("audit", "2015-09", "--json").json == tally
    assert digest("issue", "show", "2015-09", "--json").json["status"] == "sent"


def test_what_was_approved_is_what_arrives_whatever_changed_since(
    approved: Publication, mailbox: Mailbox
) -> None:
    """F-29."""
    digest = approved
    changed = [(slug, title.upper(), date) for slug, title, date in SEPTEMBER]
    assert digest("posts", "import", digest.feed(*changed), "--json").json["changed"] == 5
    shown = digest("issue", "show", "2015-09", "--json").json
    assert set(shown["drift"]) >= {"html", "text"}
    digest("dispatch", "2015-09")
    text = message_from_bytes(mailbox.letters[0][1], policy=default).get_body(("plain",)).get_content()
    assert "The first" in text
    assert "THE FIRST" not in text


def test_a_second_dispatch_sends_nothing_and_says_so(approved: Publication, mailbox: Mailbox) -> None:
    digest = approved
    digest("dispatch", "2015-09")
    assert "it is sent" in digest("dispatch", "2015-09").out
    assert len(mailbox.letters) == 2


def test_a_test_copy_is_marked_and_reaches_only_who_is_named(
    publication: Publication, mailbox: Mailbox
) -> None:
    """H-7"""
    digest = publication
    digest("posts", "import", digest.feed(*SEPTEMBER))
    digest("issue", "build", "2015-09")
    digest("issue", "test", "2015-09", "--to", "editor@example.net")
    assert mailbox.recipients() == ["editor@example.net"]
    message = message_from_bytes(mailbox.letters[0][1], policy=default)
    assert message["Subject"].startswith("[Test] ")
    assert digest("issue", "show", "2015-09", "--json").json["status"] == "draft"


def test_a_refused_reader_is_rejected_and_the_others_get_theirs(
    approved: Publication, mailbox: Mailbox
) -> None:
    """W-5"""
    digest = approved
    mailbox.answers["a@example.org"] = "550 5.1.1 no such mailbox here"
    tally = digest("dispatch", "2015-09", "--json").json
    assert (tally["accepted"], tally["rejected"], tally["balanced"]) == (1, 1, True)
    story = digest("trace", "a@example.org", "--json").json
    assert story["state"] == "active"
    assert [event["what"] for event in story["events"]][-1].startswith("issue of 2015-09: rejected: 550")


def test_a_deferred_reader_waits_and_gets_it_later(approved: Publication, mailbox: Mailbox) -> None:
    """W-6"""
    digest = approved
    mailbox.answers["b@example.org"] = "451 4.7.1 come back later"
    said = digest("dispatch", "2015-09")
    assert "1 deferred" in said.out
    assert "the next letter is due" in said.out
    tally = digest("audit", "2015-09", "--json").json
    assert (tally["accepted"], tally["deferred"], tally["balanced"]) == (1, 1, True)


def test_who_leaves_after_the_approval_gets_nothing(approved: Publication, mailbox: Mailbox) -> None:
    digest = approved
    digest("subscribers", "unsubscribe", "a@example.org")
    digest("subscribers", "suppress", "b@example.org", "--reason", "asked by letter")
    tally = digest("dispatch", "2015-09", "--json").json
    assert tally["frozen"] == 0
    assert mailbox.letters == []


def test_a_relay_that_refuses_us_stops_the_run_and_loses_nobody(
    approved: Publication, mailbox: Mailbox
) -> None:
    """R-9, W-5"""
    digest = approved
    digest.set(SMTP_USERNAME="letters", SMTP_PASSWORD="wrong")
    stopped = digest("dispatch", "2015-09", expect=3)
    assert len(stopped.err.strip().splitlines()) == 1
    tally = digest("audit", "2015-09", "--json").json
    assert (tally["queued"], tally["accepted"], tally["balanced"]) == (2, 0, True)
    digest.set(SMTP_USERNAME="", SMTP_PASSWORD="")
    digest("dispatch", "2015-09")
    assert mailbox.recipients() == ["a@example.org", "b@example.org"]


def test_letters_to_the_world_need_pages_on_https(approved: Publication) -> None:
    digest = approved
    digest.set(PUBLICATION_URL="http://127.0.0.1:8000", BASE_URL="http://127.0.0.1:8000")
    digest("issue", "approve", "2015-09")
    digest.set(SMTP_HOST="relay.example.org", SMTP_SECURITY="starttls")
    refused = digest("dispatch", "2015-09", expect=1)
    assert "DIGEST_BASE_URL" in refused.err
    assert digest("audit", "2015-09", "--json").json["frozen"] == 0


def test_an_issue_without_a_postal_address_is_not_approved(publication: Publication) -> None:
    """H-13"""
    digest = publication
    digest.set(POSTAL_ADDRESS="")
    digest("posts", "import", digest.feed(*SEPTEMBER))
    digest("issue", "build", "2015-09")
    assert digest("issue", "check", "2015-09", "--json", expect=4).json["errors"]
    assert "DIGEST_POSTAL_ADDRESS" in digest("issue", "approve", "2015-09", expect=1).err


def test_people_are_imported_only_with_the_hash_of_the_report(
    publication: Publication, tmp_path: Path
) -> None:
    """I-2"""
    digest = publication
    people = tmp_path / "people.csv"
    people.write_text("Email,Name\nc@example.org,C\na@example.org,A\nnot an address,\nc@example.org,again\n")
    report = digest("subscribers", "import", str(people), "--json").json
    assert report["rows"] == 4 == sum(report["counts"].values())
    assert len(digest("subscribers", "list", "--json").json) == 2
    assert digest("subscribers", "import", str(people), "--apply", "0" * 16, expect=1).err
    digest("subscribers", "import", str(people), "--apply", report["hash"])
    assert [one["address"] for one in digest("subscribers", "list", "--json").json] == [
        "a@example.org",
        "b@example.org",
        "c@example.org",
    ]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["issue", "show", "2015-09"], 1),
        (["issue", "build", "2015-9"], 2),
        (["posts", "import", "nowhere.xml"], 1),
        (["posts", "date", "nobody", "2015-09-05"], 2),
        (["subscribers", "add", "not an address"], 1),
        (["subscribers", "list", "--state", "bogus"], 2),
        (["issue", "test", "2015-09", "--to", "garbage"], 1),
        (["trace", "garbage"], 1),
        (["issue", "build", "2999-01"], 1),
        (["posts", "import", "."], 1),
        (["dispatch", "2015-09"], 1),
        (["audit", "2015-09"], 1),
        (["nonsense"], 2),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    publication: Publication, words: list[str], code: int
) -> None:
    answer = publication(*words, expect=code)
    assert "Traceback" not in answer.err
    if words != ["nonsense"]:  # typer's own box
        assert len(answer.err.strip().splitlines()) == 1


def test_init_never_overwrites_and_keeps_its_files_to_itself(publication: Publication) -> None:
    """S-16"""
    digest = publication
    before = (digest.folder / ".env").read_bytes()
    assert "stays as it is" in digest("init").out
    assert (digest.folder / ".env").read_bytes() == before
    for name in (".env", "digest.db"):
        assert stat.S_IMODE((digest.folder / name).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "words",
    [
        ["--pin", "2", "--unpin"],
        ["--drop", "1", "--pin", "1"],
        ["--drop", "1", "--order", "2,1"],
        ["--title", "x"],
        ["--order", "x"],
        [],
    ],
)
def test_an_edit_that_contradicts_itself_changes_nothing(publication: Publication, words: list[str]) -> None:
    digest = publication
    digest("posts", "import", digest.feed(*SEPTEMBER))
    before = digest("issue", "build", "2015-09", "--json").json
    digest("issue", "edit", "2015-09", *words, expect=2)
    assert digest("issue", "show", "2015-09", "--json").json["items"] == before["items"]


def test_a_damaged_store_is_one_line(publication: Publication) -> None:
    (publication.folder / "digest.db").write_bytes(b"garbage" * 1000)
    for leftover in publication.folder.glob("digest.db-*"):
        leftover.unlink()
    answer = publication("subscribers", "list", expect=1)
    assert "DIGEST_DATABASE_URL" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_pages_on_a_port_that_is_taken_say_so(publication: Publication, relay: int) -> None:
    answer = publication("serve", "--port", str(relay), expect=1)
    assert "--port" in answer.err
    assert answer.out == ""


def test_what_is_listed_into_a_pipe_is_one_line_a_post(publication: Publication) -> None:
    long = "a" * 300
    publication("posts", "import", publication.feed((long, "The first", "Sat, 05 Sep 2015 10:00:00 +0300")))
    assert publication("posts", "list").out == f"2015-09-05 10:00\tThe first\t{long}\n"

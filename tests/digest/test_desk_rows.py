"""How each item stands in the letter, as the desk shows it; chosen by hand, and cut for the letter's size."""

import re
from pathlib import Path

from digest.accounts.models import Role
from digest.database import reading
from digest.issue.compose import issue_of, items_of
from digest.letter.budget import Form
from digest.models import Item, Post
from digest.proofs import Proofs
from digest.web.desk.rows import counted, rows_of
from tests.digest.conftest import card, page_with
from tests.digest.desk import Visitor, draft, editor, open_desk, press_of
from tests.digest.test_desk_issue import HERE, MONTH, Room, room
from tests.digest.website import NOW, publication

__all__ = ["room"]


def excerpts(room: Room) -> dict[str, str | None]:
    with reading(room.site.engine) as session:
        return {post.title: item.excerpt for item, post in items_of(session, issue_of(session, MONTH))}


def row_of(shown: str, post: int) -> str:
    """The HTML of one item."""
    return shown.partition(f'id="post-{post}"')[2].partition("</li>")[0]


def test_an_item_is_shown_by_its_title_and_with_its_excerpt_again(room: Room) -> None:
    one, two = room.posts[:2]
    room.act("item", post=two, title="Post 2", excerpt="My own words.")
    answer = room.act("brief", post=two)
    assert room.titles() == ["Post 1", "Post 3", "Post 4", "Post 2"]
    shown = room.ben.get(answer.headers["location"]).text
    assert "Saved: <bdi>“Post 2” is shown by its title only</bdi>" in shown
    assert "In the letter: 3 whole, 1 title only." in shown
    assert '<span class="state as-title">title only</span>' in row_of(shown, two)
    assert "My own words." not in row_of(shown, two)
    letter = room.ben.get(f"{HERE}/letter").text
    assert "Post 2" in letter
    assert "My own words" not in letter
    # A change of its title is none of its excerpt, which is empty because there is none.
    assert 'name="brief" value="1"' in row_of(shown, two)
    room.act("item", post=two, title="Another", excerpt="", brief=1)
    assert excerpts(room)["Post 2"] == ""
    # It stays behind the others wherever it is moved, and it is not pinned.
    assert re.findall(r'value="(\w+)" aria', row_of(shown, two)) == ["full", "drop"]
    room.act("move", post=two, to=1)
    room.act("down", post=room.posts[3])
    assert room.titles() == ["Post 1", "Post 3", "Post 4", "Another"]
    room.act("full", post=two)
    assert excerpts(room)["Post 2"] is None
    room.act("brief", post=one)
    room.act("item", post=one, title="Post 1", excerpt="Words after all.", brief=1)
    assert excerpts(room)["Post 1"] == "Words after all."


def test_title_only_is_taken_back_to_the_editors_own_words(room: Room) -> None:
    one = room.posts[0]
    room.act("item", post=one, title="Post 1", excerpt="My own words.")
    room.act("brief", post=one)
    shown = room.ben.get(HERE).text
    (step,) = re.findall(r'name="change" value="(\d+)"><button[^>]* title="“Post 1” is shown by', shown)
    room.act("undo", change=step)
    assert excerpts(room)["Post 1"] == "My own words."
    assert "took back: “Post 1” is shown by its title only" in room.ben.get(HERE).text


def test_emptying_words_that_became_a_title_meanwhile_is_told(room: Room) -> None:
    """The form was shown with an excerpt: emptied, it asks for the post's own, and says whom it overtakes."""
    one = room.posts[0]
    room.act("item", post=one, title="Post 1", excerpt="My own words.")
    seen = room.version()
    room.act("brief", post=one)
    answer = room.act("item", who=room.anna, version=seen, post=one, title="Post 1", excerpt="")
    assert answer.status == 409
    assert "None: it is shown by its title only." in answer.text
    room.act("item", who=room.anna, post=one, title="Post 1", excerpt="")
    assert excerpts(room)["Post 1"] is None


def test_what_was_cut_for_the_letters_size_is_told_at_each_item(tmp_path: Path) -> None:
    with open_desk(tmp_path / "digest.db") as site:
        posts = draft(site, 60)
        ben = Visitor.logged_in(site, editor(site, "ben@example.org", Role.EDITOR))
        shown = ben.get(HERE).text
        # Before anybody has looked at the letter, only what was asked for is known.
        assert "In the letter: 30 whole, 30 title only." in shown
        assert "title only, as the posts before it are enough" in row_of(shown, posts[59])
        shown = ben.get(f"{HERE}?look=1").text
        (told,) = re.findall(r"In the letter: ([^<]*)\.<", shown)
        assert sum(map(int, re.findall(r"\d+", told))) == 60
        cut = ben.get("/desk/issues/2015-09/letter?part=text").text
        assert "Post 60" in cut


def test_each_form_is_told_with_its_reason() -> None:
    posts = [Post(**{"id": one, "title": str(one)}) for one in range(5)]
    briefs = [one == 4 for one in range(5)]
    items = [
        Item(issue_id=1, post_id=place, position=place, excerpt="" if brief else None)
        for place, brief in enumerate(briefs)
    ]
    cards = [card(place, excerpt="" if brief else "Long words.") for place, brief in enumerate(briefs)]
    page = page_with(cards, titles_only=2)
    short = card(1, excerpt="Lo…", is_shortened=True)
    fits = page_with([card(0), short, card(2), card(3)], titles_only=2, left_out=1)
    pairs = list(zip(items, posts, strict=True))
    rows = rows_of(pairs, page, fits, [], [])
    assert [(row.form, row.stands) for row in rows] == [
        (Form.WHOLE, ""),
        (Form.SHORTENED, "shortened, or the letter would be too large"),
        (Form.TITLE, "title only, or the letter would be too large"),
        (Form.TITLE, "title only, as the posts before it are enough"),
        (Form.WEB, "on the web page only, or the letter would be too large"),
    ]
    # The letter's words are shown; those that an editor may change stay whole.
    assert [row.shown for row in rows][1:] == ["Lo…", "", "", ""]
    assert rows[1].excerpt == "Long words."
    assert counted(rows) == "1 whole, 1 shortened, 2 title only, 1 on the web page only"
    assert counted(rows_of(pairs[:1], page_with([card(0)]), None, [], [])) == ""
    assert [row.stands for row in rows_of(pairs, page, None, [], [])][3:] == [
        "title only, as the posts before it are enough",
        "title only",
    ]


def test_the_page_waits_for_nobody_elses_letter(room: Room) -> None:
    """While a letter is made, and while its findings are, the room is shown with what is at hand."""
    press = press_of(publication())
    proofs = Proofs(press)
    with reading(room.site.engine) as session:
        issue = issue_of(session, MONTH)
        assert proofs.at_hand(session, issue) is None
        made = proofs.of(session, issue)
        assert proofs.at_hand(session, issue) is None
        findings = proofs.findings(session, issue, made, NOW)
        with proofs._lock, proofs._looking:
            assert proofs.at_hand(session, issue) is made
        assert findings == proofs.findings(session, issue, made, NOW)

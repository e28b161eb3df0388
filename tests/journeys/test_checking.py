"""An editor looks at an issue: what was cut, what it weighs, what the web says of it."""

import threading
from collections.abc import Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.digest.test_online import SVG, png
from tests.journeys.conftest import FEED, ITEM, Publication

MONTH = "2015-09"
PICTURE = "issue: picture of “Reading the river,"
LONG = "The gauge at the old bridge has been read every morning since the mill closed. " * 4


def item(number: int, text: str, picture: str = "") -> str:
    image = escape(f'<img src="{picture}" alt="View {number}" width="600" height="400">') if picture else ""
    return ITEM.format(
        slug=f"post-{number}",
        title=f"Reading the river, part {number}",
        date=f"Sat, 05 Sep 2015 10:{number:02}:00 +0300",
        text=f"{image}{text}",
    )


def fill(digest: Publication, *items: str, site: str = "https://quay.example") -> None:
    path = digest.folder / "feed.xml"
    path.write_text(FEED.format(items="".join(items)).replace("https://quay.example", site))
    digest("posts", "import", str(path))


def items(digest: Publication) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = digest("issue", "show", MONTH, "--json").json["items"]
    return shown


def test_an_editor_sees_what_was_cut_and_can_choose(publication: Publication) -> None:
    digest = publication
    fill(digest, *(item(number, LONG) for number in range(12)))
    # So long that of few posts some do not fit any more: many posts take long.
    (digest.folder / "intro.md").write_text(f"{LONG}\n\n" * 160)
    digest("issue", "build", MONTH)

    edited = digest("issue", "edit", MONTH, "--intro-file", str(digest.folder / "intro.md"))

    assert "title only" in edited.out
    assert "Gmail" in edited.err
    built = digest("issue", "build", MONTH, "--json")
    assert "shown by title only" in built.err
    shown = built.json["items"]
    titles = [one["form"] for one in shown].count("title")
    assert 1 < titles < 10
    assert [one["form"] for one in shown] == ["whole", *["shortened"] * (11 - titles), *["title"] * titles]
    previewed = digest("issue", "preview", MONTH, "--out", str(digest.folder / "preview"))
    assert "shown by title only" in previewed.err
    assert "shown by title only" in (digest.folder / "preview" / "index.html").read_text()

    checked = digest("issue", "check", MONTH, "--json").json
    assert [one["point"] for one in checked["warnings"]] == ["cut", "cut"]
    weighed = checked["bytes"]
    assert sum(piece["bytes"] for piece in weighed["pieces"]) == weighed["html"] <= weighed["html_limit"]
    lead = next(piece for piece in weighed["pieces"] if piece["what"] == "item 1")
    assert lead["title"] == "Reading the river, part 11"
    table = digest("issue", "check", MONTH).out
    assert f"{weighed['html']:,} of 92,160" in table
    assert f"item 1\t{lead['bytes']:,}\tReading the river, part 11" in table

    # What is better whole goes up, and others become titles.
    digest("issue", "edit", MONTH, "--brief", "2,3,4")
    digest("issue", "edit", MONTH, "--order", "9")
    chosen = items(digest)
    assert [one["title"][-2:] for one in chosen[-3:]] == ["10", " 9", " 8"]
    assert {one["form"] for one in chosen[-3:]} == {"title"}
    assert (chosen[0]["title"], chosen[0]["form"]) == ("Reading the river, part 0", "whole")
    # Back again: the excerpt is the post's.
    digest("issue", "edit", MONTH, "--item", "10", "--excerpt", "")
    assert "The gauge" in items(digest)[9]["excerpt"]
    assert "--brief" in digest("issue", "edit", MONTH, "--brief", "1", "--pin", "2", expect=2).err
    digest("issue", "edit", MONTH, "--brief", "13", expect=2)


@pytest.fixture
def web() -> Iterator[tuple[str, dict[str, tuple[int, bytes]]]]:
    """A site on loopback and its pages by path: status and content; what is not named is not there."""
    pages: dict[str, tuple[int, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages.get(self.path, (404, b"nothing"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_web_is_asked_and_what_it_says_of_pictures_is_kept(
    publication: Publication, web: tuple[str, dict[str, tuple[int, bytes]]]
) -> None:
    site, pages = web
    digest = publication
    digest.set(PUBLICATION_URL=site, BASE_URL=site, FETCH_ALLOW="127.0.0.0/8")
    pictures = {0: "/there.png", 1: "/missing.png", 2: "/drawing.png", 3: "/icon.png"}
    fill(digest, *(item(n, LONG, f"{site}{path}") for n, path in pictures.items()), site=site)
    pages |= {f"/post-{n}/": (200, b"<p>A post</p>") for n in range(3)}
    pages |= {"/": (200, b"home"), "/subscribe": (200, b"form")}
    pages |= {
        "/there.png": (200, png(1104, 620)),
        "/drawing.png": (200, SVG),
        "/icon.png": (200, png(32, 32)),
    }
    digest("issue", "build", MONTH)
    preview = digest.folder / "preview"

    def shown() -> str:
        digest("issue", "preview", MONTH, "--out", str(preview))
        return (preview / "message.html").read_text()

    assert all(path in shown() for path in pictures.values())
    checked = digest("issue", "check", MONTH, "--online", "--json", expect=4).json

    assert [(one["point"], one["place"]) for one in checked["errors"]] == [
        ("link-answers", "issue: “Reading the river, part 3”")
    ]
    told = {one["place"]: one["message"] for one in checked["warnings"]}
    assert told == {
        f"{PICTURE} part 1”": "It is not there (404): the item is shown without it.",
        f"{PICTURE} part 2”": (
            "It is SVG, which many mail programs do not show: the item is shown without it."
        ),
    }
    html = shown()
    assert [path for path in pictures.values() if path in html] == ["/there.png"]
    # Read again, the posts keep what is known of their pictures, and nothing counts as changed.
    again = digest("posts", "import", str(digest.folder / "feed.xml"), "--json").json
    assert (again["changed"], again["unchanged"]) == (0, 4)
    assert "/missing.png" not in shown()

    # Put right, and looked at once more.
    pages |= {"/missing.png": (200, png(600, 400)), "/post-3/": (200, b"<p>A post</p>")}
    digest("issue", "check", MONTH, "--online")
    assert "/missing.png" in shown()
    pages["/subscribe"] = (500, b"")
    gone = digest("issue", "check", MONTH, "--online", "--json", expect=4).json
    assert "nobody could leave" in gone["errors"][0]["mend"]


def test_without_a_way_to_the_web_nothing_is_held_against_a_picture(publication: Publication) -> None:
    """127.0.0.1 is no host of the public internet: the fetcher connects to none of it."""
    digest = publication
    site = "http://127.0.0.1:9"
    digest.set(PUBLICATION_URL=site, BASE_URL=site)
    fill(digest, item(0, LONG, f"{site}/a.png"), site=site)
    digest("issue", "build", MONTH)

    checked = digest("issue", "check", MONTH, "--online", "--json").json

    assert [one["message"] for one in checked["warnings"] if one["point"] == "link-answers"] == [
        "No server could be asked: 127.0.0.1 is not on the public internet:"
        " if it is yours, add its network to DIGEST_FETCH_ALLOW."
    ]
    assert "picture-answers" not in {one["point"] for one in checked["warnings"]}


def test_an_approved_issue_is_asked_about_and_not_changed(
    publication: Publication, web: tuple[str, dict[str, tuple[int, bytes]]]
) -> None:
    site, _pages = web
    digest = publication
    digest.set(PUBLICATION_URL=site, BASE_URL=site, FETCH_ALLOW="127.0.0.0/8")
    fill(digest, item(0, LONG, f"{site}/missing.png"), site=site)
    digest("issue", "build", MONTH)
    digest("issue", "approve", MONTH)

    asked = digest("issue", "check", MONTH, "--online", "--json", expect=4).json

    assert {one["point"] for one in asked["errors"]} == {"link-answers"}
    assert digest("issue", "show", MONTH, "--json").json["drift"] == []

"""Readers of mail that share no code with ours, nor with each other, read the same in a letter.

The standard library's parser, mailparse in Rust, and Node's mailparser and postal-mime where npm is
present (`npm ci --prefix tests/readers`).
"""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from pathlib import Path

import fast_mail_parser
import pytest

from digest.letter.note import Stationery
from digest.letter.theme import Theme
from tests.conftest import ROOT
from tests.digest import letters
from tests.digest.conftest import publication

READERS = ROOT / "tests" / "readers"
#: what has broken readers before: encoded words of one character each side of a fold, a name to be quoted
AWKWARD = letters.page(
    (letters.card(0, title="=?utf-8?q?no_word?= \N{FAMILY} “a=3D”", excerpt="From here on.\u2028. Ends"),),
    publication(name='Ж"ук, "О" <Σ>', sender_name='Ж"ук, "О" <Σ>'),
    subject="Ж" * 90 + " and a long tail of plain words that must be folded somewhere, " * 2 + "👩‍👩‍👧",
)
ISSUES = {
    "English": letters.page(10),
    "Arabic": letters.arabic(),
    "Hebrew": letters.hebrew(),
    "Ukrainian": letters.in_words(
        "uk", "Що залишив приплив", "Мушлі, мотузка й один чобіт після шторму. " * 6
    ),
    "many scripts": letters.many_scripts(),
    "awkward": AWKWARD,
}


@dataclass(frozen=True, slots=True)
class Read:
    """What a reader found in a letter."""

    subject: str
    text: str
    html: str
    #: a display name and an address
    sender: tuple[str, str]
    to: tuple[str, str]

    @property
    def links(self) -> list[str]:
        """Of the HTML, in its order."""
        found: list[str] = []

        class Links(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                found.extend(value or "" for name, value in attrs if tag == "a" and name == "href")

        Links().feed(self.html)
        return found


def read(subject: str, text: str, html: str, sender: tuple[str, str], to: tuple[str, str]) -> Read:
    """With line ends and the end of the text as one reader or another leaves them."""
    lines = (part.replace("\r\n", "\n").rstrip("\n") for part in (text, html))
    return Read(subject, *lines, sender, to)


def by_stdlib(content: bytes) -> Read:
    mail = message_from_bytes(content, policy=default)
    assert isinstance(mail, EmailMessage)
    assert mail.defects == []
    bodies = [mail.get_body((kind,)) for kind in ("plain", "html")]
    text, html = (body.get_content() for body in bodies if body is not None)
    addresses = [mail[name].addresses[0] for name in ("From", "To")]
    sender, to = ((one.display_name, one.addr_spec) for one in addresses)
    return read(str(mail["Subject"]), text, html, sender, to)


def by_rust(content: bytes) -> Read:
    mail = fast_mail_parser.parse_email(content, strict=True)
    assert (mail.warnings, mail.attachments) == ([], [])
    assert mail.from_ is not None
    (text,), (html,), (to,) = mail.text_plain, mail.text_html, mail.to
    people = [(one.display_name or "", one.address) for one in (mail.from_, to)]
    return read(mail.subject, text, html, people[0], people[1])


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """The letter of each issue, and a mail about a subscription."""
    found = {name: letters.letters(issue)[0] for name, issue in ISSUES.items()}
    shop = Stationery(publication(language="ar"), Theme(), None)
    note = shop.written("confirm", "/c/abcdefghijklmnopqrstuv", letters.DATED_AT)
    return found | {"a note": shop.mail(note, "ann@reader.example", "<1@reader.example>", letters.DATED_AT)}


def test_the_letter_is_what_was_rendered(contents: dict[str, bytes]) -> None:
    """So that all readers agree on the right thing."""
    for name, issue in ISSUES.items():
        rendered, found = letters.rendered(issue)[0], by_stdlib(contents[name])
        assert found.subject == rendered.subject
        assert found.to == (letters.RECIPIENTS[0].name, letters.RECIPIENTS[0].address)
        assert found.sender == (issue.publication.sender_name, issue.publication.sender_address)
        # All but the reader's own values, which stand where the sentinels stood.
        for part, whole in ((rendered.text, found.text), (rendered.html, found.html)):
            pieces = re.split(
                rf"https://\w+-{letters.NONCE}\.invalid/|zq{letters.NONCE}\w+?qz", part.rstrip()
            )
            assert re.fullmatch(".{1,200}".join(map(re.escape, pieces)), whole, re.DOTALL)


def test_another_parser_reads_the_same(contents: dict[str, bytes]) -> None:
    for name, content in contents.items():
        assert (name, by_rust(content)) == (name, by_stdlib(content))
        assert by_rust(content).links


def test_nodes_parsers_read_the_same(contents: dict[str, bytes], tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        pytest.skip("there is no Node with npm here")
    if not (READERS / "node_modules").is_dir():
        pytest.skip("Node's readers are not here: `npm ci --prefix tests/readers` installs them")
    files = {str(tmp_path / f"{number}.eml"): name for number, name in enumerate(contents)}
    for file, name in files.items():
        Path(file).write_bytes(contents[name])
    run = subprocess.run(
        [node, str(READERS / "read.mjs"), *files], capture_output=True, timeout=60, check=True
    )
    results = json.loads(run.stdout)

    assert len(results) == 2 * len(contents)
    for one in results:
        name = files[one["file"]]
        people = [(who[0] or "", who[1]) for who in (one["from"], one["to"])]
        found = read(one["subject"], one["text"], one["html"], people[0], people[1])
        assert (one["reader"], name, one["attached"], found) == (
            one["reader"], name, 0, by_stdlib(contents[name]),
        )  # fmt: skip


def test_a_letter_that_is_read_in_two_ways_is_noticed(contents: dict[str, bytes]) -> None:
    """A part that says one charset and is written in another."""
    spoilt = contents["Ukrainian"].replace(b"charset=utf-8", b"charset=koi8-r", 1)

    assert by_rust(spoilt) != by_stdlib(contents["Ukrainian"])

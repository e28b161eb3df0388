"""Zips of lists: read where they lie, told apart, and refused in one line where they are a trap."""

import os
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscribers import files
from subscribers.files import Unreadable, examine
from subscribers.headings import Row, Says
from subscribers.sheet import program, rows

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))

HEADER = "Email Address,First Name,MEMBER_RATING,OPTIN_TIME,LEID,EUID"
MAILCHIMP = {
    "subscribed_members_export_7.csv": f"{HEADER}\nanna@example.org,Anna,2,2014-05-01 10:00:00,1,a1\n",
    "unsubscribed_members_export_7.csv": f"{HEADER},UNSUB_TIME\nben@example.org,Ben,2,,2,b2,2015-01-01\n",
    "cleaned_members_export_7.csv": f"{HEADER},CLEAN_TIME\ncleo@example.org,Cleo,1,,3,c3,2015-01-01\n",
    "nonsubscribed_members_export_7.csv": f"{HEADER}\ndan@example.org,Dan,2,,4,d4\n",
}


def zipped(path: Path, members: Iterable[tuple[str, str | bytes]], how: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def read(path: Path) -> list[Row]:
    return list(rows(examine(path)))


def said(path: Path) -> list[tuple[str, int, str, Says]]:
    return [(row.sheet, row.line, row.address, row.says) for row in read(path)]


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mailchimps_zip_is_read_as_it_came(tmp_path: Path, how: int) -> None:
    """I-1, I-4: each row with the file it stands in."""
    path = zipped(tmp_path / "list.zip", MAILCHIMP.items(), how)
    assert said(path) == [
        ("subscribed_members_export_7.csv", 2, "anna@example.org", Says.ACTIVE),
        ("unsubscribed_members_export_7.csv", 2, "ben@example.org", Says.LEFT),
        ("cleaned_members_export_7.csv", 2, "cleo@example.org", Says.BOUNCED),
        ("nonsubscribed_members_export_7.csv", 2, "dan@example.org", Says.UNCONFIRMED),
    ]
    assert program(examine(path)) == "Mailchimp"
    assert list(tmp_path.iterdir()) == [path]


def test_each_member_has_its_own_encoding_and_delimiter(tmp_path: Path) -> None:
    """I-1."""
    path = zipped(
        tmp_path / "list.zip",
        [
            ("a.csv", "email;name\nanna@example.org;Änna\n".encode("utf-16")),
            ("b.tsv", "name\temail\nBén\tben@example.org\n".encode("cp1252")),
        ],
    )
    assert [row.name for row in read(path)] == ["Änna", "Bén"]
    assert [sheet.encoding for sheet in examine(path).sheets] == ["utf-16", "cp1252"]


def test_what_is_no_list_is_passed_over(tmp_path: Path) -> None:
    """An empty member, a read-me, and the shadows that macOS puts into a zip."""
    path = zipped(
        tmp_path / "list.zip",
        [
            ("people/", b""),
            ("people/nobody.csv", b""),
            ("people/a.csv", "email\nanna@example.org\n"),
            ("__MACOSX/people/._a.csv", b"\0\5\x16\7"),
            ("._a.csv", b"\0\5\x16\7"),
            ("older.zip", b"PK"),
            ("READ ME.txt", "Everybody."),
        ],
    )
    assert [(row.sheet, row.address) for row in read(path)] == [("a.csv", "anna@example.org")]


@pytest.mark.parametrize(
    "name",
    [
        "../../a.csv",
        "/etc/a.csv",
        "C:\\a.csv",
        "..\\..\\a.csv",
        "x/../a.csv",
        "\N{RIGHT-TO-LEFT OVERRIDE}\na.csv",
    ],
)
def test_a_members_path_leads_nowhere(tmp_path: Path, name: str) -> None:
    """S-10, I-1: nothing is unpacked, and the name that is shown is one line without a folder."""
    path = zipped(tmp_path / "list.zip", [(name, "email\nanna@example.org\n")])
    (row,) = read(path)
    assert row.address == "anna@example.org"
    assert row.sheet.endswith("a.csv")
    assert row.sheet.isprintable()
    assert not set("/\\") & set(row.sheet)
    assert list(tmp_path.iterdir()) == [path]


def test_members_of_one_name_are_two(tmp_path: Path) -> None:
    path = zipped(tmp_path / "l.zip", [(f"{n}/a.csv", f"email\nr{n}@example.org\n") for n in range(2)])
    assert [row.address for row in read(path)] == ["r0@example.org", "r1@example.org"]


def flagged(path: Path) -> Path:
    """The zip at *path*, its first member marked as encrypted."""
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)
    return path


def promising_little(path: Path) -> Path:
    """The zip at *path*, which says that its first member has ten bytes."""
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(mark) + offset, 10)
    path.write_bytes(content)
    return path


PERSON = "email\nanna@example.org\n"


def test_a_zip_that_cannot_be_read_is_refused_with_one_line(tmp_path: Path) -> None:
    """I-1."""
    path = tmp_path / "l.zip"
    many = [(f"{n}.csv", PERSON) for n in range(21)]
    cases = [
        (flagged(zipped(path.with_name("locked.zip"), [("a.csv", PERSON)])), "password"),
        (zipped(path.with_name("nested.zip"), [("a.zip", b"PK"), ("b.tar.gz", b"")]), "only another archive"),
        (zipped(path.with_name("none.zip"), [("a.txt", "x")]), r"no \.csv"),
        (zipped(path.with_name("empty.zip"), []), r"no \.csv"),
        (zipped(path.with_name("nobody.zip"), [("a.csv", "")]), "empty"),
        (zipped(path.with_name("many.zip"), many), "more than 20"),
        (zipped(path.with_name("odd.zip"), [("a.csv", PERSON)], zipfile.ZIP_LZMA), "unusual"),
        (promising_little(zipped(path.with_name("little.zip"), [("a.csv", PERSON)])), "broken zip"),
    ]
    cut = zipped(path.with_name("cut.zip"), [("a.csv", PERSON)])
    cut.write_bytes(cut.read_bytes()[:40])
    for refused, why in [*cases, (cut, "broken zip")]:
        with pytest.raises(Unreadable, match=why) as caught:
            read(refused)
        assert "\n" not in str(caught.value)


def test_a_member_whose_name_is_no_text_is_a_broken_zip(tmp_path: Path) -> None:
    for times in (1, 2):
        path = zipped(tmp_path / f"{times}.zip", [("é.csv", PERSON)])
        # The name stands before the member itself, and again in the list of all.
        path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff", times))
        with pytest.raises(Unreadable, match="broken zip"):
            read(path)


def test_a_bomb_is_refused_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S-13: what all members become is counted; the limit is a megabyte here, to be quick."""
    monkeypatch.setattr(files, "LARGEST", 2**20)
    half = PERSON + "\n" * 2**19
    assert len(read(zipped(tmp_path / "one.zip", [("a.csv", half)]))) == 1
    path = zipped(tmp_path / "two.zip", [("a.csv", half), ("b.csv", half)])
    assert path.stat().st_size < 10_000
    with pytest.raises(Unreadable, match="more than 1 MB"):
        examine(path)


@settings(max_examples=EXAMPLES)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6))
def test_a_damaged_zip_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    path = zipped(tmp_path_factory.getbasetemp() / "damaged.zip", MAILCHIMP.items())
    content = bytearray(path.read_bytes())
    for place, byte in damage:
        # From both ends: what a zip says of itself is there.
        content[place if byte % 2 else -1 - place] = byte
    path.write_bytes(content)
    try:
        read(path)
    except Unreadable:
        return


def test_a_zip_is_known_by_its_bytes(tmp_path: Path) -> None:
    assert [row.address for row in read(zipped(tmp_path / "list.csv", [("a.csv", PERSON)]))] == [
        "anna@example.org"
    ]

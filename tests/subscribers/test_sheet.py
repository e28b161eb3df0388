"""Files of people: any CSV is read, and what a row says of itself is believed when it says "gone"."""

import codecs
import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscribers.sheet import Row, Says, Unreadable, examine, rows

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))


def read(path: Path, content: str | bytes) -> list[Row]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(rows(examine(path)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


PLAIN = 'Email Address,First Name,Last Name\r\nanna@example.org,Änna,"O\'Hara, jr"\r\nben@example.org,,\r\n'


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (PLAIN.encode(), "utf-8-sig"),
        (codecs.BOM_UTF8 + PLAIN.encode(), "utf-8-sig"),
        (PLAIN.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + PLAIN.encode("utf-16-be"), "utf-16"),
        (PLAIN.encode("utf-16-le"), "utf-16-le"),
        (PLAIN.encode("utf-16-be"), "utf-16-be"),
        (PLAIN.encode("cp1252"), "cp1252"),
        (PLAIN.replace("\r\n", "\n").encode(), "utf-8-sig"),
        (PLAIN.replace("\r\n", "\r").encode(), "utf-8-sig"),
    ],
)
def test_every_usual_encoding_is_read(file: Path, content: bytes, encoding: str) -> None:
    """I-1."""
    found = read(file, content)
    assert examine(file).encoding == encoding
    assert [(row.line, row.address, row.name, row.says) for row in found] == [
        (2, "anna@example.org", "Änna O'Hara, jr", Says.ACTIVE),
        (3, "ben@example.org", "", Says.ACTIVE),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("prefix", ["", "\n\n", "sep=%\n"])
def test_every_usual_delimiter_is_found(file: Path, delimiter: str, prefix: str) -> None:
    """I-1: also where a name holds another one's delimiter."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["name", "e-mail"], ["a,b;c", "anna@example.org"]])
    found = read(file, prefix.replace("%", delimiter) + out.getvalue())
    assert [(row.name, row.address) for row in found] == [("a,b;c", "anna@example.org")]


def test_a_list_without_a_heading_is_one_of_addresses(file: Path) -> None:
    found = read(file, "anna@example.org\nben@example.org\n")
    assert [(row.line, row.address) for row in found] == [(1, "anna@example.org"), (2, "ben@example.org")]


def test_the_telling_heading_wins_over_a_street(file: Path) -> None:
    found = read(file, "Address,Email\nQuay 7,anna@example.org\n")
    assert [row.address for row in found] == ["anna@example.org"]


def test_rows_keep_their_line_numbers_over_quoted_line_ends(file: Path) -> None:
    found = read(file, 'email,name\n"a@example.org","Two\nlines"\n\n,,\nb@example.org\n')
    assert [(row.line, row.address, row.name) for row in found] == [
        (2, "a@example.org", "Two lines"),
        (6, "b@example.org", ""),
    ]


@pytest.mark.parametrize(
    ("heading", "cell", "says"),
    [
        ("UNSUB_TIME", "2015-01-01 00:00:00", Says.LEFT),
        ("UNSUB_TIME", "", Says.ACTIVE),
        ("CLEAN_TIME", "2015-01-01 00:00:00", Says.BOUNCED),
        ("status", "subscribed", Says.ACTIVE),
        ("status", "Unsubscribed", Says.LEFT),
        ("status", "cleaned", Says.BOUNCED),
        ("status", "blocklisted", Says.COMPLAINED),
        ("status", "mystery", Says.UNKNOWN),
        ("status", "", Says.UNKNOWN),
        ("Global status", "unconfirmed", Says.UNCONFIRMED),
        ("state", "paused", Says.PAUSED),
        ("subscribed_to_emails", "true", Says.ACTIVE),
        ("subscribed_to_emails", "false", Says.LEFT),
        ("subscribed_to_emails", "", Says.UNKNOWN),
        ("deleted_at", "2015-01-01", Says.LEFT),
        ("email_disabled", "true", Says.LEFT),
        ("email_disabled", "False", Says.ACTIVE),
        ("type", "unactivated", Says.UNCONFIRMED),
        ("type", "yearly", Says.ACTIVE),
        ("unsubscribed_at", "2015-01-01", Says.LEFT),
        ("Unsubscribed", "2015-01-01", Says.LEFT),
        ("MEMBER_RATING", "2", Says.ACTIVE),
    ],
)
def test_a_row_says_whether_the_person_is_gone(file: Path, heading: str, cell: str, says: Says) -> None:
    """I-4."""
    assert [row.says for row in read(file, f"email,{heading}\nanna@example.org,{cell}\n")] == [says]


def test_the_worst_of_two_statements_counts(file: Path) -> None:
    """MailPoet writes two statuses."""
    found = read(file, "Email,List status,Global status\na@example.org,subscribed,unsubscribed\n")
    assert [row.says for row in found] == [Says.LEFT]


def test_a_repeated_header_is_told_from_a_person(file: Path) -> None:
    found = read(file, "Email,Name\na@example.org,A\nEmail,Name\nb@example.org,B\n")
    assert [row.is_header for row in found] == [False, True, False]


def test_recorded_consent_is_kept_as_written(file: Path) -> None:
    """I-3."""
    found = read(file, "Email,OPTIN_TIME,OPTIN_IP\na@example.org,2014-05-01 10:00,192.0.2.7\n")
    assert found[0].proof == "optin time 2014-05-01 10:00, optin ip 192.0.2.7"


def test_a_name_is_one_line_without_controls_and_marks(file: Path) -> None:
    found = read(file, 'email,name\na@example.org,"\x07 \'=1+1\u202e \r\n x"\n')
    assert found[0].name == "=1+1 x"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n\n",
        b"name,street\nAnna,Quay 7\n",
        b'email,name\na@example.org,"never closed\n',
        b'email,name\na@example.org,"a"b\n',
        b"email\n" + b"x" * 200_000,
        "email\n".encode("utf-16")[:-1],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ],
)
def test_what_is_no_list_is_refused_with_one_line(file: Path, content: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read(file, content)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused_with_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        examine(tmp_path / "none.csv")


@settings(max_examples=EXAMPLES)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    try:
        read(path, b"email,status\n" + content)
    except Unreadable:
        return


CELLS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)


@settings(max_examples=EXAMPLES)
@given(st.lists(CELLS, min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_what_was_written_as_csv_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], delimiter: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    out = io.StringIO()
    table = [[name, f"reader{n}@example.org"] for n, name in enumerate(names)]
    csv.writer(out, delimiter=delimiter).writerows([["name", "email"], *table])
    found = read(path, out.getvalue())
    assert [row.address for row in found] == [address for _, address in table]

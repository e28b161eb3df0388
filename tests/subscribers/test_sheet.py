"""Files of people: any CSV is read, and what a row says of itself is believed when it says "gone"."""

import codecs
import csv
import io
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subscribers.files import Unreadable, examine
from subscribers.headings import PLAIN, Row, Says
from subscribers.sheet import LONGEST_ROW, program, rows

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))


def read(path: Path, content: str | bytes) -> list[Row]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(rows(examine(path)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


LIST = 'Email Address,First Name,Last Name\r\nanna@example.org,Änna,"O\'Hara, jr"\r\nben@example.org,,\r\n'


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (LIST.encode(), "utf-8-sig"),
        (codecs.BOM_UTF8 + LIST.encode(), "utf-8-sig"),
        (LIST.encode("utf-16"), "utf-16"),
        (codecs.BOM_UTF16_BE + LIST.encode("utf-16-be"), "utf-16"),
        (LIST.encode("utf-16-le"), "utf-16-le"),
        (LIST.encode("utf-16-be"), "utf-16-be"),
        (LIST.encode("cp1252"), "cp1252"),
        (LIST.replace("\r\n", "\n").encode(), "utf-8-sig"),
        (LIST.replace("\r\n", "\r").encode(), "utf-8-sig"),
    ],
)
def test_every_usual_encoding_is_read(file: Path, content: bytes, encoding: str) -> None:
    """I-1."""
    found = read(file, content)
    assert [sheet.encoding for sheet in examine(file).sheets] == [encoding]
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
        ("status", "enabled", Says.UNPROVEN),
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
        ("UNSUB_TIME", "NULL", Says.ACTIVE),
        ("suppressed", "", Says.ACTIVE),
        ("suppressed", "no", Says.ACTIVE),
        ("suppressed", "left", Says.LEFT),
        ("suppressed", "bounced: 5.1.1 no such user", Says.BOUNCED),
        ("suppressed", "complained: asked at the counter", Says.COMPLAINED),
        ("suppressed", "manual: complained to the editor", Says.SUPPRESSED),
        ("suppressed", "yes", Says.SUPPRESSED),
    ],
)
def test_a_row_says_whether_the_person_is_gone(file: Path, heading: str, cell: str, says: Says) -> None:
    """I-4."""
    assert [row.says for row in read(file, f"email,{heading}\nanna@example.org,{cell}\n")] == [says]


def test_the_worst_of_two_statements_counts(file: Path) -> None:
    """MailPoet writes two statuses."""
    found = read(file, "Email,List status,Global status\na@example.org,subscribed,unsubscribed\n")
    assert [row.says for row in found] == [Says.LEFT]


#: as each program exports them; of invented people
EXPORTS = {
    "Mailchimp": (
        "Email Address,First Name,Last Name,MEMBER_RATING,OPTIN_TIME,OPTIN_IP,CONFIRM_TIME,CONFIRM_IP,"
        "LATITUDE,LONGITUDE,GMTOFF,DSTOFF,TIMEZONE,CC,REGION,LAST_CHANGED,LEID,EUID,NOTES,TAGS\n"
        "anna@example.org,Anna,Quay,4,,,2014-05-01 10:00:00,192.0.2.7,,,,,,,,2015-01-01 00:00:00,1,a1,,\n",
        [("anna@example.org", "Anna Quay", Says.ACTIVE)],
    ),
    "MailPoet": (
        "Email,First name,Last name,Subscription time,List status,Global status,Segment\n"
        "anna@example.org,Anna,Quay,2014-05-01,subscribed,subscribed,Readers\n"
        "ben@example.org,Ben,,2014-05-01,unsubscribed,subscribed,Readers\n"
        "cleo@example.org,,,2014-05-01,subscribed,inactive,Readers\n"
        "dan@example.org,,,2014-05-01,unconfirmed,unconfirmed,Readers\n"
        "eve@example.org,,,2014-05-01,subscribed,bounced,Readers\n",
        [
            ("anna@example.org", "Anna Quay", Says.ACTIVE),
            ("ben@example.org", "Ben", Says.LEFT),
            ("cleo@example.org", "", Says.PAUSED),
            ("dan@example.org", "", Says.UNCONFIRMED),
            ("eve@example.org", "", Says.BOUNCED),
        ],
    ),
    "listmonk": (
        "uuid,email,name,attributes,status,created_at,updated_at\n"
        'u1,anna@example.org,Anna,"{""city"": ""Harbour""}",enabled,2014-05-01,2014-05-01\n'
        "u2,ben@example.org,Ben,{},disabled,2014-05-01,2014-05-01\n"
        "u3,cleo@example.org,Cleo,{},blocklisted,2014-05-01,2014-05-01\n",
        [
            ("anna@example.org", "Anna", Says.UNPROVEN),
            ("ben@example.org", "Ben", Says.LEFT),
            ("cleo@example.org", "Cleo", Says.COMPLAINED),
        ],
    ),
    "Ghost": (
        "id,email,name,note,subscribed_to_emails,complimentary_plan,stripe_customer_id,created_at,"
        "deleted_at,labels,tiers\n"
        "1,anna@example.org,Anna,,true,false,,2014-05-01T10:00:00.000Z,,,\n"
        "2,ben@example.org,Ben,,false,false,,2014-05-01T10:00:00.000Z,,,\n"
        "3,cleo@example.org,Cleo,,true,false,,2014-05-01T10:00:00.000Z,2015-01-01T00:00:00.000Z,,\n",
        [
            ("anna@example.org", "Anna", Says.ACTIVE),
            ("ben@example.org", "Ben", Says.LEFT),
            ("cleo@example.org", "Cleo", Says.LEFT),
        ],
    ),
    "Substack": (
        "email,active_subscription,expiry,email_disabled,prefer_digests,created_at\n"
        "anna@example.org,false,,false,false,2014-05-01\n"
        "ben@example.org,true,2016-01-01,true,false,2014-05-01\n",
        [("anna@example.org", "", Says.ACTIVE), ("ben@example.org", "", Says.LEFT)],
    ),
    "Buttondown": (
        "email_address,type,creation_date,notes,metadata,tags,referrer_url,secondary_id,source,ip_address,"
        "bounce_date,bounce_reason\n"
        "anna@example.org,regular,2014-05-01,,{},,,1,api,192.0.2.7,,\n"
        "ben@example.org,unactivated,2014-05-01,,{},,,2,api,,,\n"
        "cleo@example.org,upcoming,2014-05-01,,{},,,3,api,,,\n"
        "dan@example.org,regular,2014-05-01,,{},,,4,api,,2015-01-01,no such user\n"
        "eve@example.org,complained,2014-05-01,,{},,,5,api,,,\n",
        [
            ("anna@example.org", "", Says.ACTIVE),
            ("ben@example.org", "", Says.UNCONFIRMED),
            ("cleo@example.org", "", Says.UNKNOWN),
            ("dan@example.org", "", Says.BOUNCED),
            ("eve@example.org", "", Says.COMPLAINED),
        ],
    ),
    "beehiiv": (
        "email,First Name,status,tier,created_at,unsubscribed_at\n"
        "anna@example.org,Anna,active,free,2014-05-01,\n"
        "ben@example.org,Ben,inactive,free,2014-05-01,2015-01-01\n",
        [("anna@example.org", "Anna", Says.ACTIVE), ("ben@example.org", "Ben", Says.LEFT)],
    ),
    PLAIN: ("email,tier\nanna@example.org,gold\n", [("anna@example.org", "", Says.ACTIVE)]),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_each_programs_export_is_known_and_believed(file: Path, name: str) -> None:
    """I-1, I-4."""
    content, people = EXPORTS[name]
    assert [(row.address, row.name, row.says) for row in read(file, content)] == people
    assert program(examine(file)) == name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("subscribed_members_export_1.csv", Says.ACTIVE),
        ("unsubscribed_members_export_1.csv", Says.LEFT),
        ("Cleaned_segment_export_1.csv", Says.BOUNCED),
        ("nonsubscribed_members_export_1.csv", Says.UNCONFIRMED),
        ("unsubscribed.csv", Says.LEFT),
        ("cleanedbyhand.csv", Says.ACTIVE),
        ("people who unsubscribed.csv", Says.ACTIVE),
    ],
)
def test_a_file_may_say_by_its_name_who_left(tmp_path: Path, name: str, says: Says) -> None:
    """I-4: as Mailchimp's do, whose columns may be lost in a spreadsheet."""
    assert [row.says for row in read(tmp_path / name, "Email Address\nanna@example.org\n")] == [says]


def test_a_column_that_says_gone_is_believed_in_a_file_of_subscribers(tmp_path: Path) -> None:
    path = tmp_path / "subscribed_members.csv"
    assert [row.says for row in read(path, "email,CLEAN_TIME\na@example.org,2015-01-01\n")] == [Says.BOUNCED]


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
        b"email\n" + b"x," * LONGEST_ROW,
        b"email\n" + b'"\n",' * LONGEST_ROW,
        "email\n".encode("utf-16")[:-1],
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    ],
)
def test_what_is_no_list_is_refused_with_one_line(file: Path, content: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        read(file, content)
    assert "\n" not in str(caught.value)


def test_a_list_may_be_longer_than_a_row(file: Path) -> None:
    people = LONGEST_ROW // 20
    content = "email,name\n" + f"anna@example.org,{'x' * 30}\n" * people
    assert len(content) > LONGEST_ROW
    assert len(read(file, content)) == people


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

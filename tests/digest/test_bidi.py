"""Text of one direction among text of the other, in letters and on pages."""

import pytest

from digest.letter.bidi import enclosed, isolating
from digest.letter.theme import Theme
from digest.web.pages import Pages
from tests.digest.conftest import publication


def test_only_what_reads_otherwise_is_marked_and_everything_is_escaped() -> None:
    isolated = isolating("rtl")

    assert isolated("רציף & 7") == "רציף &amp; 7"
    assert isolated("Quay <7>") == '<span dir="ltr">Quay &lt;7&gt;</span>'
    assert isolated("Quay 7", "ltr") == "Quay 7"
    assert isolated("רציף 7", "ltr") == '<span dir="rtl">רציף 7</span>'


@pytest.mark.parametrize(
    ("text", "within", "expected"),
    [
        ("Haifa (IL)", "rtl", "\u2066Haifa (IL)\u2069"),
        ("חיפה", "ltr", "\u2067חיפה\u2069"),
        ("חיפה", "rtl", "חיפה"),
    ],
)
def test_where_no_element_may_stand_characters_keep_it_apart(text: str, within: str, expected: str) -> None:
    assert enclosed(text, within) == expected


def test_a_pages_title_and_imprint_keep_a_name_of_another_script_apart() -> None:
    of = publication(language="he", name="Haifa (IL)", postal_address="Quay 7.\nחיפה")
    page = bytes(Pages(of, Theme(), None).show("missing").body).decode()

    assert " · \u2066Haifa (IL)\u2069</title>" in page
    assert "<bdi>Quay 7.</bdi><br><bdi>חיפה</bdi>" in page

"""Text for terminals and plain readers: columns, wrapping, headings, numbers."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from digest.letter.plaintext import WIDTH, columns, numbered, underlined, wrapped

PROVE = settings(max_examples=int(os.environ.get("PROVE_EXAMPLES", "200")))
WORDS = st.lists(
    st.one_of(
        st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=120),
        st.sampled_from(["日本語の文章。", "👩‍👩‍👧", "слово", "كلمة", "e\u0301te\u0301", "w" * 300]),
        st.integers(1, 200).map(lambda length: "https://example.org/" + "a" * length),
    ),
    max_size=40,
)


def test_columns_counts_wide_characters_twice_and_marks_not_at_all() -> None:
    assert columns("river") == 5
    assert columns("日本") == 4
    assert columns("❤️ 👩‍👩‍👧") == 5
    assert columns("e\u0301") == 1
    assert columns("ріка") == 4


@given(WORDS)
@PROVE
def test_no_line_is_too_wide_but_for_an_address(words: list[str]) -> None:
    for line in wrapped(" ".join(words)).splitlines():
        assert columns(line) <= WIDTH or line.split()[-1].find("://") >= 0 or "mailto:" in line, line


@given(WORDS)
@PROVE
def test_nothing_is_lost_or_added_but_white_space(words: list[str]) -> None:
    text = " ".join(words)

    assert "".join(wrapped(text).split()) == "".join(text.split())


@given(st.lists(st.sampled_from(["a", "river", "w" * 71, "日本語"]), max_size=30), st.integers(1, 300))
@PROVE
def test_an_address_is_whole_and_last_on_its_line(words: list[str], length: int) -> None:
    address = "https://example.org/" + "a-b/" * length
    lines = wrapped(" ".join([*words, address, *words])).splitlines()

    assert [line.split()[-1] for line in lines if "https" in line] == [address]


def test_words_after_an_address_begin_a_new_line() -> None:
    assert wrapped("see https://example.org/ and go") == "see https://example.org/\nand go"


def test_what_must_stand_alone_has_a_line_of_its_own() -> None:
    assert (
        wrapped("for reader@example.org here", alone=["reader@example.org"])
        == "for\nreader@example.org\nhere"
    )


def test_chinese_and_japanese_break_anywhere_but_before_closing_punctuation() -> None:
    lines = wrapped("あ" * 36 + "。" + "い" * 40).splitlines()

    assert lines[0] == "あ" * 35
    assert lines[1].startswith("あ。い")


def test_paragraphs_stay_apart_and_later_lines_hang() -> None:
    assert wrapped("one\n\ntwo") == "one\n\ntwo"
    assert wrapped("a b", indent="  ", width=3) == "a\n  b"


def test_numbers_stand_flush_right_and_titles_hang() -> None:
    titles = ["river " * 15, *["note"] * 9]
    lines = numbered(titles).splitlines()

    assert lines[0].startswith(" 1. river")
    assert lines[1].startswith("    river")
    assert lines[-1] == "10. note"
    assert max(map(columns, lines)) <= WIDTH


def test_a_heading_is_underlined_as_wide_as_it_is() -> None:
    assert underlined("ріка") == "ріка\n===="
    assert underlined("日本", "-") == "日本\n----"
    assert columns(underlined("river " * 30).splitlines()[-1]) <= WIDTH

"""Bytes in the encoding they claim, or in another one."""

import codecs
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.sources.decode import charset_of, decoded

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))
RUSSIAN = "Главные новости города: в сентябре открылся новый мост через реку. " * 5
JAPANESE = "九月に新しい橋が開通しました。町の人々は喜んでいます。" * 5


def document(text: str, declared: str) -> str:
    return f'<?xml version="1.0" encoding="{declared}"?><rss>{text}</rss>'


@pytest.mark.parametrize("encoding", ["windows-1251", "koi8-r", "utf-8"])
def test_a_declared_encoding_is_believed(encoding: str) -> None:
    text = document(RUSSIAN, encoding)

    assert decoded(text.encode(encoding)) == text


@pytest.mark.parametrize("declared", ["utf-16", "iso-8859-1", "windows-1251"])
def test_valid_utf_8_wins_whatever_the_prolog_says(declared: str) -> None:
    text = document(RUSSIAN, declared)

    assert decoded(text.encode()) == text


def test_the_http_header_comes_before_the_declaration() -> None:
    text = document(RUSSIAN, "iso-8859-1")

    assert decoded(text.encode("windows-1251"), "windows-1251") == text


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (b"", "utf-16-le"),
        (b"", "utf-16-be"),
    ],
)
def test_marks_and_zeros_tell_the_wide_encodings(mark: bytes, encoding: str) -> None:
    text = document(RUSSIAN, "utf-8")

    assert decoded(mark + text.encode(encoding)) == text


def test_latin_1_means_windows_1252_as_in_browsers() -> None:
    assert decoded(b'<?xml encoding="iso-8859-1"?>\x93caf\xe9\x94') == '<?xml encoding="iso-8859-1"?>“café”'


@pytest.mark.parametrize("encoding", ["windows-1251", "shift_jis", "euc-jp"])
def test_an_encoding_nobody_names_is_guessed(encoding: str) -> None:
    text = f"<rss>{RUSSIAN if encoding == 'windows-1251' else JAPANESE}</rss>"

    assert decoded(text.encode(encoding)) == text


def test_ascii_bytes_that_are_japanese_are_not_taken_for_utf_8() -> None:
    text = document(JAPANESE, "iso-2022-jp")

    assert decoded(text.encode("iso-2022-jp")) == text


def test_one_foreign_byte_does_not_change_the_encoding_of_a_text() -> None:
    body = document(RUSSIAN, "utf-8").encode() + b"\xe9"

    assert decoded(body) == document(RUSSIAN, "utf-8") + "�"


@pytest.mark.parametrize("name", ["idna", "punycode", "unicode_escape", "hex", "no-such-thing"])
def test_a_codec_that_is_no_encoding_is_not_used(name: str) -> None:
    body = b"a\\x41 \xe9"

    assert decoded(body, name) == decoded(body)
    assert decoded(body).startswith("a\\x41 ")


@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "utf-16", "gb2312", "x"]))
@settings(max_examples=EXAMPLES)
def test_any_bytes_become_text(body: bytes, charset: str | None) -> None:
    assert isinstance(decoded(body, charset), str)


def test_the_charset_of_a_content_type() -> None:
    assert charset_of('text/xml; Charset="windows-1251"') == "windows-1251"
    assert charset_of("text/xml") is None
    assert charset_of(None) is None

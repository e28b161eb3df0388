"""What an excerpt keeps of a post, and where it is shortened."""

import os
import time
from pathlib import Path

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from digest.prose import sentences
from digest.prose.excerpt import LONGEST, Excerpt, excerpt_of, propose_title, shorten

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "200"))


def taken(
    summary: str | None = None,
    *,
    manual: str | None = None,
    body: str | None = None,
    title: str = "",
    author: str | None = None,
    pasted: bool = False,
) -> Excerpt:
    return excerpt_of(manual=manual, summary=summary, body=body, title=title, author=author, pasted=pasted)


# --- the founding month (ingest 2.3) ------------------------------------------------------------

#: line of the file; where the text starts and how long it is; whether a name is guessed; at 280 and at 160,
#: in characters and with the mark at the end
FOUNDING_MONTH = [
    (5, 0, 407, False, (262, ""), (155, "…")),
    (9, 0, 338, False, (279, "…"), (151, "…")),
    (13, 0, 341, False, (193, ""), (131, "")),
    (16, 23, 138, True, (138, ""), (138, "")),
    (20, 0, 346, False, (173, ""), (157, "…")),
]


def seed_line(shared_data: Path, line: int) -> str:
    """A line of the founding month's text, its white space made single spaces."""
    text = (shared_data / "seed" / "archive-2015-09.txt").read_text(encoding="utf-8")
    return " ".join(text.split("\n")[line - 1].split())


@pytest.mark.parametrize(("line", "start", "stored", "guessed", "at_280", "at_160"), FOUNDING_MONTH)
def test_the_founding_month_comes_out_byte_for_byte(
    shared_data: Path,
    line: int,
    start: int,
    stored: int,
    guessed: bool,
    at_280: tuple[int, str],
    at_160: tuple[int, str],
) -> None:
    """As the table of ingest 2.3 says; the figures are its lengths."""
    source = seed_line(shared_data, line)
    text = source[start:]
    name = " ".join(source.split(" ")[1:3]) if guessed else None
    excerpt = taken(source, pasted=True)
    assert excerpt == Excerpt(text[:stored], True, name)
    assert len(regex.findall(r"\X", excerpt.text)) == stored
    for length, (kept, mark) in ((280, at_280), (160, at_160)):
        assert shorten(excerpt.text, truncated=True, length=length) == text[:kept] + mark


def test_brackets_of_the_author_stay(shared_data: Path) -> None:
    assert "A whole range of evidence [also here] indicates" in taken(seed_line(shared_data, 13)).text


def test_the_untitled_post_of_the_founding_month_is_proposed_a_title(shared_data: Path) -> None:
    text = taken(seed_line(shared_data, 16), pasted=True).text
    assert propose_title(text) == text[:67] + "…"
    assert text[67] == " "


# --- which text ---------------------------------------------------------------------------------


def test_a_summary_written_by_hand_comes_first() -> None:
    assert taken("made […]", manual="<p>By hand.</p>", body="whole") == Excerpt("By hand.")


def test_a_cut_summary_is_made_again_from_the_whole_text() -> None:
    body = (
        "<p>By Given Family</p><p>The first paragraph.</p>"
        "<figure><figcaption>c</figcaption></figure><p>The second.</p>"
    )
    made = taken("<p>By Given Family The first paragraph. c The […]</p>", body=body)
    assert made == Excerpt("The first paragraph. The second.", False, "Given Family")


def test_a_cut_summary_stays_where_there_is_no_more_text() -> None:
    summary = "<p>Quite a long text that goes on and on, and then [&hellip;]</p>"
    assert taken(summary, body='<p><img src="x.jpg"></p>') == Excerpt(
        "Quite a long text that goes on and on, and then", True
    )


def test_a_summary_cut_without_a_mark_is_made_again_too() -> None:
    assert taken("The first part of", body="<p>The first part of it, and the end.</p>") == Excerpt(
        "The first part of it, and the end."
    )
    assert taken("A standfirst", body="<p>The text.</p>") == Excerpt("A standfirst")


def test_a_whole_summary_is_not_replaced() -> None:
    assert taken("A standfirst.", body="<p>The text.</p>") == Excerpt("A standfirst.")


@pytest.mark.parametrize(
    "summary", ["https://example.org/a", "<p></p>", '<img src="x.png">', None, "[gallery ids=1]"]
)
def test_a_summary_that_says_nothing_is_passed_over(summary: str | None) -> None:
    assert taken(summary, body="<p>The text.</p>") == Excerpt("The text.")


def test_there_may_be_no_text_at_all() -> None:
    assert taken() == Excerpt("", False, None)


def test_a_long_text_is_cut_at_6000_characters_and_says_so() -> None:
    excerpt = taken(body="<p>" + "word " * 3000 + "</p>")
    assert excerpt.truncated
    assert LONGEST - 5 <= len(excerpt.text) <= LONGEST
    assert excerpt.text.endswith("word")
    assert len(taken(body="漢" * 9000).text) == LONGEST


# --- what is cut off ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("html", "text", "author"),
    [
        ("<p>By Given Family</p><p>Text here.</p>", "Text here.", "Given Family"),
        (
            "<p>Von Vorname de la Nachname, 28.09.2015</p><p>Ein Text.</p>",
            "Ein Text.",
            "Vorname de la Nachname",
        ),
        ("<p>Від Ім’я Прізвище</p><p>Текст тут.</p>", "Текст тут.", "Ім’я Прізвище"),
        (
            "<p>28 September 2015</p><p>By Given Family and Other Name</p><p>Text.</p>",
            "Text.",
            "Given Family and Other Name",
        ),
        (
            "di Nome Cognome | 28/09/2015 Parole come “queste” sono poche",
            "Parole come “queste” sono poche",
            "Nome Cognome",
        ),
        ("By Given Family – The first sentence.", "The first sentence.", "Given Family"),
        ("<p>By Design, we mean this.</p>", "By Design, we mean this.", None),
        (
            "Von Vorname Nachname – und nur von ihr – ist die Rede.",
            "Von Vorname Nachname – und nur von ihr – ist die Rede.",
            None,
        ),
        ("by Given Family Bakers in many places.", "by Given Family Bakers in many places.", None),
    ],
)
def test_a_byline_that_can_be_told_from_the_text_is_taken_off(
    html: str, text: str, author: str | None
) -> None:
    assert taken(html) == Excerpt(text, False, author)


@pytest.mark.parametrize(
    ("text", "author"),
    [
        ("by Given Family Bakers in many places.", "Given Family"),
        ("By Dr Given Family for Adventurous Systems.", None),
        ("By Given Middle Family Bakers in many places.", None),
        ("By and large this is so.", None),
    ],
)
def test_a_byline_is_guessed_only_in_pasted_text_and_only_of_two_names(text: str, author: str | None) -> None:
    assert taken(text, pasted=True).author == author


def test_the_author_the_source_names_is_not_repeated() -> None:
    text = "By Given Middle Family Bakers in many places."
    assert taken(text, author="Given Middle Family").text == "Bakers in many places."
    assert taken("By Given of time.", author="Given").text == "By Given of time."


def test_the_title_is_not_repeated() -> None:
    assert (
        taken("<h1>THE title</h1><p>The title is good.</p>", title="The Title").text == "The title is good."
    )


@pytest.mark.parametrize(
    "tail",
    [
        " […]",
        " [...]",
        "…",
        " ...",
        " [&hellip;]",
        "&#8230; <a class='more-link' href='x'>Continue reading <span>→</span></a>",
        " … Continue reading →",
        " […] Read more",
        " … Weiterlesen »",
        " [&#8230;] The post <a>A Title.</a> appeared first on <a>A Site</a>.",
        " […] Der Beitrag X erschien zuerst auf Y.",
        " … Lire la suite",
        " […] Запись X впервые появилась Y.",
        " […] Share this: Twitter Facebook Like this: Like Loading...",
    ],
)
def test_what_programs_append_is_taken_off_and_tells_that_more_follows(tail: str) -> None:
    text = "This is what was said about it and what came after, in a few words"
    assert taken(f"<p>{text}{tail}</p>") == Excerpt(text, True)


@pytest.mark.parametrize(
    "text",
    [
        "You should read more.",
        "The post office closed. People liked the post.",
        "He said [1] that [sic] it was (…) so.",
        "Continue reading the works of others, and write.",
        "Read more books than you write, he told the paper in a long talk",
    ],
)
def test_what_only_looks_like_a_tail_stays(text: str) -> None:
    assert taken(text) == Excerpt(text, False)


def test_the_post_appeared_takes_nothing_of_the_text_before_it() -> None:
    text = "The post office closed. The post X (The post) appeared first on Y."
    assert taken(text).text in ("The post office closed.", "The post office closed. The post X (")
    assert taken("The post office closed. The post X appeared first on Y.").text == "The post office closed."


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ('[caption id="a" width="300"]<img src="x"> Whose picture[/caption]<p>Text.</p>', "Text."),
        ("[vc_row][vc_column]Text [also here] and [1].[/vc_column][/vc_row]", "Text [also here] and [1]."),
        ("[embed]https://example.org/v[/embed] Text.", "Text."),
        ('{{< figure src="x" >}} Text with {{ braces }}.', "Text with {{ braces }}."),
        ("<p>https://example.org/video</p><p>Text.</p>", "Text."),
        ("<p>Photo by Given Family on Site</p><p>Text.</p>", "Text."),
    ],
)
def test_shortcodes_embeds_and_captions_go_and_other_brackets_stay(html: str, text: str) -> None:
    assert taken(html).text == text


LONG = "The unions of the country have warned that rights and jobs are in danger."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{LONG} Workers gather on 20 May, 2014. (AP/Given Family) More of it.", f"{LONG} More of it."),
        (f"Workers gather in May (Photo: Given Family). {LONG}", LONG),
        (f"{LONG} Workers gather. (Reuters) More of it.", f"{LONG} More of it."),
        (f"LONDON (Reuters) – {LONG}", f"LONDON (Reuters) – {LONG}"),
        ("Short. Workers gather. (AP/Given Family)", "Short. Workers gather. (AP/Given Family)"),
        (
            f"{LONG} Both parties (the AP and the others) agreed.",
            f"{LONG} Both parties (the AP and the others) agreed.",
        ),
    ],
)
def test_the_sentence_before_a_picture_credit_is_its_caption(text: str, expected: str) -> None:
    assert taken(text).text == expected


def test_a_few_words_of_a_cut_sentence_are_dropped() -> None:
    assert taken("This is a whole sentence. Although civil […]") == Excerpt("This is a whole sentence.", True)
    assert taken("This is a whole one. These are five words here […]").text.endswith("five words here")
    assert taken("Although civil […]") == Excerpt("Although civil", True)


HOSTILE = {
    "captions": "[caption " * 30_000,
    "closed captions": "[caption ]" * 26_000,
    "closing captions": "[/caption]" * 26_000,
    "shortcodes": "[vc_row a=" * 26_000,
    "templates": "{{<" * 90_000,
    "bylines": "By " + "Aa " * 90_000,
    "initials": "By " + "A. " * 90_000,
    "dots": "." * 260_000,
    "ellipses": "… " * 130_000,
    "credits": "(AP/" * 65_000,
    "posts": "The post " * 29_000 + "appeared first",
    "more": "Continue reading " * 16_000,
    "shares": "Share this: " * 22_000,
    "quotes": ".”" * 130_000,
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_text_takes_half_a_second_at_most(shape: str) -> None:
    """ingest 2.4: a first draft took 147 s on captions. Measured: each under 0.3 s."""
    started = time.perf_counter()
    for html in (HOSTILE[shape], f"<p>{HOSTILE[shape]}</p>"):
        excerpt = taken(html, author="Given Family", pasted=True)
        shorten(excerpt.text, truncated=True, length=280)
        propose_title(excerpt.text)
    assert time.perf_counter() - started < 5


# --- sentences ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Dr. Given met J. K. Name at 5 p.m. in the U.S. capital. They spoke.",
            "Dr. Given met J. K. Name at 5 p.m. in the U.S. capital.",
        ),
        ("Am 3. Oktober z. B. wird gefeiert. Dann nicht.", "Am 3. Oktober z. B. wird gefeiert."),
        ("“Is it so?” asked they. Yes.", "“Is it so?” asked they."),
        ("He left.” She stayed.", "He left.”"),
        ("Version 3.14 is out! Get it.", "Version 3.14 is out!"),
        ("今日は晴れ。明日は雨。", "今日は晴れ。"),
        ("यह एक वाक्य है। दूसरा।", "यह एक वाक्य है।"),
        ("یہ ایک جملہ ہے۔ دوسرا۔", "یہ ایک جملہ ہے۔"),
        ("Це було в 2015 р. у Києві. Далі.", "Це було в 2015 р. у Києві."),
        ("No end here", "No end here"),
        ("", ""),
    ],
)
def test_a_sentence_ends_where_a_reader_would_say(text: str, expected: str) -> None:
    assert sentences.first(text) == expected


# --- shortening ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "truncated", "length", "expected"),
    [
        ("It fits.", True, 8, "It fits."),
        ("It fits", True, 8, "It fits…"),
        ("It went quite well on", True, 21, "It went quite well…"),
        ("It fits", False, 7, "It fits"),
        ("one two, three", False, 10, "one two…"),
        ("one two (the rest", False, 10, "one two…"),
        ("uninterrupted word", False, 9, "uninterr…"),
        ("One sentence here. And another one", False, 28, "One sentence here."),
        ("Short. And then a long one follows", False, 28, "Short. And then a long one…"),
        ("漢字" * 20, False, 11, "漢字" * 5 + "…"),
        ("今日は晴れです。明日は雨でしょう", False, 12, "今日は晴れです。"),
        ("🇺🇦" * 9, False, 4, "🇺🇦🇺🇦🇺🇦…"),
        ("", True, 5, ""),
        ("abc def", False, 1, "…"),
        ("abc", False, 0, ""),
        ("This sentence ends with “a quote.”", True, 40, "This sentence ends with “a quote.”"),
        ("This one goes on:", True, 40, "This one goes on…"),
    ],
)
def test_an_excerpt_ends_at_a_sentence_or_a_space_or_between_clusters(
    text: str, truncated: bool, length: int, expected: str
) -> None:
    assert shorten(text, truncated=truncated, length=length) == expected


PIECES = st.sampled_from(
    [
        "word ",
        "Word. ",
        "a ",
        "…",
        "漢",
        "。",
        "e\u0301",
        "\u0301",
        "👩\u200d👧",
        "🇺🇦",
        "🇮",
        "\u200d",
        "“",
        "”",
        "Dr. ",
        "สำนัก",
        "می\u200cخوا",
        " – ",
    ]
)


@given(st.lists(PIECES | st.text(max_size=4), max_size=80).map("".join), st.booleans(), st.integers(1, 90))
@settings(max_examples=EXAMPLES)
def test_an_excerpt_is_never_longer_than_allowed_and_never_ends_inside_a_cluster(
    text: str, truncated: bool, length: int
) -> None:
    """The budget counts grapheme clusters and includes the ellipsis."""
    text = taken(body=text.replace("<", "").replace("&", "")).text
    short = shorten(text, truncated=truncated, length=length)
    assert len(regex.findall(r"\X", short)) <= length
    boundaries = {0} | {match.end() for match in regex.finditer(r"\X", text)}
    # A "…" at the end is ours or the text's own: one of the two must be a part of it, whole.
    kept = [
        one for one in {short, short.removesuffix("…")} if text.startswith(one) and len(one) in boundaries
    ]
    assert kept
    assert short == text or short.endswith("…") or len(short) in set(sentences.ends(text))


MARKUP = st.sampled_from(
    [
        "<p>",
        "</p>",
        "<b>",
        "</div>",
        "<br/>",
        "<img alt='x'>",
        "<script>x</script>",
        "<!-- c -->",
        "&lt;",
        "&amp;nbsp;",
        "[caption]",
        "\u200b",
        "\u202e",
        "\u2067",
        "\ufeff",
        "text ",
    ]
)


@given(
    st.lists(MARKUP | st.characters(exclude_characters="<>&", exclude_categories=["Cs"]), max_size=60).map(
        "".join
    )
)
@settings(max_examples=EXAMPLES)
def test_an_excerpt_has_no_markup_and_nothing_invisible(html: str) -> None:
    text = taken(html, body=html, manual=html).text
    assert not regex.search(r"</?(?:p|b|div|br|img|script)\b[^<>]*>|<!--", text)
    assert not set(text) & set(
        "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\n"
    )


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("A short one. And more.", "A short one"),
        ("Why? Because.", "Why?"),
        ("Wait... It is so.", "Wait..."),
        ("", ""),
        ("漢" * 100, "漢" * 69 + "…"),
    ],
)
def test_a_proposed_title_is_the_first_sentence(text: str, title: str) -> None:
    assert propose_title(text) == title


@given(st.lists(PIECES, max_size=80).map("".join))
@settings(max_examples=EXAMPLES)
def test_a_proposed_title_is_one_line_of_at_most_70_clusters(text: str) -> None:
    assert len(regex.findall(r"\X", propose_title(text))) <= 70


def test_an_ellipsis_of_the_text_that_is_joined_to_a_word_is_not_taken_apart() -> None:
    """Found by 10,000 random texts: the first cluster of this one is an ellipsis and a joiner."""
    assert shorten("…\u200dword", truncated=False, length=1) == "…"

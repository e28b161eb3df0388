"""What the lint says of letters as they are sent: nothing, whatever the posts are."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from digest.letter.page import Page
from digest.lint.check import check
from digest.lint.finding import Severity
from digest.prose.clean import direction
from tests.digest import letters
from tests.digest.conftest import publication

EXAMPLES = int(os.environ.get("PROVE_EXAMPLES", "30"))

UKRAINIAN = "Мушлі, мотузка й один чобіт: ранкова прогулянка вздовж північної стіни після шторму. " * 3
CHINESE = "贝壳、绳子和一只靴子：第一场风暴过后沿着北墙的清晨漫步。" * 6
ISSUES = {
    "no post": letters.page(0),
    "one post": letters.page(1),
    "ten posts": letters.page(10),
    "thirty posts": letters.page(30),
    "more than fit": letters.page(60),
    "titles at the end": letters.page(12, titles_only=5),
    "no pictures": letters.page(tuple(letters.card(n, picture_url=None) for n in range(6))),
    "no pages of their own": letters.page(tuple(letters.card(n, url=None) for n in range(6))),
    "nothing but a title": letters.page(
        tuple(
            letters.card(n, author=None, published_at=None, excerpt="", category=None, picture_url=None)
            for n in range(6)
        )
    ),
    "no introduction": letters.page(6, intro_html="", intro_text=""),
    "a word of 300 letters": letters.page((letters.card(0, title="W" * 300, excerpt="w" * 300),)),
    "Arabic": letters.arabic(),
    "Ukrainian": letters.in_words("uk", "Що залишив приплив", UKRAINIAN),
    "Chinese": letters.in_words("zh", "潮水留下了什么", CHINESE),
    "German": letters.in_words("de", "Was die Flut zurückließ", "Größe, Maß und Übermut. " * 9),
    "an international host": letters.page(
        tuple(
            letters.card(
                n, url=f"https://новини.example/стаття {n}", picture_url=f"https://новини.example/{n}.jpg"
            )
            for n in range(6)
        ),
        publication(base_url="https://новини.example"),
    ),
    "at home": letters.page(
        6, publication(base_url="http://127.0.0.1:8025", url="http://127.0.0.1:8025/samples/")
    ),
}


@pytest.mark.parametrize("name", ISSUES)
def test_the_letter_of_an_issue_has_no_finding(name: str) -> None:
    mine, other, page = letters.letters(ISSUES[name])

    assert check(mine, other=other, page=page) == []


def test_an_issue_without_a_postal_address_is_refused() -> None:
    """H-13"""
    mine, other, page = letters.letters(letters.page(3, publication(postal_address=None)))

    assert [(f.severity, f.point) for f in check(mine, other=other, page=page)] == [
        (Severity.ERROR, "postal-address")
    ]


def test_one_recipients_letter_twice_is_no_proof_and_is_refused() -> None:
    mine, _, page = letters.letters(letters.page(3))

    assert {f.point for f in check(mine, other=mine, page=page)} == {"recipient-values"}


def test_thirty_posts_are_rendered_and_checked_in_time() -> None:
    """Bar: 1.5 s, measured by `python -m benchmarks --only rendering`; here only what hangs is caught."""
    started = time.perf_counter()
    mine, other, page = letters.letters(letters.page(30))
    check(mine, other=other, page=page)

    assert time.perf_counter() - started < 15


#: what strangers put into titles: markup, quotes, reversed text, emoji, long words, line breaks, sentinels
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "' onclick='x",
            "{{ 7*7 }}",
            "{% raw %}",
            "%(name)s %%",
            "\u202eesrever",
            "👩‍👩‍👧‍👦 family",
            "e\u0301",
            "w" * 300,
            "line\r\nBcc: x@y.example",
            "=?utf-8?q?Hi=0D=0ABcc:_x@y.example?=",
            "zq0123456789abcdeaddressqz",
            "https://unsubscribe-0123456789abcdee.invalid/",
            "<!--end-->",
            "]]></style>",
            "None",
            "\x00\x0b\x92",
            "<!--reader-->",
        ]
    ),
)


# No shrinking: an example is a whole issue, and making one smaller takes minutes.
@settings(max_examples=EXAMPLES, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(st.tuples(HOSTILE, HOSTILE, HOSTILE), min_size=1, max_size=6), HOSTILE, HOSTILE)
def test_no_words_of_a_stranger_break_the_letter(
    posts: list[tuple[str, str, str]], subject: str, preheader: str
) -> None:
    """Point 42."""
    cards = tuple(
        letters.card(
            number,
            # A post's title is never empty; what cleaning leaves of a stranger's may be.
            title=f"{title} (a title)",
            excerpt=excerpt,
            author=author or None,
            category=author or None,
            picture_alt=excerpt[:40],
            direction=direction(f"{title} {excerpt}"),
        )
        for number, (title, excerpt, author) in enumerate(posts)
    )
    issue = letters.page(cards, subject=f"{subject} (a subject)", preheader=preheader)
    mine, other, page = letters.letters(issue)

    errors = [f for f in check(mine, other=other, page=page) if f.severity is Severity.ERROR]

    assert errors == []


def digest_of(issue: Page) -> str:
    mine, other, _ = letters.letters(issue)
    return hashlib.sha256(mine + other).hexdigest()


def test_another_process_makes_the_same_bytes() -> None:
    """Point 43."""
    code = (
        "from tests.digest import letters, test_lint_of_real_letters as t;"
        "print(t.digest_of(letters.page(6)), t.digest_of(letters.arabic()))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert run.stdout.split() == [digest_of(letters.page(6)), digest_of(letters.arabic())]

"""How long an issue takes to render, and what of it is inlining, beside others who inline the same page."""

import json
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from unittest.mock import patch

import css_inline
from premailer import Premailer

import digest.letter.render
from benchmarks.samples import NONCE, page
from benchmarks.tables import Table
from benchmarks.turns import milliseconds
from digest.letter.inline import inlined
from digest.letter.page import Page
from digest.letter.personalise import stencil
from digest.letter.render import fitted, render
from digest.letter.rendered import LINKS, sentinel
from digest.letter.theme import Theme
from digest.lint.check import check
from digest.press import SAMPLES as READERS
from subscribers.tokens import Keyring

SIZES = (10, 30, 100)  # posts
BAR_POSTS = 30
BAR = 1_000  # milliseconds
#: the same, with the lint over two letters of it
CHECKED_BAR = 1_500  # milliseconds
ROUNDS = 11
#: the whole work of a new process, imports and all, is measured so often
STARTS = 5
WRITTEN_AT = datetime(2015, 10, 1, 9, tzinfo=UTC)

FITTED = "rendered to fit"
CHECKED = "and checked"
RENDERED = "rendered"
OURS = "of which inlining"
PREMAILER = "premailer as it comes"
CSS_INLINE = "css-inline"


@dataclass(frozen=True, slots=True)
class Row:
    """One size of issue: the medians in milliseconds, by contender."""

    posts: int
    source: int  # bytes of the page before inlining
    medians: dict[str, float]


def measure(sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> list[Row]:
    """Every size's medians; within a size the contenders take turns."""
    return [_measured(posts, rounds) for posts in sizes]


def _measured(posts: int, rounds: int) -> Row:
    issue = page(posts)
    source = source_of(issue)
    return Row(posts, len(source.encode()), milliseconds(contenders(issue, source), rounds))


def contenders(issue: Page, source: str) -> dict[str, Callable[[], object]]:
    """Our rendering of *issue*, and everybody's inlining of its *source*; each has run once."""
    theme, links = Theme(), [sentinel(hole, NONCE) for hole in LINKS]
    found: dict[str, Callable[[], object]] = {
        FITTED: lambda: fitted(issue, theme=theme, templates_dir=None, nonce=NONCE),
        CHECKED: lambda: checked(issue),
        RENDERED: lambda: render(issue, theme=theme, templates_dir=None, nonce=NONCE),
        OURS: lambda: inlined(source, links=links),
        PREMAILER: lambda: Premailer(source, cssutils_logging_level=logging.CRITICAL).transform(),
        CSS_INLINE: lambda: css_inline.inline(source),
    }
    for contender in found.values():
        contender()
    return found


def checked(issue: Page) -> None:
    """*issue* is rendered to fit and two letters of it have been through the lint, as before an approval."""
    rendered, shown = fitted(issue, theme=Theme(), templates_dir=None, nonce=NONCE)
    ready = stencil(rendered, Keyring([b"k" * 32]), None)
    one, other = (ready.letter(reader, WRITTEN_AT).content for reader in READERS)
    if check(one, other=other, page=shown):
        raise AssertionError("the lint has something against the sample issue")


def source_of(issue: Page) -> str:
    """The page of *issue* as the templates leave it, before anything is inlined."""
    seen: list[str] = []

    def keep(html: str, *, links: list[str], texts: list[str]) -> str:
        seen.append(html)
        return inlined(html, links=links, texts=texts)

    with patch.object(digest.letter.render, "inlined", keep):
        render(issue, theme=Theme(), templates_dir=None, nonce=NONCE)
    return seen[0]


def first_of_a_process(posts: int = BAR_POSTS, starts: int = STARTS) -> float:
    """The median milliseconds of a process's first issue, without the imports."""
    command = [sys.executable, "-m", "benchmarks.rendering", str(posts)]
    answers = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(starts)]
    return statistics.median(float(json.loads(answer.stdout)) for answer in answers)


def tables(rows: list[Row], first: float) -> list[Table]:
    """What docs/performance.md says of rendering."""
    names = (FITTED, CHECKED, RENDERED, OURS, PREMAILER, CSS_INLINE)
    at_bar = next((row for row in rows if row.posts == BAR_POSTS), rows[-1])
    median, whole = at_bar.medians[FITTED], at_bar.medians[CHECKED]
    return [
        Table(
            title="Rendering an issue",
            told="Milliseconds of processor time, medians. *Rendered to fit* is what every command does:"
            " templates, inlining, text part, archive page, and again with fewer excerpts where a client"
            " would clip the letter (so 100 posts take several renderings). *And checked* is that with the"
            " lint over two letters of it, as before an approval. The last two columns inline the same page:"
            " premailer 3.10 as it comes, which is not fenced and gives other bytes, and"
            " css-inline, which is Rust.",
            headings=["posts", "KB before inlining", *names, "inlining / premailer", "inlining / css-inline"],
            rows=[
                [
                    row.posts,
                    round(row.source / 1000),
                    *(row.medians[name] for name in names),
                    row.medians[OURS] / row.medians[PREMAILER],
                    row.medians[OURS] / row.medians[CSS_INLINE],
                ]
                for row in rows
            ],
            remark=f"Bars: {at_bar.posts} posts in under {BAR:,} ms, {CHECKED_BAR:,} with the lint; the"
            f" medians are {median:,.0f} ms, {'met' if median < BAR else 'missed'}, and {whole:,.0f} ms,"
            f" {'met' if whole < CHECKED_BAR else 'missed'}. The first issue of a new process, before"
            f" anything is cached, takes {first:,.0f} ms.",
        )
    ]


def main() -> None:
    """Prints how many milliseconds this process's first issue took."""
    issue = page(int(sys.argv[1]))
    started = time.process_time()
    fitted(issue, theme=Theme(), templates_dir=None, nonce=NONCE)
    print(json.dumps((time.process_time() - started) * 1000))


if __name__ == "__main__":
    main()

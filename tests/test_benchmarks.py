"""What measures and proves: that its pages say what was found, and that its programs end. No speeds."""

import socket
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from benchmarks import desking, freezing, personalising, pictures, rendering, testing
from benchmarks.__main__ import write as write_performance
from benchmarks.claims import CLAIMS, ByTests, Claim, Outcome, Result, judged, large_export, worst
from benchmarks.importing import Imported
from benchmarks.machine import Machine, machine
from benchmarks.prove import Proof, exit_code, line, proven, write
from benchmarks.samples import page
from benchmarks.tables import Table, cell, markdown, write_page
from benchmarks.testing import Ran
from benchmarks.turns import Contender, milliseconds, rates
from digest.letter.inline import inlined

WHERE = Machine("A processor", 2, 4 * 1024**3, "A system", "CPython 3.11", 0.5)
ON = date(2026, 11, 22)


# --- pages ------------------------------------------------------------------------------------------


def test_a_table_is_markdown_with_its_numbers_to_the_right() -> None:
    assert markdown(["way", "per second"], [["a | b", 12_345.6], ["c\nd", 7]]) == (
        "| way | per second |\n| --- | ---: |\n| a \\| b | 12,346 |\n| c d | 7 |"
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.1234, "0.12"),
        (12.34, "12.3"),
        (1234.5, "1,234"),
        (10_000, "10,000"),
        (True, "True"),
        ("1 2", "1 2"),
    ],
)
def test_a_number_has_as_many_digits_as_it_deserves(value: object, shown: str) -> None:
    assert cell(value) == shown


def test_a_page_begins_with_the_date_and_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "page.md"
    write_page(path, "Title", ON, WHERE, ["Words.", Table(title="T", told="", headings=["a"], rows=[[1]])])
    assert path.read_text() == (
        "# Title\n\n"
        "2026-11-22 · A processor, 2 cores, 4 GB, A system, CPython 3.11, load 0.5 at the start.\n\n"
        "Words.\n\n## T\n\n| a |\n| ---: |\n| 1 |\n"
    )


def test_the_machine_is_described_without_telling_whose_it_is() -> None:
    told = str(machine())
    assert f"{machine().cores} cores" in told
    assert not {part for part in (socket.gethostname(), str(Path.cwd()), str(Path.home())) if part in told}


# --- turns ------------------------------------------------------------------------------------------


def test_contenders_take_turns_and_what_prepares_them_is_not_timed() -> None:
    now, done = [0.0], []

    def spending(name: str, seconds: float, count: float) -> Callable[[], float]:
        def spend() -> float:
            done.append(name)
            now[0] += seconds
            return count

        return spend

    found = rates(
        {
            "slow": Contender(spending("slow", 2, 10), prepare=spending("before", 100, 0)),
            "fast": Contender(spending("fast", 1, 10)),
        },
        rounds=2,
        clock=lambda: now[0],
    )

    assert found == {"slow": 5, "fast": 10}
    assert done == ["before", "slow", "fast"] * 2


def test_milliseconds_are_of_the_processor() -> None:
    assert milliseconds({"work": lambda: sum(range(1000))}, 3)["work"] > 0


# --- claims -----------------------------------------------------------------------------------------

SAMPLE_TESTS = """
import os
import pytest
from hypothesis import given, settings, strategies as st

@settings(max_examples=int(os.environ["PROVE_EXAMPLES"]), deadline=None)
@given(st.integers())
def test_property(n):
    assert n == n

@given(st.booleans())
def test_small_property(b):
    pass

def test_that_says_something():
    print("seed", os.environ["PROVE_SEED"])

def test_that_is_not_here():
    pytest.skip("no such thing")

@given(st.integers())
def test_wrong(number):
    assert number < 10

def test_endless():
    import time
    time.sleep(600)
"""


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    """A file of tests that do all that tests can do."""
    path = tmp_path / "test_sample.py"
    path.write_text(SAMPLE_TESTS)
    return path


def result(sample: Path, *names: str, examples: int = 0, limit: float = 60) -> Result:
    nodes = [f"{sample}::test_{name}" for name in names]
    return ByTests(nodes, examples=examples, limit=limit, environment={"PROVE_EXAMPLES": "150"})(4711)


def test_a_claim_by_tests_tells_how_many_inputs_there_were_and_what_was_said(sample: Path) -> None:
    names = ("property", "small_property", "that_says_something", "that_is_not_here")
    assert result(sample, *names, examples=150) == Result(
        Outcome.HOLDS,
        "tests: 3; properties: 2; random inputs: 152; left out: no such thing",
        ["seed 4711"],
    )


def test_a_claim_fails_with_its_test_and_with_a_test_that_is_not_there(sample: Path) -> None:
    wrong, missing = result(sample, "wrong", "that_is_not_here"), result(sample, "nonexistent")
    assert (wrong.outcome, wrong.figures) == (Outcome.FAILS, "failed: test_wrong")
    assert any("number=10" in line for line in wrong.said)
    assert missing.outcome is Outcome.FAILS
    assert missing.figures.startswith("pytest ended with 4")


def test_a_claim_that_does_not_end_fails(sample: Path) -> None:
    assert result(sample, "endless", limit=3).figures == "did not end within 3 seconds"


@pytest.mark.parametrize(
    ("ran", "expected"),
    [
        (Ran(passed=99, failed=["test_a", "test_b"]), Result(Outcome.FAILS, "failed: test_a and 1 more")),
        (Ran(passed=2, examples={"test_a": 9, "test_b": 10}), Result(Outcome.FAILS, "test_a saw 9")),
        (
            Ran(passed=1, examples={"test_a": 2}, exhausted={"test_a"}),
            Result(Outcome.HOLDS, "tests: 1; properties: 1; random inputs: 2"),
        ),
        (Ran(skipped=["no browser"]), Result(Outcome.NOT_RUN, "no browser")),
        (Ran(), Result(Outcome.NOT_RUN, "no test was found")),
        (Ran(passed=1, broken="did not end"), Result(Outcome.FAILS, "did not end")),
    ],
)
def test_ten_inputs_are_proven_by_no_fewer_unless_there_are_no_more(ran: Ran, expected: Result) -> None:
    assert judged(ran, 10) == expected


def test_the_tests_of_every_claim_are_there() -> None:
    nodes = [node for claim in CLAIMS if isinstance(claim.prove, ByTests) for node in claim.prove.nodes]
    assert nodes
    assert [node for node in nodes if not (testing.ROOT / node).is_file()] == []


@pytest.mark.parametrize(
    ("slow", "large", "outcome"),
    [(4.9, 99, Outcome.HOLDS), (5.0, 99, Outcome.FAILS), (1.0, 100, Outcome.FAILS)],
)
def test_the_worst_import_decides(slow: float, large: int, outcome: Outcome) -> None:
    """Bar 2."""
    found: dict[str, Imported | str] = {
        "a.xml": Imported(1, "", slow, 10),
        "b.xml": Imported(0, "refused", 0.1, large),
    }
    assert worst(found, 5, 100).outcome is outcome
    assert worst({**found, "c.xml": "ended with -9: "}, 5, 100).outcome is Outcome.FAILS
    several = Imported(0, "refused\nbecause", 0.1, 10)
    assert worst({**found, "c.xml": several}, 5, 100).outcome is Outcome.FAILS


def test_a_large_export_is_imported_by_a_process_whose_memory_is_told() -> None:
    """Bar 7, with a megabyte for the gigabyte."""
    found = large_export(0, megabytes=1)
    assert found.outcome is Outcome.HOLDS
    assert "149 of 149 posts from 1 MB" in found.figures


def test_proofs_are_a_page_and_an_exit_code(tmp_path: Path) -> None:
    claims = [
        Claim(
            "one",
            "It holds.",
            "10",
            lambda seed: Result(Outcome.HOLDS, f"{seed} | seen", ["a word", "another"]),
        ),
        Claim("two", "It is not here.", "1", lambda seed: Result(Outcome.NOT_RUN, "no browser")),
    ]
    proofs = [replace(proof, seconds=1.5) for proof in proven(claims, 4711)]
    failed = Proof(claims[0], Result(Outcome.FAILS, "seen 9"), 60)

    page = tmp_path / "proofs.md"
    write(page, claims, proofs, 4711, WHERE, ON, "abc1234")
    assert (exit_code(proofs), exit_code([*proofs, failed])) == (0, 1)
    assert line(failed) == "one: fails (60 s): seen 9"
    assert page.read_text().endswith(
        "| claim | count | outcome | figures | seconds | seed | proven |\n"
        "| --- | ---: | --- | --- | ---: | --- | --- |\n"
        "| It holds. | 10 | holds | 4711 \\| seen | 2 | `4711` | 2026-11-22 abc1234 |\n"
        "| It is not here. | 1 | not run | no browser | 2 | `4711` | 2026-11-22 abc1234 |\n\n"
        "## In the words of the tests: one\n\n    a word\n    another\n"
    )
    whole = page.read_text()

    write(page, claims, proofs[1:], 4711, WHERE, ON, "abc1234")
    assert page.read_text() == whole
    write(page, claims, [failed], 12, WHERE, ON, "")
    assert page.read_text().endswith(
        "| It holds. | 10 | fails | seen 9 | 60 | `12` | 2026-11-22 |\n"
        "| It is not here. | 1 | not run | no browser | 2 | `4711` | 2026-11-22 abc1234 |\n"
    )


def test_what_was_not_measured_stays_on_the_page(tmp_path: Path) -> None:
    page, names = tmp_path / "performance.md", ["far", "near"]
    near, far = (
        Table(title=title, told="Told.", headings=["way", "letters"], rows=[["ours", count]])
        for title, count in (("Near", 7), ("Far", 3))
    )

    write_performance(page, names, {"near": [near]}, WHERE, ON)
    assert f"<!-- near -->\n\n*2026-11-22 · {WHERE}.*\n\n## Near\n\nTold." in page.read_text()
    write_performance(page, names, {"far": [far, near]}, WHERE, date(2026, 11, 26))
    text = page.read_text()
    assert text.index("*2026-11-26") < text.index("## Far") < text.index("*2026-11-22")
    assert text.count("## Near") == 2
    write_performance(page, names, {"far": [far], "near": [near]}, WHERE, ON)
    write_performance(page, names, {}, WHERE, ON)
    assert page.read_text().count("## ") == 4


# --- measurements, small ----------------------------------------------------------------------------


def test_rendering_is_measured_on_the_page_before_inlining() -> None:
    source = rendering.source_of(page(3))
    assert 'class="title ink">' in source
    assert 'class="title ink" style="' in inlined(source)

    (row,) = rendering.measure((3,), 1)
    (table,) = rendering.tables([row], rendering.first_of_a_process(3, 1))

    assert (row.posts, row.source) == (3, len(source.encode()))
    assert set(row.medians) == set(table.headings[2:8])
    assert "Bars: 3 posts" in str(table)


@pytest.mark.slow
def test_personalising_and_freezing_are_measured_on_little() -> None:
    letters = personalising.measure(0.2)
    rows = freezing.measure(20, 1)
    seconds = freezing.whole(20)

    assert min(row.letter for row in letters) >= personalising.LETTER
    (table,) = freezing.tables(rows, seconds, 20, 20)
    assert len(table.rows) == 2
    assert "Bar: under 15 s on both, met" in table.remark
    (slow,) = freezing.tables(rows, {**seconds, "PostgreSQL": 15.0}, 20, 20)
    assert "missed" in slow.remark
    assert all(row.per_second > 0 for some in (letters, rows) for row in some)


def test_the_desk_answers_all_that_is_asked_for() -> None:
    small = desking.proven(0, people=1000, posts=3, rounds=2, patience=10)
    assert small.outcome is Outcome.HOLDS, small.figures
    page, change = desking.Row("months", 9, 9, 149, 9), desking.Row(desking.REFRESH, 9, 9, 399, 9)
    assert desking.judged([page, change]).outcome is Outcome.HOLDS
    late = replace(page, p95=150)
    assert desking.judged([late, change]).outcome is Outcome.FAILS
    assert "p95 150 of 150" in desking.judged([late, change]).figures
    assert desking.judged([page, replace(change, p95=400)]).outcome is Outcome.FAILS


@pytest.mark.browser
def test_a_picture_is_as_wide_as_it_says_and_ends_where_it_should(tmp_path: Path, chromium: str) -> None:
    address = tmp_path / "letter.html"
    address.write_text("<!DOCTYPE html><body style='margin:0'><p style='margin:400px 0 2000px'>x")
    shot = pictures.Shot("part", "", 320, "dark", until="p", scale=2)
    with pictures.browser(chromium) as opened:
        pictures.shoot(opened, shot, address.as_uri(), tmp_path)
        pictures.shoot(opened, replace(shot, name="all", until=""), address.as_uri(), tmp_path)

    assert size(tmp_path / "part.png") == (640, 2 * (400 - pictures.MARGIN))
    assert size(tmp_path / "all.png")[1] > 4800


def size(picture: Path) -> tuple[int, int]:
    """Width and height from the header of a PNG."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height

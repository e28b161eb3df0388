"""docs/requirements.md and the tests say the same about which test holds which requirement."""

import re
from pathlib import Path

from digest.lint.finding import POINTS

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "requirements.md").read_text(encoding="utf-8")
ID = r"(?:F|H|W|U|T|S|R|B|D|A|P|I|LC|L)-\d{1,2}"


def cited() -> dict[str, set[str]]:
    """The requirements and the rows of the fault matrix each test file names."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        if path != Path(__file__):
            for one in re.findall(rf"\b{ID}\b", path.read_text(encoding="utf-8")):
                found.setdefault(one, set()).add(path.stem)
    return found


def test_every_requirement_is_held_by_the_tests_the_page_names() -> None:
    rows = re.findall(rf"^\| ({ID}) \| .+ \| (.+) \|$", PAGE, re.MULTILINE)
    assert {one: set(re.findall(r"`(\w+)`", tests)) for one, tests in rows} == cited()


def test_every_point_of_the_lint_is_on_the_page() -> None:
    assert {name for name in POINTS if f"| {name} |" not in PAGE} == set()

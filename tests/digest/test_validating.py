"""The letter's HTML by the standard: all that html-validate recommends, but for what mail does otherwise.

tests/validating/mail.json turns four rules off and one down. Mail has no other way: styles are inline, Word
is spoken to in conditional comments, its attributes are those HTML gave up, every cell more costs bytes, and
role=article stands on a div, for an article element is lost on the way (caniemail).
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from digest.letter.page import Page
from digest.lint.opened import opened
from tests.conftest import ROOT
from tests.digest import letters

FOLDER = ROOT / "tests" / "validating"
PROGRAM = FOLDER / "node_modules" / ".bin" / "html-validate"
ISSUES: dict[str, Page] = {
    "none": letters.page(0),
    "ten": letters.page(10),
    "titles": letters.page(12, titles_only=5),
    "too-many": letters.page(60),
    "arabic": letters.arabic(),
    "webp": letters.page(
        (letters.card(0), letters.card(1, picture_url="https://slowwater.example.org/1.webp"))
    ),
}


def validated(*pages: Path) -> list[dict[str, Any]]:
    """What html-validate has against *pages*; skipped where it is not installed."""
    node = shutil.which("node")
    if node is None or not PROGRAM.exists():
        pytest.skip("html-validate is not here: `npm ci --prefix tests/validating` installs it")
    command = [
        node,
        str(PROGRAM),
        "--config",
        str(FOLDER / "mail.json"),
        "--formatter",
        "json",
        *map(str, pages),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return [message for report in json.loads(run.stdout) for message in report["messages"]]


def test_html_validate_has_nothing_against_a_letter(tmp_path: Path) -> None:
    for name, issue in ISSUES.items():
        html = opened(letters.letters(issue)[0]).part("text/html")
        assert html is not None
        (tmp_path / f"{name}.html").write_text(html.text, encoding="utf-8")

    assert validated(*sorted(tmp_path.iterdir())) == []


def test_html_validate_minds_a_broken_letter(tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text("<!DOCTYPE html><html><head></head><body><p>one<div></p><img src=x></div></body></html>")

    assert {"element-required-content", "close-order"} <= {found["ruleId"] for found in validated(page)}

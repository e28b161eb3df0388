"""The lock files: everything the project asks for, each with its hashes, from nowhere in particular."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED = {
    "run.txt": PROJECT["project"]["dependencies"],
    "dev.txt": PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"],
}


def name(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def locked(file: str) -> dict[str, str]:
    """Each requirement of *file*: its name, and its lines."""
    blocks = re.split(r"(?m)^(?=[A-Za-z0-9])", (ROOT / "requirements" / file).read_text(encoding="utf-8"))
    return {name(block): block for block in blocks if block.strip()}


@pytest.mark.parametrize("file", ASKED)
def test_everything_asked_for_is_locked(file: str) -> None:
    assert {name(one) for one in ASKED[file]} - set(locked(file)) == set()


@pytest.mark.parametrize("file", ASKED)
def test_every_lock_has_one_version_and_hashes_and_names_no_host(file: str) -> None:
    for block in locked(file).values():
        assert re.match(r"[A-Za-z0-9._-]+==\S+", block)
        assert "--hash=sha256:" in block
        assert "://" not in block

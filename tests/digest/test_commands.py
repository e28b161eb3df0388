"""The commands' tree: every command is there, and reads in no more than it needs."""

import subprocess
import sys

import pytest
import typer
import typer.main

from digest.cli.app import ROOMS, Tree, app

HEAVY = ("alembic", "fastapi", "uvicorn", "aiosmtpd", "httpx", "feedparser", "lxml", "premailer", "html5lib")


def read_in(module: str) -> set[str]:
    """What a fresh interpreter has read in after *module*."""
    script = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_every_name_of_the_tree_is_a_command_or_a_group() -> None:
    tree = typer.main.get_group(app)
    assert isinstance(tree, Tree)
    for name in ROOMS:
        found = tree.get_command(None, name)
        assert found.name == name
        assert found.get_short_help_str()
    assert tree.get_command(None, "nonsense") is None


@pytest.mark.parametrize("room", ["sending", "store", "reconcile"])
def test_a_dispatch_reads_in_no_renderer_no_pages_and_no_readers_of_feeds(room: str) -> None:
    assert set(HEAVY) & read_in(f"digest.cli.{room}") == set()


def test_the_tree_itself_reads_in_no_store() -> None:
    assert {"sqlalchemy", "sqlmodel", "pydantic"} & read_in("digest.cli.app") == set()

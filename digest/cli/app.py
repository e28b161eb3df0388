"""The commands' tree, and `main`: errors a person can put right become one line and an exit code."""

import os
import secrets
import sys
from importlib.metadata import version
from pathlib import Path

import typer
from sqlalchemy.exc import DatabaseError, InternalError, OperationalError

from digest.cli import issues, people, posts, reconcile, rights, sending, store, working
from digest.cli.opened import env_file, opened, say, warn
from digest.database import open_engine
from digest.demo import run_demo, serve_demo
from digest.disk import mounts, require_local
from digest.errors import DigestError
from digest.initial import write_env
from digest.migrating import upgrade
from digest.settings import load
from digest.web.serving import listen
from digest.web.serving import serve as serve_pages
from digest.wiring import answering, pages_of
from subscribers.address import BadAddress

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A monthly digest of a publication's posts: build, approve, send, each letter once.",
)
app.add_typer(posts.sources_app, name="sources")
app.add_typer(posts.app, name="posts")
app.add_typer(issues.app, name="issue")
app.add_typer(people.app, name="subscribers")
app.add_typer(rights.keys_app, name="keys")
app.add_typer(store.app, name="store")
rights.register(people.app)
sending.register(app, issues.app)
app.command(name="reconcile")(reconcile.reconcile)
working.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"digest {version('monthly-digest')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    env: Path = typer.Option(Path(".env"), "--env", help="The publication's settings.", metavar="FILE"),
    _version: bool = typer.Option(
        False, "--version", help="Show the version.", is_eager=True, callback=_show_version
    ),
) -> None:
    """Remember which publication is meant."""
    ctx.obj = env


@app.command()
def init(ctx: typer.Context) -> None:
    """Write .env (mode 600, fresh keys) and make the store, or bring an old one up to date."""
    path = env_file(ctx)
    if path.exists():
        say(f"{path} is there already and stays as it is")
    else:
        write_env(path, secrets.token_hex)
        say(f"{path} written: open it and describe your publication")
    settings = load(path)
    engine = open_engine(settings.database_url)
    ctx.find_root().call_on_close(engine.dispose)
    if engine.dialect.name == "sqlite" and engine.url.database:
        require_local(Path(engine.url.database), mounts())
    done = upgrade(engine)
    where = engine.url.render_as_string(hide_password=True)
    say(f"the store {where} is {'ready' if done else 'up to date already'}")


@app.command()
def demo(
    directory: Path = typer.Option(Path("demo"), "--dir", help="Where everything is put.", metavar="DIR"),
    serve: bool = typer.Option(False, "--serve", help="Afterwards serve its pages until Ctrl-C."),
) -> None:
    """Show the whole way on sample posts: no accounts, no network."""
    run_demo(directory, secrets.token_hex, say)
    if serve:
        serve_demo(directory, say)


@app.command()
def serve(
    ctx: typer.Context,
    host: str = typer.Option("127.0.0.1", help="The address to listen on."),
    port: int = typer.Option(8000, help="The port to listen on."),
) -> None:
    """Serve the public pages and the archive, and answer by mail what is asked for on them."""
    house = opened(ctx)
    try:
        answer = answering(house.settings, house.engine)
    except DigestError as error:
        answer = None
        warn(f"nobody can subscribe: {error}")
    listening = listen(host, port)
    say(f"serving {house.settings.publication_name} on http://{host}:{port}/archive")
    serve_pages(pages_of(house.settings, house.engine, answer), listening, house.settings.trusted_proxies)


def main() -> None:
    """Run the command line; every file it makes is its owner's only."""
    os.umask(0o077)
    try:
        app()
    except DigestError as error:
        warn(str(error))
        sys.exit(error.exit_code)
    except BadAddress as error:
        warn(f"not an address: {error}")
        sys.exit(DigestError.exit_code)
    except DatabaseError as error:
        # The others of this family (a constraint, a wrong statement) are mistakes of ours.
        if type(error) not in (DatabaseError, OperationalError, InternalError):
            raise
        reason = str(error.orig).strip().splitlines()[0]
        warn(f"the store cannot be read or written: {reason}; what was not done is done the next time")
        sys.exit(DigestError.exit_code)

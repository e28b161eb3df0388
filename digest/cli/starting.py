"""`digest init`: the settings and the store."""

import secrets

import typer
from sqlalchemy import Engine

from digest.cli.opened import env_file, say
from digest.database import open_engine, sqlite_file
from digest.disk import mounts, require_local
from digest.errors import DigestError
from digest.initial import write_env
from digest.migrating import upgrade
from digest.sending.exclusive import exclusive
from digest.settings import load
from digest.vintage import newest, version

app = typer.Typer()


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
    if (file := sqlite_file(engine)) is not None:
        require_local(file, mounts())
    done = _bring_up(engine)
    where = engine.url.render_as_string(hide_password=True)
    say(f"the store {where} is {'ready' if done else 'up to date already'}")


def _bring_up(engine: Engine) -> bool:
    """The store is of this program's version; whether anything had to be done."""
    if version(engine) == newest():
        return False
    with exclusive(engine) as nobody_sends:
        if not nobody_sends:
            raise DigestError(
                "letters are going out from this store: let the run end, or stop it, then `digest init` again"
            )
        return upgrade(engine)

"""`digest init`: the settings and the store."""

import secrets
from pathlib import Path

import typer

from digest.cli.opened import env_file, say
from digest.database import open_engine
from digest.disk import mounts, require_local
from digest.initial import write_env
from digest.migrating import upgrade
from digest.settings import load

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
    if engine.dialect.name == "sqlite" and engine.url.database:
        require_local(Path(engine.url.database), mounts())
    done = upgrade(engine)
    where = engine.url.render_as_string(hide_password=True)
    say(f"the store {where} is {'ready' if done else 'up to date already'}")

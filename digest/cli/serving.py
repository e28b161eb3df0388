"""`digest serve` and `digest demo`."""

import secrets
from functools import partial
from pathlib import Path

import typer

from digest.cli.opened import env_file, opened, say, warn
from digest.demo import run_demo, serve_demo
from digest.doctor.installation import Asked, Tools
from digest.errors import DigestError
from digest.outfit import clock
from digest.patient import examined
from digest.web.serving import listen
from digest.web.serving import serve as serve_pages
from digest.wiring import answering, pages_of

app = typer.Typer()


@app.command()
def demo(
    directory: Path = typer.Option(Path("demo"), "--dir", help="Where everything is put.", metavar="DIR"),
    serve: bool = typer.Option(False, "--serve", help="Afterwards serve its pages until Ctrl-C."),
) -> None:
    """Show the whole way on sample posts: no accounts, no network."""
    run_demo(directory, secrets.token_hex, say)
    if serve:
        serve_demo(directory, secrets.token_hex, say)


@app.command()
def serve(
    ctx: typer.Context,
    host: str = typer.Option("127.0.0.1", help="The address to listen on."),
    port: int = typer.Option(8000, help="The port to listen on."),
) -> None:
    """Serve the public pages, the archive, the desk and the API, and answer what is asked for on the form."""
    house = opened(ctx)
    try:
        answer = answering(house.settings, house.engine)
    except DigestError as error:
        answer = None
        warn(f"nobody can subscribe: {error}")
    tools = Tools(now=clock, token=secrets.token_hex)
    doctor = partial(examined, house.settings, house.engine, env_file(ctx), Asked(), tools)
    pages = pages_of(house.settings, house.engine, answer, doctor)
    listening = listen(host, port)
    say(f"serving {house.settings.publication_name} on http://{host}:{port}/archive")
    say(f"the desk is at {house.settings.base_url}/desk/; `digest editors add` lets somebody in")
    serve_pages(pages, listening, house.settings.trusted_proxies)

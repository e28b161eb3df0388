"""The sample publication's own little site, so that the links and pictures of the demo's letters answer."""

from datetime import datetime
from html import escape
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from digest.prose.clean import direction
from digest.sources.found import Found
from digest.sources.reading import read_file

SAMPLES = Path(__file__).parent / "samples"
PICTURES = SAMPLES / "pictures"
ROOT = "http://127.0.0.1:8025/slow-water/"
_PATH = urlsplit(ROOT).path

_PAGE = """<!DOCTYPE html>
<html lang="{language}" dir="{direction}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>{title}</title><style>
:root{{color-scheme:light dark}}
body{{margin:0 auto;max-width:34em;padding:48px 24px;font:18px/29px Georgia,Cambria,"Times New Roman",serif;
background:#fbfaf7;color:#1d1b18}}
img{{width:100%;height:auto;display:block;margin:24px 0}} p.by{{font-size:15px;color:#625c52}}
h1{{font-size:34px;line-height:40px}}
@media(prefers-color-scheme:dark){{body{{background:#191816;color:#ece8e1}} p.by{{color:#a8a196}}}}
</style></head><body><p class="by">Slow Water</p><h1>{title}</h1><p class="by">{author}</p>
{picture}<p>{text}</p></body></html>
"""


def add_samples(app: FastAPI, now: datetime) -> None:
    """*app* also serves the sample posts and their pictures, where the sample feed says they are."""
    app.mount(f"{_PATH}pictures", StaticFiles(directory=PICTURES))
    document = read_file(SAMPLES / "feed.xml", base=ROOT, zone=ZoneInfo("UTC"), now=now)
    for post in document.posts:
        if isinstance(post, Found) and post.url is not None:
            _add(app, urlsplit(post.url).path, _page(post))


def _add(app: FastAPI, path: str, page: str) -> None:
    app.add_api_route(path, lambda: HTMLResponse(page), methods=["GET", "HEAD"])


def _page(post: Found) -> str:
    picture = post.picture
    shown = f'<img src="{escape(picture.url)}" alt="{escape(picture.alt)}">' if picture else ""
    return _PAGE.format(
        language=escape(post.language or "en"),
        direction=direction(f"{post.title} {post.excerpt}"),
        title=escape(post.title),
        author=escape(post.author or ""),
        picture=shown,
        text=escape(post.excerpt),
    )

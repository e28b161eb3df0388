"""RSS 2.0, 0.9x, RDF and Atom, parsed by feedparser in a process that cannot harm this one."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from digest.errors import DigestError
from digest.sources.found import Picture
from digest.sources.identity import Survey
from digest.sources.raw import Opened, Raw

#: seconds until an answer is no longer waited for, whatever the processor's load
PATIENCE = 30
_CHILD = Path(__file__).with_name("feed_child.py")

_ROOT = re.compile(r"<\?xml|<!DOCTYPE|<(?:\w{1,20}:)?(?:rss|feed|rdf)[\s>]", re.IGNORECASE)
_DECLARATION = re.compile(r"<\?xml[^<>]{0,200}\?>\s*")
_FIRST_TAG = re.compile(r"<[A-Za-z_]")
_ENTITY = re.compile(r"""<!ENTITY\s+[\w:.-]{1,80}\s+(?:"[^"]*"|'[^']*')\s*>""")
_END = re.compile(r"</(?:\w{1,20}:)?(?:rss|feed|rdf)\s{0,20}>", re.IGNORECASE)
#: XML 1.0, section 2.2: no document may hold these
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def read_feed(text: str, *, patience: float = PATIENCE) -> Opened:
    """The feed in *text*; DigestError where it is none, is an attack, or takes over *patience* seconds."""
    answer = _ask(_tidy(text).encode(), patience)
    if "refused" in answer:
        raise DigestError(f"the feed was not read: {answer['refused']}")
    warnings = []
    if answer["more"]:
        warnings.append(f"only its first {len(answer['entries'])} posts were read: it has more")
    if answer["warning"]:
        warnings.append(f"not well-formed, read as far as it goes: {answer['warning']}")
    if not answer["entries"]:
        _require_empty(text, answer)
    posts = [_raw(entry) for entry in answer["entries"]]
    survey = Survey()
    for post in posts:
        survey.add(post.guid, post.url, post.title)
    return Opened(
        title=answer["title"],
        posts=posts,
        survey=survey,
        link=answer["link"] or None,
        next_url=answer["next"] or None,
        warnings=warnings,
    )


def _require_empty(text: str, answer: dict[str, Any]) -> None:
    """A feed without posts is believed only where it is whole and has no posts in it."""
    if not answer["version"]:
        raise DigestError("that is neither RSS nor Atom: no feed was found in it")
    if answer["warning"] or re.search(r"<(?:\w{1,20}:)?(?:item|entry)[\s>]", text):
        raise DigestError(
            f"no post could be read from the feed: {answer['warning'] or 'its posts are damaged'}"
        )


def _tidy(text: str) -> str:
    """*text* from its root to the end of it, as UTF-8 XML: blanks and warnings before it, and scripts
    and comments after it, are what servers add."""
    start = _ROOT.search(text[:20_000])
    text = text[start.start() :] if start else text.lstrip("\ufeff \t\r\n")
    text = _ILLEGAL.sub("", _DECLARATION.sub("", text, count=1))
    first = _FIRST_TAG.search(text)
    if first:
        text = _doctype(text[: first.start()]) + text[first.start() :]
    text = f'<?xml version="1.0" encoding="utf-8"?>{text}'
    tail = max(0, len(text) - 100_000)
    ends = list(_END.finditer(text, tail))
    return text[: ends[-1].end()] if ends else text


def _doctype(head: str) -> str:
    """The document type in *head* with its own entities only.

    What an outer DTD declares is never fetched, and expat would drop it in silence where a DTD is named.
    On one line, for feedparser looks for declarations at the beginning of lines and removes most of them.
    """
    entities = "".join(_ENTITY.findall(head)) if "<!DOCTYPE" in head else ""
    return f"<!DOCTYPE feed [{' '.join(entities.split())}]>" if entities else ""


def _ask(body: bytes, patience: float) -> dict[str, Any]:
    """What the parsing process answers."""
    # -P: the folder of the script is not searched for modules, or ours would hide Python's.
    command = [sys.executable, "-P", str(_CHILD)]
    try:
        child = subprocess.run(command, input=body, capture_output=True, timeout=patience, check=False)
    except subprocess.TimeoutExpired:
        raise DigestError(f"the feed was not read: parsing it took longer than {patience:g} s") from None
    if child.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        raise DigestError("the feed was not read: parsing it took too much processor time or memory")
    if child.returncode != 0:
        reason = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise DigestError(f"the feed was not read: {reason[:200] or 'the parser ended without an answer'}")
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer


def _raw(entry: dict[str, Any]) -> Raw:
    return Raw(
        guid=entry["guid"] or None,
        url=entry["url"] or None,
        title=entry["title"],
        author=entry["author"] or None,
        published=tuple(entry["published"]),
        updated=entry["updated"] or None,
        summary=entry["summary"] or None,
        body=entry["body"] or None,
        pictures=tuple(
            Picture(one["url"], width=one["width"], height=one["height"])
            for one in entry["pictures"]
            if one["url"]
        ),
        categories=tuple(name for name in entry["categories"] if name),
        language=entry["language"] or None,
    )

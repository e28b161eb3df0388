"""The preview: a letter as files, one page that shows both parts, and its parts by themselves."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html import escape
from pathlib import Path

from digest.letter.personalise import Letter

_STYLE = re.compile(r"(<style\b[^>]*>)(.*?)(</style>)", re.DOTALL | re.IGNORECASE)
_SCHEME = re.compile(r"\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)", re.IGNORECASE)
_DECLARED = re.compile(r"(color-scheme\s*:\s*)light dark")
_SUPPORTED = re.compile(r"""(<meta name="(?:supported-)?color-schemes?" content=")[^"]*\"""")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a mail program makes of a letter's bytes."""

    #: the header block, line by line as it travels
    head: str
    html: str
    text: str


def parts_of(letter: Letter) -> Parts:
    """*letter*, taken apart."""
    message = message_from_bytes(letter.content, policy=default)
    head = letter.content.partition(b"\r\n\r\n")[0].decode().replace("\r\n", "\n")
    return Parts(head, _part(message, "html"), _part(message, "plain"))


def in_scheme(html: str, scheme: str) -> str:
    """*html* as a reader sees it who prefers that *scheme*, whatever the browser prefers that shows it.

    Only conditions in style sheets and the schemes the page declares are written otherwise. A frame cannot be
    told a scheme: Chromium 156 hands the scheme of its element to no frame of another origin.
    """

    def holds(asked: re.Match[str]) -> str:
        return "(min-width:0)" if asked[1].lower() == scheme else "(max-width:0)"

    def ruled(style: re.Match[str]) -> str:
        rules = _SCHEME.sub(holds, style[2])
        return style[1] + _DECLARED.sub(rf"\g<1>{scheme}", rules) + style[3]

    return _SUPPORTED.sub(rf'\g<1>{scheme}"', _STYLE.sub(ruled, html))


_INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{subject}</title><style>
:root{{color-scheme:light dark}}
body{{margin:0;font:15px/22px -apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif;
background:#e9e6df;color:#1d1b18}}
header{{padding:16px 24px;border-bottom:1px solid #cfc9bc}}
header p{{margin:0;color:#5a544b}} header strong{{display:block}}
main{{display:flex;flex-wrap:wrap;gap:24px;padding:24px;align-items:flex-start}}
figure{{margin:0;flex:1 1 600px;max-width:660px}} figure.phone{{flex:0 0 340px}} figure.text{{flex:1 1 420px}}
figcaption{{padding-bottom:8px}}
iframe{{width:100%;height:80vh;border:1px solid #cfc9bc;background:#fbfaf7}}
pre{{margin:0;padding:16px;height:80vh;overflow:auto;box-sizing:border-box;white-space:pre-wrap;
font:13px/20px ui-monospace,Menlo,Consolas,monospace;background:#fbfaf7;border:1px solid #cfc9bc}}
@media(prefers-color-scheme:dark){{body{{background:#100f0e;color:#ece8e1}}
header,iframe,pre{{border-color:#3a3732}} header p{{color:#a8a196}} pre{{background:#191816}}}}
</style></head><body>
<header><strong>{subject}</strong><p>{sender}</p>{notes}</header>
<main>
<figure><figcaption>The letter</figcaption>
<iframe sandbox="allow-same-origin" title="the letter" srcdoc="{html}"></iframe></figure>
<figure class="phone"><figcaption>On a phone</figcaption>
<iframe sandbox="allow-same-origin" title="the letter on a phone" srcdoc="{html}"></iframe></figure>
<figure class="text"><figcaption>The text part</figcaption><pre dir="auto">{text}</pre></figure>
</main></body></html>
"""


def write_preview(
    letter: Letter, out: Path, pictures: Mapping[str, str] | None = None, notes: Sequence[str] = ()
) -> Path:
    """message.eml, .html, .txt and index.html are in *out*; returns the index, which begins with *notes*.

    *pictures* names addresses that the index alone shows from elsewhere: {address: path}. The
    iframes are sandboxed without scripts: what posts brought in can run nothing here.
    """
    out.mkdir(parents=True, exist_ok=True)
    message = message_from_bytes(letter.content, policy=default)
    html, text = _part(message, "html"), _part(message, "plain")
    (out / "message.eml").write_bytes(letter.content)
    (out / "message.html").write_text(html, encoding="utf-8", newline="\n")
    (out / "message.txt").write_text(text, encoding="utf-8", newline="\n")
    shown = html
    for address, path in (pictures or {}).items():
        shown = shown.replace(address, path)
    index = out / "index.html"
    filled = _INDEX.format(
        subject=escape(str(message["Subject"])),
        sender=escape(str(message["From"])),
        notes="".join(f"<p>{escape(note)}</p>" for note in notes),
        html=escape(shown),
        text=escape(text),
    )
    index.write_text(filled, encoding="utf-8")
    return index


def _part(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")

"""Conditions a letter is shown under, and what is wrong with it there: for Chromium, with no network.

What a client does to a letter is done here by changing its HTML or the page: Word's engine, Outlook.com's
dark colours, forced inversion. These are likenesses; what only the client itself shows stays to people.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, Route

from digest.letter.theme import TEXT_CONTRAST, contrast

SMALLEST = 14  # CSS pixels
#: a picture of a condition ends here: the letter of 60 posts has 20,000 pixels
TALLEST = 6_000
#: rules for whole pages; a letter is shown inside somebody else's
NOT_OURS = ("region", "landmark-one-main")
AXE = {
    "rules": {rule: {"enabled": False} for rule in NOT_OURS},
    "resultTypes": ["violations"],
}
#: before the address of a picture that the client does not load
BLOCKED = "https://blocked.invalid/"
#: stands for every picture, of the size that the sample posts have
GREY = '<svg xmlns="http://www.w3.org/2000/svg" width="1104" height="620" style="background:#888"/>'


def unchanged(html: str) -> str:
    return html


def without_style(html: str) -> str:
    """As Gmail shows it where the account is another provider's."""
    return re.sub(r"(?s)<style.*?</style>", "", html)


#: what Word's engine leaves out, by element; "" for all
WORD_LACKS = {
    "": ("max-width", "border-radius", "display", "word-break"),
    "img": ("width", "height"),
    **dict.fromkeys(("div", "p", "a", "span"), ("padding", "width")),
}


def as_word(html: str) -> str:
    """Outlook for Windows: its own branches are read, and no style sheet and much else is not."""
    html = re.sub(r"(?s)<xml>.*?</xml>", "", without_style(html))
    html = re.sub(r"(?s)<!--\[if !mso\]><!-->.*?<!--<!\[endif\]-->", "", html)
    html = re.sub(r"(?s)<!--\[if mso\]>(.*?)<!\[endif\]-->", r"\1", html)

    def kept(tag: re.Match[str]) -> str:
        lacking = (*WORD_LACKS[""], *WORD_LACKS.get(tag[1], ()))
        pieces = tag[3].split(";")
        left = [one for one in pieces if one == "display:none" or one.partition(":")[0] not in lacking]
        return f'<{tag[1]}{tag[2]} style="{";".join(left)}"'

    return re.sub(r'<(\w+)([^<>]*?) style="([^"]*)"', kept, html)


#: what the text looks like: where it is, its size, its colour and what is behind it; what stands out
MEASURE = """() => {
  const nodes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? 'rgb(18, 18, 18)' : 'rgb(255, 255, 255)';
  };
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim(), parent = node.parentElement, style = getComputedStyle(parent);
    if (!text || !parent.getClientRects().length) continue;
    nodes.push({text, size: parseFloat(style.fontSize), line: style.lineHeight,
                colour: style.color, behind: behind(parent)});
  }
  const width = document.documentElement.clientWidth;
  const beyond = [...document.body.querySelectorAll('*')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && (box.right > width + 0.5 || box.left < -0.5);
  }).map(e => e.tagName + ' ' + e.className);
  const preheader = document.querySelector('.preheader');
  const links = [...document.querySelectorAll('a[href*="unsubscribe"]')];
  return {width, scroll: document.documentElement.scrollWidth, beyond, nodes,
          preheader: preheader ? preheader.getBoundingClientRect().height : 0,
          pictures: [...document.images].filter(i => i.naturalWidth).length, wanted: document.images.length,
          leaving: links.filter(a => a.getBoundingClientRect().height > 10).length,
          tall: document.body.scrollHeight};
}"""

#: doubles what is written in pixels, as a phone's text size does
DOUBLE = """() => {
  const all = [...document.body.querySelectorAll('*')].map(e => [e, getComputedStyle(e)])
    .map(([e, s]) => [e, parseFloat(s.fontSize), parseFloat(s.lineHeight)]);
  for (const [e, size, line] of all) {
    e.style.setProperty('font-size', 2 * size + 'px', 'important');
    if (line) e.style.setProperty('line-height', 2 * line + 'px', 'important');
  }
}"""

#: colours as the filter of a forced dark mode makes them, by the browser itself
INVERT = """colours => {
  const context = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true});
  context.filter = 'invert(1) hue-rotate(180deg)';
  return colours.map(colour => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  });
}"""

#: a forced dark mode: everything turned, pictures turned back
TURN = """() => document.head.insertAdjacentHTML('beforeend',
  '<style>html, img { filter: invert(1) hue-rotate(180deg) } html { background: #fff }</style>')"""

#: Outlook.com in the dark: what has a colour of its own gets another one, and says so (email-bugs 64)
OUTLOOK_COM = """() => {
  for (const e of document.querySelectorAll('body, body *')) {
    if (e.style.color) { e.dataset.ogsc = e.style.color; e.style.color = 'rgb(200, 190, 180)'; }
    if (e.style.backgroundColor) {
      e.dataset.ogsb = e.style.backgroundColor; e.style.backgroundColor = 'rgb(41, 41, 41)';
    }
    if (e.bgColor) { e.dataset.ogab = e.bgColor; e.bgColor = '#292929'; }
  }
}"""

SCRIPTS = {DOUBLE: "200 percent", TURN: "inverted", OUTLOOK_COM: "Outlook.com"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a letter is shown."""

    width: int
    dark: bool = False
    media: Literal["screen", "print"] = "screen"
    #: the colours of the system instead of the letter's (Windows' contrast themes)
    forced: bool = False
    pictures: bool = True
    #: what the client makes of the HTML, and then of the page
    change: Callable[[str], str] = unchanged
    script: str = ""
    #: asks axe-core, too
    axe: bool = False

    @property
    def name(self) -> str:
        """In words, for a file and for whoever reads of a failure."""
        is_said = {
            f"{self.width}": True,
            "dark": self.dark,
            self.media: self.media != "screen",
            "forced colours": self.forced,
            "no pictures": not self.pictures,
            self.change.__name__.replace("_", " "): self.change is not unchanged,
            SCRIPTS.get(self.script, ""): self.script,
        }
        return ", ".join(word for word, said in is_said.items() if said)


def answer(route: Route, pictures: Mapping[str, Path]) -> None:
    """A picture is the file its name stands for, or a grey one; what is blocked or no picture fails."""
    if route.request.resource_type != "image" or BLOCKED in route.request.url:
        route.abort()
    elif file := pictures.get(route.request.url.rpartition("/")[2]):
        route.fulfill(path=file)
    else:
        route.fulfill(body=GREY, content_type="image/svg+xml")


def shown(tab: Page, html: str, condition: Condition) -> dict[str, Any]:
    """What is measured of *html* under *condition*."""
    tab.set_viewport_size({"width": condition.width, "height": 800})
    tab.emulate_media(
        color_scheme="dark" if condition.dark else "light",
        media=condition.media,
        forced_colors="active" if condition.forced else "none",
    )
    changed = condition.change(html)
    tab.set_content(changed if condition.pictures else changed.replace(' src="', f' src="{BLOCKED}'))
    if condition.script:
        tab.evaluate(condition.script)
    found: dict[str, Any] = tab.evaluate(MEASURE)
    return found


def faults(tab: Page, html: str, condition: Condition, picture: Path | None = None) -> list[str]:
    """What is wrong with *html* under *condition*, of which *picture* becomes a picture."""
    found = shown(tab, html, condition)
    smallest = SMALLEST * (2 if condition.script == DOUBLE else 1)
    said = [f"stands out: {one}" for one in found["beyond"][:3]]
    if found["scroll"] > found["width"]:
        said.append(f"scrolls to {found['scroll']} px")
    if found["preheader"]:
        said.append("the preheader is seen")
    if found["pictures"] != (found["wanted"] if condition.pictures else 0):
        said.append(f"{found['pictures']} of {found['wanted']} pictures are seen")
    if found["leaving"] != 1:
        said.append(f"{found['leaving']} links to unsubscribe are seen")
    said += [f"{node['size']} px: {node['text'][:40]}" for node in found["nodes"] if node["size"] < smallest]
    for colour, ground in pairs(found):
        if contrast(colour, ground) < TEXT_CONTRAST:
            said.append(f"{colour} on {ground}")
    if condition.script == TURN:
        said += [f"inverted: {one} on {two}" for one, two in turned(tab, pairs(found))]
    if condition.axe:
        tab.evaluate(AXE_SCRIPT)
        results = tab.evaluate("rules => axe.run(rules)", AXE)
        said += [f"axe: {one['id']}: {one['nodes'][0]['html'][:80]}" for one in results["violations"]]
    if picture is not None:
        clip: Any = {"x": 0, "y": 0, "width": condition.width, "height": min(found["tall"], TALLEST)}
        tab.screenshot(path=picture, full_page=True, type="jpeg", quality=70, clip=clip)
    return said


def as_hex(colour: str) -> str:
    return "#" + bytes(int(channel) for channel in re.findall(r"\d+", colour)[:3]).hex()


def pairs(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Each colour of text with its ground, as #rrggbb."""
    return sorted({(as_hex(node["colour"]), as_hex(node["behind"])) for node in found["nodes"]})


def turned(tab: Page, colours: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of *colours* that are hard to read once the browser has inverted them."""
    made = [
        tuple(f"#{bytes(channels).hex()}" for channels in tab.evaluate(INVERT, list(pair)))
        for pair in colours
    ]
    return [(one, two) for one, two in made if contrast(one, two) < TEXT_CONTRAST]

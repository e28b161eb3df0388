"""What letters and pages are dressed in: colours and fonts, the shipped ones or those of a theme.toml."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from digest.errors import UsageError

#: WCAG 2.2, success criteria 1.4.3 (text) and 1.4.11 (what is not text)
TEXT_CONTRAST = 4.5
FOCUS_CONTRAST = 3.0


@dataclass(frozen=True, slots=True)
class Colours:
    """The colours of one scheme, each #rrggbb."""

    paper: str
    ink: str
    #: bylines, the dateline, the footer
    muted: str
    hairline: str
    #: kickers and links
    accent: str
    #: the ring around what the keyboard is on; pages only
    focus: str


@dataclass(frozen=True, slots=True)
class Theme:
    """What a publication's letters and pages look like."""

    light: Colours = Colours(
        paper="#fbfaf7", ink="#1d1b18", muted="#625c52", hairline="#ddd8cd", accent="#8f2d14", focus="#1f5fbf"
    )
    dark: Colours = Colours(
        paper="#191816", ink="#ece8e1", muted="#a8a196", hairline="#3a3732", accent="#f0a088", focus="#8ab4f8"
    )
    # No quotes around names with spaces: premailer would write them into style='…"…"…', which
    # some clients cut at the first quote.
    serif: str = "Georgia, Cambria, Times New Roman, serif"
    sans: str = "-apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif"


def load_theme(path: Path | None) -> Theme:
    """The theme of the TOML file *path* over the defaults; the defaults where *path* is None.

    Tables [light] and [dark] take colours, [fonts] takes serif and sans. UsageError names every
    mistake, one line each.
    """
    if path is None:
        return Theme()
    tables = _toml(path)
    mistakes = [f"{place}: {fault}" for place, fault in _faults(tables)]
    if not mistakes:
        theme = Theme(
            light=replace(Theme().light, **tables.get("light", {})),
            dark=replace(Theme().dark, **tables.get("dark", {})),
            **tables.get("fonts", {}),
        )
        mistakes = contrast_faults(theme)
    if mistakes:
        raise UsageError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return theme


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}") from error


def _faults(tables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    colours = [field.name for field in fields(Colours)]
    known = {"light": colours, "dark": colours, "fonts": ["serif", "sans"]}
    for table, values in tables.items():
        if table not in known or not isinstance(values, dict):
            yield f"[{table}]", "is not known; there are [light], [dark] and [fonts]"
            continue
        for name, value in values.items():
            place = f"[{table}] {name}"
            if name not in known[table]:
                yield place, f"is not known; there are {', '.join(known[table])}"
            elif table == "fonts" and not _is_fonts(value):
                yield place, f"{value!r} is not a list of font names: write Name, Other Name, serif"
            elif table != "fonts" and not _is_colour(value):
                yield place, f"{value!r} is not a colour: write # and six hex digits"


def _is_colour(value: object) -> bool:
    # Six digits and nothing else: three are misread by Notes, names and rgb() by Word.
    return isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value) is not None


def _is_fonts(value: object) -> bool:
    name = r"-?[A-Za-z][A-Za-z0-9-]*(?: [A-Za-z][A-Za-z0-9-]*)*"
    return isinstance(value, str) and re.fullmatch(rf"{name}(?:, *{name})*", value) is not None


def contrast_faults(theme: Theme) -> list[str]:
    """The pairs of *theme* that are hard to read, one line each; [] where every pair is readable.

    The light scheme is looked at inverted too: Gmail and Word turn light letters dark by themselves.
    """
    return [
        f"{place}: the contrast {where}is {found:.1f}, and {wanted} is needed"
        for place, where, found, wanted in _pairs(theme)
        if found < wanted
    ]


def _pairs(theme: Theme) -> Iterator[tuple[str, str, float, float]]:
    for scheme, colours in (("light", theme.light), ("dark", theme.dark)):
        for name in ("ink", "muted", "accent", "focus"):
            wanted = FOCUS_CONTRAST if name == "focus" else TEXT_CONTRAST
            one, paper = getattr(colours, name), colours.paper
            place = f"[{scheme}] {name} {one} on paper {paper}"
            yield place, "", contrast(one, paper), wanted
            if scheme == "light":
                turned = contrast(inverted(one), inverted(paper))
                yield place, "where a mail client inverts them ", turned, wanted


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21 (WCAG 2.2, definition of contrast ratio)."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    shares = [channel / 255 for channel in bytes.fromhex(colour[1:])]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def inverted(colour: str) -> str:
    """*colour* as clients that force the dark show it: light and dark swapped, the hue kept.

    The same as the CSS filter `invert(1) hue-rotate(180deg)` (Filter Effects, section 13), which is
    how a browser test shows it.
    """
    red, green, blue = (255 - channel for channel in bytes.fromhex(colour[1:]))
    grey = 0.213 * red + 0.715 * green + 0.072 * blue
    turned = (round(2 * grey - channel) for channel in (red, green, blue))
    return "#" + bytes(min(255, max(0, channel)) for channel in turned).hex()

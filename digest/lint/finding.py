"""Finding: one thing that would hurt in an inbox, and the points that are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """What a finding costs."""

    #: the letter would be broken, unlawful or cut for some readers: approval refuses it
    ERROR = "error"
    #: an editor should have looked at it
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that would hurt in an inbox."""

    severity: Severity
    #: a name of POINTS
    point: str
    #: where: "headers", "message", "HTML", "text" or "issue", then what is there
    place: str
    #: what is wrong, one sentence
    message: str
    #: what to do about it, one sentence
    mend: str


#: Every point by its stable name, with what holds where it is kept; findings come in this order.
POINTS = {
    "structure": "multipart/alternative of text/plain and text/html, both UTF-8, without MIME defects",
    "bytes": "7-bit, CRLF only, body lines of at most 76 and header lines of at most 998 bytes",
    "transfer-encoding": "quoted-printable or base64; base64 only where there is something to encode",
    "headers": "each header a digest needs is there exactly once",
    "encoded-words": "encoded words are whole, in UTF-8, and only where they are read",
    "subject": "the Subject that arrives is the issue's",
    "unsubscribe-header": "List-Unsubscribe names one https page, one-click, and is no encoded word",
    "recipient-values": "two recipients' letters differ only in what is theirs",
    "size": "the HTML is small enough not to be clipped",
    "encoded-size": "the HTML as transferred is small enough not to be clipped",
    "doctype": "the HTML begins with <!DOCTYPE html>",
    "html5": "the HTML parses without errors",
    "language": "lang and dir stand on html and on the wrapper",
    "title": "the HTML's title is the Subject",
    "metas": "charset, viewport, reformatting, format detection and colour schemes are declared",
    "style-block": "style blocks stand in the head, are small, and hold nothing a client refuses",
    "media-queries": "there are rules for phones and for the dark, and they win over the inlined ones",
    "style-classes": "every class a style block names is in the body",
    "conditional-comments": "what Word sees is balanced",
    "forbidden-elements": "nothing that runs, embeds, submits or loads",
    "event-handlers": "no attribute that runs anything",
    "tables": "every table is presentational and has no spacing of its own",
    "images": "every image has alt text, a width and the display that keeps gaps away",
    "image-alt": "alt text says what is there",
    "headings": "one h1, no level skipped, none empty",
    "depth": "the tree is shallow enough for every parser",
    "end": "nothing at the end of the letter was lost",
    "link-scheme": "every address is absolute: https, http, mailto or tel",
    "insecure-link": "no http: where https: would do",
    "unreachable-link": "no address that only works inside the house",
    "redirect-link": "no redirects and no counting pixels",
    "link-text": "every link says where it goes",
    "link-host": "an address that is shown is the address that is opened",
    "same-links": "both parts lead to the same places",
    "font-size": "text is at least 14 px and its lines at least 1.2 times that",
    "hidden-text": "at most one hidden block, hidden by display alone",
    "preheader": "the preheader comes first and has 40 to 130 characters",
    "contrast-light": "text stands out at least 4.5:1",
    "contrast-dark": "text stands out at least 4.5:1 in the dark scheme",
    "contrast-inverted": "text stands out at least 4.5:1 when a client inverts colours",
    "inline-style": "inline styles hold only what every client reads",
    "inline-syntax": "inline styles parse, and name a property once",
    "button-size": "a button is at least 44 px tall",
    "client-support": "nothing is used that a client lacks, but what the letter is whole without",
    "paired-colours": "a background colour comes with a text colour and, on table cells, with bgcolor",
    "filter-rules": "nothing that spam filters count, beyond what other points refuse",
    "text-lines": "the text's lines are at most 78 columns, but for an address",
    "text-markup": "the text holds no HTML and no filler",
    "word-overlap": "both parts say the same",
    "holes": "no hole of a template is left",
    "drafts": "no mark of a draft is left",
    "characters": "no control characters and no reversed text",
    "footer": "both parts say how to leave and where to read it in a browser",
    "postal-address": "both parts carry the publication's postal address",
    "posts": "every post of the issue is there, in order, in both parts",
    "link-answers": "every link answers, when it is asked",
    "picture-answers": "every picture is there, as far as anybody looked, and mail programs show it",
    "cut": "every item is in the letter as it was meant",
    "proposed-title": "every title was written by a person",
}


def error(point: str, place: str, message: str, mend: str) -> Finding:
    """A finding that approval refuses."""
    return Finding(Severity.ERROR, point, place, message, mend)


def warning(point: str, place: str, message: str, mend: str) -> Finding:
    """A finding an editor should have looked at."""
    return Finding(Severity.WARNING, point, place, message, mend)


def errors_of(findings: Sequence[Finding]) -> list[Finding]:
    """Those of *findings* that approval refuses."""
    return [one for one in findings if one.severity is Severity.ERROR]


def proposed_title(title: str) -> Finding:
    """The warning about a post whose source had no title, so that *title* is its first words."""
    return warning(
        "proposed-title",
        f"issue: “{title}”",
        "This title was made from the first words of the post, because its source has none.",
        "Read it, and give the item a title of your own where it does not do.",
    )


def shortened(text: str, limit: int = 60) -> str:
    """*text* in one line, cut at *limit* characters, for a finding's place."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"

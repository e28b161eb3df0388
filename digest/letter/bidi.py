"""Text that reads in the other direction than what it stands in: kept apart, so that neither draws the
other's numbers and punctuation over to its side (UAX #9).
"""

from collections.abc import Callable

from markupsafe import Markup

from digest.prose.clean import direction


def isolating(around: str) -> Callable[..., Markup]:
    """The filter `isolated` for templates whose own text reads *around*, "ltr" or "rtl"."""

    def isolated(text: str, within: str = around) -> Markup:
        """*text*, marked with its direction where it is another one than *within*."""
        own = direction(text)
        # A span with dir and no <bdi>: Gmail, Outlook and Yahoo drop that element (caniemail, 2026-06).
        return Markup.escape(text) if own == within else Markup('<span dir="{}">{}</span>').format(own, text)

    return isolated


def left_to_right(text: str) -> Markup:
    """*text*, an address, as it is written whatever the direction of what stands around it."""
    return Markup('<span dir="ltr">{}</span>').format(text)


def enclosed(text: str, within: str) -> str:
    """*text* between an isolate and its end where it reads otherwise than *within*: for browsers, and
    for where no element may stand, such as a title."""
    marks = {"rtl": "\u2067{}\u2069", "ltr": "\u2066{}\u2069"}
    own = direction(text)
    return text if own == within else marks[own].format(text)

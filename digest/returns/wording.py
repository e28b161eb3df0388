"""Reports that say in words what happened, as they were before RFC 3464 and still are.

Words only name an address and class what became of it; whom a report is about they never say. An
address is taken from X-Failed-Recipients, from a line that begins with it, from brackets, and at last
from flufl.bounce, which knows many old forms. What flufl.bounce thinks of an address is not asked: of the
addresses it calls dead, half have a full mailbox or a server that does not like the sender.
"""

import logging
import re
from email.message import Message

from flufl.bounce import all_failures

from digest.returns.fields import ADDRESS, MOST_RECIPIENTS, address_in
from digest.returns.parts import Headers

#: characters of a report's own text that are looked at
LONGEST_TEXT = 64 * 1024
#: characters of a line: some of flufl.bounce's patterns take the square of its length
LONGEST_LINE = 500
#: lines that flufl.bounce gets, for it reads each some fifty times
_MOST_LINES = 500
#: lines behind an address that may say what became of it
_LINES_ABOUT = 12

_BEGINS = re.compile(rf"[ \t]{{0,20}}[<\"'*]{{0,2}}({ADDRESS})(?=[\s>\"':;,(]|$)")
_BRACKETED = re.compile(rf"<({ADDRESS})>")
#: these lines speak of the sender, or of the letter's own header
_NOT_ABOUT = re.compile(
    r"[ \t>]{0,20}(?:from|to|cc|sender|reply-to|return-path|message-id|references)[ \t]*:", re.IGNORECASE
)
_COPY = (
    "original message", "original mail", "copy of the message", "copy of your message", "header follows",
    "headers follow", "returned message", "returned mail", "start of message",
)  # fmt: skip

# It writes the traceback of what it stumbles over to standard error, and then raises it.
logging.getLogger("flufl.bounce").setLevel(logging.CRITICAL + 1)


def split_at_copy(text: str) -> tuple[str, str]:
    """What a report says for itself, and what follows: the letter, as it came back; "" where it does not."""
    lines = text[:LONGEST_TEXT].split("\n")
    for number, line in enumerate(lines):
        said = line[:LONGEST_LINE].strip().lower()
        # "The original message was received at" is of the report itself.
        announces = said.startswith("-") or said.endswith((":", ".", "-"))
        if announces and any(one in said for one in _COPY):
            return "\n".join(lines[:number]), "\n".join(lines[number + 1 :])
    return "\n".join(lines), ""


def addresses_in(text: str, headers: Headers, ours: frozenset[str]) -> list[str]:
    """The addresses a report in words is about, without *ours*, which are in lower case; [] for none."""
    listed = ",".join(headers.every("x-failed-recipients")).split(",")
    named = [address for one in listed if (address := address_in(one))]
    lines = [line[:LONGEST_LINE] for line in text.split("\n") if not _NOT_ABOUT.match(line)]
    for found in (
        named,
        [match[1] for line in lines if (match := _BEGINS.match(line))],
        [match for line in lines for match in _BRACKETED.findall(line)],
        _by_flufl(text, headers),
    ):
        bare = dict.fromkeys(one.rstrip(".") for one in found)
        others = [one for one in bare if one.lower() not in ours and one.isprintable()]
        if others:
            return others[:MOST_RECIPIENTS]
    return []


def about(address: str, others: list[str], text: str) -> str:
    """What *text* says of *address*: from its first line with it to one with another of *others*."""
    lines = text.split("\n")
    name = address.lower()
    first = next((number for number, line in enumerate(lines) if name in line.lower()), None)
    if first is None:
        return text if len(others) == 1 else ""
    rivals = [one.lower() for one in others if one != address]
    said: list[str] = []
    for line in lines[first : first + _LINES_ABOUT]:
        if said and any(one in line.lower() for one in rivals):
            break
        said.append(line[:LONGEST_LINE].strip())
    return " ".join(said)


def _by_flufl(text: str, headers: Headers) -> list[str]:
    message = Message()
    for name in ("From", "To", "Subject", "X-Mailer"):
        message[name] = headers.first(name.lower())
    message.set_payload("\n".join(line[:LONGEST_LINE] for line in text.split("\n")[:_MOST_LINES]))
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # noqa: BLE001  (sixteen readers of hostile text that are not ours)
        return []
    found = sorted(one.decode(errors="replace") for one in temporary | permanent)
    return [address for one in found if (address := address_in(one))]

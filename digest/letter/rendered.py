"""Rendered: an issue's subject, HTML and text with holes where the reader goes; what approval freezes."""

import hashlib
import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Hole(StrEnum):
    """A place for a recipient's own value."""

    #: the whole href of the footer's link to the unsubscribe page
    UNSUBSCRIBE = "unsubscribe"
    #: the whole href of the link to the preferences page
    PREFERENCES = "preferences"
    #: the recipient's address, as text
    ADDRESS = "address"
    #: the recipient's name, as text; "" where it is not known
    NAME = "name"


#: the holes that stand for a whole URL
LINKS = frozenset({Hole.UNSUBSCRIBE, Hole.PREFERENCES})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What is the same for every recipient of an issue."""

    month: str
    number: int
    subject: str
    html: str
    text: str
    #: the page of the public archive: the same letter without any hole
    archive: str
    #: 16 hex digits no post can know: they make the sentinels of the holes
    nonce: str
    publication: str
    language: str
    sender_name: str
    sender_address: str
    reply_to: str | None
    base_url: str

    def sentinel(self, hole: Hole) -> str:
        """What stands for *hole* in `html` and `text`."""
        return sentinel(hole, self.nonce)

    def to_json(self) -> str:
        """The one JSON text of it: sorted keys, no spaces, UTF-8."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Rendered":
        """What `to_json` wrote."""
        return cls(**json.loads(text))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of `to_json`, in hex: two issues with one fingerprint send the same bytes."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def sentinel(hole: Hole, nonce: str) -> str:
    """What stands for *hole* while an issue is rendered: a URL of a host that cannot exist, or one word.

    Letters, digits and https://…invalid/ pass premailer and every lxml unchanged; anything with
    braces, bars or dollars does not (lxml 4.9 and 5 escape them differently).
    """
    if hole in LINKS:
        return f"https://{hole}-{nonce}.invalid/"
    return f"zq{nonce}{hole}qz"

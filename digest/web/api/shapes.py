"""What programs send and get, as JSON."""

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from digest.models import Dated, Status

#: NUL is text in no store
_SOUND = r"^[^\x00]*$"
Line = Annotated[str, StringConstraints(max_length=2_000, pattern=_SOUND)]
Name = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$")]
Words = Annotated[str, StringConstraints(max_length=500_000, pattern=_SOUND)]
Link = Annotated[str, StringConstraints(max_length=2_000, pattern=r"^https?://[^\s\x00]+$")]


class Sent(BaseModel):
    """Something a program sends; a field we do not know is a mistake, not a wish we ignore."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PushedPost(Sent):
    """One post, as its site has it now."""

    guid: Name = Field(
        description="What the site knows it by, for ever; the same guid again is the same post.",
        examples=["https://example.org/?p=815"],
    )
    url: Link | None = Field(None, description="Its own page.", examples=["https://example.org/low-water"])
    title: Line = Field("", description="Plain text.", examples=["Low water"])
    author: Line | None = Field(None, description="A name.", examples=["The harbour desk"])
    published_at: Line | None = Field(
        None,
        description="ISO 8601 with an offset, or a day. Without it the post waits for somebody to date it.",
        examples=["2015-09-12T10:00:00+02:00"],
    )
    summary: Words | None = Field(None, description="Plain text written to stand for the post.")
    html: Words | None = Field(None, description="The post's text; what is not text is taken out.")
    text: Words | None = Field(None, description="The same as plain text, where there is no HTML.")
    picture: Link | None = Field(None, description="The picture that leads it.")
    picture_alt: Line = Field("", description="What the picture shows, in words.")
    categories: list[Line] = Field([], max_length=100)
    language: Line | None = Field(None, description="BCP 47.", examples=["en"])


class KeptPost(BaseModel):
    """What became of it."""

    guid: str
    outcome: Literal["new", "changed", "unchanged"]
    #: as it is kept
    title: str
    dated: Dated
    published_at: datetime | None


class IssueLine(BaseModel):
    """One issue, and where its letters stand."""

    issue: str = Field(description="YYYY-MM")
    number: int | None
    status: Status
    reason: str
    posts: int
    approved_by: str | None
    sent_at: datetime | None
    frozen: int | None = Field(description="How many were to get it; null before its audience is known.")
    letters: dict[str, int] = Field(description="By state; they add up to `frozen`.")


class Issues(BaseModel):
    """All issues, the newest month first."""

    issues: list[IssueLine]


class IssueWhole(IssueLine):
    """One issue with its items, as `digest issue show --json` has it but for their `form`."""

    subject: str
    fingerprint: str | None
    window: dict[str, str]
    items: list[dict[str, Any]]


class Newcomer(Sent):
    """Somebody who asked a site for the letters."""

    email: Annotated[str, StringConstraints(max_length=320)] = Field(examples=["reader@example.org"])
    wording: Line = Field(
        "", description="What they read and pressed, kept as proof.", examples=["Get the letters: Subscribe"]
    )
    ip: IPv4Address | IPv6Address | None = Field(
        None, description="Whence they asked: it keeps one network from asking for many."
    )
    user_agent: Annotated[str, StringConstraints(max_length=300, pattern=_SOUND)] | None = None


class Leaver(Sent):
    """Somebody who asked a site to get no more letters."""

    email: Annotated[str, StringConstraints(max_length=320)] = Field(examples=["reader@example.org"])


class Asked(BaseModel):
    """Whoever owns the mailbox will be asked for a yes; the same for every address."""

    asked: Literal[True] = True


class Left(BaseModel):
    """Nobody of that address gets letters; the same for every address."""

    left: Literal[True] = True


class Told(BaseModel):
    """Why it was not done."""

    detail: str


class Fault(BaseModel):
    """One thing that is wrong with what was sent."""

    loc: list[str | int]
    msg: str


class Faults(BaseModel):
    """What is wrong with what was sent."""

    detail: list[Fault]

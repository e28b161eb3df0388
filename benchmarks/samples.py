"""Issues of any size, of posts as a month of a publication has them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from digest.letter.page import Card, Page, Publication
from digest.month import Month

NONCE = "0123456789abcdef"
ZONE = ZoneInfo("Europe/Lisbon")
PUBLICATION = Publication(
    name="Slow Water",
    url="https://slow-water.example",
    language="en",
    zone=ZONE,
    sender_name="Slow Water",
    sender_address="letters@slow-water.example",
    reply_to=None,
    postal_address="The Reading Room\nNorth Quay 7\n1234 Harbour",
    base_url="https://letters.slow-water.example",
)
#: 280 characters, as EXCERPT_LENGTH leaves them, with the punctuation of real posts
EXCERPT = (
    "The ferry was late, and nobody on the quay minded: “It has always been late,” said the woman with the"
    " bicycle, “and it has always come.” So we waited – an hour, perhaps two – and learned more of the"
    " river’s moods than the timetable, which is framed behind glass, ever told us…"
)


def page(posts: int) -> Page:
    """The issue of a month with that many posts."""
    return Page(
        publication=PUBLICATION,
        month=Month(2015, 9, ZONE),
        number=9,
        subject="Slow Water: September 2015",
        preheader="The ferry that was late, and what else the month brought",
        intro_html="<p>September belongs to those who <em>wait</em>.</p>",
        intro_text="September belongs to those who wait.",
        cards=tuple(map(card, range(posts))),
        titles_only=0,
        left_out=0,
        archive_url=f"{PUBLICATION.base_url}/archive/2015-09",
    )


def card(number: int) -> Card:
    """One post; every third has no picture."""
    has_picture = number % 3 != 2
    return Card(
        title=f"Waiting for the ferry, part {number + 1}",
        url=f"{PUBLICATION.url}/2015/09/waiting-{number + 1}/",
        author="The harbour desk",
        published_at=datetime(2015, 9, 1, 9, tzinfo=UTC) + timedelta(hours=7 * number),
        excerpt=EXCERPT,
        picture_url=f"{PUBLICATION.url}/pictures/{number + 1}.jpg" if has_picture else None,
        picture_alt="The quay at low water" if has_picture else "",
        picture_width=1104 if has_picture else None,
        picture_height=620 if has_picture else None,
        category="Rivers",
        language=None,
        direction="ltr",
    )

"""How many letters of 60 KB one core makes per second: spliced, and as one would write it first.

All contenders make the same letters from the same templates: the decoded parts are compared before
anything is timed. They take turns in slices, in one process, and the median slice counts. Rates are per
second of processor time, so that a busy machine does not change them much.
"""

import email
import email.policy
import html
import re
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from itertools import count
from statistics import median
from typing import NamedTuple

from jinja2 import Environment, Template
from premailer import Premailer

from digest.letter.personalise import Stencil, stencil
from digest.letter.rendered import Hole, Rendered, sentinel
from digest.sending.round import PORTION
from subscribers.audience import Recipient
from subscribers.tokens import Keyring, Purpose

LETTER = 60_000  # bytes, at least
BAR = 5_000  # letters per second and core
SLICES = 5
NONCE = "0123456789abcdef"
AT = datetime(2015, 10, 1, 6, 0, tzinfo=UTC)
RING = Keyring([b"k" * 32])
BASE = "https://letters.example.org"
#: with the apostrophes and dashes of real posts: in plain ASCII nothing would have to be encoded
LATIN = "A walk along the harbour’s wall on the morning after the storm, and what came ashore – all of it. "
CYRILLIC = "Ранкова прогулянка вздовж північного муру після першої бурі, і що винесло на берег. "

HTML = """<!DOCTYPE html>
<html><head><title>{{ subject }}</title><style>
td { padding: 0 24px; font-family: Georgia, serif; font-size: 17px; line-height: 27px; color: #1d1b18 }
h2 { font-size: 24px; line-height: 30px; margin: 0 }
p { margin: 0 0 16px }
.small { font-size: 14px; line-height: 20px; color: #625c52 }
a { color: #8f2d14 }
</style></head><body><table role="presentation" width="600"><tr><td>
<p>Dear {{ name }},</p>
{% for number in range(posts) %}<table role="presentation" width="100%"><tr><td>
<p class="small">Shore</p>
<h2><a href="https://example.org/{{ number }}">{{ subject }} {{ number }}</a></h2>
<p class="small">The harbour desk</p>
<p>{{ excerpt }}</p>
<p><a href="https://example.org/{{ number }}">{{ subject }}</a></p>
</td></tr></table>
{% endfor %}<p class="small">{{ address }}: <a href="{{ unsubscribe }}">unsubscribe</a>
<a href="{{ preferences }}">preferences</a></p>
</td></tr></table></body></html>
"""
TEXT = """Dear {{ name }},
{% for number in range(posts) %}
{{ subject }} {{ number }}
{{ excerpt }}
https://example.org/{{ number }}
{% endfor %}
{{ address }}
{{ unsubscribe }}
{{ preferences }}
"""


class Row(NamedTuple):
    """One contender's median."""

    way: str
    letter: int  # bytes
    per_second: float


class Issue(NamedTuple):
    """The templates and what all readers see of them."""

    html: Template
    text: Template
    shared: dict[str, object]

    def filled(self, own: dict[str, str]) -> tuple[str, str]:
        """The text and the inlined HTML for one reader, by Jinja and premailer."""
        return self.text.render(self.shared, **own), inlined(self.html.render(self.shared, **own))


def inlined(page: str) -> str:
    """*page* with its styles inlined, by the fastest options that leave it right."""
    return str(
        Premailer(
            page,
            method="html",
            disable_validation=True,
            align_floating_images=False,
            disable_link_rewrites=True,
            allow_network=False,
        ).transform(pretty_print=False)
    )


def issue(excerpt: str, posts: int) -> Issue:
    """An issue of *posts* posts."""
    return Issue(
        Environment(autoescape=True, keep_trailing_newline=True).from_string(HTML),
        Environment(autoescape=False, keep_trailing_newline=True).from_string(TEXT),
        {"subject": excerpt.split(",")[0], "excerpt": excerpt * 3, "posts": posts},
    )


def rendered(of: Issue) -> Rendered:
    """The issue with its holes, as approval would freeze it."""
    text, page = of.filled({hole.value: sentinel(hole, NONCE) for hole in Hole})
    return Rendered(
        month="2015-09",
        number=9,
        subject=str(of.shared["subject"]),
        html=page,
        text=text,
        archive="",
        nonce=NONCE,
        publication="Harbour Notes",
        language="en",
        sender_name="Harbour Notes",
        sender_address="letters@example.org",
        reply_to=None,
        base_url=BASE,
    )


def of_60_kb(excerpt: str) -> tuple[Issue, Stencil]:
    """The smallest issue of *excerpt* whose letters have 60 KB."""
    for posts in count(1):
        made = issue(excerpt, posts)
        ready = stencil(rendered(made), RING, "bounces.example.org")
        if len(ready.letter(reader(1), AT).content) >= LETTER:
            return made, ready
    raise AssertionError("unreachable")


def reader(number: int) -> Recipient:
    """One of the audience."""
    return Recipient(number, f"reader{number}@example.com", f"Reader {number}", 0)


def own_values(recipient: Recipient) -> dict[str, str]:
    """What stands in the holes of *recipient*'s letter."""
    who = recipient.subscriber_id, recipient.token_version
    return {
        "name": recipient.name,
        "address": recipient.address,
        "unsubscribe": f"{BASE}/u/{RING.sign(Purpose.LEAVE, *who)}",
        "preferences": f"{BASE}/p/{RING.sign(Purpose.PREFERENCES, *who)}",
    }


def message(recipient: Recipient, subject: str, text: str, page: str) -> bytes:
    """The letter as the standard library builds and writes it."""
    letter = EmailMessage(policy=email.policy.SMTP.clone(max_line_length=76))
    token = RING.sign(Purpose.ONE_CLICK, recipient.subscriber_id)
    letter["From"] = "Harbour Notes <letters@example.org>"
    letter["To"] = f"{recipient.name} <{recipient.address}>"
    letter["Subject"] = subject
    letter["Date"] = AT
    letter["Message-ID"] = f"<{token}@example.org>"
    letter["List-Unsubscribe"] = f"<{BASE}/u/{token}>"
    letter["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    letter.set_content(text)
    letter.add_alternative(page, subtype="html")
    return letter.as_bytes()


#: makes a letter for each recipient
Way = Callable[[Sequence[Recipient]], list[bytes]]


def contenders() -> Iterator[tuple[str, Way]]:
    """The ways to make a letter, each with its name; all agree on what the letter says."""
    latin, spliced = of_60_kb(LATIN)
    _, spliced_cyrillic = of_60_kb(CYRILLIC)
    subject = str(latin.shared["subject"])
    text, page = latin.filled({hole.value: sentinel(hole, NONCE) for hole in Hole})

    def at_first(recipients: Sequence[Recipient]) -> list[bytes]:
        return [message(one, subject, *latin.filled(own_values(one))) for one in recipients]

    def inlined_once(recipients: Sequence[Recipient]) -> list[bytes]:
        made = []
        for one in recipients:
            own = own_values(one)
            made.append(message(one, subject, replaced(text, own), replaced(page, escaped(own))))
        return made

    def splice(recipients: Sequence[Recipient]) -> list[bytes]:
        return [one.content for one in spliced.letters([(one, AT) for one in recipients])]

    def splice_base64(recipients: Sequence[Recipient]) -> list[bytes]:
        return [one.content for one in spliced_cyrillic.letters([(one, AT) for one in recipients])]

    said = {said_by(*way([reader(7)])) for way in (at_first, inlined_once, splice)}
    if len(said) != 1:
        raise AssertionError("the contenders do not make the same letters")
    yield "Jinja, premailer and EmailMessage for every reader", at_first
    yield "inlined once, values replaced, EmailMessage for every reader", inlined_once
    yield f"spliced, {spliced.html.encoding}", splice
    yield f"spliced, {spliced_cyrillic.html.encoding} (Cyrillic)", splice_base64


def replaced(part: str, values: dict[str, str]) -> str:
    """*part* with *values* in its holes."""
    by_sentinel = {sentinel(hole, NONCE): values[hole.value] for hole in Hole}
    return re.sub("|".join(by_sentinel), lambda found: by_sentinel[found[0]], part)


def escaped(values: dict[str, str]) -> dict[str, str]:
    """*values* as HTML writes them."""
    return {name: html.escape(value) for name, value in values.items()}


def said_by(content: bytes) -> tuple[str, ...]:
    """What the parts of a letter say."""
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    return tuple(str(part.get_content()).replace("\r\n", "\n").rstrip("\n") for part in parsed.iter_parts())


def measure(seconds: float) -> list[Row]:
    """Every contender's median over interleaved slices, *seconds* of processor time for all of them."""
    ways = list(contenders())
    rates: dict[str, list[float]] = {name: [] for name, _ in ways}
    for _ in range(SLICES):
        for name, way in ways:
            rates[name].append(rate(way, seconds / SLICES / len(ways)))
    return [Row(name, len(*way([reader(1)])), median(rates[name])) for name, way in ways]


def rate(way: Way, seconds: float) -> float:
    """Letters per second of processor time, over at least *seconds*; as many at once as a run makes."""
    started = time.process_time()
    for made in count(PORTION, PORTION):
        way([reader(made + number) for number in range(PORTION)])
        spent = time.process_time() - started
        if spent >= seconds:
            return made / spent
    raise AssertionError("unreachable")


def main() -> None:
    """Prints the table."""
    rows = measure(20)
    slowest = min(row.per_second for row in rows)
    print("| letters, one core | bytes | per second | times |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row.way} | {row.letter:,} | {row.per_second:,.0f} | {row.per_second / slowest:,.0f} |")
    spliced = min(row.per_second for row in rows if row.way.startswith("spliced"))
    print(f"\nBar: {BAR:,} per second; the slower splice makes {spliced:,.0f}.")


if __name__ == "__main__":
    main()

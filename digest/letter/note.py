"""A mail to one person about their own subscription: a question, a link, or the news of a change.

Nothing in it was written by a visitor: names and pages have carried advertisements into confirmation
mails (U-7). It has no pictures, counts nothing, and says that a program wrote it (RFC 3834).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

from digest.letter.bidi import isolating, left_to_right
from digest.letter.headers import Header, ascii_url, block, mailbox, reply_to, subject, verbatim, wire_address
from digest.letter.inline import inlined
from digest.letter.page import Publication
from digest.letter.personalise import boundary_for, encoded, frame
from digest.letter.plaintext import underlined, wrapped
from digest.letter.render import imprint, tidy
from digest.letter.templates import environment
from digest.letter.theme import Theme
from digest.letter.words import moment_in_words, words

#: what a letter's style sheets ask about a page, and a note has none of
_NO = SimpleNamespace(intro=False, grow=False, beside=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a note says, in both parts."""

    subject: str
    text: str
    html: str


class Stationery:
    """The templates of `note/`, in the publication's words and colours."""

    def __init__(self, publication: Publication, theme: Theme, templates_dir: Path | None) -> None:
        """Nothing is read again later: a changed template shows after a restart."""
        self.publication = publication
        self._words = words(publication.language, templates_dir)
        self._environment = environment(templates_dir)
        self._environment.filters |= {
            "wrapped": wrapped,
            "underlined": underlined,
            "ltr": left_to_right,
            "isolated": isolating(self._words.direction),
        }
        self._environment.globals.update(
            publication=publication,
            imprint=imprint(publication),
            language=publication.language,
            direction=self._words.direction,
            theme=theme,
            say=self._words.say,
            page=SimpleNamespace(preheader=""),
            page_url=f"{publication.base_url}/subscribe",
            has=_NO,
            widths=(),
            listed=(),
        )

    def written(self, kind: str, link: str, asked_at: datetime) -> Written:
        """The note of a *kind*, whose one link leads to the path *link* of the pages."""
        publication = self.publication
        values = {
            "kind": kind,
            "link": f"{ascii_url(publication.base_url)}{link}",
            "when": moment_in_words(asked_at, publication.zone, publication.language),
        }
        title = " ".join(self._filled("subject.txt", values).split())
        return Written(
            subject=title,
            text=tidy(self._filled("body.txt", values)),
            html=inlined(self._filled("body.html", values | {"subject": title})),
        )

    def mail(
        self, written: Written, to: str, message_id: str, now: datetime, tagged: Sequence[Header] = ()
    ) -> bytes:
        """*written* as the finished bytes of a mail to the address *to*; *message_id* with brackets.

        *tagged* are `headers.tags`.
        """
        publication = self.publication
        boundary = boundary_for(written.text)
        headers = [
            mailbox("From", publication.sender_name, publication.sender_address),
            mailbox("To", "", to),
            *([reply_to(publication.reply_to)] if publication.reply_to else []),
            subject(written.subject),
            verbatim("Date", format_datetime(now)),
            verbatim("Message-ID", message_id),
            verbatim("Auto-Submitted", "auto-generated"),
            verbatim("X-Auto-Response-Suppress", "All"),
            *tagged,
            verbatim("MIME-Version", "1.0"),
            verbatim("Content-Type", f'multipart/alternative; boundary="{boundary}"'),
        ]
        text, page = encoded([written.text.encode()]), encoded([written.html.encode()])
        opening, between, end = frame(boundary, text.encoding, page.encoding)
        return b"".join([block(headers), opening, *text.filled({}), between, *page.filled({}), end])

    def message_id(self, token: str) -> str:
        """The Message-ID made of a random *token*, with its brackets."""
        domain = wire_address(self.publication.sender_address).rpartition("@")[2]
        return f"<note.{token}@{domain}>"

    def _filled(self, template: str, values: dict[str, str]) -> str:
        return self._environment.get_template(f"note/{template}").render(values)

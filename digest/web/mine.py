"""What is kept of a person, shown to them, given to them, and erased at their wish.

Nobody gets here but by a link that was sent to their address a moment ago: the links in letters are
forwarded with them, and are no key to this.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import Engine

from digest.database import reading
from digest.forgetting import erase_person
from digest.trace import trace
from digest.web.forms import form_of
from digest.web.pages import NOTHING, PRIVATE, SAFE, Pages
from subscribers.address import masked, parse


@dataclass(frozen=True, slots=True)
class Mine:
    """The page of one person."""

    pages: Pages
    engine: Engine
    secret: bytes | None
    now: Callable[[], datetime]

    def answer(self, address: str, request: Request | None) -> Response:
        """The page of *address*; with a *request* what its pressed button asks for."""
        if self.secret is None:
            return self.pages.unavailable()
        act = form_of(request).get("act", "") if request else ""
        if act == "erase":
            erase_person(self.engine, parse(address), self.secret, self.now())
            return self.pages.show("erased")
        if act not in ("show", "json"):
            return self.pages.show("mine", address=masked(address))
        with reading(self.engine) as session:
            story = trace(session, parse(address), self.secret)
        if act == "show":
            return self.pages.show("kept", story=story)
        document = json.dumps(story.to_json(), ensure_ascii=False, indent=2)
        headers = SAFE | PRIVATE | {"Content-Disposition": 'attachment; filename="my-data.json"'}
        return Response(
            document, 200, headers | {"Content-Security-Policy": NOTHING}, media_type="application/json"
        )

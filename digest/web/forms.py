"""What a visitor sends: the fields of a form, within limits, and where they come from."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl

from anyio import fail_after, from_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

LONGEST_BODY = 1_048_576  # bytes that are read before the answer
LONGEST_FORM = 16_384  # bytes that are looked at
MOST_FIELDS = 20
SLOWEST_BODY = 20  # seconds a program gets for its body
LONGEST_USER_AGENT = 300  # characters kept as proof

URLENCODED = "application/x-www-form-urlencoded"


def described(fields: Mapping[str, str], *kinds: str) -> dict[str, Any]:
    """A form for the description of the pages: its *fields* with their meanings, sent as any of *kinds*."""
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "description": what} for name, what in fields.items()},
    }
    content = {kind: {"schema": schema} for kind in kinds or (URLENCODED,)}
    return {"requestBody": {"required": False, "content": content}}


def body_of(request: Request) -> bytes:
    """The body, as far as anybody looks; it is read on up to a limit and forgotten.

    A client that still sends would get a reset and lose the answer.
    """
    parts, taken, kept = request.stream(), 0, b""
    with suppress(ClientDisconnect):
        while taken < LONGEST_BODY and (part := from_thread.run(anext, parts, b"")):
            taken += len(part)
            if len(kept) < LONGEST_FORM:
                kept += part
    return kept[:LONGEST_FORM]


async def whole_body(request: Request) -> bytes | None:
    """The body to its last byte; None where it is longer than `LONGEST_BODY`, or the caller hangs up.

    TimeoutError where it is not there within `SLOWEST_BODY`.
    """
    body = bytearray()
    try:
        with fail_after(SLOWEST_BODY):
            async for part in request.stream():
                body += part
                if len(body) > LONGEST_BODY:
                    return None
    except ClientDisconnect:
        return None
    return bytes(body)


def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form as browsers send it; {} for anything else. Of two of one name the last counts."""
    text = body_of(request).decode("utf-8", errors="replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        return {}


def ip_of(request: Request) -> str | None:
    """The visitor's address, as the server sees it or a trusted proxy says."""
    return request.client.host if request.client else None


def program_of(request: Request) -> str:
    """What the visitor's program calls itself, cut to size."""
    return request.headers.get("user-agent", "")[:LONGEST_USER_AGENT]

"""The API, put together: its routes, its description, and the guard in front of both."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException as StarletteException
from starlette.types import ASGIApp

from digest.collect import FILE, collect, source_at
from digest.database import reading, writing
from digest.issue.compose import find_issue
from digest.issue.document import issue_document
from digest.issue.overview import Line, overview
from digest.letter.page import Publication
from digest.models import Dated
from digest.month import Month
from digest.sources.found import Document, Found, Picture
from digest.sources.raw import Raw
from digest.sources.refine import refine
from digest.web.api.shapes import (
    Asked,
    Faults,
    IssueLine,
    Issues,
    IssueWhole,
    KeptPost,
    Leaver,
    Left,
    Newcomer,
    PushedPost,
    Told,
)
from digest.web.guard import API_HEADERS, ApiGuard, told
from digest.web.pages import PUBLIC, Pages
from subscribers.address import Address, BadAddress, parse
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import unsubscribe
from subscribers.models import Asked as Wished
from subscribers.roll import find
from subscribers.wishes import wish

#: the source of what is pushed: nothing is fetched from it
PLACE = f"{FILE}api"
#: for everybody: they describe the program, not the publication
OPEN = frozenset({"/docs", "/openapi.json"})
#: what every operation may answer, for its description
_REFUSED: dict[int | str, dict[str, Any]] = {
    400: {"model": Told, "description": "That is not JSON"},
    401: {"model": Told, "description": "No token, or one that does not work"},
    413: {"model": Told, "description": "Longer than a megabyte"},
    422: {"model": Faults, "description": "Something is wrong with what was sent"},
    503: {"model": Told, "description": "The store is busy; nothing was changed"},
}


@dataclass(frozen=True, slots=True)
class Api:
    """What programs may do."""

    engine: Engine
    pages: Pages
    #: the key of the suppression list; None: not set, and then nobody can be taken on
    secret: bytes | None
    now: Callable[[], datetime]

    @property
    def publication(self) -> Publication:
        """Whose API it is."""
        return self.pages.publication

    def push(self, pushed: PushedPost) -> KeptPost:
        """Take a post in, or what has changed of it. A draft takes it up when it is built again."""
        now, zone = self.now(), self.publication.zone
        found = refine(_raw(pushed), base=self.publication.url, zone=zone, now=now, position=0, source=PLACE)
        if not isinstance(found, Found):
            raise HTTPException(422, [{"loc": ["body"], "msg": found.why}])
        if pushed.published_at and found.dated is Dated.NONE:
            raise HTTPException(422, [{"loc": ["body", "published_at"], "msg": found.date_note}])
        with writing(self.engine) as session:
            source = source_at(session, PLACE)
            document = Document(format="api", title="The API", posts=[found])
            collected = collect(session, source, document, now)
        return KeptPost(
            guid=found.guid,
            outcome="new" if collected.new else "changed" if collected.changed else "unchanged",
            title=found.title,
            dated=found.dated,
            published_at=found.published_at,
        )

    def issues(self) -> Issues:
        """List the issues and where their letters stand."""
        with reading(self.engine) as session:
            return Issues(issues=[_line(one) for one in overview(session)])

    def issue(self, month: str) -> IssueWhole:
        """Show the issue of a month, written YYYY-MM, with its items."""
        with reading(self.engine) as session:
            found = overview(session, month)
            if not found:
                raise HTTPException(404, f"there is no issue of {month[:20]!r}")
            issue = find_issue(session, Month.parse(month, self.publication.zone))
            assert issue is not None
            whole = issue_document(session, issue, self.publication)
            for one in whole["items"]:
                # How it stands in the letter is known once that is made: too long to wait for.
                del one["form"]
            return IssueWhole(**(whole | _line(found[0]).model_dump()))

    def join(self, newcomer: Newcomer, request: Request) -> Asked:
        """Ask somebody for a yes by mail. They are on the list once they press its button, not before."""
        if self.secret is None:
            raise HTTPException(503, "nobody can be taken on: DIGEST_SUPPRESSION_KEY is not set")
        evidence = Evidence(
            origin=Origin.API,
            at=self.now(),
            wording=f"{newcomer.wording or 'what they read was not told'} (by {request.state.program})",
            ip=str(newcomer.ip) if newcomer.ip else None,
            user_agent=newcomer.user_agent,
        )
        with writing(self.engine) as session:
            wish(session, Wished.SUBSCRIBE, _address(newcomer.email), evidence)
        return Asked()

    def leave(self, leaver: Leaver, request: Request) -> Left:
        """Take somebody off the list, at their own wish."""
        address = _address(leaver.email)
        evidence = Evidence(
            origin=Origin.API, at=self.now(), wording=f"asked elsewhere (by {request.state.program})"
        )
        with writing(self.engine) as session:
            known = find(session, address.key)
            if known is not None and known.id is not None:
                unsubscribe(session, known.id, evidence)
        return Left()


def create_api(api: Api) -> ASGIApp:
    """The API as an application of its own, for everything below /api."""
    inside = FastAPI(
        title=f"{api.publication.name}: the API",
        version="1",
        servers=[{"url": f"{api.publication.base_url}/api"}],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
        dependencies=[Depends(_private)],
    )
    given: dict[str, Any] = {"responses": _REFUSED}
    inside.post("/v1/posts", **given)(api.push)
    inside.get("/v1/issues", **given)(api.issues)
    missing: dict[int | str, Any] = {404: {"model": Told, "description": "There is no such issue"}}
    inside.get("/v1/issues/{month}", responses=_REFUSED | missing)(api.issue)
    inside.post("/v1/subscribers", status_code=202, **given)(api.join)
    inside.post("/v1/unsubscribe", **given)(api.leave)
    description = inside.openapi()
    description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    description["security"] = [{"token": []}]
    inside.get("/openapi.json", include_in_schema=False)(lambda: description)
    shown = api.pages.show("api", headers=PUBLIC, described=description, operations=_operations(description))
    inside.add_api_route("/docs", lambda: shown, methods=["GET", "HEAD"], include_in_schema=False)
    _catch(inside)
    return ApiGuard(inside, engine=api.engine, opened=OPEN, now=api.now)


def _private(response: Response) -> None:
    response.headers.update(API_HEADERS)


def _catch(inside: FastAPI) -> None:
    """Whatever goes wrong is told in JSON, without details of ours and without what was sent."""

    def unfit(_request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return told([{"loc": list(one["loc"]), "msg": one["msg"]} for one in error.errors()], 422)

    def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, StarletteException)
        return told(error.detail, error.status_code, error.headers)

    def failed(_request: Request, error: Exception) -> Response:
        if isinstance(error, SQLAlchemyError):
            return told("the store is busy; nothing was changed", 503, {"Retry-After": "5"})
        return told("that did not work; the server's log says why", 500)

    inside.add_exception_handler(RequestValidationError, unfit)
    inside.add_exception_handler(StarletteException, refused)
    inside.add_exception_handler(SQLAlchemyError, failed)
    inside.add_exception_handler(Exception, failed)


def _raw(pushed: PushedPost) -> Raw:
    """*pushed* as an adapter would have read it: its plain fields as HTML."""

    def plain(text: str | None) -> str | None:
        return escape(text, quote=False) if text else None

    return Raw(
        guid=pushed.guid.strip(),
        url=pushed.url,
        title=plain(pushed.title) or "",
        author=pushed.author,
        published=tuple(filter(None, [pushed.published_at])),
        manual_summary=plain(pushed.summary),
        body=pushed.html or plain(pushed.text),
        pictures=(Picture(pushed.picture, pushed.picture_alt),) if pushed.picture else (),
        categories=tuple(escape(one, quote=False) for one in pushed.categories),
        language=pushed.language,
    )


def _line(one: Line) -> IssueLine:
    letters = {"accepted": one.accepted} | {state.value: number for state, number in one.others.items()}
    return IssueLine(
        issue=one.month,
        number=one.number,
        status=one.status,
        reason=one.reason,
        posts=one.posts,
        approved_by=one.approved_by,
        sent_at=one.sent_at,
        frozen=one.frozen,
        letters=letters if one.frozen is not None else {},
    )


def _address(text: str) -> Address:
    try:
        return parse(text)
    except BadAddress as error:
        raise HTTPException(422, [{"loc": ["body", "email"], "msg": str(error)}]) from error


def _operations(description: dict[str, Any]) -> list[dict[str, Any]]:
    """What the page says of each operation: how it is called, what is sent, what comes back."""
    schemas = description["components"]["schemas"]
    found = []
    for path, methods in description["paths"].items():
        for method, one in methods.items():
            content = one.get("requestBody", {}).get("content", {}).get("application/json", {})
            name = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
            good = min(one["responses"])
            back = one["responses"][good]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            found.append(
                {
                    "call": f"{method.upper()} /api{path}",
                    "what": one["description"],
                    "fields": _fields(schemas[name]) if name else [],
                    "good": good,
                    "back": _fields(schemas[back]),
                }
            )
    return found


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "what": one.get("description", ""),
            "example": (one.get("examples") or [""])[0],
            "required": name in required,
        }
        for name, one in schema["properties"].items()
    ]

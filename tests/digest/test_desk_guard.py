"""Nobody gets past the guards of the desk and the API: every route, in every way of asking for it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute
from sqlmodel import select
from starlette.routing import BaseRoute, Mount

from digest.accounts.bearer import revoke_token
from digest.accounts.models import ApiToken, Attempt, Editor, Login, Role
from digest.database import reading, writing
from digest.issue.models import Change
from digest.models import Item
from digest.web.desk.frame import rooms
from digest.web.guard import ApiGuard, DeskGuard, form_token, is_own, only, origin_of, way_back
from tests.digest.desk import Visitor, api_token, draft, editor, open_desk
from tests.digest.website import Answer, Site

OWN = "https://letters.example.org"
#: what is sent to anybody who asks, by its path
OPEN = {"/desk/login", "/desk/desk.css", "/api/docs", "/api/openapi.json"}
#: stands for what a page may not say to who is not logged in
CANARY = "zenobia.quux"
#: where a path has a part of its own
FILLED = {"{who:int}": "1", "{who}": "1", "{month}": "2015-09"}


@dataclass
class House:
    """One site with everybody who matters."""

    site: Site
    nobody: Visitor
    ben: Visitor
    anna: Visitor
    token: str

    def rows(self) -> list[object]:
        """All that a request could change, but when somebody was last seen."""
        with reading(self.site.engine) as session:
            accounts = [
                session.exec(select(table)).all()
                for table in (Editor, Login, Attempt, ApiToken, Item, Change)
            ]
            return [*self.site.contents(), [[repr(one) for one in rows] for rows in accounts]]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_desk(tmp_path_factory.mktemp("desk") / "digest.db") as site:
        site.person(CANARY)
        draft(site)
        ben, anna = (
            Visitor.logged_in(site, editor(site, f"{name}@example.org", role))
            for name, role in (("ben", Role.EDITOR), ("anna", Role.APPROVER))
        )
        yield House(site, Visitor(site), ben, anna, api_token(site))


def inside(site: Site, prefix: str) -> list[APIRoute]:
    """The routes behind the guard at *prefix*."""
    assert site.app is not None
    (mount,) = (one for one in site.app.routes if isinstance(one, Mount) and one.path == prefix)
    assert isinstance(mount.app, DeskGuard | ApiGuard)
    assert isinstance(mount.app.inside, FastAPI)
    return [one for one in flat(mount.app.inside.routes) if isinstance(one, APIRoute)]


def flat(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    """*routes*, and those of the routers among them."""
    for one in routes:
        # FastAPI keeps an included router as one route.
        router = getattr(one, "original_router", None)
        yield from flat(router.routes) if router else [one]


def paths(house: House, prefix: str) -> dict[str, set[str]]:
    """Every path that leads inside, with its methods, and one that leads nowhere."""
    found: dict[str, set[str]] = {f"{prefix}/nothing": set(), f"{prefix}/a/b/c": set()}
    for route in inside(house.site, prefix):
        path = prefix + route.path
        for name, value in FILLED.items():
            path = path.replace(name, value)
        assert "{" not in path, path
        found.setdefault(path, set()).update(route.methods)
    return found


def alike(answer: Answer) -> tuple[object, ...]:
    """All of *answer* but the moment and where it leads."""
    left = {name: value for name, value in answer.headers.items() if name not in ("date", "location")}
    return answer.status, left, answer.body


def test_nothing_of_the_desk_or_the_api_is_routed_outside_their_guards(house: House) -> None:
    """S-11: the rest of the application has a redirect for each, and nothing else."""
    assert house.site.app is not None
    outside = [
        (one.path, one.endpoint().headers["location"])
        for one in flat(house.site.app.routes)
        if isinstance(one, APIRoute) and one.path.lower().startswith(("/desk", "/api"))
    ]
    assert outside == [("/desk", f"{OWN}/desk/"), ("/api", f"{OWN}/api/")]
    assert len(paths(house, "/desk")) > 15
    assert len(paths(house, "/api")) > 6


def test_who_is_not_logged_in_sees_one_answer_whatever_they_look_at(house: House) -> None:
    """S-11, S-23: pages there are and pages there are not."""
    seen = {}
    for path in paths(house, "/desk"):
        for method in ("GET", "HEAD"):
            answer = house.nobody.ask(method, path)
            if path in OPEN:
                assert answer.status == 200
                house.nobody.cookie = ""
            else:
                assert answer.headers["location"] == f"/desk/login?to={path}"
                seen[path, method] = alike(answer)
    assert len({repr(one) for one in seen.values()}) == 1
    assert next(iter(seen.values()))[0] == 303


def test_who_has_no_token_sees_one_answer_whatever_they_ask_the_api(house: House) -> None:
    """S-11: no token, one that never was, one of another scheme, the cookie of an editor."""
    revoked = api_token(house.site, "revoked")
    with writing(house.site.engine) as session:
        revoke_token(session, "revoked")
    given: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {revoked}"},
        {"Authorization": f"Bearer {house.token[:-1]}"},
        {"Authorization": f"Basic {house.token}"},
        {"Authorization": house.token},
        {"Cookie": f"__Host-desk={house.anna.cookie}"},
    ]
    before = house.rows()
    seen = {
        repr(alike(house.site.ask(method, path, b"", **headers)))
        for path in paths(house, "/api")
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS")
        for headers in given
        if path not in OPEN or method != "GET"
    }
    (one,) = seen
    assert one.startswith("(401, ")
    assert house.rows() == before
    assert house.site.get("/api/v1/issues", Authorization=f"bearer {house.token}").status == 200


def test_a_token_of_the_api_opens_no_page_of_the_desk(house: House) -> None:
    answer = house.site.get("/desk/subscribers", Authorization=f"Bearer {house.token}")
    assert answer.status == 303
    assert house.site.get("/desk/subscribers", Cookie=f"__Host-desk={house.token}").status == 303


#: what a POST that no page of ours sent may look like
FOREIGN = {
    "another site": {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"},
    "another site that only fetches": {"Sec_Fetch_Site": "cross-site"},
    "a neighbouring host": {"Sec_Fetch_Site": "same-site", "Origin": "https://www.example.org"},
    "our name without encryption": {"Origin": "http://letters.example.org"},
    "our name and another port": {"Origin": f"{OWN}:8443"},
    "no headers": {},
    "nobody": {"Origin": "null"},
    "nobody, so they say, here": {"Origin": "null", "Sec_Fetch_Site": "same-origin"},
    "another site, so they say, here": {"Origin": "https://evil.example", "Sec_Fetch_Site": "same-origin"},
    "our name, so they say, elsewhere": {"Origin": OWN, "Sec_Fetch_Site": "cross-site"},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_form_of_another_site_does_anything(house: House, kind: str) -> None:
    """S-5: every route, for nobody, an editor and an approver, each with a token that is right."""
    before = house.rows()
    seen = set()
    for path in paths(house, "/desk"):
        for who in (house.nobody, house.ben, house.anna):
            body = f"token={form_token(who.cookie)}".encode()
            seen.add(repr(alike(who.ask("POST", path, body, **FOREIGN[kind]))))
    (one,) = seen
    assert one.startswith("(403, ")
    assert house.rows() == before


def test_no_form_with_a_token_of_another_browser_does_anything(house: House) -> None:
    """S-5: none, an old one, another editor's, the cookie itself; on every route."""
    before = house.rows()
    stale = form_token("x" * 43)
    headers = {"Origin": OWN, "Sec_Fetch_Site": "same-origin"}
    seen = set()
    for path in paths(house, "/desk"):
        for who, other in ((house.ben, house.anna), (house.anna, house.ben), (house.nobody, house.anna)):
            for token in ("", stale, form_token(other.cookie), who.cookie, "é"):
                seen.add(repr(alike(who.ask("POST", path, f"token={token}".encode(), **headers))))
            seen.add(repr(alike(who.ask("POST", path, b"", **headers))))
            seen.add(
                repr(alike(who.ask("POST", path, b'{"token": 1}', Content_Type="text/plain", **headers)))
            )
    (one,) = seen
    assert one.startswith("(403, ")
    assert house.rows() == before


def test_who_was_logged_out_meanwhile_changes_nothing(house: House) -> None:
    """S-5, S-6: the token is the browser's own, and the browser nobody's any more."""
    before = house.rows()
    gone = Visitor(house.site, "y" * 43)
    seen = {
        repr(alike(gone.post(path, {"to": "/desk/"}))) for path in paths(house, "/desk") if path not in OPEN
    }
    (one,) = seen
    assert one.startswith("(403, ")
    assert "log in" in one
    assert house.rows() == before


def test_a_form_of_the_desk_is_let_in(house: House) -> None:
    """With both headers, or an Origin alone, or as the browser sends a page again by itself."""
    for headers in ({}, {"Sec_Fetch_Site": "none"}):
        assert house.ben.post("/desk/subscribers", {}, **headers).status == 405
    body = f"token={form_token(house.ben.cookie)}".encode()
    assert house.ben.ask("POST", "/desk/subscribers", body, Origin=OWN).status == 405


#: ways of writing a path that some servers take for another one
FORMS = (
    *("{}/", "{}//", "/{}", "//{}", "/.{}", "/x/..{}", "{};x", "{};/", "{}%2f", "{}%00", "{}?"),
    *("{}.json", "{}%20", "{}/..", "{}%3b"),
)


def test_no_way_of_writing_a_path_leads_past_the_guards(house: House) -> None:
    """S-11: slashes, dots, semicolons, case, encoded letters, HEAD and methods in a header."""
    seen = set()
    for path in (*paths(house, "/desk"), *paths(house, "/api")):
        if path in OPEN or path.endswith("/"):
            continue
        _, prefix, rest = path.split("/", 2)
        odd = [form.format(path) for form in FORMS]
        odd += [
            f"/{one}/{rest}" for one in (prefix.upper(), f"%{ord(prefix[0]):x}{prefix[1:]}", f"{prefix};x")
        ]
        odd += [f"/{prefix}{between}{rest}" for between in ("//", "%2f", "/./", "/login/../", "\\\\")]
        for one in odd:
            for method, headers in (("GET", {}), ("HEAD", {}), ("POST", {"X_HTTP_Method_Override": "GET"})):
                answer = house.site.ask(method, one, b"", **headers)
                assert CANARY not in answer.text, one
                seen.add((method, answer.status))
    assert seen <= {
        *(("GET", status) for status in (303, 401, 404)),
        *(("HEAD", status) for status in (303, 401, 404)),
        *(("POST", status) for status in (401, 403, 404, 405)),
    }
    # The same page for who is logged in, so that the test would see it.
    assert CANARY in house.ben.get("/desk/subscribers").text


def test_no_other_method_reaches_the_desk(house: House) -> None:
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "LOOK"):
        assert house.anna.ask(method, "/desk/subscribers").status == 405
        assert house.anna.ask("POST", "/desk/subscribers", b"", X_HTTP_Method_Override=method).status == 403


def test_an_editor_may_look_at_everything_and_an_approver_too(house: House) -> None:
    """S-24: the pages that are there today show both the same; none shows a hash or a token."""
    for path, methods in paths(house, "/desk").items():
        if "GET" in methods and path not in OPEN | {"/desk/login/"}:
            for who in (house.ben, house.anna):
                answer = who.get(path)
                assert answer.status == 200, path
                for secret in ("argon2", house.token, who.cookie):
                    assert secret not in answer.text


def test_what_takes_an_approver_is_refused_to_an_editor(house: House) -> None:
    """S-24: by its route, whatever the room behind it forgets."""
    assert house.site.app is not None
    (mount,) = (one for one in house.site.app.routes if isinstance(one, Mount) and one.path == "/desk")
    router = mount.app.inside.router
    rooms(router, "/risky", _said, _said, act_needs=[only(Role.APPROVER)])
    try:
        assert [who.get("/desk/risky").status for who in (house.ben, house.anna)] == [200, 200]
        assert [who.post("/desk/risky", {}).status for who in (house.ben, house.anna)] == [403, 200]
        assert "approver" in house.ben.post("/desk/risky", {}).text
    finally:
        del router.routes[-4:]


def _said() -> Response:
    return PlainTextResponse("done")


def test_a_poisoned_host_leads_nowhere(house: House) -> None:
    """S-20"""
    for path in ("/desk", "/api", "/desk/", "/desk/login", "/api/docs"):
        answer = house.nobody.get(path, Host="evil.example", X_Forwarded_Host="evil.example")
        assert "evil" not in repr(answer.headers) + answer.text


def test_a_form_that_is_too_large_is_refused_before_it_is_looked_at(house: House) -> None:
    answer = house.anna.post("/desk/login", {"to": "x" * 1_100_000})
    assert answer.status == 413
    assert (
        house.site.post("/api/v1/posts", b"x" * 1_100_000, Authorization=f"Bearer {house.token}").status
        == 413
    )


@pytest.mark.parametrize(
    ("site", "origin", "is_let_in"),
    [
        ("same-origin", OWN, True),
        ("none", OWN, True),
        ("same-origin", None, True),
        (None, OWN, True),
        (None, None, False),
        (None, "null", False),
        ("same-origin", "null", False),
        ("same-site", OWN, False),
        ("cross-site", None, False),
        ("", OWN, False),
        ("SAME-ORIGIN", OWN, False),
        (None, OWN.upper(), False),
    ],
)
def test_whose_forms_are_ours(site: str | None, origin: str | None, is_let_in: bool) -> None:
    """S-5"""
    assert is_own(site, origin, OWN) is is_let_in


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Letters.example.org", "https://letters.example.org"),
        ("https://letters.example.org:443/x", "https://letters.example.org"),
        ("http://127.0.0.1:8025", "http://127.0.0.1:8025"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8000/letters", "http://[::1]:8000"),
    ],
)
def test_our_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/desk/issues/2015-09", "/desk/issues/2015-09"),
        ("/desk/", "/desk/"),
        ("", "/desk/"),
        ("https://evil.example/desk/", "/desk/"),
        ("//evil.example/desk/", "/desk/"),
        ("/desk//evil.example", "/desk/"),
        ("/desk/../u/x", "/desk/"),
        ("/desk/\r\nSet-Cookie: x", "/desk/"),
        ("/desk/x?y=//z", "/desk/"),
        ("/desk/\\evil.example", "/desk/"),
        ("/deskx/", "/desk/"),
    ],
)
def test_after_logging_in_one_stays_at_the_desk(path: str, leads_to: str) -> None:
    """S-8, S-10"""
    assert way_back(path, "/desk") == leads_to

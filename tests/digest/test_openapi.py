"""The description that the pages make of themselves is true: whatever it allows is answered as it says.

PROVE_REQUESTS says how many requests each operation gets in each mode, PROVE_SEED which.
"""

import json
import os
import sys
from collections import Counter
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from digest.models import Status
from digest.web.forms import URLENCODED
from tests.digest.website import (
    Mailroom,
    Site,
    asking,
    issue,
    leave,
    one_click,
    preferences,
    stamp,
)

REQUESTS = int(os.environ.get("PROVE_REQUESTS", "10"))
SEED = int(os.environ.get("PROVE_SEED", "2015"))
METHODS = {"get", "post"}


def description(site: Site) -> dict[str, Any]:
    assert site.app is not None
    made: dict[str, Any] = site.app.openapi()
    return made


def test_the_description_names_every_route_once_and_no_answer_of_fastapis_own(lite: Site) -> None:
    """No route serves it; none of ours answers JSON about a field that is wrong."""
    made = description(lite)
    routes = {
        (path, method): {
            str(status): sorted(answer.get("content", {}))
            for status, answer in operation["responses"].items()
        }
        for path, operations in made["paths"].items()
        for method, operation in operations.items()
    }
    page, refused = ["text/html"], {"4XX": ["text/html"], "503": ["text/html"]}
    plain = {"200": page, **refused}
    assert routes == {
        ("/u/{token}", "get"): plain,
        ("/u/{token}", "post"): {**plain, "200": ["text/html", "text/plain"]},
        ("/p/{token}", "get"): plain,
        ("/p/{token}", "post"): plain,
        ("/subscribe", "get"): plain,
        ("/subscribe", "post"): {**plain, "422": page},
        ("/c/{token}", "get"): plain,
        ("/c/{token}", "post"): {**plain, "200": ["application/json", "text/html"], "409": page},
        ("/archive", "get"): plain,
        ("/archive/feed.xml", "get"): {**plain, "200": ["application/atom+xml"]},
        ("/archive/{month}", "get"): plain,
        ("/", "get"): plain,
        ("/healthz", "get"): {"200": ["text/plain"], "4XX": page, "503": ["text/plain"]},
        ("/metrics", "get"): {**plain, "200": ["text/plain"]},
    }
    names = [one["operationId"] for operations in made["paths"].values() for one in operations.values()]
    assert len(set(names)) == len(names)
    assert "HTTPValidationError" not in json.dumps(made)
    assert {lite.get(path).status for path in ("/openapi.json", "/docs", "/redoc")} == {404}


class Tokens:
    """For each operation what is worth trying beside chance: real tokens, months, fields."""

    def __init__(self, site: Site, room: Mailroom) -> None:
        """The store has somebody for each."""
        issue(site, "2015-09", 9, Status.SENT)
        who, leaver = site.person("anna"), site.person("ben")
        site.post(f"{preferences(who)}?act=data")
        data = room.link().removeprefix("/c/")
        site.post("/subscribe", asking("cleo@example.org"))
        confirm = room.link().removeprefix("/c/")
        self.data = data
        tokens = [path(leaver)[3:] for path in (one_click, leave)]
        self.path = {
            "/u/{token}": tokens,
            "/p/{token}": [preferences(who).removeprefix("/p/")],
            "/c/{token}": [data, confirm],
            "/archive/{month}": ["2015-09", "2015-10"],
        }
        self.query = {"act": ["leave", "pause", "resume", "rejoin", "move", "data"]}
        self.body = {
            "/subscribe": {"email": ["dora@example.org", "dora@"], "at": [stamp()], "website": [""]},
            "/p/{token}": {"email": ["eva@example.org", "eva"]},
            # Not "erase": its token works once.
            "/c/{token}": {"act": ["json", "show"]},
        }

    def into(self, case: Any, data: st.DataObject) -> None:
        """Something of *case* is now real; in the simplest one, which is tried first, everything is."""
        path = case.path
        for name in case.path_parameters or {}:
            if path in self.path and not data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(self.path[path]))
        if path == "/p/{token}" and case.method == "POST" and not data.draw(st.booleans()):
            case.query = {"act": data.draw(st.sampled_from(self.query["act"]))}
        if path in self.body and case.method == "POST" and not data.draw(st.booleans()):
            case.body = {name: data.draw(st.sampled_from(values)) for name, values in self.body[path].items()}
            case.media_type = URLENCODED


@pytest.mark.slow
def test_whatever_is_asked_is_answered_as_described(lite: Site, small: Mailroom) -> None:
    """S-11, S-12: no 5xx, no status and no content type that the description does not name."""
    import schemathesis
    from schemathesis import GenerationMode, checks

    tokens = Tokens(lite, small)
    schema = schemathesis.openapi.from_dict(description(lite))
    held = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.response_headers_conformance,
    ]
    seen: Counter[tuple[str, int, str]] = Counter()

    def try_all(operation: Any, mode: Any) -> None:
        @hypothesis.seed(SEED)
        @settings(
            max_examples=REQUESTS,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
        def one(case: Any, data: st.DataObject) -> None:
            tokens.into(case, data)
            answer = case.call(base_url=f"http://127.0.0.1:{lite.port}", timeout=20)
            case.validate_response(answer, checks=held)
            kind = answer.headers["content-type"][0].partition(";")[0]
            seen[f"{case.method} {case.path}", answer.status_code, kind] += 1

        one()

    for found in schema.get_all_operations():
        operation = found.ok()
        try_all(operation, GenerationMode.POSITIVE)
        if operation.method == "post":
            # There is nothing wrong to be said where nothing is described but a word in the path.
            try_all(operation, GenerationMode.NEGATIVE)
    named = {name for name, status, _ in seen if status == 200}
    operations = {
        f"{method.upper()} {path}"
        for path, of_path in description(lite)["paths"].items()
        for method in METHODS & set(of_path)
    }
    sys.stdout.write(
        f"seed {SEED}: {seen.total():,} requests to {len(operations)} operations; answered by"
        f" {', '.join(f'{status}: {count:,}' for status, count in sorted(statuses(seen).items()))}\n"
    )
    # Each was reached, and so was each kind of answer.
    assert named == operations
    assert ("POST /c/{token}", 200, "application/json") in seen
    assert ("POST /u/{token}", 200, "text/plain") in seen
    assert {404, 422} <= set(statuses(seen))


def statuses(seen: Counter[tuple[str, int, str]]) -> Counter[int]:
    counted: Counter[int] = Counter()
    for (_, status, _), count in seen.items():
        counted[status] += count
    return counted


def test_what_is_kept_is_json_as_described(lite: Site, small: Mailroom) -> None:
    """P-5: a real link, and the file it gives."""
    data = Tokens(lite, small).data
    answer = lite.post(f"/c/{data}", b"act=json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body)["address"] == "anna@example.org"

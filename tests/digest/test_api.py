"""What programs do by the API: push posts, read issues, take readers on and off; and what they may not."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from sqlmodel import select

from digest.accounts.models import ApiToken
from digest.database import reading, writing
from digest.issue.compose import compose
from digest.models import Delivered, Delivery, Item, Post, Source, Status
from digest.month import Month
from subscribers.models import Act, Consent, State, Wish
from tests.digest.desk import api_token, open_desk
from tests.digest.website import NOW, Answer, Site, answered, issue, locked, publication

REQUESTS = int(os.environ.get("PROVE_REQUESTS", "6"))
SEED = int(os.environ.get("PROVE_SEED", "2015"))
POST = {
    "guid": "https://example.org/?p=815",
    "url": "https://example.org/low-water",
    "title": "Low <b>water</b> & mud",
    "author": "The harbour desk",
    "published_at": "2015-09-12T10:00:00+02:00",
    "html": "<p>The gauge at the old bridge <script>alert(1)</script> has been read every morning.</p>",
    "picture": "https://example.org/pictures/1.jpg",
    "picture_alt": "The bridge",
    "categories": ["Rivers"],
    "language": "en",
}


@dataclass
class Program:
    """A program with a token."""

    site: Site
    token: str

    def ask(self, method: str, path: str, document: Any = None) -> Answer:
        body = b"" if document is None else json.dumps(document).encode()
        return self.site.ask(
            method,
            f"/api/v1{path}",
            body,
            Authorization=f"Bearer {self.token}",
            Content_Type="application/json",
            Content_Length=str(len(body)),
        )

    def post(self, path: str, document: Any, status: int = 200) -> Any:
        answer = self.ask("POST", path, document)
        assert answer.status == status, answer.text
        return json.loads(answer.text)

    def get(self, path: str, status: int = 200) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == status, answer.text
        return json.loads(answer.text)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with open_desk(tmp_path_factory.mktemp("api") / "digest.db") as site:
        yield Program(site, api_token(site, "the site"))


def test_a_pushed_post_is_taken_up_and_pushed_again_it_is_the_same_post(program: Program) -> None:
    """Cleaned as a feed's would be; with a draft's next build it is an item."""
    first = program.post("/posts", POST)
    assert first == {
        "guid": POST["guid"],
        "outcome": "new",
        "title": "Low water & mud",
        "dated": "instant",
        "published_at": "2015-09-12T08:00:00Z",
    }
    assert program.post("/posts", POST)["outcome"] == "unchanged"
    assert program.post("/posts", POST | {"title": "High water"})["outcome"] == "changed"
    zone = publication().zone
    with writing(program.site.engine) as session:
        (post,) = session.exec(select(Post)).all()
        (source,) = session.exec(select(Source)).all()
        assert (post.title, post.categories, post.author) == ("High water", ["Rivers"], "The harbour desk")
        assert post.excerpt == "The gauge at the old bridge has been read every morning."
        assert post.picture is not None
        assert post.picture["alt"] == "The bridge"
        assert source.place == "file:api"
        assert compose(session, Month(2015, 9, zone), NOW, 1).taken == 1
    with reading(program.site.engine) as session:
        assert len(session.exec(select(Item)).all()) == 1


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"guid": None}, "guid"),
        ({"guid": " "}, "guid"),
        ({"guid": "a\x00b"}, "guid"),
        ({"title": "\ud800"}, "title"),
        ({"title": "x" * 2001}, "title"),
        ({"url": "javascript:alert(1)"}, "url"),
        ({"url": "/relative"}, "url"),
        ({"published_at": "nonsense"}, "published_at"),
        ({"published_at": "03/04/2015"}, "published_at"),
        ({"categories": ["x"] * 101}, "categories"),
        ({"tilte": "a slip"}, "tilte"),
    ],
)
def test_what_is_wrong_with_a_post_is_told_with_its_place(
    program: Program, change: dict[str, Any], where: str
) -> None:
    """And nothing of what was sent comes back, for it may be no text at all."""
    detail = program.post("/posts", POST | change, 422)["detail"]
    assert [one["loc"][-1] if one["loc"][-1] != 0 else one["loc"][-2] for one in detail] == [where]
    assert set(detail[0]) == {"loc", "msg"}


def test_issues_say_where_their_letters_stand(program: Program) -> None:
    """They add up, and the whole issue is what the command prints."""
    issue(program.site, "2014-01", 3, Status.SENT)
    with writing(program.site.engine) as session:
        from digest.issue.compose import find_issue

        found = find_issue(session, Month(2014, 1, publication().zone))
        assert found is not None
        assert found.id is not None
        found.frozen_count = 5
        states = [Delivered.ACCEPTED, Delivered.ACCEPTED, Delivered.REJECTED, Delivered.IN_DOUBT]
        for who, state in enumerate(states):
            session.add(Delivery(issue_id=found.id, subscriber_id=who, state=state))
        session.add(Delivery(issue_id=found.id, subscriber_id=9, state=Delivered.SKIPPED, reason="paused"))
    (line,) = [one for one in program.get("/issues")["issues"] if one["issue"] == "2014-01"]
    assert line["letters"] == {"accepted": 2, "rejected": 1, "in_doubt": 1, "skipped": 1}
    assert sum(line["letters"].values()) == line["frozen"] == 5
    whole = program.get("/issues/2014-01")
    assert whole | line == whole
    assert whole["subject"] == "Slow & Water: January 2014"
    assert whole["items"] == []
    for missing in ("2014-02", "2014-1", "x", "2014-01%00"):
        assert "no issue" in program.get(f"/issues/{missing}", 404)["detail"]


def test_who_is_sent_by_a_site_is_asked_for_a_yes(program: Program) -> None:
    """U-8, U-9, L-2: pending until the mail's button is pressed; the same answer for everybody."""
    site = program.site
    site.person("known")
    sent = {"email": "zoe@example.org", "wording": "Get the letters: Yes", "ip": "203.0.113.9"}
    assert program.post("/subscribers", sent, 202) == {"asked": True}
    assert program.post("/subscribers", sent | {"email": "known@example.org"}, 202) == {"asked": True}
    with reading(site.engine) as session:
        wishes = session.exec(select(Wish)).all()
        assert [(one.address, one.ip) for one in wishes] == [
            ("zoe@example.org", "203.0.113.9"),
            ("known@example.org", "203.0.113.9"),
        ]
        assert wishes[0].wording == "Get the letters: Yes (by the site)"
    with answered(site.engine, publication(), lambda: site.clock[0]) as room:
        room.work()
        mails = {mail["To"]: mail.get_body(("plain",)).get_content() for mail in room.mails()}
    assert set(mails) == {"zoe@example.org", "known@example.org"}
    assert site.state("zoe") == State.PENDING
    link = next(line for line in mails["zoe@example.org"].splitlines() if "/c/" in line)
    assert site.post(link[link.index("/c/") :].strip()).status == 200
    assert site.state("zoe") == State.ACTIVE
    for wrong in ("zoe@", "zoe@example.org\x00", "a@b@c", ""):
        program.post("/subscribers", {"email": wrong}, 422)
    program.post("/subscribers", sent | {"ip": "not one"}, 422)


def test_who_leaves_by_a_site_has_left(program: Program) -> None:
    """U-9: and who was never there gets the same answer."""
    site = program.site
    who = site.person("leaver")
    for email in ("Leaver@Example.org", "leaver@example.org", "nobody@example.org"):
        assert program.post("/unsubscribe", {"email": email}) == {"left": True}
    assert site.state("leaver") == State.UNSUBSCRIBED
    with reading(site.engine) as session:
        last = session.exec(select(Consent).where(Consent.subscriber_id == who)).all()[-1]
        assert (last.act, last.origin, last.wording) == (
            Act.WITHDRAWN,
            "api",
            "asked elsewhere (by the site)",
        )


def test_a_store_that_is_busy_is_told_as_that(program: Program) -> None:
    with locked(program.site.engine):
        answer = program.ask("POST", "/posts", POST)
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "nothing was changed" in json.loads(answer.text)["detail"]


def test_when_a_token_was_last_used_is_known_to_the_day(program: Program) -> None:
    def used() -> Any:
        with reading(program.site.engine) as session:
            return session.exec(select(ApiToken.used_at)).one()

    program.get("/issues")
    assert used() == NOW
    program.site.clock[0] += timedelta(hours=23)
    program.get("/issues")
    assert used() == NOW
    program.site.clock[0] += timedelta(hours=1)
    program.get("/issues")
    assert used() == NOW + timedelta(days=1)
    program.site.clock[0] = NOW


def test_the_page_about_it_names_every_operation_and_loads_nothing(program: Program) -> None:
    described = json.loads(program.site.get("/api/openapi.json").text)
    page = program.site.get("/api/docs")
    for path, methods in described["paths"].items():
        for method, one in methods.items():
            assert f"{method.upper()} /api{path}" in page.text
            assert one["description"].replace("'", "&#39;") in page.text
    for name in ("guid", "published_at", "wording", "user_agent"):
        assert f"<code>{name}</code>" in page.text
    assert "<script" not in page.text
    assert " src=" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert described["security"] == [{"token": []}]


@pytest.mark.slow
def test_whatever_a_program_sends_is_answered_as_described(program: Program) -> None:
    """S-11, S-12: no 5xx, and no answer that the description does not name."""
    import schemathesis
    from schemathesis import GenerationMode, checks

    schema = schemathesis.openapi.from_dict(json.loads(program.site.get("/api/openapi.json").text))
    held = [
        checks.not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
    ]
    seen: Counter[tuple[str, int]] = Counter()

    def try_all(operation: Any, mode: Any) -> None:
        @hypothesis.seed(SEED)
        @settings(
            max_examples=REQUESTS,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def one(case: Any) -> None:
            answer = case.call(
                base_url=f"http://127.0.0.1:{program.site.port}/api",
                headers={"Authorization": f"Bearer {program.token}"},
                timeout=20,
            )
            case.validate_response(answer, checks=held)
            seen[f"{case.method} {case.path}", answer.status_code] += 1

        one()

    for found in schema.get_all_operations():
        try_all(found.ok(), GenerationMode.POSITIVE)
        if found.ok().method == "post":
            try_all(found.ok(), GenerationMode.NEGATIVE)
    sys.stdout.write(f"seed {SEED}: {seen.total():,} requests: {dict(seen)}\n")
    assert {name for name, status in seen if status in (200, 202, 404, 422)} == {
        f"{method.upper()} {path}"
        for path, methods in schema.raw_schema["paths"].items()
        for method in methods
    }
    assert {200, 422} <= {status for _, status in seen}

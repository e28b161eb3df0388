"""The rules of the house, read off the code itself: storeys, who may do what, how long a room may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

#: From the ground up. Imports point strictly down: nothing imports its own storey or one above.
#: `a b` on one line are neighbours that do not know each other. The list is the code map of
#: docs/architecture.md, which says of each what it is for.
MAP = """
subscribers
subscribers.columns subscribers.prepared subscribers.tokens subscribers.address subscribers.files
subscribers.models subscribers.headings
subscribers.suppression subscribers.evidence subscribers.sheet subscribers.report
subscribers.audience subscribers.roll subscribers.limits subscribers.growth
subscribers.arrivals subscribers.departures subscribers.imports
subscribers.lifecycle
subscribers.exchange subscribers.tickets
subscribers.wishes
subscribers.rights

digest digest.prose digest.sources digest.letter digest.lint digest.issue digest.sending
digest.returns digest.doctor digest.accounts digest.web digest.web.desk digest.web.api digest.cli
digest.migrations
digest.errors digest.durable
digest.initial digest.disk
digest.models digest.database digest.vintage digest.accounts.models digest.issue.models
digest.accounts.passwords digest.accounts.attempts digest.accounts.logins digest.accounts.bearer
digest.month digest.migrating
digest.migrations.new

digest.sources.found
digest.prose.markup digest.prose.sentences
digest.prose.clean digest.prose.boilerplate
digest.prose.excerpt

digest.sources.date_words digest.sources.identity digest.sources.decode digest.sources.feed_child
digest.sources.dates digest.sources.months digest.sources.elements digest.sources.addresses
digest.sources.raw digest.sources.unpack digest.sources.wire digest.sources.pictures
digest.sources.feed digest.sources.jsonfeed digest.sources.wxr digest.sources.blogger digest.sources.cards
digest.sources.refine digest.sources.wordpress digest.sources.archive
digest.sources.sniff digest.sources.fetch
digest.sources.reading
digest.sources.reader
digest.sources.whole
digest.sources.site
digest.collect
digest.fetching

digest.letter.page digest.letter.rendered digest.letter.plaintext digest.letter.templates
digest.letter.bidi digest.letter.budget
digest.letter.theme digest.letter.words digest.letter.headers digest.letter.inline
digest.letter.shown digest.letter.personalise
digest.letter.render digest.letter.preview
digest.letter.note

digest.lint.finding digest.lint.opened digest.lint.tree
digest.lint.message digest.lint.markup digest.lint.text
digest.lint.sheets digest.lint.inline digest.lint.links digest.lint.encoded digest.lint.online
digest.lint.recipient digest.lint.looks digest.lint.content digest.lint.filters digest.lint.clients
digest.lint.legible digest.lint.buttons digest.lint.cut digest.lint.weights
digest.lint.check

digest.issue.compose digest.issue.due digest.issue.history
digest.issue.edit digest.issue.explain digest.issue.contents digest.issue.overview
digest.issue.document digest.issue.changes digest.issue.pictures
digest.issue.approve

digest.settings digest.press digest.health digest.notices
digest.sending.replies digest.sending.parcel digest.sending.exclusive digest.sending.epoch
digest.sending.relaylog digest.sending.ranges digest.sending.breaker digest.sending.lanes
digest.sending.statements
digest.returns.parts digest.returns.classes digest.returns.fields
digest.returns.about digest.returns.wording digest.returns.strikes
digest.returns.events digest.returns.models digest.returns.places
digest.returns.signatures digest.returns.returned
digest.returns.keeping digest.returns.erasing
digest.trace
digest.sending.ledger digest.sending.spool digest.sending.relay
digest.sending.runs digest.sending.pace digest.sending.spread
digest.sending.audit
digest.sending.commits digest.sending.connection digest.sending.portion
digest.mailbox
digest.returns.imap
digest.sending.round digest.sending.smtp digest.sending.lineage digest.sending.reconcile
digest.sending.outcome digest.sending.accepting digest.outbox digest.forgetting digest.metrics
digest.sending.survey
digest.accounts.editors
digest.sending.heartbeat digest.proofs
digest.sending.making
digest.sending.courier digest.postroom
digest.sending.dispatch
digest.sending.handing
digest.sending.send digest.sending.trial digest.sending.jobs
digest.returns.lookup digest.returns.charging
digest.returns.undoing digest.returns.refusals digest.returns.waiting
digest.returns.working
digest.outfit
digest.sorting

digest.doctor.line digest.doctor.names digest.doctor.patience digest.doctor.mailbox
digest.doctor.keys digest.doctor.spf digest.doctor.dmarc digest.doctor.signature digest.doctor.domains
digest.doctor.machine
digest.doctor.one_click digest.doctor.choices digest.doctor.cycle digest.doctor.seed
digest.doctor.offers digest.doctor.arrived digest.doctor.installation
digest.doctor.trip
digest.doctor.examine

digest.tick
digest.job
digest.web.pages digest.web.serving digest.web.forms digest.web.api.shapes
digest.web.guard
digest.web.desk.frame digest.web.desk.checkup digest.web.desk.plot digest.web.desk.live
digest.web.desk.door digest.web.desk.months digest.web.desk.people digest.web.desk.house
digest.web.desk.letters digest.web.desk.rows
digest.web.desk.draft digest.web.desk.approval digest.web.desk.sending
digest.web.desk.app digest.web.api.app
digest.web.public digest.web.archive digest.web.joining digest.web.mine digest.web.monitor digest.web.hooks
digest.web.app digest.samples_site
digest.wiring
digest.patient
digest.demo digest.cli.opened digest.cli.ending
digest.cli.progress
digest.cli.posts digest.cli.sending digest.cli.rights digest.cli.store digest.cli.bounces
digest.cli.issues digest.cli.people digest.cli.reconcile digest.cli.ticking digest.cli.accounts
digest.cli.starting digest.cli.serving digest.cli.working digest.cli.examining
digest.cli.app
"""
STOREYS = MAP.splitlines()

#: who may import what reaches outside, and why nobody else may
ONLY = {
    # the environment
    "os.environ": {"digest.settings"},
    # outgoing connections, and the demo's and the pages' own servers
    "smtplib": {"digest.sending.connection", "digest.sending.smtp"},
    "httpx": {"digest.sources.fetch", "digest.sources.wire", "digest.doctor.one_click"},
    "httpcore": {"digest.sources.fetch", "digest.sources.wire"},
    "dns": {"digest.doctor.names"},
    "uvicorn": {"digest.web.serving"},
    "aiosmtpd": {"digest.demo"},
    "imap_tools": {"digest.returns.imap", "digest.mailbox"},
    "imaplib": {"digest.mailbox"},
    # connection connects, smtp cuts; a lane is woken by a pair of them; serving listens; dispatch asks for
    # the host's name; the demo looks for a free port; one_click tells a name that was not found by its error
    "socket": {
        "digest.sources.wire",
        "digest.sending.connection",
        "digest.sending.smtp",
        "digest.sending.lanes",
        "digest.sending.dispatch",
        "digest.web.serving",
        "digest.doctor.one_click",
        "digest.demo",
    },
    # the run, its connections' one thread, their committer, heartbeat and pace; a look-up of a name and a
    # part of doctor's round, which have no time limit of their own; premailer's lock; one count for all
    # monitors, one look for all who watch; two hashes at once; a letter is made once; events handed down to a
    # run by the roots
    "threading": {
        "digest.sending.dispatch",
        "digest.sending.round",
        "digest.sending.lanes",
        "digest.sending.commits",
        "digest.sending.send",
        "digest.sending.heartbeat",
        "digest.sending.handing",
        "digest.sending.pace",
        "digest.web.desk.checkup",
        "digest.sending.jobs",
        "digest.job",
        "digest.cli.working",
        "digest.sources.wire",
        "digest.doctor.patience",
        "digest.letter.inline",
        "digest.cli.sending",
        "digest.cli.ticking",
        "digest.web.monitor",
        "digest.web.hooks",
        "digest.web.desk.live",
        "digest.accounts.passwords",
        "digest.proofs",
        "digest.demo",
    },
}


def modules() -> dict[str, Path]:
    found = {}
    for package in ("subscribers", "digest"):
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            if "versions" in parts or path.name == "env.py":
                continue  # migrations are a record of the past, run by Alembic
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()
PLACE = {name: number for number, line in enumerate(STOREYS) for name in line.split()}


def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[str]:
    """Every module of the house that *name* imports, also inside functions."""
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (one if one in MODULES else node.module for one in inner)


def test_every_module_has_one_storey() -> None:
    assert set(PLACE) == set(MODULES)
    assert sum(len(line.split()) for line in STOREYS) == len(PLACE)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_strictly_down(name: str) -> None:
    above = [one for one in imports(name) if one != name and PLACE[one] >= PLACE[name]]
    assert above == []


@pytest.mark.parametrize("name", MODULES)
def test_no_room_is_too_long(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("name", MODULES)
def test_no_room_has_a_name_that_says_nothing(name: str) -> None:
    assert not re.search(r"utils|helpers|common|manager|service|\bbase\b", name)


def test_subscribers_know_nothing_of_the_digest() -> None:
    below = [name for name in MODULES if name.startswith("subscribers")]
    assert [one for name in below for one in imports(name) if one.startswith("digest")] == []


@pytest.mark.parametrize("what", ONLY)
def test_what_reaches_outside_is_in_its_room(what: str) -> None:
    """A-8 among others: nothing that knows addresses can ask a server about one."""
    using = {name for name in MODULES if uses(name, what)}
    assert using <= ONLY[what]


def uses(name: str, what: str) -> bool:
    head, _, attribute = what.partition(".")
    for node in ast.walk(tree(name)):
        if attribute:
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (what, f"{head}.getenv"):
                return True
        elif isinstance(node, ast.Import):
            if head in [alias.name.split(".")[0] for alias in node.names]:
                return True
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == head:
            return True
    return False


PRINTING = ("print", "sys.stdout.write", "sys.stderr.write")


def test_only_the_command_line_prints() -> None:
    printing = {
        name
        for name in MODULES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in PRINTING
    }
    assert {name for name in printing if not name.startswith("digest.cli")} == set()


#: the composition roots
ROOTS = {
    "digest.outfit",
    "digest.sorting",
    "digest.wiring",
    "digest.patient",
    "digest.demo",
    "digest.cli.opened",
    "digest.cli.starting",
    "digest.cli.examining",
}


def test_only_the_roots_read_the_settings() -> None:
    assert {name for name in MODULES if uses_settings(name)} <= ROOTS


def uses_settings(name: str) -> bool:
    return any(
        alias.name in ("Settings", "load")
        for node in ast.walk(tree(name))
        if isinstance(node, ast.ImportFrom) and node.module == "digest.settings"
        for alias in node.names
    )


#: where statements are written; web, cli, dispatch, smtp and render ask these
SQL = {
    "subscribers.prepared",  # rows given as one value
    "subscribers.models",  # an index
    "subscribers.suppression",
    "subscribers.audience",
    "subscribers.roll",
    "subscribers.growth",
    "subscribers.limits",
    "subscribers.arrivals",
    "subscribers.departures",
    "subscribers.lifecycle",
    "subscribers.tickets",
    "subscribers.wishes",
    "subscribers.exchange",
    "subscribers.imports",
    "subscribers.rights",
    "digest.models",  # a partial index
    "digest.month",
    "digest.collect",
    "digest.fetching",
    "digest.issue.compose",
    "digest.issue.edit",
    "digest.issue.explain",
    "digest.issue.contents",
    "digest.issue.approve",
    "digest.issue.changes",
    "digest.issue.history",
    "digest.issue.overview",
    "digest.accounts.attempts",
    "digest.accounts.logins",
    "digest.accounts.editors",
    "digest.accounts.bearer",
    "digest.notices",
    "digest.outbox",
    "digest.forgetting",
    "digest.trace",
    "digest.tick",
    "digest.health",
    "digest.metrics",
    "digest.sending.ledger",
    "digest.sending.statements",
    "digest.sending.audit",
    "digest.sending.survey",
    "digest.sending.spread",
    "digest.sending.exclusive",
    "digest.sending.lineage",
    "digest.sending.accepting",
    "digest.sending.reconcile",
    "digest.sending.runs",
    "digest.sending.pace",
    "digest.sending.ranges",
    "digest.sending.jobs",
    "digest.returns.models",  # a partial index
    "digest.returns.erasing",
    "digest.returns.lookup",
    "digest.returns.charging",
    "digest.returns.undoing",
    "digest.returns.waiting",
    "digest.returns.refusals",
    "digest.returns.working",
}


def test_statements_are_written_only_where_they_belong() -> None:
    writing = {
        name
        for name in MODULES
        for node in ast.walk(tree(name))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("select", "insert", "update", "delete", "text")
        and any(
            isinstance(other, ast.ImportFrom)
            and (other.module or "").split(".")[0] in ("sqlmodel", "sqlalchemy")
            and node.func.id in {alias.asname or alias.name for alias in other.names}
            for other in ast.walk(tree(name))
        )
    }
    assert writing <= SQL


def test_every_module_is_on_the_map() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {name for name in MODULES if MODULES[name].name == "__init__.py"}
    assert [name for name in MODULES if name not in rooms and f"`{name.split('.')[-1]}`" not in text] == []
    assert [name for name in rooms if f"{name.split('.')[-1]}/" not in text.replace("`", "/")] == []

"""What the spam filters of real mail servers say of a letter, where they are installed.

Both judge the bytes alone: no network, no address of a sender, no learnt data.
"""

import grp
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.conftest import lacking
from tests.digest import letters

pytestmark = pytest.mark.slow

#: the filters' own limits are 5 and 6; what a sender's address and its past add is not seen here
MOST = 1.0
#: what each looks for in a letter's make; none may hit. rspamd's MANY_INVISIBLE_PARTS is left out: it
#: gives 0.05 of a point for one hidden block, the preheader's
RULES = re.compile(
    r"HTML_TITLE_SUBJ_DIFF|MPART_ALT_DIFF\w*|R_PARTS_DIFFER|MIME_BASE64_TEXT_BOGUS|MIME_QP_LONG_LINE"
    r"|R_BAD_CTE_7BIT|EXT_CSS|HTTP_TO_HTTPS|HTTP_TO_IP|R_SUSPICIOUS_IMAGES|ZERO_FONT|R_WHITE_ON_WHITE"
    r"|HTML_IMAGE_ONLY_\d+|HTML_FONT_\w+|HTML_TAG_BALANCE_\w+|HTML_OBFUSCATE_\w+|HTML_TEXT_INVISIBLE\w*"
    r"|LONG_INVISIBLE_TEXT|HTML_SHORT_LINK_IMG_\d|BROKEN_CONTENT_TYPE|INVALID_MSGID|FROM_NEEDS_ENCODING"
)
Recorder = Callable[[str, object], None]
DEMO = "the demo"
#: rules of rspamd that say nothing of how a letter is made, with what hits them
UNEARNED = {
    "URI_COUNT_ODD": "every second letter has an odd number of addresses",
    "HTTP_TO_IP": "the demo's pages are on 127.0.0.1; elsewhere the lint refuses it",
}
ISSUES = {
    "ten posts": letters.page(10),
    "one post": letters.page(1),
    "Arabic": letters.arabic(),
    "Ukrainian": letters.in_words(
        "uk", "Що залишив приплив", "Мушлі, мотузка й один чобіт після шторму. " * 6
    ),
}


@pytest.fixture(params=[DEMO, *ISSUES])
def letter(request: pytest.FixtureRequest) -> bytes:
    """The letter of an issue, dated today: both count an old date."""
    name: str = request.param
    if name == DEMO:
        preview: Path = request.getfixturevalue("demo")
        return (preview / "message.eml").read_bytes()
    return letters.letters(ISSUES[name], dated_at=datetime.now(UTC))[0]


def reasons(points: float, rules: dict[str, float]) -> str:
    """Points and what they are made of, for the end of the run."""
    return f"{points:.2f} = " + " ".join(f"{rule} {its:+.2f}" for rule, its in sorted(rules.items()))


def spoilt() -> bytes:
    """A letter that is made as spam is."""
    return (
        b"From: Notes <notes@harbour.example>\r\nTo: ann@reader.example\r\nSubject: Harbour Notes\r\n"
        b"Date: Thu, 01 Oct 2015 09:00:00 +0200\r\nMessage-ID: <1@harbour.example>\r\nMIME-Version: 1.0\r\n"
        b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        + b"An altogether different letter about ships, bread, salt and weather. "
        * 9
        + b"\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><head><title>Win money now</title>"
        b'<link rel="stylesheet" href="https://x.example/a.css"></head><body bgcolor="#ffffff">'
        + b'<font color="#ffffff" style="font-size:0">Nothing of it is to be seen by you</font>'
        * 12
        + b"<p>Buy it at once, it is cheap, it is good, and it is only for you, today and never again.</p>"
        b"</body></html>\r\n--b--\r\n"
    )


@pytest.fixture(scope="module")
def spamassassin() -> str:
    path = shutil.which("spamassassin")
    if path is None:
        lacking("SpamAssassin")
    assert path is not None
    return path


def assassinated(program: str, content: bytes, home: Path) -> tuple[float, dict[str, float]]:
    """The points, and the rules that hit with theirs, by SpamAssassin in a home of its own."""
    run = subprocess.run(
        [program, "--local", "--test-mode", "--nocreate-prefs"],
        input=content,
        env={**os.environ, "HOME": str(home), "LC_ALL": "C"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    report = run.stdout.decode("utf-8", "replace")
    points = re.search(r"Content analysis details:\s+\((-?[\d.]+) points", report)
    assert points, report
    hits = re.findall(r"(?m)^ *(-?\d+\.\d) (\w+)", report)
    return float(points[1]), {rule: float(its) for its, rule in hits}


def test_spamassassin_has_nothing_against_a_letter(
    letter: bytes, spamassassin: str, tmp_path: Path, record_property: Recorder
) -> None:
    points, rules = assassinated(spamassassin, letter, tmp_path)
    record_property("points", reasons(points, rules))

    assert points < MOST
    assert [rule for rule in rules if RULES.fullmatch(rule)] == []


def test_spamassassin_minds_a_spoilt_letter(spamassassin: str, tmp_path: Path) -> None:
    _, rules = assassinated(spamassassin, spoilt(), tmp_path)

    assert any(RULES.fullmatch(rule) for rule in rules), rules


RSPAMD = """
options {{
  filters = "chartable,regexp";
  dns {{ nameserver = ["127.0.0.1:9:1"]; timeout = 0.1s; retransmits = 1; }}
  tempdir = "{folder}"; pidfile = "{folder}/pid"; cache_file = "{folder}/symbols.cache";
  hs_cache_dir = "{compiled}/"; stats_file = "{folder}/stats.ucl"; rrd = ""; history_rows = 10;
  control_socket = "{folder}/rspamd.sock mode=0600";
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  disable_hyperscan = true;
}}
logging {{ type = "console"; level = "error"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
lua = "/usr/share/rspamd/rules/rspamd.lua";
.include "/etc/rspamd/metrics.conf"
.include "/etc/rspamd/actions.conf"
.include "/etc/rspamd/groups.conf"
"""


@pytest.fixture(scope="module")
def rspamd(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of an rspamd with only the rules that need nobody else; ours, and ended with the tests."""
    program = shutil.which("rspamd")
    if program is None or not Path("/usr/share/rspamd/rules/rspamd.lua").is_file():
        lacking("rspamd")
    assert program is not None
    folder = tmp_path_factory.mktemp("rspamd")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Its patterns are compiled on the first start, 10 to 25 s, and kept from one run to the next.
    compiled = pytestconfig.cache.mkdir("rspamd") if pytestconfig.cache else folder
    (folder / "rspamd.conf").write_text(RSPAMD.format(folder=folder, port=port, compiled=compiled))
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-f", "-i", "-u", user, "-g", group, "-c", str(folder / "rspamd.conf")],
            stdout=log,
            stderr=log,
        )
    try:
        for _ in range(900):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/checkv2"
    finally:
        process.terminate()
        process.wait(timeout=20)


def judged(address: str, content: bytes) -> tuple[float, dict[str, float]]:
    """The points, and the rules that hit with theirs, by rspamd."""
    with urllib.request.urlopen(urllib.request.Request(address, data=content), timeout=30) as answer:
        report = json.load(answer)
    return report["score"], {name: hit["score"] for name, hit in report["symbols"].items()}


def test_rspamd_has_nothing_against_a_letter(letter: bytes, rspamd: str, record_property: Recorder) -> None:
    points, rules = judged(rspamd, letter)
    record_property("points", reasons(points, rules))

    assert points - sum(rules.pop(rule, 0) for rule in UNEARNED) < MOST
    assert [rule for rule in rules if RULES.fullmatch(rule)] == []
    # One hidden block; from the second on it doubles.
    assert rules.get("MANY_INVISIBLE_PARTS", 0) <= 0.05


def test_rspamd_minds_a_spoilt_letter(rspamd: str) -> None:
    _, rules = judged(rspamd, spoilt())

    assert any(RULES.fullmatch(rule) for rule in rules), rules

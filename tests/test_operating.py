"""What docs/operating.md tells people to copy is right: units, rules, names of metrics and files."""

import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from digest.health import Health
from digest.metrics import Counted, IssueCount, exposition
from digest.models import Delivered, Status
from digest.settings import Settings
from tests.conftest import ROOT, lacking

PAGE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
#: the program of the page; the one of this environment stands in for it
PROGRAM = "/srv/letters/venv/bin/digest"


def files(kind: str) -> dict[str, str]:
    """What the blocks of *kind* hold, by the path their comments name."""
    found = {}
    for block in re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        parts = re.split(r"(?m)^# ([\w./@-]+)$", block)
        found.update(dict(zip(parts[1::2], parts[2::2], strict=True)))
    return found


def test_systemd_has_nothing_against_the_units(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        lacking("systemd-analyze")
    assert program is not None
    units = {Path(path).name: text for path, text in files("ini").items() if "/system/" in path}
    assert sorted(units) == [
        "letters-pages.service",
        "letters-run.service",
        "letters-run.timer",
        "letters-worker.service",
    ]
    here = shutil.which("true")
    assert here is not None
    for name, content in units.items():
        assert "ExecStart" not in content or f"ExecStart={PROGRAM} " in content
        (tmp_path / name).write_text(content.replace(PROGRAM, here))
    command = [program, "verify", "--man=no", *(str(tmp_path / name) for name in units)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60)
    ours = [line for line in told.stderr.splitlines() if str(tmp_path) in line or "letters-" in line]
    assert (told.returncode, ours) == (0, [])


@pytest.fixture
def metrics() -> str:
    """Every metric there is."""
    at = datetime(2015, 10, 1, tzinfo=UTC)
    one = IssueCount(
        month="2015-09", status=Status.SENT, frozen_at=at, sent_at=at, letters=dict.fromkeys(Delivered, 1)
    )
    found = Counted(
        issues=[one], subscribers={}, fetched_at={1: at}, failing=0, notices=0, mails=0, returns=0
    )
    return exposition(found, Health(month="2015-09", missing="", ticked_at=at, good_at=at), 0)


def test_the_alert_rules_ask_for_metrics_that_there_are(metrics: str) -> None:
    named = files("yaml")
    assert yaml.safe_load(named["prometheus.yml"])["rule_files"] == ["letters.rules.yml"]
    rules = yaml.safe_load(named["letters.rules.yml"])["groups"][0]["rules"]
    assert len(rules) == 3
    for rule in rules:
        for name, label, value in re.findall(r'\b(digest_\w+)(?:\{(\w+)="(\w+)"\})?', rule["expr"]):
            assert re.search(rf"(?m)^{name}[ {{]", metrics), name
            assert not label or f'{label}="{value}"' in metrics
        assert rule["for"]
        assert rule["annotations"]["summary"]


def test_the_container_runs_as_nobody_and_copies_what_there_is() -> None:
    content = files("dockerfile")["Containerfile"]
    steps = [line.split() for line in content.splitlines() if line]
    last = max(number for number, step in enumerate(steps) if step[0] == "FROM")
    assert [step[1] for step in steps[last:] if step[0] == "USER"] == ["10001"]
    for step in steps:
        if step[0] == "FROM":
            assert re.fullmatch(r"python:3\.\d+-slim", step[1])
        if step[0] == "COPY" and not step[1].startswith("--from"):
            assert all((ROOT / one).exists() for one in step[1:-1]), step
    assert "http" not in re.sub(r"http://127\.0\.0\.1\S*", "", content)


def test_every_setting_the_page_names_is_one() -> None:
    named = set(re.findall(r"\bDIGEST_([A-Z_]+)\b", PAGE))
    assert {name for name in named if name.lower() not in Settings.model_fields} == set()

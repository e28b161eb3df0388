"""Some of the project's tests, run with other counts and a known seed, and what came of them."""

import base64
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parent.parent
#: what hypothesis says of a test in the report
_STATISTICS = "hypothesis-statistics-"
PARTING = 30  # seconds a run that is told to end may take to clear up
#: lines of one failure that are kept: the assertion and the input that it fails for
LINES = 20


@dataclass(slots=True)
class Ran:
    """What a run of pytest came to."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    #: why tests were not run, each reason once
    skipped: list[str] = field(default_factory=list)
    #: how many random inputs each property saw, by the test's name
    examples: dict[str, int] = field(default_factory=dict)
    #: properties that ended early because there are no more inputs
    exhausted: set[str] = field(default_factory=set)
    #: what tests printed and how they failed, line by line
    said: list[str] = field(default_factory=list)
    #: what kept the run itself from ending well; "" where nothing did
    broken: str = ""


def run(nodes: Sequence[str], environment: Mapping[str, str], seed: int, limit: float) -> Ran:
    """What the tests of *nodes* came to within *limit* seconds."""
    with tempfile.TemporaryDirectory(prefix="digest-prove-") as folder:
        report = Path(folder) / "report.xml"
        # The plugin: see pyproject.toml, which pytest does not find from a folder elsewhere.
        options = ["-q", "-p", "no:schemathesis", f"--hypothesis-seed={seed}", f"--junit-xml={report}"]
        logging = ["-o", "junit_logging=system-out", "-o", "junit_family=xunit1"]
        command = [sys.executable, "-m", "pytest", *options, *logging, *nodes]
        code, output = _ended(command, {**os.environ, **environment}, limit)
        if code is None:
            return Ran(broken=f"did not end within {limit:,.0f} seconds")
        # 0: all passed, 1: some failed; anything else is no answer (5: there is no such test).
        if code not in (0, 1) or not report.exists():
            last = output.strip().splitlines()[-1:] or ["no output"]
            return Ran(broken=f"pytest ended with {code}: {last[0]}")
        return read(report.read_text(encoding="utf-8"))


def _ended(command: Sequence[str], environment: Mapping[str, str], limit: float) -> tuple[int | None, str]:
    """Exit code and output of *command*; None where it had to be ended, with all that it had started."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            # As Ctrl-C would: fixtures stop the servers they started.
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=PARTING)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            return None, ""


def read(report: str) -> Ran:
    """What the JUnit *report* of a run says."""
    ran = Ran()
    root = ElementTree.fromstring(report)
    for found in root.iter("property"):
        name = found.get("name", "")
        if name.startswith(_STATISTICS):
            _read_statistics(name.removeprefix(_STATISTICS), found.get("value", ""), ran)
    for case in root.iter("testcase"):
        _read_case(case, ran)
    return ran


def _read_case(case: ElementTree.Element, ran: Ran) -> None:
    failure = case.find("failure")
    if failure is None:
        failure = case.find("error")
    if failure is not None:
        ran.failed.append(case.get("name", ""))
        ran.said += re.findall(r"^E +(.*)$", failure.text or "", re.MULTILINE)[:LINES]
    elif (skipped := case.find("skipped")) is not None:
        reason = skipped.get("message", "")
        if reason not in ran.skipped:
            ran.skipped.append(reason)
    else:
        ran.passed += 1
    ran.said += _printed(case.findtext("system-out") or "")


def _printed(output: str) -> Iterator[str]:
    for line in output.splitlines():
        # pytest's own headlines are ruled with dashes.
        if line.strip() and not re.fullmatch(r"-+ .* -+", line.strip()):
            yield line.strip()


def _read_statistics(test: str, encoded: str, ran: Ran) -> None:
    told = base64.b64decode(encoded).decode()
    name = test.rpartition("::")[2]
    ran.examples[name] = sum(map(int, re.findall(r"(\d+) passing", told)))
    if "nothing left to do" in told:
        ran.exhausted.add(name)

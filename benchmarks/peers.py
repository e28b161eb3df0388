"""A library sends letters, in a process of its own: `python -m benchmarks.peers NAME FOLDER PORT …`.

It prints what that took, as `benchmarks.costs` has it. FOLDER holds what `written` puts there, so that a
process loads nothing but its library.
"""

import argparse
import asyncio
import html
import json
import smtplib
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.costs import told
from benchmarks.sink import HOST

#: letters made beforehand for those who are given finished bytes, and readers for those who build them
READY = 20
SENDER = "letters@example.org"


class Job(NamedTuple):
    """What a library is to do."""

    folder: Path
    port: int
    letters: int
    connections: int

    @property
    def shares(self) -> list[int]:
        """How many letters each connection carries."""
        each, more = divmod(self.letters, self.connections)
        return [each + (number < more) for number in range(self.connections)]

    @property
    def finished(self) -> list[tuple[str, bytes]]:
        """Recipients and the bytes for them."""
        found = json.loads((self.folder / "letters.json").read_text(encoding="ascii"))
        return [(to, content.encode("ascii")) for to, content in found]

    @property
    def issue(self) -> dict[str, Any]:
        """What those need who build letters."""
        found: dict[str, Any] = json.loads((self.folder / "issue.json").read_text(encoding="utf-8"))
        return found


def written(folder: Path, letters: Sequence[tuple[str, bytes]], issue: dict[str, Any]) -> None:
    """*folder* holds finished letters, and an issue with its holes and readers."""
    finished = [(to, content.decode("ascii")) for to, content in letters]
    (folder / "letters.json").write_text(json.dumps(finished), encoding="ascii")
    (folder / "issue.json").write_text(json.dumps(issue), encoding="utf-8")


def with_smtplib(job: Job) -> Callable[[], object]:
    """Finished bytes, a thread for each connection."""
    ready = job.finished

    def send(share: int) -> None:
        with smtplib.SMTP(HOST, job.port, local_hostname="localhost") as server:
            for number in range(share):
                to, content = ready[number % len(ready)]
                server.sendmail(SENDER, [to], content)

    return lambda: in_threads(send, job.shares)


def with_aiosmtplib(job: Job) -> Callable[[], object]:
    """Finished bytes, a task for each connection."""
    # Imported here, like Django below: the memory of the others is to have nothing of it.
    import aiosmtplib  # noqa: PLC0415

    ready = job.finished

    async def send(share: int) -> None:
        client = aiosmtplib.SMTP(
            hostname=HOST, port=job.port, start_tls=False, use_tls=False, local_hostname="localhost"
        )
        async with client as server:
            for number in range(share):
                to, content = ready[number % len(ready)]
                await server.sendmail(SENDER, [to], content)

    async def work() -> None:
        await asyncio.gather(*(send(share) for share in job.shares))

    return lambda: asyncio.run(work())


def with_django(job: Job) -> Callable[[], object]:
    """Letters built by Django, a thread and its own `send_messages` for each connection."""
    import django.conf  # noqa: PLC0415
    from django.core.mail import get_connection  # noqa: PLC0415

    django.conf.settings.configure(USE_I18N=False)
    issue = job.issue

    def send(share: int) -> None:
        backend = "django.core.mail.backends.smtp.EmailBackend"
        with get_connection(backend, host=HOST, port=job.port) as server:
            # It takes a list; made of few at a time, as anybody with many readers does.
            for begun in range(0, share, READY):
                some = [built(issue, number) for number in range(begun, min(begun + READY, share))]
                if server.send_messages(some) != len(some):
                    raise AssertionError("not everything was sent")

    return lambda: in_threads(send, job.shares)


def built(issue: dict[str, Any], number: int) -> Any:
    """The letter to one reader, as Django has it."""
    from django.core.mail import EmailMultiAlternatives  # noqa: PLC0415

    own = issue["readers"][number % len(issue["readers"])]
    headers = {
        "List-Unsubscribe": f"<{own['unsubscribe']}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    text, page = issue["text"], issue["html"]
    for name, mark in issue["holes"].items():
        text, page = text.replace(mark, own[name]), page.replace(mark, html.escape(own[name]))
    letter = EmailMultiAlternatives(issue["subject"], text, SENDER, [own["address"]], headers=headers)
    letter.attach_alternative(page, "text/html")
    return letter


def in_threads(send: Callable[[int], None], shares: list[int]) -> None:
    """*send* has done each share, all at once."""
    with ThreadPoolExecutor(len(shares)) as pool:
        for _ in pool.map(send, shares):
            pass


#: each makes what it needs ready-made before it returns what sends
PEERS: dict[str, Callable[[Job], Callable[[], object]]] = {
    "smtplib": with_smtplib,
    "aiosmtplib": with_aiosmtplib,
    "django": with_django,
}


def main(words: list[str]) -> None:
    """Does the job and prints what it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("folder", type=Path)
    for name in ("port", "letters", "connections"):
        parser.add_argument(name, type=int)
    given = vars(parser.parse_args(words))
    told(PEERS[given.pop("peer")](Job(**given)))


if __name__ == "__main__":
    main(sys.argv[1:])

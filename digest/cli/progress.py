"""How a run is shown while it works: a live bar on a terminal, a line now and then elsewhere."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from digest.cli.opened import printable, warn
from digest.models import Delivered
from digest.sending.dispatch import Progress as Sent
from digest.sending.replies import without_addresses

#: seconds between two plain lines, where there is no terminal to draw a bar on
PLAIN_EVERY = 10.0
#: seconds over which letters are counted to say how fast they go
RATE_OVER = 10.0
#: seconds without an outcome that are worth a word: a relay that says nothing has ten minutes (RFC 5321)
STILL = 15.0
#: these are named even while there are none
_ALWAYS = (Delivered.DEFERRED, Delivered.IN_DOUBT)


class Pace:
    """How fast letters go, from how many were tried at which moment; none were at the start."""

    def __init__(self, started: float) -> None:
        self._seen: deque[tuple[float, int]] = deque([(started, 0)])
        self._moved_at, self._tried = started, 0

    def rate(self, tried: int, at: float) -> float:
        """Letters a second over the last ten; *tried* of the run's letters were tried at *at*, in seconds."""
        self._seen.append((at, tried))
        while len(self._seen) > 2 and self._seen[1][0] <= at - RATE_OVER:
            self._seen.popleft()
        since, before = self._seen[0]
        return (tried - before) / (at - since) if at > since else 0.0

    def still(self, tried: int, at: float) -> float:
        """For how many seconds no letter has come to an outcome."""
        if tried != self._tried:
            self._moved_at, self._tried = at, tried
        return at - self._moved_at


def tried_of(sent: Sent) -> int:
    """How many of the run's letters came to an outcome; one that is free again has none."""
    return sum(number for state, number in sent.counts.items() if state is not Delivered.QUEUED)


def line_of(sent: Sent, rate: float, still: float = 0) -> str:
    """How far the run is, in one line; *still* is for how many seconds nothing has come of it."""
    left = sent.before.left - tried_of(sent)
    parts = [f"{sent.before.accepted + sent.counts[Delivered.ACCEPTED]} of {sent.before.frozen} accepted"]
    parts.append(f"{rate:.0f} letters/s" if rate >= 10 else f"{rate:.1f} letters/s")
    parts.append(f"{timedelta(seconds=round(left / rate))} left" if rate > 0 else f"{left} left")
    for state in Delivered:
        number = sent.counts[state]
        if state is not Delivered.ACCEPTED and (number or state in _ALWAYS):
            parts.append(f"{number} {state.value.replace('_', ' ')}")
    earlier = {"deferred": sent.before.deferred, "in doubt": sent.before.in_doubt}
    told = ", ".join(f"{number} {what}" for what, number in earlier.items() if number)
    if still >= STILL:
        parts.append(f"nothing for {timedelta(seconds=round(still))}")
    return ", ".join(parts) + (f" ({told} before)" if told else "")


def refusal_of(sent: Sent) -> str:
    """What the relay last refused, in one line that can do no harm on a terminal; "" where nothing."""
    return f"the relay last said: {printable(without_addresses(sent.refusal))}" if sent.refusal else ""


@contextmanager
def shown(quiet: bool) -> Iterator[Callable[[Sent], None]]:
    """A live bar on a terminal, a line every ten seconds elsewhere, nothing where *quiet*."""
    if quiet:
        yield lambda _sent: None
    elif sys.stderr.isatty():
        with _Bar(console=Console(stderr=True)) as bar:
            yield bar.show
    else:
        yield _plain_lines()


class _Bar(Progress):
    """The bar, and below it the last refusal."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("sending"), BarColumn(), TextColumn("{task.fields[line]}"))
        # Set first: it is drawn once while it is made.
        self._refusal = ""
        super().__init__(*columns, console=console)
        self._pace = Pace(monotonic())
        self._task = self.add_task("", total=None, line="")

    def show(self, sent: Sent) -> None:
        """The bar stands where *sent* says."""
        self._refusal = refusal_of(sent)
        tried = tried_of(sent)
        done = sent.before.frozen - sent.before.left + tried
        now = monotonic()
        line = line_of(sent, self._pace.rate(tried, now), self._pace.still(tried, now))
        self.update(self._task, total=sent.before.frozen, completed=done, line=line)

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self._refusal:
            # Foreign text is shown, never read as markup.
            yield Text(self._refusal, no_wrap=True, overflow="ellipsis")


def _plain_lines() -> Callable[[Sent], None]:
    last = [monotonic()]
    pace = Pace(monotonic())

    def tell(sent: Sent) -> None:
        now, tried = monotonic(), tried_of(sent)
        rate, still = pace.rate(tried, now), pace.still(tried, now)
        if now - last[0] >= PLAIN_EVERY:
            last[0] = now
            warn("; ".join(filter(None, (line_of(sent, rate, still), refusal_of(sent)))))

    return tell

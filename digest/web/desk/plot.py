"""Letters over time, in bars: how wide each is, and where they stand; pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

#: what a bar may stand for, in seconds, and what it is called
WIDTHS = {
    1: "second",
    2: "2 seconds",
    5: "5 seconds",
    10: "10 seconds",
    30: "30 seconds",
    60: "minute",
    120: "2 minutes",
    300: "5 minutes",
    600: "10 minutes",
    1800: "30 minutes",
    3600: "hour",
    7200: "2 hours",
    21600: "6 hours",
    86400: "day",
}
MOST = 60  # bars, but for what takes more days
#: places there are for bars: of a short list's one or two each would be a wall
LEAST = 20
#: percent of its place that a bar fills
FILLED = 80


@dataclass(frozen=True, slots=True)
class Bar:
    """The letters of one stretch of time."""

    at: datetime
    letters: int
    #: how many there were at its end, with all earlier ones
    total: int
    # Where it stands, in percent of the plot:
    left: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Plot:
    """Bars side by side, empty ones too, so that a pause is seen."""

    bars: Sequence[Bar]
    #: what each stands for: "minute", "10 seconds"
    each: str
    #: the letters of the highest
    most: int
    #: the end of the last place, which may be empty
    until: datetime


def plot(seconds: Sequence[tuple[datetime, int]]) -> Plot | None:
    """The plot of so many letters in each of *seconds*, which ascend; None where there are none."""
    if not seconds:
        return None
    first, last = (int(at.timestamp()) for at in (seconds[0][0], seconds[-1][0]))
    width = next((one for one in WIDTHS if last // one - first // one < MOST), max(WIDTHS))
    counts: Counter[int] = Counter()
    for at, letters in seconds:
        counts[int(at.timestamp()) // width] += letters
    places = range(first // width, last // width + 1)
    room = max(LEAST, len(places))
    most, step, total, bars = max(counts.values()), 100 / room, 0, []
    for number, place in enumerate(places):
        total += counts[place]
        at = datetime.fromtimestamp(place * width, UTC)
        left, height = round(number * step, 3), round(100 * counts[place] / most, 2)
        bars.append(Bar(at, counts[place], total, left, round(step * FILLED / 100, 3), height))
    return Plot(bars, WIDTHS[width], most, bars[0].at + timedelta(seconds=width * room))

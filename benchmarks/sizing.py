"""What a small server sends and what a long list needs, worked out from what was measured in the same run."""

from collections.abc import Sequence

from benchmarks import growing
from benchmarks.personalising import LETTER
from benchmarks.sending import CONNECTIONS, DELAY, DISPATCH, ON_POSTGRESQL, Measured
from benchmarks.sink import CHUNKING, PIPELINING, PLAIN
from benchmarks.tables import Table

#: letters a second that a relay lets through, for those whose relay is the limit
ALLOWED = (10, 100)

READING = (
    "How long an issue takes, and what it needs, on the machine named above: rates, memory and the store's"
    " growth are those of [performance](performance.md), the rest is worked out from them for letters of"
    f" {LETTER // 1000} KB. A letter of 30 KB needs half the traffic and hardly less of anything else."
    " `make bench` writes this page anew."
)
ADVICE = """## What to buy, what to set

- **The relay decides.** Ask it for its rate and its number of connections first. Where it allows 10 letters a
  second, the smallest server waits for it; set `DIGEST_SMTP_RATE` to what is allowed, so that it does not
  have to say no.
- **A distance is bridged by connections.** `DIGEST_SMTP_CONNECTIONS` is 4 unless it is set; the rates above
  are with 10. A connection that waits for the relay costs nothing here: more of them bridge more distance, as
  far as the relay lets them.
- **Memory hardly grows with the list**: letters are leased a few hundred at a time and made a few at a
  time. What `digest serve` takes comes on top.
- **Disk**: the ledger keeps a row for each letter of each issue, and the store grows by the column above with
  every issue. The disk must be one that keeps what it says it has written: the ledger waits for it.
- **SQLite or PostgreSQL**: SQLite is enough as long as one machine sends. PostgreSQL is for those who have
  one already, and its own processor time and memory come on top of the figures here."""


def parts(near: Measured, far: Measured, grown: Sequence[growing.Row]) -> list[object]:
    """The page below its date."""
    return [READING, of_a_server(near, far), of_a_list(near, far, grown), ADVICE]


def relays(near: Measured, far: Measured) -> dict[str, float]:
    """Letters per second to each kind of relay, ledger on SQLite."""
    return {
        "beside it": near.per_second(DISPATCH),
        f"{DELAY} ms away, plain": far.per_second(DISPATCH, PLAIN),
        f"{DELAY} ms away, PIPELINING": far.per_second(DISPATCH, PIPELINING),
        f"{DELAY} ms away, CHUNKING": far.per_second(DISPATCH, CHUNKING),
    }


def of_a_server(near: Measured, far: Measured) -> Table:
    """What one machine sends in an hour."""
    rows = [["SQLite", relay, rate, round(rate * 3600)] for relay, rate in relays(near, far).items()]
    beside = near.per_second(ON_POSTGRESQL)
    return Table(
        title="What this server sends",
        told=f"Over {CONNECTIONS} connections, to a relay that takes everything at once.",
        headings=["ledger on", "relay", "letters per second", "letters an hour"],
        rows=[*rows, ["PostgreSQL", "beside it", beside, round(beside * 3600)]],
    )


def of_a_list(near: Measured, far: Measured, grown: Sequence[growing.Row]) -> Table:
    """What one issue to so many readers takes."""
    ours = [row for row in grown if row.store == "SQLite"]
    longest = max(ours, key=lambda row: row.people)
    rates = {
        **relays(near, far),
        **{f"a relay that allows {allowed} a second": allowed for allowed in ALLOWED},
    }
    return Table(
        title="What an issue needs",
        told="How long it takes by where the relay is, unless the relay is slower; gigabytes that leave the"
        " machine; processor time of sending; memory of the command; what the store grows by.",
        headings=["readers", *rates, "GB sent", "processor", "MB of memory", "MB in the store"],
        rows=[
            [
                f"{people:,}",
                *(lasting(people / rate) for rate in rates.values()),
                people * LETTER / 1e9,
                lasting(people * near.cpu(DISPATCH)),
                round(max(row.cost.peak for row in ours) / 1e6),
                people * longest.size / longest.people / 1e6,
            ]
            for people in growing.PEOPLE
        ],
        remark=f"Growth is worked out from the {longest.people:,} that were sent; the"
        " readers' own rows are in the store already and are not counted.",
    )


def lasting(seconds: float) -> str:
    """*seconds* in the unit a person would say."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return (
                f"{seconds / length:,.0f} {unit}"
                if seconds >= 10 * length
                else f"{seconds / length:.1f} {unit}"
            )
    return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"

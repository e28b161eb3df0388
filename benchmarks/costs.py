"""What a process costs: seconds of the clock, of the processor, and bytes that were resident at most."""

import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple, TypeVar

LOOK_EVERY = 0.02  # seconds

T = TypeVar("T")


class Cost(NamedTuple):
    """What sending so many letters cost one client."""

    letters: int
    seconds: float
    cpu: float  # seconds, user and system
    peak: int  # bytes

    @property
    def per_second(self) -> float:
        """Letters per second of the clock."""
        return self.letters / self.seconds


def spent(command: Sequence[str], letters: int, environment: Mapping[str, str] | None = None) -> Cost:
    """What *command* cost, which sends so many *letters*: by its own account where it prints one.

    CalledProcessError where it fails.
    """
    started = perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **(environment or {})}
    ) as process:
        assert process.stdout is not None
        peak = Peak(process.pid)
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = perf_counter() - started
    peak.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, told)
    own = json.loads(told) if told.strip() else {}
    cpu = own.get("cpu", usage.ru_utime + usage.ru_stime)
    return Cost(letters, own.get("seconds", seconds), cpu, peak.bytes)


def told(work: Callable[[], T]) -> T:
    """What *work* returns; what it took is printed, as `spent` reads it.

    Seconds of the clock and of the processor from before the first connection until all is said and done:
    the interpreter's start and its imports are not counted.
    """
    clock, processor = perf_counter(), process_time()
    done = work()
    print(json.dumps({"seconds": perf_counter() - clock, "cpu": process_time() - processor}))
    return done


class Peak(threading.Thread):
    """Looks at a process until it ends.

    Not ru_maxrss, which counts what the parent had when it forked, too: the kernel's own mark does not.
    """

    def __init__(self, pid: int) -> None:
        """Looks at process *pid* from now on."""
        super().__init__(daemon=True)
        #: resident at most, as far as it was seen
        self.bytes = 0
        self._status = Path(f"/proc/{pid}/status")
        self._ended = threading.Event()
        self.start()

    def run(self) -> None:
        """What the thread does."""
        while True:
            try:
                found = re.search(r"^VmHWM:\s+(\d+) kB$", self._status.read_text("ascii"), re.MULTILINE)
            except OSError:
                return
            if found is None:  # it has ended, and nobody has asked how
                return
            self.bytes = int(found[1]) * 1024
            self._ended.wait(LOOK_EVERY)


def middle(costs: Sequence[Cost]) -> Cost:
    """The medians of several turns, each for itself."""
    return Cost(
        costs[0].letters,
        median(cost.seconds for cost in costs),
        median(cost.cpu for cost in costs),
        round(median(cost.peak for cost in costs)),
    )

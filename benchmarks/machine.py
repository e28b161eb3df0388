"""The machine figures were taken on, as far as it matters to them: nothing that tells whose it is."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

CPUS = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a reader needs to judge a figure."""

    processor: str
    cores: int
    memory: int  # bytes; 0 where the system does not say
    system: str
    python: str
    #: over the last minute, when it was asked: above the cores, figures suffer from others
    load: float

    def __str__(self) -> str:
        """One line."""
        memory = f"{self.memory / 1024**3:.0f} GB, " if self.memory else ""
        return (
            f"{self.processor}, {self.cores} cores, {memory}{self.system},"
            f" {self.python}, load {self.load:.1f} at the start"
        )


def machine() -> Machine:
    """This machine, now."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        memory=_memory(),
        system=_system(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load=os.getloadavg()[0],
    )


def _processor() -> str:
    told = CPUS.read_text(encoding="utf-8", errors="replace") if CPUS.exists() else ""
    named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return named[1].strip() if named else platform.processor() or platform.machine()


def _memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()

"""The machine: its clock beside other clocks, its disk, who may read the files, and its Python."""

import os
import shlex
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parsedate_to_datetime
from pathlib import Path

from digest.disk import NETWORK, ROOM, file_system, mounts
from digest.doctor.line import Line, failed, idle, passed, warned

#: what a clock may be off by: signatures, tokens of forms and provider's limits all date to the minute (D-8)
SKEW = timedelta(seconds=60)
#: bytes: below this the disk is soon full
LITTLE = 32 * ROOM
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def writes_false_headers() -> bool:
    """Whether this Python writes a line break that hides in an encoded word as a header of its own.

    CVE-2024-6923; it is tried, for versions do not tell: distributions mend old ones.
    """
    message = EmailMessage(policy=SMTP)
    try:
        message["Subject"] = "=?utf-8?q?a=0D=0AX-Hidden:_b?="
        return message_from_bytes(message.as_bytes())["X-Hidden"] is not None
    except ValueError:
        return False  # the mended ones refuse to write it


def python_judged(version: str, is_false: bool) -> Line:
    """The line of Python's header bug (S-1)."""
    if is_false:
        return warned(
            "python",
            f"Python {version} lets a title become a header (CVE-2024-6923); letters are safe, for the"
            " program writes their headers itself and reads them again",
            "install Python 3.13 or newer, or your distribution's update, and make the environment anew",
        )
    return passed("python", f"Python {version} writes headers as it should")


@dataclass(frozen=True, slots=True)
class File:
    """Who may do what with a file or folder."""

    path: Path
    mode: int
    is_folder: bool = False


def files_of(paths: Iterable[Path]) -> list[File]:
    """Those of *paths* that are there, and the folders that they lie in."""
    there = [path for path in paths if path.exists()]
    folders = dict.fromkeys(path.absolute().parent for path in there)
    return [
        *(File(path, stat.S_IMODE(path.stat().st_mode)) for path in there),
        *(File(path, stat.S_IMODE(path.stat().st_mode), True) for path in folders),
    ]


def modes_judged(files: Sequence[File]) -> Line:
    """The line on whether the secrets and the addresses are their owner's only (S-16)."""
    open_to_others = [one for one in files if not one.is_folder and one.mode & _OTHERS]
    # With the sticky bit nobody replaces another's file.
    loose = [one for one in files if one.is_folder and one.mode & _MAY_WRITE and not one.mode & stat.S_ISVTX]
    if open_to_others:
        paths = " ".join(shlex.quote(str(one.path)) for one in open_to_others)
        first = open_to_others[0]
        return failed(
            "file-modes", f"others may use {first.path} (mode {first.mode:o})", f"chmod go-rwx {paths}"
        )
    if loose:
        return failed(
            "file-modes",
            f"others may replace what lies in {loose[0].path} (mode {loose[0].mode:o})",
            f"chmod go-w {shlex.quote(str(loose[0].path))}",
        )
    return passed("file-modes", f"{sum(not one.is_folder for one in files)} files, their owner's only")


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk a store lies on."""

    path: Path
    #: as the kernel names it; "" where it does not
    kind: str
    free: int


def disk_of(path: Path) -> Disk:
    """The disk that the store at *path* lies on; OSError where its folder is not there."""
    path = path.resolve()
    found = os.statvfs(path.parent)
    return Disk(path, file_system(path, mounts()), found.f_bavail * found.f_frsize)


def disk_judged(disk: Disk) -> Line:
    """The line of the disk (D-9)."""
    shown = f"{disk.path.parent}: {disk.free // 1024**2:,} MB free"
    if disk.kind in NETWORK:
        return failed(
            "disk",
            f"{disk.path} lies on a network file system ({disk.kind}), where SQLite keeps no two runs apart",
            "move it to a disk of this machine, or use PostgreSQL (DIGEST_DATABASE_URL)",
        )
    if disk.free < ROOM:
        return failed("disk", f"{shown}, and nothing is sent below {ROOM // 1024**2} MB", "make room there")
    if disk.free < LITTLE:
        return warned("disk", shown, "make room there before it is full")
    return passed("disk", f"{shown}{f', {disk.kind}' if disk.kind else ''}")


def instant_in(text: str) -> datetime | None:
    """The instant that *text*, a Date as mails and web servers write it, is; None where it is none."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def clock_judged(now_by: Mapping[str, tuple[datetime, datetime]]) -> Line:
    """The line of the clock: *now_by* names other clocks, each with its time and ours at the same moment."""
    if not now_by:
        return idle("clock", "no other clock was heard: the store is a file, and no page or letter was asked")
    ahead = {whose: ours - theirs for whose, (theirs, ours) in now_by.items()}
    whose, worst = max(ahead.items(), key=lambda one: abs(one[1]))
    shown = f"{abs(worst).total_seconds():.0f} s {'ahead of' if worst > timedelta(0) else 'behind'} {whose}"
    if abs(worst) > SKEW:
        return failed(
            "clock",
            f"this machine is {shown}",
            "timedatectl set-ntp true; then see `timedatectl timesync-status`",
        )
    return passed("clock", f"at most {shown}")

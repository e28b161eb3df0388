"""The file system an SQLite store lies on: this machine's own, and with room left.

On a network's the locks that keep two runs apart, and the shared memory of SQLite's WAL, do not hold
(SQLite, "Write-Ahead Logging", section 1: all processes must be on the same host).
"""

import os
import re
from pathlib import Path

from digest.errors import DigestError

#: as the kernel names them; what FUSE serves is behind the dot
NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "lustre", "ncpfs"),
        *("fuse.sshfs", "fuse.rclone", "fuse.s3fs", "fuse.glusterfs", "fuse.davfs"),
    }
)
MOUNTS = Path("/proc/self/mountinfo")
#: bytes that are to be free before a run begins: SQLite's journal grows to 4 MB before it is folded in
ROOM = 8 * 1024 * 1024


def mounts() -> str:
    """What is mounted where, as the kernel tells it; "" on a machine that does not."""
    try:
        return MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""


def file_system(path: Path, mountinfo: str) -> str:
    """The type of the file system that *path*, resolved, lies on by *mountinfo*; "" where it does not say."""
    found, depth = "", -1
    for line in mountinfo.splitlines():
        # proc_pid_mountinfo(5): optional fields end with a lone hyphen, the type comes right after it.
        before, hyphen, after = line.partition(" - ")
        fields = before.split(" ")
        if not hyphen or len(fields) < 5:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        # A later mount at the same place covers the earlier one.
        if path.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = after.split(" ")[0], len(point.parts)
    return found


def require_local(path: Path, mountinfo: str) -> None:
    """DigestError where the store at *path* lies on a network file system."""
    path = path.resolve()
    kind = file_system(path, mountinfo)
    if kind in NETWORK:
        raise DigestError(
            f"the store {path} lies on a network file system ({kind}), where SQLite cannot keep two machines"
            " apart: move it to a disk of this machine, or use PostgreSQL (DIGEST_DATABASE_URL)"
        )


def require_room(path: Path) -> None:
    """DigestError where the disk of the store at *path* is nearly full."""
    stat = os.statvfs(path.resolve().parent)
    free = stat.f_bavail * stat.f_frsize
    if free < ROOM:
        raise DigestError(
            f"the disk of {path.resolve()} is full ({free // 1024} KB free, {ROOM // 1024} KB are needed):"
            " make room, then try again; nothing was sent"
        )

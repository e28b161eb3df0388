"""Small files that must outlast a power cut: each is its owner's only, and on the disk before we go on."""

import os
from pathlib import Path


def create(path: Path, text: str) -> None:
    """A new file at *path* says *text*, on the disk; FileExistsError where there is one."""
    # Created closed: a file that is narrowed afterwards was open for a moment.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def replacement(path: Path, text: str) -> Path:
    """What is to replace the file at *path*: a new file beside it that says *text*, on the disk."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    create(fresh, text)
    return fresh


def keep_name(folder: Path) -> None:
    """A file new in *folder*, or under another name, is still there after a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

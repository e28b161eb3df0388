"""The .env as the program writes it: the example with fresh keys, a fresh key in front of the old ones.

Readable by its owner only, whatever happens in between.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from digest import durable
from digest.errors import DigestError

_HERE = Path(__file__).parent
KEYS = "DIGEST_SECRET_KEYS"


def example() -> str:
    """The text of .env.example: inside the installed package, else beside it in a checkout."""
    shipped = _HERE / "env.example"
    return (shipped if shipped.exists() else _HERE.parent / ".env.example").read_text(encoding="utf-8")


def write_env(path: Path, token: Callable[[int], str], values: Mapping[str, str] | None = None) -> None:
    """*path* holds the example's settings, *values* over them, and keys made by *token*, mode 600.

    FileExistsError where there is a file already: settings are never overwritten.
    """
    text = example()
    fresh = {KEYS: token(32), "DIGEST_SUPPRESSION_KEY": token(32)}
    for name, value in {**fresh, **(values or {})}.items():
        line = re.search(rf"(?m)^#?{name}=.*$", text)
        if line is None:
            raise ValueError(f"{name} does not stand in the example")
        text = f"{text[: line.start()]}{name}={value}{text[line.end() :]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    durable.create(path, text)


def add_key(path: Path, key: str, current: str) -> int:
    """*key* stands first among the keys of *path* that sign, the others behind it; how many there are.

    The file is replaced as a whole or not at all. DigestError where it is not what says that the keys
    are *current*: the environment wins over it.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    line = re.search(rf"(?m)^(?:export )?{KEYS}=(['\"]?)(?=.)", text)
    if line is None:
        raise DigestError(
            f"{path} has no line {KEYS}=…: put the new key in front of the others where they are"
        )
    fresh = durable.replacement(path, f"{text[: line.end()]}{key},{text[line.end() :]}")
    before, after = (dotenv_values(one).get(KEYS) for one in (path, fresh))
    if before != current or after != f"{key},{current}":
        fresh.unlink()
        raise DigestError(
            f"{path}: {KEYS} is written in a way that this program does not change: do it by hand"
        )
    fresh.replace(path)
    return after.count(",") + 1

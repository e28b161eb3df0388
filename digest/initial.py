"""The first .env: the example file with fresh keys in it, readable by its owner only."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

_HERE = Path(__file__).parent


def example() -> str:
    """The text of .env.example: inside the installed package, else beside it in a checkout."""
    shipped = _HERE / "env.example"
    return (shipped if shipped.exists() else _HERE.parent / ".env.example").read_text(encoding="utf-8")


def write_env(path: Path, token: Callable[[int], str], values: Mapping[str, str] | None = None) -> None:
    """*path* holds the example's settings, *values* over them, and keys made by *token*, mode 600.

    FileExistsError where there is a file already: settings are never overwritten.
    """
    text = example()
    fresh = {"DIGEST_SECRET_KEYS": token(32), "DIGEST_SUPPRESSION_KEY": token(32)}
    for name, value in {**fresh, **(values or {})}.items():
        line = re.search(rf"(?m)^#?{name}=.*$", text)
        if line is None:
            raise ValueError(f"{name} does not stand in the example")
        text = f"{text[: line.start()]}{name}={value}{text[line.end() :]}"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Created closed: a file that is narrowed afterwards was open for a moment.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)

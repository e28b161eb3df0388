"""Where templates are found: file by file in a publication's own folder, else among the shipped ones."""

from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined

from digest.errors import UsageError


def environment(templates_dir: Path | None) -> Environment:
    """Where templates are found: first in *templates_dir*, then among the shipped ones.

    Everything but .txt is escaped. A name that does not exist is an error, never an empty place.
    """
    return Environment(
        loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders(templates_dir)]),
        autoescape=_is_escaped,  # noqa: S701  (a rule, not a no)
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        newline_sequence="\n",
    )


def _is_escaped(name: str | None) -> bool:
    # jinja2.select_autoescape says no for names it does not know, such as digest.html.j2; what is
    # escaped without need is ugly, what is not escaped where it should be is a hole.
    return name is None or not name.endswith(".txt")


def folders(templates_dir: Path | None) -> list[Path]:
    """Where to look, in this order. UsageError where *templates_dir* is no folder."""
    if templates_dir is None:
        return [_shipped()]
    if not templates_dir.is_dir():
        raise UsageError(f"{templates_dir} is not a folder: set DIGEST_TEMPLATES_DIR to one, or leave it out")
    return [templates_dir, _shipped()]


def _shipped() -> Path:
    """The templates inside an installed wheel, else those beside the package in a checkout."""
    installed = Path(__file__).parent.parent / "templates"
    return installed if installed.is_dir() else installed.parent.parent / "templates"

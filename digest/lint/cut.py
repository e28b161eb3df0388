"""What a letter had to give up to be small enough, told to who can choose something else."""

from collections.abc import Iterator

from digest.letter.budget import Form, forms
from digest.letter.page import Page
from digest.lint.finding import Finding, warning

MEND = (
    "It is as it should be, or: drop items, let others be titles (`issue edit --brief`), reorder (the end"
    " is cut first), or write your own excerpts, which are not shortened."
)
SAID = {
    Form.SHORTENED: "shown with a shorter excerpt",
    Form.TITLE: "shown by title only",
    Form.WEB: "only on the web page",
}


def cut(meant: Page, fits: Page) -> Iterator[Finding]:
    """Point cut: a warning for each way in which items of *fits* are less than they were in *meant*."""
    pairs = list(zip(forms(meant), forms(fits), strict=True))
    for form, said in SAID.items():
        places = [place for place, (was, now) in enumerate(pairs, 1) if now is form and was is not form]
        if places:
            what = "1 item is" if len(places) == 1 else f"{len(places)} items are"
            message = f"The letter would be too large for Gmail: {what} {said}."
            yield warning("cut", f"issue: {_ranges(places)}", message, MEND)


def _ranges(places: list[int]) -> str:
    """*places*, which rise, as \"items 3 and 9 to 12\"."""
    runs: list[list[int]] = []
    for place in places:
        if runs and runs[-1][1] == place - 1:
            runs[-1][1] = place
        else:
            runs.append([place, place])
    said = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    many = " and ".join(filter(None, [", ".join(said[:-1]), said[-1]]))
    return f"item {many}" if len(places) == 1 else f"items {many}"

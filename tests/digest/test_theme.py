"""Colours, fonts and templates: the shipped ones, and a publication's own before them."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from digest.errors import UsageError
from digest.letter.templates import environment
from digest.letter.theme import Theme, contrast, contrast_faults, load_theme

SHIPPED = Path(__file__).parents[2] / "templates"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_contrast_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_shipped_colours_are_readable_in_both_schemes_and_inverted() -> None:
    assert load_theme(None) == Theme()
    assert contrast_faults(Theme()) == []


def test_a_theme_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    theme = load_theme(
        written(tmp_path / "theme.toml", '[light]\naccent = "#0B5D1E"\n[fonts]\nserif = "Charter, serif"\n')
    )

    assert theme.light.accent == "#0B5D1E"
    assert theme.serif == "Charter, serif"
    assert (theme.light.paper, theme.dark, theme.sans) == (Theme().light.paper, Theme().dark, Theme().sans)


def test_every_mistake_of_a_theme_is_named_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = written(
        tmp_path / "theme.toml",
        'colour = 1\n[light]\nink = "#123"\npaper = "white"\ninks = "#123456"\n'
        '[dark]\nink = 7\n[fonts]\nserif = "\'Georgia\', serif"\nsans = "Arial; color: red"\n'
        '[night]\nink = "#123456"\n',
    )

    with pytest.raises(UsageError) as caught:
        load_theme(path)

    lines = str(caught.value).splitlines()
    assert [line.removeprefix(f"{path}: ").partition(":")[0] for line in lines] == [
        "[colour]",
        "[light] ink",
        "[light] paper",
        "[light] inks",
        "[dark] ink",
        "[fonts] serif",
        "[fonts] sans",
        "[night]",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[light]\nmuted = "#a8a8a8"',
            "[light] muted #a8a8a8 on paper #fbfaf7: the contrast is 2.3, and 4.5 is needed",
        ),
        (
            '[dark]\nfocus = "#333333"',
            "[dark] focus #333333 on paper #191816: the contrast is 1.4, and 3.0 is needed",
        ),
        # readable on paper, and not once a mail client has inverted both
        ('[light]\npaper = "#a0a0a0"\nink = "#000000"', "where a mail client inverts them"),
    ],
)
def test_a_theme_that_is_hard_to_read_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_theme(written(tmp_path / "theme.toml", text))

    assert told in str(caught.value)


def test_a_theme_that_is_missing_or_no_toml_is_told_in_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", written(tmp_path / "bad.toml", "[light\n")):
        with pytest.raises(UsageError) as caught:
            load_theme(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_a_publications_template_comes_before_the_shipped_one(tmp_path: Path) -> None:
    written(tmp_path / "parts/masthead.html", "mine")

    assert environment(tmp_path).get_template("parts/masthead.html").render() == "mine"
    assert environment(tmp_path).get_template("parts/letter.css").filename == str(
        SHIPPED / "parts/letter.css"
    )


def test_a_templates_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="DIGEST_TEMPLATES_DIR"):
        environment(tmp_path / "none")


@pytest.mark.parametrize("name", ["a.html", "a.html.j2", "a", "a.css", "a.xml", "a.txt.html"])
def test_everything_but_text_is_escaped(tmp_path: Path, name: str) -> None:
    written(tmp_path / name, "{{ value }}")

    assert environment(tmp_path).get_template(name).render(value='<b>"') == "&lt;b&gt;&#34;"


def test_text_is_not_escaped(tmp_path: Path) -> None:
    written(tmp_path / "a.txt", "{{ value }}")

    assert environment(tmp_path).get_template("a.txt").render(value='<b>"') == '<b>"'


def test_a_name_that_does_not_exist_is_an_error_and_no_empty_place() -> None:
    with pytest.raises(UndefinedError):
        environment(None).from_string("{{ nothing }}").render()

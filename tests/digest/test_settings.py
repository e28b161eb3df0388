"""Settings: one list of mistakes, no secret by default, and an example file that tells the truth."""

import re
from datetime import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from pydantic_core import PydanticUndefined

from digest.errors import UsageError
from digest.settings import Settings, is_loopback, load, mailbox

EXAMPLE = Path(__file__).parents[2] / ".env.example"
KEY = "k" * 32

GOOD = {
    "PUBLICATION_NAME": "Slow Water",
    "PUBLICATION_URL": "https://example.org/",
    "SENDER": "Slow Water <letters@example.org>",
    "BASE_URL": "https://letters.example.org/",
    "SECRET_KEYS": KEY,
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"DIGEST_{name.upper()}", raising=False)


def write(folder: Path, **values: str) -> Path:
    path = folder / ".env"
    path.write_text("".join(f"DIGEST_{name}={value}\n" for name, value in values.items()))
    path.chmod(0o600)
    return path


def example_values() -> dict[str, str]:
    return dict(re.findall(r"^#?DIGEST_([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))


def test_the_example_file_names_every_setting_and_no_other() -> None:
    assert set(example_values()) == {name.upper() for name in Settings.model_fields}


def test_a_commented_line_of_the_example_shows_the_default() -> None:
    shown = dict(re.findall(r"^#DIGEST_([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert shown == {name: as_text(Settings.model_fields[name.lower()].default) for name in shown}


def as_text(default: object) -> str:
    if default is None or default == []:
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:%H:%M}" if isinstance(default, time) else str(default)


def test_required_settings_are_not_commented_out_in_the_example() -> None:
    live = set(re.findall(r"^DIGEST_([A-Z_]+)=", EXAMPLE.read_text(), re.MULTILINE))
    required = {name.upper() for name, field in Settings.model_fields.items() if field.is_required()}
    assert required <= live


def test_no_secret_has_a_default_and_all_secrets_hide_themselves(tmp_path: Path) -> None:
    """S-15"""
    secrets = {n for n in Settings.model_fields if any(w in n for w in ("password", "_key"))}
    assert secrets == {"secret_keys", "suppression_key", "smtp_password", "imap_password"}
    for name in secrets:
        assert Settings.model_fields[name].get_default() in (None, PydanticUndefined)
    settings = load(
        write(
            tmp_path, **GOOD, SUPPRESSION_KEY="s" * 32, SMTP_PASSWORD="hush-hush", IMAP_PASSWORD="hush-hush"
        )
    )
    assert all(isinstance(getattr(settings, name), SecretStr) for name in secrets)
    assert "hush" not in repr(settings)
    assert KEY not in repr(settings)


def test_all_mistakes_are_told_at_once_each_with_name_and_example(tmp_path: Path) -> None:
    wrong = GOOD | {
        "TIMEZONE": "Kyiv",
        "LANGUAGE": "??",
        "SENDER": "a@b.org, c@d.org",
        "BASE_URL": "letters",
        "SEND_DAY": "31",
        "SECRET_KEYS": "short",
        "FETCH_ALLOW": "10.0.0.0/99",
        "SMTP_SECURITY": "ssl",
    }
    with pytest.raises(UsageError) as raised:
        load(write(tmp_path, **wrong))
    lines = str(raised.value).splitlines()
    named = {line.split(":")[0] for line in lines}
    assert named == {f"DIGEST_{n}" for n in wrong if n not in ("PUBLICATION_NAME", "PUBLICATION_URL")}
    assert all(f"for example {line.split(':')[0]}=" in line for line in lines)


def test_a_webhook_is_known_by_a_whole_key_and_by_several_while_it_changes(tmp_path: Path) -> None:
    """B-11, S-15."""
    topic = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:letters_2"
    known = f"ses:{topic},mailgun:{'m' * 32}, mailgun:{'n' * 32},postmark:{'p' * 32}"
    settings = load(write(tmp_path, **GOOD, WEBHOOKS=known))
    assert settings.services == ["ses", "postmark", "mailgun"]
    assert settings.known_by("ses") == [topic]
    assert settings.known_by("mailgun") == ["m" * 32, "n" * 32]
    assert "mmmm" not in repr(settings)
    for wrong in (
        "ses",
        "brevo:" + "b" * 32,
        "postmark:" + "p" * 31,
        "mailgun:",
        "sendgrid:" + "-" * 100,
        "ses:arn:aws:sqs:eu-west-1:123456789012:letters",
        "ses:arn:aws:sns:s3-eu-west-1:123456789012:letters",
        "ses:arn:aws:sns:eu-west-1.evil.example/:123456789012:letters",
    ):
        with pytest.raises(UsageError, match="DIGEST_WEBHOOKS: takes ses:TOPIC-ARN") as raised:
            load(write(tmp_path, **GOOD, WEBHOOKS=f"{known},{wrong}"))
        assert "mmmm" not in str(raised.value)


def test_a_mistyped_setting_is_named_with_the_one_meant(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean DIGEST_SMTP_HOST"):
        load(write(tmp_path, **GOOD, SMPT_HOST="x"))


def test_a_file_that_others_may_read_is_refused_with_the_command_to_type(tmp_path: Path) -> None:
    """S-16"""
    path = write(tmp_path, **GOOD)
    path.chmod(0o640)
    with pytest.raises(UsageError, match=re.escape(f"chmod 600 {path}")):
        load(path)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIGEST_PUBLICATION_NAME", "Another")
    assert load(write(tmp_path, **GOOD)).publication_name == "Another"


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, **GOOD, TEMPLATES_DIR="mine", DATABASE_URL="sqlite:///d.db"))
    assert settings.templates_dir == tmp_path / "mine"
    assert settings.database_url == f"sqlite:///{tmp_path}/d.db"


def test_an_empty_value_of_an_optional_setting_is_none(tmp_path: Path) -> None:
    settings = load(write(tmp_path, **GOOD, REPLY_TO="", POSTAL_ADDRESS="", THEME="", EDITORS=""))
    assert (settings.reply_to, settings.postal_address, settings.theme) == (None, None, None)
    assert settings.editors == []


def test_the_first_key_is_the_first_written(tmp_path: Path) -> None:
    settings = load(write(tmp_path, **GOOD | {"SECRET_KEYS": f"{'a' * 32}, {'b' * 32}"}))
    assert settings.keys == [b"a" * 32, b"b" * 32]


def test_addresses_of_the_web_lose_their_final_slash(tmp_path: Path) -> None:
    publication = load(write(tmp_path, **GOOD)).publication
    assert (publication.url, publication.base_url) == ("https://example.org", "https://letters.example.org")


@pytest.mark.parametrize("text", ["a@b,c@d", "a@b\r\nBcc: x@y", "no address", "@b", "a@", "x <a@b> y <c@d>"])
def test_what_is_not_one_address_is_refused(text: str) -> None:
    """S-19"""
    with pytest.raises(ValueError, match="one address"):
        mailbox(text)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("mail.localhost", True),
        ("example.org", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected

"""The settings: read once from the environment and a .env file, all mistakes told at once.

Only this module reads the environment, and only the composition roots (`cli`, `web.app`, `demo`)
read Settings; everything else is given the values it needs.
"""

import re
import stat
from datetime import time
from difflib import get_close_matches
from email.headerregistry import Address
from email.utils import parseaddr
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale, UnknownLocaleError
from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from digest.errors import UsageError
from digest.letter.page import Publication

PREFIX = "DIGEST_"
#: what SHA-256 can use up; shorter keys can be guessed
KEY_LENGTH = 32


def _listed(value: Any) -> Any:
    """The parts of a comma-separated text, without empty ones."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Optional = BeforeValidator(_none_if_empty)
Network = IPv4Network | IPv6Network
Listed = (NoDecode, BeforeValidator(_listed))
#: what a service's calls are known by
_WEBHOOKS = {
    "ses": re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:[a-z]{2}(?:-[a-z]+)+-\d:\d{12}:[\w-]{1,256}", re.ASCII),
    "postmark": re.compile(rf"\S{{{KEY_LENGTH},}}"),
    "mailgun": re.compile(r"\S{16,}"),
    "sendgrid": re.compile(r"[A-Za-z0-9+/=]{60,}"),
}


class Settings(BaseSettings):
    """One publication's settings; each field is the variable DIGEST_<NAME> of .env.example."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True)

    publication_name: str = Field(min_length=1, max_length=100, examples=["Slow Water"])
    publication_url: str = Field(examples=["https://example.org"])
    language: str = Field("en", examples=["en", "pt-BR"])
    timezone: str = Field("UTC", examples=["Europe/Kyiv"])
    sender: str = Field(examples=["Slow Water <letters@example.org>"])
    reply_to: Annotated[str | None, Optional] = Field(None, examples=["editors@example.org"])
    postal_address: Annotated[str | None, Optional] = Field(None, examples=["Quay 7, 1234 Harbour, Freeland"])
    base_url: str = Field(examples=["https://letters.example.org"])
    first_number: int = Field(1, ge=0, le=1_000_000, examples=[1])

    sources: Annotated[list[str], *Listed] = Field([], examples=["https://example.org/feed/"])
    fetch_allow: Annotated[list[Network], *Listed] = Field([], examples=["10.1.0.0/16"])
    min_posts: int = Field(1, ge=0, le=1000, examples=[1])
    max_posts: int = Field(30, ge=1, le=1000, examples=[30])
    excerpt_length: int = Field(280, ge=40, le=5000, examples=[280])

    database_url: str = Field("sqlite:///digest.db", examples=["sqlite:///digest.db"])
    secret_keys: SecretStr = Field(examples=["a line of `openssl rand -hex 32`"])
    suppression_key: Annotated[SecretStr | None, Optional] = Field(
        None, examples=["a line of `openssl rand -hex 32`"]
    )

    subscribe_rate: int = Field(60, ge=1, examples=[60])

    smtp_host: str = Field("127.0.0.1", min_length=1, examples=["smtp.example.org"])
    smtp_port: int = Field(587, ge=1, le=65535, examples=[587])
    smtp_security: Literal["starttls", "tls", "none"] = Field("starttls", examples=["starttls"])
    smtp_insecure: bool = Field(False, examples=["false"])
    smtp_username: Annotated[str | None, Optional] = Field(None, examples=["letters@example.org"])
    smtp_password: Annotated[SecretStr | None, Optional] = Field(None, examples=["the relay's password"])
    smtp_connections: int = Field(4, ge=1, le=200, examples=[4])
    smtp_rate: float = Field(0, ge=0, examples=[0])
    smtp_letters_per_connection: int = Field(100, ge=1, examples=[100])

    approval: Literal["required", "automatic"] = Field("required", examples=["required"])
    send_day: int = Field(1, ge=1, le=28, examples=[1])
    send_time: time = Field(time(9), examples=["09:00"])
    approval_deadline_hours: float = Field(72, ge=0, examples=[72])
    at_deadline: Literal["hold", "skip", "send"] = Field("hold", examples=["hold"])
    in_doubt: Literal["resend", "hold"] = Field("resend", examples=["resend"])
    max_lateness_hours: float = Field(72, ge=0, examples=[72])
    editors: Annotated[list[str], *Listed] = Field([], examples=["desk@example.org"])
    heartbeat_url: Annotated[str | None, Optional] = Field(None, examples=["https://ping.example.org/abc"])

    templates_dir: Annotated[Path | None, Optional] = Field(None, examples=["templates"])
    theme: Annotated[Path | None, Optional] = Field(None, examples=["theme.toml"])
    bounce_domain: Annotated[str | None, Optional] = Field(None, examples=["bounces.example.org"])
    imap_host: Annotated[str | None, Optional] = Field(None, examples=["imap.example.org"])
    imap_port: int = Field(993, ge=1, le=65535, examples=[993])
    imap_username: Annotated[str | None, Optional] = Field(None, examples=["bounces@example.org"])
    imap_password: Annotated[SecretStr | None, Optional] = Field(None, examples=["the password"])
    webhooks: Annotated[list[SecretStr], *Listed] = Field(
        [], examples=["ses:arn:aws:sns:eu-west-1:123456789012:letters"]
    )
    metrics_token: Annotated[SecretStr | None, Optional] = Field(
        None, examples=["a line of `openssl rand -hex 32`"]
    )
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], *Listed] = Field(
        [], examples=["127.0.0.1/32"]
    )

    @field_validator("publication_url", "base_url", "heartbeat_url")
    @classmethod
    def _is_web_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("is not a web address that starts with https://")
        return value.rstrip("/")

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("is not a time zone of the IANA list") from None
        return value

    @field_validator("language")
    @classmethod
    def _is_language(cls, value: str) -> str:
        try:
            Locale.parse(value, sep="-")
        except (UnknownLocaleError, ValueError):
            raise ValueError("is not a language tag (BCP 47)") from None
        return value

    @field_validator("sender", "reply_to")
    @classmethod
    def _is_mailbox(cls, value: str | None) -> str | None:
        if value is not None:
            mailbox(value)
        return value

    @field_validator("editors")
    @classmethod
    def _are_mailboxes(cls, value: list[str]) -> list[str]:
        for one in value:
            mailbox(one)
        return value

    @field_validator("secret_keys", "suppression_key", "metrics_token")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            keys = _listed(value.get_secret_value())
            if not keys or min(map(len, keys)) < KEY_LENGTH:
                raise ValueError(f"needs keys of at least {KEY_LENGTH} characters each")
        return value

    @field_validator("webhooks")
    @classmethod
    def _are_webhooks(cls, value: list[SecretStr]) -> list[SecretStr]:
        for one in value:
            service, _, known_by = one.get_secret_value().partition(":")
            if service not in _WEBHOOKS or not _WEBHOOKS[service].fullmatch(known_by):
                raise ValueError(
                    "takes ses:TOPIC-ARN, mailgun:SIGNING-KEY, sendgrid:VERIFICATION-KEY and"
                    f" postmark:SECRET (of your own, at least {KEY_LENGTH} characters)"
                )
        return value

    def known_by(self, service: str) -> list[str]:
        """What the webhook calls of *service* are known by; [] where none are taken."""
        split = [one.get_secret_value().partition(":") for one in self.webhooks]
        return [known_by for name, _, known_by in split if name == service]

    @property
    def services(self) -> list[str]:
        """The services whose webhook calls are taken."""
        return [service for service in _WEBHOOKS if self.known_by(service)]

    @property
    def zone(self) -> ZoneInfo:
        """The publication's time zone."""
        return ZoneInfo(self.timezone)

    @property
    def keys(self) -> list[bytes]:
        """The signing keys: the first one signs, all verify."""
        return [key.encode() for key in _listed(self.secret_keys.get_secret_value())]

    @property
    def publication(self) -> Publication:
        """The publication, as everything below the roots knows it."""
        name, address = mailbox(self.sender)
        return Publication(
            name=self.publication_name,
            url=self.publication_url,
            language=self.language,
            zone=self.zone,
            sender_name=name or self.publication_name,
            sender_address=address,
            reply_to=self.reply_to,
            postal_address=self.postal_address,
            base_url=self.base_url,
        )


def mailbox(text: str) -> tuple[str, str]:
    """The display name ("" where there is none) and the address of *text*; ValueError if it is not one."""
    name, address = parseaddr(text)
    local, _, domain = address.rpartition("@")
    # parseaddr answers the first of several and drops what it does not understand (CVE-2023-27043).
    if not local or not domain or text.count("@") != 1 or any(c in text for c in "\r\n,;"):
        raise ValueError("is not one address: write Name <name@example.org>")
    Address(addr_spec=address)
    return name, address


def is_loopback(host: str) -> bool:
    """Whether *host*, a name or an address, is this machine itself."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def load(env_file: Path) -> Settings:
    """The settings of *env_file* and, above it, of the environment.

    Relative paths in them are relative to the file, so that cron may start anywhere. Raises
    UsageError with one line for each mistake.
    """
    if env_file.exists():
        _refuse_readable(env_file)
    mistakes = _unknown(env_file)
    try:
        settings = Settings(_env_file=env_file)
    except ValidationError as error:
        mistakes += [_line(one) for one in error.errors()]
        if not env_file.exists():
            mistakes.insert(0, f"there is no {env_file}: `digest init` writes one")
    if mistakes:
        raise UsageError("\n".join(mistakes))
    return _anchored(settings, env_file.absolute().parent)


def _refuse_readable(env_file: Path) -> None:
    if env_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"{env_file} holds secrets and others may read it: type `chmod 600 {env_file}`")


def _unknown(env_file: Path) -> list[str]:
    known = [PREFIX + name.upper() for name in Settings.model_fields]
    lines = []
    for name in dotenv_values(env_file) if env_file.exists() else ():
        if name.startswith(PREFIX) and name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}?" if close else "see .env.example"
            lines.append(f"{name}: there is no such setting; {hint}")
    return lines


def _line(error: Any) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    example = (Settings.model_fields[name].examples or [""])[0]
    what = "is missing" if error["type"] == "missing" else error["msg"].removeprefix("Value error, ")
    return f"{PREFIX}{name.upper()}: {what}; for example {PREFIX}{name.upper()}={example}"


def _anchored(settings: Settings, folder: Path) -> Settings:
    changes: dict[str, Any] = {
        name: folder / path
        for name in ("templates_dir", "theme")
        if (path := getattr(settings, name)) is not None
    }
    scheme, slashes, path = settings.database_url.partition(":///")
    if scheme.startswith("sqlite") and slashes and path and path != ":memory:":
        changes["database_url"] = f"{scheme}:///{folder / path}"
    return settings.model_copy(update=changes)

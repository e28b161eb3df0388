"""Settings -> what doctor examines; not in `wiring`, which runs and pages read in and need no DNS."""

from pathlib import Path

from sqlalchemy import Engine

from digest.doctor.choices import Choices
from digest.doctor.examine import examine, unreadable
from digest.doctor.installation import Asked, Installation, Tools
from digest.doctor.line import Line
from digest.errors import DigestError
from digest.mailbox import Account
from digest.outfit import relay_of
from digest.settings import Settings
from digest.wiring import schedule_of
from subscribers.tokens import Keyring


def installation_of(settings: Settings, engine: Engine, env_file: Path) -> Installation:
    """The installation that *env_file* describes. UsageError where no letter may leave as it says."""
    key, account = settings.suppression_key, account_of(settings)
    return Installation(
        env_file=env_file.absolute(),
        choices=Choices(
            publication=settings.publication,
            relay=relay_of(settings),
            bounce_domain=settings.bounce_domain,
            has_mailbox=account is not None,
            editors=settings.editors,
            trusted_proxies=settings.trusted_proxies,
            fetch_allow=settings.fetch_allow,
        ),
        keyring=Keyring(settings.keys),
        secret_keys=[one.decode() for one in settings.keys],
        suppression_key=key.get_secret_value() if key else None,
        schedule=schedule_of(settings),
        engine=engine,
        account=account,
    )


def examined(settings: Settings, engine: Engine, env_file: Path, asked: Asked, tools: Tools) -> list[Line]:
    """Doctor's lines for that installation; also where no letter may leave as it is set."""
    try:
        installation = installation_of(settings, engine, env_file)
    except DigestError as error:
        return unreadable(env_file, error)
    return examine(installation, asked, tools)


def account_of(settings: Settings) -> Account | None:
    """The mailbox that reports come back to; None where none is named."""
    if settings.imap_host is None:
        return None
    password = settings.imap_password
    return Account(
        host=settings.imap_host,
        port=settings.imap_port,
        username=settings.imap_username or "",
        password=password.get_secret_value() if password else "",
    )

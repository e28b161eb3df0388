"""Settings -> what works off what comes back; not in `outfit`, for a dispatch does without it."""

from sqlalchemy import Engine

from digest.errors import UsageError
from digest.letter.headers import ascii_domain
from digest.mailbox import Account
from digest.outfit import stencil_of, suppression_secret_of
from digest.returns.working import Office, readers_of
from digest.settings import Settings
from subscribers.tokens import Keyring


def office_of(settings: Settings, engine: Engine) -> Office:
    """What works off what came back; UsageError without a key of the suppression list."""
    keyring = Keyring(settings.keys)
    domain = ascii_domain(settings.bounce_domain) if settings.bounce_domain else ""
    make = stencil_of(settings)
    return Office(
        engine=engine,
        readers=readers_of(keyring, domain),
        namer=lambda rendered: make(rendered).message_id,
        secret=suppression_secret_of(settings),
    )


def account_of(settings: Settings) -> Account:
    """The bounce mailbox; UsageError where the settings name none."""
    host, username, password = settings.imap_host, settings.imap_username, settings.imap_password
    if host is None or username is None or password is None:
        raise UsageError(
            "DIGEST_IMAP_HOST, DIGEST_IMAP_USERNAME and DIGEST_IMAP_PASSWORD say where bounces come to:"
            " not all of them are set"
        )
    return Account(
        host=host, port=settings.imap_port, username=username, password=password.get_secret_value()
    )

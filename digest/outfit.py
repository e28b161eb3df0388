"""Settings -> what a run needs; not in `wiring`, whose renderer, readers and pages it does without."""

import random
from collections.abc import Callable
from datetime import UTC, datetime

from digest.errors import UsageError
from digest.letter.personalise import Stencil, stencil
from digest.letter.rendered import Rendered
from digest.sending.relay import Relay, Security
from digest.sending.round import Manner
from digest.sending.send import Means
from digest.settings import Settings
from subscribers.tokens import Keyring


def clock() -> datetime:
    """The instant it is: the only clock; everything below is told the time."""
    return datetime.now(UTC)


def stencil_of(settings: Settings) -> Callable[[Rendered], Stencil]:
    """How frozen content becomes letters."""
    keyring = Keyring(settings.keys)
    return lambda rendered: stencil(rendered, keyring, settings.bounce_domain, settings.services)


def relay_of(settings: Settings) -> Relay:
    """Where its letters are handed over."""
    password = settings.smtp_password
    return Relay(
        host=settings.smtp_host,
        port=settings.smtp_port,
        security=Security(settings.smtp_security),
        insecure=settings.smtp_insecure,
        username=settings.smtp_username,
        password=password.get_secret_value() if password else None,
        letters_per_connection=settings.smtp_letters_per_connection,
    )


def means_of(settings: Settings) -> Means:
    """What its letters are sent with."""
    return Means(
        stencil=stencil_of(settings),
        relay=relay_of(settings),
        manner=Manner(
            connections=settings.smtp_connections,
            rate=settings.smtp_rate,
            resend=settings.in_doubt == "resend",
        ),
        now=clock,
        jitter=random.SystemRandom().random,
    )


def suppression_secret_of(settings: Settings) -> bytes:
    """The key of "never again"; UsageError where it is not set."""
    key = settings.suppression_key
    if key is None:
        raise UsageError(
            "DIGEST_SUPPRESSION_KEY: is missing, and without it nobody can be kept off the list for good:"
            " `openssl rand -hex 32` makes one; keep it for ever"
        )
    return key.get_secret_value().encode()

"""Settings -> the things below, each given only the values it needs; shared by the composition roots."""

import re
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine

from digest.accounts.passwords import Passwords
from digest.database import open_engine
from digest.doctor.line import Line
from digest.errors import UsageError
from digest.fetching import fetch_sources
from digest.forgetting import erase_restored, scrub
from digest.issue.due import Schedule
from digest.letter.note import Stationery
from digest.letter.theme import load_theme
from digest.month import Month
from digest.notices import send_notices
from digest.outbox import Postage
from digest.outfit import clock, relay_of, suppression_secret_of
from digest.postroom import Postroom
from digest.press import Press
from digest.returns.imap import arrived_by_imap
from digest.returns.keeping import collect
from digest.returns.signatures import Topic, sendgrid_key
from digest.returns.working import work_off
from digest.sending.send import require_public
from digest.sending.smtp import deliver, hand_over
from digest.sending.spool import spool_of
from digest.settings import PREFIX, Settings
from digest.sorting import account_of, office_of
from digest.sources.fetch import Fetcher
from digest.tick import House
from digest.trace import Story
from digest.web.api.app import Api, create_api
from digest.web.app import create_app
from digest.web.desk.app import Desk, create_desk
from digest.web.hooks import Doors, exactly
from digest.web.pages import Pages
from subscribers.tokens import Keyring

DESK_PATIENCE = 2_000  # milliseconds an editor waits for the store
#: seconds for a certificate of SNS: a thread of the pages waits for it
SNS_DEADLINE = 5.0


def press_of(settings: Settings) -> Press:
    """The publication's press."""
    return Press(
        publication=settings.publication,
        theme=load_theme(settings.theme),
        templates_dir=settings.templates_dir,
        excerpt_length=settings.excerpt_length,
        max_posts=settings.max_posts,
        first_number=settings.first_number,
        keyring=Keyring(settings.keys),
        secret=settings.keys[0],
        bounce_domain=settings.bounce_domain,
    )


def fetcher_of(settings: Settings) -> Fetcher:
    """The publication's way to the web; sites see its address and whom to ask."""
    return Fetcher(allow=settings.fetch_allow, contact=settings.publication_url)


def schedule_of(settings: Settings) -> Schedule:
    """When its issues fall due."""
    return Schedule(
        send_day=settings.send_day,
        send_time=settings.send_time,
        approval_deadline=timedelta(hours=settings.approval_deadline_hours),
        at_deadline=settings.at_deadline,
        automatic=settings.approval == "automatic",
        max_lateness=timedelta(hours=settings.max_lateness_hours),
    )


def postroom_of(settings: Settings, engine: Engine) -> Postroom:
    """What answers what was asked for on its pages; UsageError without a key of the suppression list."""
    relay = relay_of(settings)
    require_public(settings.base_url, relay)
    postage = Postage(
        stationery=Stationery(settings.publication, load_theme(settings.theme), settings.templates_dir),
        keyring=Keyring(settings.keys),
        bounce_domain=settings.bounce_domain,
        services=settings.services,
        hand=lambda mail: hand_over(relay, mail),
        random=secrets.token_urlsafe,
    )
    return Postroom(
        engine=engine,
        postage=postage,
        hourly=settings.subscribe_rate,
        secret=suppression_secret_of(settings),
    )


def answering(settings: Settings, engine: Engine) -> Callable[[], None]:
    """Answers what was asked for on the pages, and takes out of the files what was erased there."""
    postroom = postroom_of(settings, engine)

    def answer() -> None:
        postroom.work(clock())
        scrub(engine)

    return answer


def doors_of(settings: Settings) -> Doors | None:
    """Whose webhooks are open; None: nobody's. UsageError for a key that is none."""
    try:
        keys = tuple(map(sendgrid_key, settings.known_by("sendgrid")))
    except ValueError:
        raise UsageError(
            "DIGEST_WEBHOOKS: the verification key of sendgrid is none: copy it whole from its mail settings"
        ) from None
    doors = Doors(
        topics=tuple(map(Topic, settings.known_by("ses"))),
        postmark=tuple(one.encode() for one in settings.known_by("postmark")),
        mailgun=tuple(one.encode() for one in settings.known_by("mailgun")),
        sendgrid=keys,
    )
    return doors if doors.open else None


def shown(settings: Settings) -> dict[str, str]:
    """The settings by name, as editors may see them: of a secret only that it is set, no password."""
    return {
        f"{PREFIX}{name.upper()}": _shown(name, getattr(settings, name)) for name in Settings.model_fields
    }


def _shown(name: str, value: object) -> str:
    if value is None or value in ("", []):
        return ""
    # Whoever has the heartbeat's address can make a silent program look alive.
    if isinstance(value, SecretStr) or name == "heartbeat_url":
        return "set, and not shown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    listed = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"//[^/@\s]*@", "//…@", listed)


def desk_of(settings: Settings, engine: Engine, examine: Callable[[], Sequence[Line]] | None = None) -> Desk:
    """What its desk works with, on the store of *engine*; *examine* gives doctor's lines."""
    key = settings.suppression_key
    return Desk(
        # Its own connections: whoever works at the desk keeps no one-click waiting, and has more patience.
        engine=open_engine(engine.url.render_as_string(hide_password=False), patience=DESK_PATIENCE),
        press=press_of(settings),
        schedule=schedule_of(settings),
        relay=partial(relay_of, settings),
        passwords=Passwords(),
        suppression=key.get_secret_value().encode() if key else None,
        settings=shown(settings),
        examine=examine,
        secret=settings.keys[0],
        random=secrets.token_urlsafe,
        compiled=True,
        now=clock,
    )


def pages_of(
    settings: Settings,
    engine: Engine,
    answer: Callable[[], None] | None = None,
    examine: Callable[[], Sequence[Line]] | None = None,
) -> FastAPI:
    """Its pages and its desk, on the store of *engine*; *answer* is called while they are served.

    *examine* gives the desk doctor's lines.
    """
    token = settings.metrics_token
    desk = desk_of(settings, engine, examine)
    pages = Pages(settings.publication, desk.press.theme, settings.templates_dir)
    api = Api(desk.engine, pages, desk.suppression, clock)
    return create_app(
        engine=engine,
        keyring=Keyring(settings.keys),
        publication=settings.publication,
        theme=desk.press.theme,
        templates_dir=settings.templates_dir,
        spool=spool_of(engine),
        secret=desk.suppression,
        schedule=schedule_of(settings),
        metrics_token=token.get_secret_value().encode() if token else None,
        now=clock,
        answer=answer,
        doors=doors_of(settings),
        # Not from the networks that feeds may be fetched from.
        fetch=exactly(Fetcher(contact=settings.publication_url, deadline=SNS_DEADLINE)),
        within={"/desk": create_desk(desk), "/api": create_api(api)},
    )


def told_page(settings: Settings, story: Story) -> str:
    """What is kept of a person, as the page they could see themselves."""
    pages = Pages(settings.publication, load_theme(settings.theme), settings.templates_dir)
    return bytes(pages.show("kept", story=story).body).decode()


def house_of(settings: Settings, engine: Engine, dispatch: Callable[[Month], str]) -> House:
    """What the tick works with; *dispatch* sends a month and says in a line what came of it."""
    press, relay, fetcher = press_of(settings), relay_of(settings), fetcher_of(settings)

    def fetch(now: datetime) -> list[tuple[str, str]]:
        asked = fetch_sources(engine, fetcher, settings.sources, settings.zone, now, only_due=True)
        return [(one.place, one.line) for one in asked if one.failed]

    def notify(now: datetime) -> int:
        def hand(sender: str, recipients: object, mail: bytes) -> None:
            deliver(relay, sender, settings.editors, mail)

        return send_notices(engine, press.publication, settings.editors, hand, now)

    def answer(now: datetime) -> None:
        postroom = postroom_of(settings, engine)
        erase_restored(engine, postroom.secret, now)
        postroom.tidy(now)
        postroom.work(now)
        scrub(engine)

    def count_returns(now: datetime) -> int:
        try:
            if settings.imap_host:
                collect(engine, arrived_by_imap(account_of(settings)), clock)
        finally:
            # A pipe, or a provider, may have brought something all the same.
            worked = work_off(office_of(settings, engine), now)
        return worked.done + worked.waiting

    return House(
        engine=engine,
        press=press,
        schedule=schedule_of(settings),
        min_posts=settings.min_posts,
        fetch=fetch,
        count_returns=count_returns if settings.suppression_key else lambda _now: 0,
        dispatch=dispatch,
        notify=notify,
        answer=answer if settings.suppression_key else lambda _now: None,
    )

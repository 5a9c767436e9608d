"""What all pages for readers have in common: their language, their headers, what there is to choose.

No cookie and no login: a signed link is all that a reader needs, and a wrong one tells nothing.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from http import HTTPStatus
from typing import Any, ParamSpec
from zoneinfo import available_timezones

from babel import Locale
from babel.dates import get_day_names
from babel.support import NullTranslations
from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import Connection, Row
from starlette.background import BackgroundTask

from newsletter.core.errors import ImportRowError, NewsletterError, StoreBusyError, TokenError
from newsletter.core.mails.chrome import choose_chrome, load_chrome
from newsletter.core.schedule import Frequency
from newsletter.core.tokens import Claim, Purpose
from newsletter.sources.catalogues import load_catalogues
from newsletter.store import issues, subscribers
from newsletter.web.desk import Desk
from newsletter.web.pages import PageTemplates
from newsletter.web.speech import Speech, choose_speech

log = logging.getLogger("newsletter.web")

P = ParamSpec("P")

PRIVATE = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
LATELY_ISSUES = 30
BUSY_TRIES = 10
"""So often is something tried while another holds the database; each try waits for half a minute."""
_WEEKLY = [Frequency.WEEKLY_MON, Frequency.WEEKLY_TUE, Frequency.WEEKLY_WED, Frequency.WEEKLY_THU]
_WEEKLY += [Frequency.WEEKLY_FRI, Frequency.WEEKLY_SAT, Frequency.WEEKLY_SUN]


@dataclass
class ReaderPages:
    """Answers readers; `desk` holds the service with its files as they are now."""

    desk: Desk
    pages: PageTemplates
    catalogues: Mapping[str, NullTranslations] = field(init=False)

    def __post_init__(self) -> None:
        self.catalogues = load_catalogues(self.desk.service.settings.templates)

    @cached_property
    def name(self) -> str:
        """What the newsletter is called."""
        settings = self.desk.service.settings
        return settings.name or (settings.from_.name if settings.from_ else "") or "Newsletter"

    def speak(self, request: Request | None, own: str | None = None) -> Speech:
        """The language of a page, or of a mail where there is no request."""
        accepted = request.headers.get("accept-language", "") if request else ""
        usual = self.desk.service.settings.language
        return choose_speech(self.catalogues, own=own, accepted=accepted, usual=usual)

    def answer(self, page: str, speech: Speech, *, status: int = 200, public: bool = False, **context: Any) -> Response:
        """A page in a language; one that is not `public` is for its reader alone."""
        settings = self.desk.service.settings
        common = {"name": self.name, "base_url": settings.base_url, "archive": settings.archive, **speech.context}
        response = self.pages.render(page, {**common, **context}, status=status)
        response.headers["Vary"] = "Accept-Language"
        if not public:
            response.headers.update(PRIVATE)
        return response

    def say(
        self,
        speech: Speech,
        heading: str,
        *texts: str,
        status: int = 200,
        button: str = "",
        links: Sequence[tuple[str, str]] = (),
    ) -> Response:
        """A page that says one thing, with a button that sends its form, or links."""
        context: dict[str, Any] = {"heading": heading, "texts": texts, "button": button, "links": links}
        return self.answer("said.html", speech, status=status, **context)

    def refuse(self, request: Request) -> Response:
        """A link that is not ours, or not any more: the same for each."""
        speech = self.speak(request)
        hint = speech.say(
            "It may be incomplete. Copy the whole of it, or use the one in the latest mail you got from us."
        )
        return self.say(speech, speech.say("This link is not valid"), hint, status=404)

    def do_after(self, act: Callable[P, None], *arguments: P.args, **named: P.kwargs) -> BackgroundTask:
        """Something to do once the answer is out: how long it takes would tell who is known."""

        def do() -> None:
            for left in reversed(range(BUSY_TRIES)):
                try:
                    act(*arguments, **named)
                except NewsletterError as error:
                    if isinstance(error, StoreBusyError) and left:
                        continue
                    log.error(f"what a reader sent was lost: {error}")
                return

        return BackgroundTask(do)

    def tell_trouble(self, request: Request, status: int) -> Response:
        """The page of something that went wrong, or is not there, for somebody who is not the operator."""
        speech = self.speak(request)
        if status == HTTPStatus.NOT_FOUND:
            return self.say(speech, speech.say("There is no such page"), status=status, links=[("/", self.name)])
        text = speech.say("Please try again later.") if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
        return self.say(speech, speech.say("This did not work"), text, status=status, links=[("/", self.name)])

    def read(self, token: str, purpose: Purpose) -> Claim | None:
        """Whom a link is about; None where it is no link of ours."""
        service = self.desk.service
        try:
            return service.signer.verify(token, purpose, now=service.now())
        except TokenError:
            return None

    def find_person(self, claim: Claim | None) -> Row[Any] | None:
        """The reader of a link; None where there is none (any more)."""
        if claim is None:
            return None
        with self.desk.service.database.read() as conn:
            return subscribers.find_by_id(conn, claim.subscriber)

    def link_preferences(self, subscriber_id: int) -> str:
        """A reader's own way to their preferences."""
        service = self.desk.service
        return f"{service.settings.base_url}/preferences/{service.signer.sign(Purpose.PREFERENCES, subscriber_id)}"

    def write_wording(self, speech: Speech) -> str:
        """What somebody agrees to, in the words that they see."""
        return str(
            speech.say(
                "You agree that we send you %(name)s at this address. You can leave with one click at any time.",
                name=self.name,
            )
        )

    def offer_choices(self, speech: Speech) -> dict[str, Any]:
        """Everything there is to choose from, for choices.html."""
        service = self.desk.open()
        with service.database.read() as conn:
            lately = _count_lately(conn)
        topics = [
            {"id": t.id, "name": t.name, "description": t.description, "lately": lately[t.id] if lately else None}
            for t in service.catalogue.values()
        ]
        locale = Locale.parse(speech.language, sep="-")
        days = get_day_names(locale=locale)
        frequencies = [
            (Frequency.EACH, speech.say("As soon as there is an issue")),
            (Frequency.DAILY, speech.say("Daily")),
            *((weekly, speech.say("Weekly, on %(day)s", day=days[i])) for i, weekly in enumerate(_WEEKLY)),
            (Frequency.MONTHLY, speech.say("Monthly")),
        ]
        chromes = load_chrome(service.templates)
        languages = [(code, Locale.parse(code, sep="-").get_display_name() or code) for code in chromes]
        return {
            "topics": topics,
            "frequencies": frequencies,
            "languages": languages,
            "zones": sorted(zone for zone in available_timezones() if "/" in zone and not zone.startswith("Etc/")),
            "language": choose_chrome(chromes, speech.language).language,
        }


def tell_on_its_way(speech: Speech) -> str:
    """What is said to who gave an address, whether anything is sent to it or not."""
    return speech.say("If we may write to this address, a mail is on its way. Follow the link in it to go on.")


def tell_problem(speech: Speech, error: ImportRowError) -> str:
    """What of a form does not fit, in the reader's language."""
    match error.column:
        case "email":
            return speech.say("This is no email address that we can write to.")
        case "name":
            return speech.say("This name is too long, or has characters that no name has.")
        case "until":
            return speech.say("Please choose a day to come, within a year.")
        case _:
            return speech.say("Something that you chose is not offered here any more. Please choose again.")


def _count_lately(conn: Connection) -> Counter[str]:
    """Stories a topic in the last issues."""
    numbers = [row.id for row in issues.list_latest(conn, LATELY_ISSUES)]
    stories = issues.list_latest_stories(conn, numbers)
    return Counter(topic["id"] for story in stories for topic in json.loads(story.topics))

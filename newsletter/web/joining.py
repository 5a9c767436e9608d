"""How somebody becomes a reader: the sign-up page, the form (also from other sites), and the link that confirms it.

The page says the same whoever has signed up. GET and HEAD change nothing: scanners follow the links of mails.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from newsletter.core.errors import ImportRowError
from newsletter.core.preferences import parse_row
from newsletter.core.tokens import Purpose
from newsletter.store import notices
from newsletter.store.notices import NoticeKind
from newsletter.subscribe.signup import Agreement, confirm, is_open, sign_up
from newsletter.web.forms import Fields, read_fields
from newsletter.web.pages import PageRoute
from newsletter.web.reading import ReaderPages, tell_on_its_way, tell_problem
from newsletter.web.sessions import Tries
from newsletter.web.speech import Speech

SIGN_UPS, SIGN_UP_SECONDS = 30, 60.0
TRAP = "website"
"""A field that people do not see, and programs fill in."""
EMPTY = {"email": "", "name": "", "frequency": "each", "timezone": "", "language": ""}


def make_joining(readers: ReaderPages, tries: Tries) -> APIRouter:
    """`/`, `/subscribe`, `/confirm/TOKEN`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    _add_sign_up(router, readers, tries)
    _add_confirm(router, readers)
    return router


def _add_sign_up(router: APIRouter, readers: ReaderPages, tries: Tries) -> None:
    desk = readers.desk

    def show_form(
        speech: Speech, values: Mapping[str, str], chosen: Sequence[str], *, problem: str = "", status: int = 200
    ) -> Response:
        choices = readers.offer_choices(speech)
        values = {**EMPTY, "language": choices["language"], **values}
        context: dict[str, Any] = {**choices, "values": values, "chosen": chosen, "problem": problem}
        wording = readers.write_wording(speech)
        return readers.answer("home.html", speech, status=status, public=True, wording=wording, **context)

    @router.get("/")
    def home(request: Request) -> Response:
        return show_form(readers.speak(request), {}, ())

    @router.post("/subscribe")
    async def subscribe(request: Request) -> Response:
        fields = await read_fields(request)
        peer = request.client.host if request.client else ""
        return await run_in_threadpool(take_sign_up, readers.speak(request), fields, peer)

    def take_sign_up(speech: Speech, fields: Fields, peer: str) -> Response:
        if tries.wait(peer):
            heading = speech.say("Too many at once")
            response = readers.say(speech, heading, speech.say("Please try again later."), status=429)
            response.headers["Retry-After"] = f"{tries.wait(peer):.0f}"
            return response
        tries.note(peer)
        given = {name: values[-1] for name, values in fields.items() if name in EMPTY}
        chosen = [topic for value in fields.get("topics", ()) for topic in value.split(";") if topic] or ["*"]
        service = desk.open()
        try:
            row = parse_row({**given, "topics": chosen}, topics={*service.catalogue, "*"}, languages=service.languages)
        except ImportRowError as error:
            return show_form(speech, given, chosen, problem=tell_problem(speech, error), status=422)
        task = None
        if not fields.get(TRAP, [""])[-1]:
            agreement = Agreement(
                source=f"sign-up page ({peer})", wording=readers.write_wording(speech), language=speech.language
            )
            task = readers.do_after(sign_up, service.database, row, agreement, now=service.now())
        response = readers.say(speech, speech.say("Please look into your mailbox"), tell_on_its_way(speech))
        response.background = task
        return response


def _add_confirm(router: APIRouter, readers: ReaderPages) -> None:
    desk = readers.desk

    @router.get("/confirm/{token}")
    def ask(token: str, request: Request) -> Response:
        claim = readers.read(token, Purpose.CONFIRM)
        person = readers.find_person(claim)
        if claim is None or claim.issue is None or person is None:
            return readers.refuse(request)
        with desk.service.database.read() as conn:
            if not is_open(notices.find_notice(conn, claim.issue), person):
                return readers.refuse(request)
        speech = readers.speak(request, person.language)
        text = speech.say("Press the button to confirm.")
        return readers.say(speech, speech.say("One more step"), text, button=speech.say("Confirm"))

    @router.post("/confirm/{token}")
    def do(token: str, request: Request) -> Response:
        claim, service = readers.read(token, Purpose.CONFIRM), desk.open()
        if claim is None or claim.issue is None:
            return readers.refuse(request)
        kind = confirm(
            service.database,
            claim.issue,
            claim.subscriber,
            topics=set(service.catalogue),
            languages=service.languages,
            now=service.now(),
        )
        person = readers.find_person(claim)
        if kind is None or person is None:
            return readers.refuse(request)
        speech = readers.speak(request, person.language)
        done = speech.say("You are subscribed")
        if kind is NoticeKind.ADDRESS:
            done = speech.say("Your new address is confirmed")
        links = [(readers.link_preferences(person.id), speech.say("Your preferences"))]
        return readers.say(speech, done, speech.say("Thank you."), links=links)

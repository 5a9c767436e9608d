"""What readers change by the link in their mails: choices, a pause, another address; their data, and their erasure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Row
from starlette.background import BackgroundTask

from newsletter.core.errors import ImportRowError, StoreError
from newsletter.core.model import SubscriberState
from newsletter.core.preferences import parse_row
from newsletter.core.schedule import parse_zone
from newsletter.core.tokens import Purpose
from newsletter.report import describe_subscriber, list_stories_for, split_topics
from newsletter.subscribe import forget_subscriber
from newsletter.subscribe.preferences import change_preferences, pause_reader
from newsletter.subscribe.signup import ask_for_address
from newsletter.web.forms import Fields, read_fields
from newsletter.web.pages import PageRoute
from newsletter.web.reading import PRIVATE, ReaderPages, tell_on_its_way, tell_problem
from newsletter.web.speech import Speech

CHOICES = ("name", "frequency", "timezone", "language")


def make_preferring(readers: ReaderPages) -> APIRouter:
    """The routes under `/preferences/TOKEN`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    desk, preferring = readers.desk, Preferring(readers)

    @router.get("/preferences/{token}")
    def ask(token: str, request: Request) -> Response:
        person = preferring.find(token)
        return (
            preferring.show(person, readers.speak(request, person.language), token)
            if person
            else readers.refuse(request)
        )

    @router.post("/preferences/{token}")
    async def change(token: str, request: Request) -> Response:
        fields = await read_fields(request)
        return await run_in_threadpool(preferring.do, token, request, fields)

    @router.get("/preferences/{token}/preview")
    def preview(token: str, request: Request) -> Response:
        return show_last_time(token, request, request.query_params.getlist("topics"))

    @router.post("/preferences/{token}/preview")
    async def preview_form(token: str, request: Request) -> Response:
        fields = await read_fields(request)
        return await run_in_threadpool(show_last_time, token, request, fields.get("topics", ()))

    def show_last_time(token: str, request: Request, wanted: Sequence[str]) -> Response:
        person = preferring.find(token)
        if person is None:
            return readers.refuse(request)
        with desk.service.database.read() as conn:
            try:
                issue, stories = list_stories_for(conn, wanted)
            except StoreError:
                issue, stories = None, []
        speech = readers.speak(request, person.language)
        return readers.answer("last_time.html", speech, issue=issue, stories=stories, back=f"/preferences/{token}")

    @router.get("/preferences/{token}/data")
    def data(token: str, request: Request) -> Response:
        person = preferring.find(token)
        if person is None:
            return readers.refuse(request)
        with desk.service.database.read() as conn:
            told = describe_subscriber(conn, person)
        headers = {**PRIVATE, "Content-Disposition": 'attachment; filename="my-data.json"'}
        return JSONResponse(jsonable_encoder(told), headers=headers)

    return router


@dataclass(frozen=True)
class Preferring:
    """The page of one link, and what its forms do."""

    readers: ReaderPages

    def find(self, token: str) -> Row[Any] | None:
        """Whose link it is; None where it is nobody's (any more)."""
        return self.readers.find_person(self.readers.read(token, Purpose.PREFERENCES))

    def show(
        self,
        person: Row[Any],
        speech: Speech,
        token: str,
        *,
        done: str = "",
        problem: str = "",
        status: int = 200,
        typed: Fields | None = None,
    ) -> Response:
        """The page as it is now, with what was done, or with what does not fit and what was `typed`."""
        service = self.readers.desk.service
        choices = self.readers.offer_choices(speech)
        zone = parse_zone(person.timezone) if person.timezone else service.settings.timezone
        is_paused = person.paused_until is not None and person.paused_until > service.now()
        leave = service.signer.sign(Purpose.UNSUBSCRIBE, person.id)
        return self.readers.answer(
            "preferences.html",
            speech,
            status=status,
            **choices,
            person=person,
            here=f"/preferences/{token}",
            chosen=typed.get("topics", ()) if typed else split_topics(person.topics),
            values={
                "name": person.name,
                "frequency": "weekly:mon" if person.frequency == "weekly" else person.frequency,
                "timezone": person.timezone or "",
                "language": person.language or service.settings.language,
                **({name: typed[name][-1] for name in CHOICES if name in typed} if typed else {}),
            },
            is_suppressed=person.reason is not None,
            paused_until=speech.write_moment(person.paused_until, zone) if is_paused else None,
            tomorrow=(service.now().astimezone(zone) + timedelta(days=1)).date(),
            wording=self.readers.write_wording(speech),
            leave=f"/unsubscribe/{leave}",
            done=done,
            problem=problem,
        )

    def do(self, token: str, request: Request, fields: Fields) -> Response:
        """What a form asks for, and the page after it."""
        person = self.find(token)
        if person is None:
            return self.readers.refuse(request)
        speech = self.readers.speak(request, person.language)
        action = fields.get("action", ["save"])[-1]
        if action == "erase":
            if fields.get("sure", [""])[-1] != "yes":
                return self.show(person, speech, token, problem=speech.say("Say that you are sure."), status=422)
            forget_subscriber(self.readers.desk.service.database, person.email_key, now=self.readers.desk.service.now())
            return self.readers.say(
                speech, speech.say("You are erased"), speech.say("We hold nothing on you any more.")
            )
        if person.state != SubscriberState.ACTIVE and action in ("pause", "resume", "address"):
            return self.show(person, speech, token, status=409)
        if action == "save" and not fields.keys() & {*CHOICES, "topics", "shown"}:
            return self.show(person, speech, token)
        try:
            task = self.act(person, action, fields, speech)
        except ImportRowError as error:
            typed = fields if action == "save" else None
            return self.show(person, speech, token, problem=tell_problem(speech, error), status=422, typed=typed)
        changed = self.find(token) or person
        speech = self.readers.speak(request, changed.language)  # in which they may have chosen another
        response = self.show(changed, speech, token, done=_tell_done(action, speech))
        response.background = task
        return response

    def act(self, person: Row[Any], action: str, fields: Fields, speech: Speech) -> BackgroundTask | None:
        """Do it; ImportRowError where something does not fit. What comes back is left for after the answer."""
        service = self.readers.desk.open()
        database, now = service.database, service.now()
        match action:
            case "pause":
                zone = parse_zone(person.timezone) if person.timezone else service.settings.timezone
                pause_reader(database, person.id, _read_day(fields.get("until", [""])[-1], zone), now=now)
            case "resume":
                pause_reader(database, person.id, None, now=now)
            case "address":
                row = parse_row({"email": fields.get("email", [""])[-1]}, topics=(), languages=())
                return self.readers.do_after(ask_for_address, database, person.id, row, speech.language, now=now)
            case "save":
                given: dict[str, object] = {name: fields[name][-1] for name in CHOICES if name in fields}
                given["email"] = person.email
                if fields.keys() & {"topics", "shown"}:  # a form without a box that is ticked sends no topics
                    given["topics"] = list(fields.get("topics", ()))
                row = parse_row(given, topics={*service.catalogue, "*"}, languages=service.languages)
                change_preferences(database, person.id, row, wording=self.readers.write_wording(speech), now=now)
            case _:
                raise ImportRowError(f"there is no action {action[:40]!r}")
        return None


def _read_day(text: str, zone: ZoneInfo) -> datetime:
    """When a day begins in a zone, in UTC."""
    try:
        return datetime.fromisoformat(text[:10]).replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ImportRowError(str(error), "until") from None


def _tell_done(action: str, speech: Speech) -> str:
    match action:
        case "pause":
            return speech.say("You have a break.")
        case "resume":
            return speech.say("You get mail again.")
        case "address":
            return tell_on_its_way(speech)
        case _:
            return speech.say("Saved.")

"""How a reader leaves: a signed link, a page with a button, one click for mail programs (RFC 8058). No cookie.

GET and HEAD change nothing, since scanners fetch every link of a mail. A token that is not ours gets 404 and no reason.
"""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from newsletter.core.tokens import Purpose
from newsletter.subscribe import leave
from newsletter.web.pages import PageRoute
from newsletter.web.reading import ReaderPages

ONE_CLICK, LINK = "one click", "link"
MOST_OCTETS = 4096


def make_leaving(readers: ReaderPages) -> APIRouter:
    """The routes under `/unsubscribe`; who comes there holds a mail of ours, and needs nothing else."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    service = readers.desk.service

    @router.get("/unsubscribe/{token}")
    def ask(token: str, request: Request) -> Response:
        claim = readers.read(token, Purpose.UNSUBSCRIBE)
        if claim is None:
            return readers.refuse(request)
        person = readers.find_person(claim)
        speech = readers.speak(request, person.language if person else None)
        heading = speech.say("Leave %(name)s?", name=readers.name)
        return readers.say(
            speech, heading, speech.say("You will get no more mail from us."), button=speech.say("Unsubscribe")
        )

    @router.post("/unsubscribe/{token}")
    async def unsubscribe(token: str, request: Request) -> Response:
        claim = readers.read(token, Purpose.UNSUBSCRIBE)
        if claim is None:
            return readers.refuse(request)
        # A mail program's body says List-Unsubscribe=One-Click, our button's `by=page`: it tells the channel, no more.
        channel = LINK if "by=page" in (await _read_start(request)) else ONE_CLICK
        await run_in_threadpool(
            leave, service.database, claim.subscriber, now=service.now(), channel=channel
        )  # it may wait for the write lock
        return await run_in_threadpool(say_goodbye, claim.subscriber, request)

    def say_goodbye(subscriber_id: int, request: Request) -> Response:
        claim = readers.read(request.path_params["token"], Purpose.UNSUBSCRIBE)
        person = readers.find_person(claim)
        speech = readers.speak(request, person.language if person else None)
        texts = [
            speech.say("You will get no more mail from us. One that was on its way just now may still arrive."),
        ]
        links = []
        if person is not None:
            texts.append(speech.say("Was it too much? You may come back with fewer topics, or once a week."))
            links.append((readers.link_preferences(subscriber_id), speech.say("Fewer topics, or weekly")))
        return readers.say(speech, speech.say("You have left %(name)s", name=readers.name), *texts, links=links)

    return router


async def _read_start(request: Request) -> str:
    """The first few octets of a body; the rest of a long one is left alone."""
    start = b""
    async for chunk in request.stream():
        start += chunk
        if len(start) >= MOST_OCTETS:
            break
    return start[:MOST_OCTETS].decode("latin-1")

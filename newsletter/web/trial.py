"""Sending a test from the preview: to the addresses of TEST_TO alone, and the SMTP conversation as it went."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from newsletter.compose import sign_one
from newsletter.core.errors import QueryError
from newsletter.proof import compose_trial
from newsletter.report import split_topics
from newsletter.transport.smtp import Envelope
from newsletter.transport.trial import Trial, send_trial
from newsletter.web.access import Access, Operator
from newsletter.web.desk import Desk
from newsletter.web.forms import read_form
from newsletter.web.look import Look, read_look
from newsletter.web.pages import PageRoute, PageTemplates


def make_trial(desk: Desk, pages: PageTemplates, access: Access) -> APIRouter:
    """The route `/preview/BRIEF/test`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    known = Annotated[Operator, Depends(access.demand)]

    @router.get("/preview/{brief}/test")
    def ask(brief: str, request: Request, operator: known) -> Response:
        return show(read_look(brief, request.query_params), operator, None)

    @router.post("/preview/{brief}/test")
    async def send(brief: str, request: Request, operator: known) -> Response:
        form = await read_form(request)
        access.check_form(operator, form.get("csrf", ""))
        look = read_look(brief, request.query_params)
        trial = await run_in_threadpool(try_mail, desk, look, form.get("to", ""))
        return await run_in_threadpool(show, look, operator, trial)

    def show(look: Look, operator: Operator, trial: Trial | None) -> Response:
        context = {"look": look, "view": desk.view(look), "trial": trial, "allowed": desk.service.settings.test_to}
        return pages.render("test.html", {"operator": operator, **context})

    return router


def try_mail(desk: Desk, look: Look, to: str) -> Trial:
    """Send the mail of a look to one of TEST_TO, signed as others are; QueryError where it is another address."""
    service = desk.open()
    if to not in service.settings.test_to:
        raise QueryError(f"{to[:80]!r} is none of the addresses that NEWSLETTER_TEST_TO names")
    view = desk.view(look)
    if view.proof is None:
        raise QueryError(view.empty)
    person = service.find_person(look.email) if look.email and desk.has_database else None
    sender, now = service.settings.require_from(), service.now()
    chosen = split_topics(person.topics) if person else look.topics.split(",") if look.topics else ["*"]
    mail = compose_trial(
        view.proof,
        to=to,
        name=person.name if person else "",
        topics=chosen,
        publisher=desk.find_typesetter(look.theme),
        signer=service.sample_signer,
        now=now,
    )
    octets = sign_one(mail, service.make_dkim_signer(), now)
    envelope = Envelope(return_path=sender.email, recipient=to)
    return asyncio.run(send_trial(service.make_relays()[0], envelope, octets))

"""How a reader leaves: a signed link, a page with a button, one click for mail programs (RFC 8058). No cookie.

GET and HEAD change nothing, since scanners fetch every link of a mail. A token that is not ours gets 404 and no reason.
"""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from newsletter.bootstrap import Service
from newsletter.core.errors import TokenError
from newsletter.core.tokens import Claim, Purpose
from newsletter.subscribe import leave
from newsletter.web.pages import PageTemplates

PRIVATE = {"Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex, nofollow"}
ONE_CLICK, LINK = "one click", "link"


def make_leaving(service: Service, pages: PageTemplates) -> APIRouter:
    """The routes under `/unsubscribe`; who comes there holds a mail of ours, and needs nothing else."""
    router = APIRouter(include_in_schema=False)
    name = service.settings.name or (service.settings.from_.name if service.settings.from_ else "") or "the newsletter"

    def answer(page: str, status: int = 200) -> Response:
        response = pages.render(page, {"name": name}, status=status)
        response.headers.update(PRIVATE)
        return response

    @router.api_route("/unsubscribe/{token}", methods=["GET", "HEAD"])
    def ask(token: str) -> Response:
        return answer("unsubscribe.html") if _read(service, token) else answer("unknown_link.html", 404)

    @router.post("/unsubscribe/{token}")
    async def unsubscribe(token: str, request: Request) -> Response:
        claim = _read(service, token)
        if claim is None:
            return answer("unknown_link.html", 404)
        # A mail program's body says List-Unsubscribe=One-Click, our button's `by=page`: it tells the channel, no more.
        channel = LINK if "by=page" in (await _read_start(request)) else ONE_CLICK
        await run_in_threadpool(
            leave, service.database, claim.subscriber, now=service.now(), channel=channel
        )  # it may wait for the write lock
        return answer("unsubscribed.html")

    return router


MOST_OCTETS = 4096


async def _read_start(request: Request) -> str:
    """The first few octets of a body; the rest of a long one is left alone."""
    start = b""
    async for chunk in request.stream():
        start += chunk
        if len(start) >= MOST_OCTETS:
            break
    return start[:MOST_OCTETS].decode("latin-1")


def _read(service: Service, token: str) -> Claim | None:
    try:
        return service.signer.verify(token, Purpose.UNSUBSCRIBE, now=service.now())
    except TokenError:
        return None

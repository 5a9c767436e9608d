"""The web pages, in a process of their own beside the daemon: whatever a delivery does, they answer at once.

`/healthz`, `/readyz`, `/metrics`; for readers the way out; for the operator the preview, the console and the API. No
GET changes anything, and nothing is answered for a foreign Host.
"""

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError, StoreError
from newsletter.store import upkeep
from newsletter.web.access import Access, AccessError, HostCheck, Operator
from newsletter.web.api import make_api
from newsletter.web.api.problems import answer_problem, status_of
from newsletter.web.console import make_console
from newsletter.web.copies import make_copies
from newsletter.web.desk import Desk
from newsletter.web.hooks import make_hooks
from newsletter.web.joining import SIGN_UP_SECONDS, SIGN_UPS, make_joining
from newsletter.web.leaving import make_leaving
from newsletter.web.pages import HEADERS, Headers, PageTemplates, serve_static
from newsletter.web.preferring import make_preferring
from newsletter.web.preview import make_preview, show_problem
from newsletter.web.pulse import Pulse
from newsletter.web.reading import ReaderPages
from newsletter.web.sessions import Tries
from newsletter.web.signing_in import make_signing_in, refuse
from newsletter.web.themes import make_themes
from newsletter.web.trial import make_trial

READ = ["GET", "HEAD"]
FOR_OPERATOR = re.compile(r"/(?:console|preview|themes|api|sign-in|sign-out|metrics|hooks)(?:/.*)?")
RETRY_AFTER = "60"
PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"

Handler: TypeAlias = Callable[[Request, Any], Awaitable[Response]]


def make_app(service: Service, pulse: Pulse) -> FastAPI:
    """The pages of a service; `pulse` is what the daemon says of itself."""
    desk = Desk(service)
    access = Access(service, has_database=lambda: True, clock=time.monotonic)
    pages = PageTemplates(service.settings.templates, has_console=True)
    readers = ReaderPages(desk, pages)
    sign_ups = Tries(time.monotonic, most=SIGN_UPS, seconds=SIGN_UP_SECONDS)
    for_readers = [
        make_joining(readers, sign_ups),
        make_leaving(readers),
        make_preferring(readers),
        make_copies(readers),
    ]
    app = _make_pages(desk, pages, access, for_readers, home="/console")
    _tell_readers_of_trouble(app, readers, pages)
    app.include_router(make_hooks(service))
    app.include_router(make_console(desk, pages, access))
    app.mount("/api", make_api(desk, access))

    @app.api_route("/healthz", methods=READ, include_in_schema=False)
    async def healthz() -> Response:
        """Whether the daemon lives."""
        alive = pulse.is_fresh()
        return JSONResponse({"status": "ok" if alive else "stalled"}, 200 if alive else 503)

    @app.api_route("/readyz", methods=READ, include_in_schema=False)
    def readyz() -> Response:
        """Whether it can do its work: it lives, and the database can be read."""
        try:
            with service.database.read() as conn:
                paused = upkeep.is_paused(conn)
        except NewsletterError as error:
            return JSONResponse({"status": "failing", "database": str(error)}, 503)
        ready = pulse.is_fresh()
        return JSONResponse({"status": "ok" if ready else "stalled", "paused": paused}, 200 if ready else 503)

    @app.api_route("/metrics", methods=READ, include_in_schema=False)
    def metrics(operator: Annotated[Operator, Depends(access.demand)]) -> Response:
        """The numbers for Prometheus."""
        return Response(pulse.metrics, media_type=PROMETHEUS_TEXT)

    return app


def make_preview_app(service: Service) -> FastAPI:
    """The preview alone, which needs no daemon, no mail server and no database."""
    desk = Desk(service)
    access = Access(service, has_database=lambda: desk.has_database, clock=time.monotonic)
    return _make_pages(desk, PageTemplates(service.settings.templates), access, (), home="/preview")


def _make_pages(desk: Desk, pages: PageTemplates, access: Access, first: Sequence[APIRouter], *, home: str) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(HostCheck, base_url=desk.service.settings.base_url)
    app.add_middleware(Headers)
    serve_static(app)
    for router in first:
        app.include_router(router)
    app.include_router(make_signing_in(access, pages, home=home))
    app.include_router(make_preview(desk, pages, access))
    app.include_router(make_themes(desk, pages, access))
    app.include_router(make_trial(desk, pages, access))

    @app.exception_handler(NewsletterError)
    async def explain(_: Request, error: NewsletterError) -> Response:
        return show_problem(pages, error)

    @app.exception_handler(RequestValidationError)
    @app.exception_handler(404)
    async def miss(request: Request, __: Exception) -> Response:
        if request.url.path.startswith("/api/"):  # a line break in an address leads past the mount
            return answer_problem(404, "there is nothing at this address")
        return show_problem(pages, StoreError("there is no such page"))

    @app.exception_handler(AccessError)
    async def turn_away(request: Request, error: AccessError) -> Response:
        return refuse(pages, error, request)

    return app


def _tell_readers_of_trouble(app: FastAPI, readers: ReaderPages, pages: PageTemplates) -> None:
    """Beside the operator's own pages, what goes wrong is told to readers, in their language and without a detail."""

    def choose(theirs: Any, status_of_error: Callable[[Any], int]) -> Handler:
        async def answer(request: Request, error: Exception) -> Response:
            if FOR_OPERATOR.fullmatch(request.url.path):
                answer_theirs: Response = await theirs(request, error)
                return answer_theirs
            response = readers.tell_trouble(request, status_of_error(error))
            if response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                response.headers["Retry-After"] = RETRY_AFTER
            return response

        return answer

    async def crash(request: Request, _: Exception) -> Response:
        """What nobody foresaw; the server logs it. It stands outside of all else, so the headers are ours to add."""
        response = readers.tell_trouble(request, 500)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    theirs = app.exception_handlers
    statuses: dict[Any, Callable[[Any], int]] = {
        NewsletterError: status_of,
        RequestValidationError: lambda _: 404,
        404: lambda _: 404,
        AccessError: lambda error: error.status,
    }
    for kind, status in statuses.items():
        app.add_exception_handler(kind, choose(theirs[kind], status))
    app.add_exception_handler(405, choose(_refuse_method, lambda _: 405))
    app.add_exception_handler(Exception, crash)


async def _refuse_method(_: Request, error: Exception) -> Response:
    headers = getattr(error, "headers", None)
    return PlainTextResponse("this address is not for that\n", 405, headers)

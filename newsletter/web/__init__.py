"""The web pages, in a process of their own beside the daemon: whatever a delivery does, they answer at once.

`/healthz`, `/readyz`, `/metrics`; for readers the way out; for the operator the preview. No GET changes anything, and
nothing is answered for a foreign Host.
"""

from collections.abc import Callable

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError
from newsletter.store import upkeep
from newsletter.web.access import HostCheck, may_operate
from newsletter.web.desk import Desk
from newsletter.web.leaving import make_leaving
from newsletter.web.pages import Headers, PageTemplates, serve_static
from newsletter.web.preview import make_preview, show_problem
from newsletter.web.pulse import Pulse

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def make_app(service: Service, pulse: Pulse) -> FastAPI:
    """The pages of a service; `pulse` is what the daemon says of itself."""
    app = make_preview_app(service)
    app.include_router(make_leaving(service, PageTemplates(service.settings.templates)))

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        """Whether the daemon lives."""
        alive = pulse.is_fresh()
        return JSONResponse({"status": "ok" if alive else "stalled"}, 200 if alive else 503)

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> Response:
        """Whether it can do its work: it lives, and the database can be read."""
        try:
            with service.database.read() as conn:
                paused = upkeep.is_paused(conn)
        except NewsletterError as error:
            return JSONResponse({"status": "failing", "database": str(error)}, 503)
        ready = pulse.is_fresh()
        return JSONResponse({"status": "ok" if ready else "stalled", "paused": paused}, 200 if ready else 503)

    @app.get("/metrics", include_in_schema=False, dependencies=[Depends(_demand_operator(service))])
    async def metrics() -> Response:
        """The numbers for Prometheus."""
        return Response(pulse.metrics, media_type=PROMETHEUS_TEXT)

    return app


def make_preview_app(service: Service) -> FastAPI:
    """The preview alone, which needs no daemon, no mail server and no database."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(HostCheck, base_url=service.settings.base_url)
    app.add_middleware(Headers)
    pages = PageTemplates(service.settings.templates)
    serve_static(app)
    app.include_router(make_preview(Desk(service), pages), dependencies=[Depends(_demand_operator(service))])

    @app.exception_handler(NewsletterError)
    async def explain(_: Request, error: NewsletterError) -> Response:
        return show_problem(pages, error)

    return app


def _demand_operator(service: Service) -> Callable[[Request], None]:
    """A page for the operator alone: 401 for everybody else."""

    def demand(request: Request) -> None:
        if not may_operate(request, service.settings.web.operator_password):
            raise HTTPException(401, "the operator's password is needed", {"WWW-Authenticate": "Basic"})

    return demand

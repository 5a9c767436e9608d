"""The web pages, in a process of their own beside the daemon: whatever a delivery does, they answer at once.

So far: `/healthz`, `/readyz` and `/metrics`. No request changes anything, and none is answered for a foreign Host.
"""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from newsletter.bootstrap import Service
from newsletter.core.errors import NewsletterError
from newsletter.store import upkeep
from newsletter.web.access import HostCheck, may_operate
from newsletter.web.pulse import Pulse

PROMETHEUS_TEXT = "text/plain; version=0.0.4; charset=utf-8"


def make_app(service: Service, pulse: Pulse) -> FastAPI:
    """The pages of a service; `pulse` is what the daemon says of itself."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(HostCheck, base_url=service.settings.base_url)

    @app.get("/healthz")
    async def healthz() -> Response:
        """Whether the daemon lives."""
        alive = pulse.is_fresh()
        return JSONResponse({"status": "ok" if alive else "stalled"}, 200 if alive else 503)

    @app.get("/readyz")
    def readyz() -> Response:
        """Whether it can do its work: it lives, and the database can be read."""
        try:
            with service.database.read() as conn:
                paused = upkeep.is_paused(conn)
        except NewsletterError as error:
            return JSONResponse({"status": "failing", "database": str(error)}, 503)
        ready = pulse.is_fresh()
        return JSONResponse({"status": "ok" if ready else "stalled", "paused": paused}, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        """The numbers for Prometheus."""
        if not may_operate(request, service.settings.web.operator_password):
            return PlainTextResponse("the operator's password is needed\n", 401, {"WWW-Authenticate": "Basic"})
        return Response(pulse.metrics, media_type=PROMETHEUS_TEXT)

    return app

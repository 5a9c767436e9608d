"""The pages' own templates and headers: nothing is loaded from elsewhere, and nothing may frame us.

Templates come from `templates/web/`, the operator's before the built-in ones; every value printed is escaped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from newsletter.core import errors
from newsletter.sources.resources import builtin_path

STATIC = Path(__file__).parent / "static"

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Headers:
    """Sends with every answer the headers above, unless the answer has its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to the answer."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class PageTemplates:
    """Renders pages; TemplateError with file and line where a template of the operator's is wrong."""

    def __init__(self, override: Path | None) -> None:
        folders = [folder / "web" for folder in (override, builtin_path("templates")) if folder]
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def render(self, name: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
        """A page of HTML."""
        try:
            return HTMLResponse(self._environment.get_template(name).render(context), status)
        except TemplateSyntaxError as error:
            raise errors.TemplateError(f"{error.filename}, line {error.lineno}: {error.message}") from error
        except TemplateError as error:
            raise errors.TemplateError(f"{name}: {error}") from error


def serve_static(app: FastAPI) -> None:
    """Our own style sheet and scripts."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

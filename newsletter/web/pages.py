"""The pages' own templates and headers: nothing is loaded from elsewhere, and nothing may frame us.

Templates come from `templates/web/`, the operator's before the built-in ones; every value printed is escaped.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, Response, StreamingResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from newsletter.core import errors
from newsletter.core.mails.templates import is_link
from newsletter.sources.resources import builtin_path
from newsletter.web.words import FILTERS

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

    def __init__(self, override: Path | None, *, has_console: bool = False) -> None:
        folders = [folder / "web" for folder in (override, builtin_path("templates")) if folder]
        self._environment = Environment(
            loader=ChoiceLoader([FileSystemLoader(folder) for folder in folders]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= FILTERS
        self._environment.tests["link"] = is_link
        self._environment.globals |= {"has_console": has_console, "operator": None, "here": ""}

    def render(self, name: str, context: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
        """A page of HTML."""
        return HTMLResponse(self._write(name, context, None), status)

    def write(self, name: str, context: Mapping[str, Any]) -> str:
        """A page, or a part of a mail, as text."""
        return self._write(name, context, None)

    def write_block(self, name: str, block: str, context: Mapping[str, Any]) -> str:
        """One block of a page."""
        return self._write(name, context, block)

    def _write(self, name: str, context: Mapping[str, Any], block: str | None) -> str:
        try:
            template = self._environment.get_template(name)
            if block is None:
                return template.render(context)
            return "".join(template.blocks[block](template.new_context(dict(context))))
        except TemplateSyntaxError as error:
            raise errors.TemplateError(f"{error.filename}, line {error.lineno}: {error.message}") from error
        except TemplateError as error:
            raise errors.TemplateError(f"{name}: {error}") from error


class PageRoute(APIRoute):
    """Answers HEAD wherever it answers GET; the server leaves the body out (RFC 9110 9.3.2)."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        if self.methods and "GET" in self.methods:
            self.methods.add("HEAD")


LIVE_SECONDS, LIVE_STEP_SECONDS = 600.0, 1.0
"""A page is told of what is new for so long, and looked at so often; its browser comes back by itself, and is asked
again who it is."""


def answer_page(
    request: Request, pages: PageTemplates, name: str, make_context: Callable[[], Mapping[str, Any]]
) -> Response:
    """A page, or to who wants an event stream its block `live`, whenever that has changed."""
    if request.method == "GET" and "text/event-stream" in request.headers.get("accept", ""):
        return StreamingResponse(_tell_changes(pages, name, make_context), media_type="text/event-stream")
    return pages.render(name, make_context())


async def _tell_changes(
    pages: PageTemplates, name: str, make_context: Callable[[], Mapping[str, Any]]
) -> AsyncIterator[str]:
    yield "retry: 2000\n\n"
    told = None
    for _ in range(int(LIVE_SECONDS / LIVE_STEP_SECONDS)):
        html = await run_in_threadpool(lambda: pages.write_block(name, "live", make_context()))
        if html != told:
            told = html
            lines = "".join(f"data: {line}\n" for line in html.splitlines())
            yield f"event: live\n{lines}\n"
        await asyncio.sleep(LIVE_STEP_SECONDS)


def serve_static(app: FastAPI) -> None:
    """Our own style sheet and scripts."""
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

"""The preview: every mail as every reader would get it, and why; redrawn when a file changes.

The mail stands in a sandboxed frame under a policy of its own. Nothing here changes anything.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from watchfiles import awatch

from newsletter.core.errors import NewsletterError, QueryError, StoreError
from newsletter.core.mails.theme import list_themes
from newsletter.core.mails.viewing import Scheme, light_html
from newsletter.proof import Proof
from newsletter.web.access import Access, Operator
from newsletter.web.api.problems import status_of
from newsletter.web.desk import Desk, View, describe_problem
from newsletter.web.look import WIDTHS, Look, read_look
from newsletter.web.pages import STATIC, PageRoute, PageTemplates

FRAME_POLICY = (
    "sandbox allow-same-origin; default-src 'none'; style-src 'unsafe-inline'; img-src {images}; frame-ancestors 'self'"
)
"""No script runs in the frame: allow-scripts is missing. It is of our origin, so that ours can keep its place."""

COMPARED = (
    ("phone", {"width": WIDTHS["phone"]}),
    ("desktop", {"width": WIDTHS["desktop"]}),
    ("dark", {"width": WIDTHS["phone"], "scheme": Scheme.DARK}),
    ("forced dark", {"width": WIDTHS["phone"], "scheme": Scheme.FORCED}),
    ("images off", {"width": WIDTHS["phone"], "images": False}),
)
WATCH_MS, SETTLE_MS = 20, 40
"""How often files are looked at, and for how long a change may go on before it is told (milliseconds)."""


def make_preview(desk: Desk, pages: PageTemplates, access: Access) -> APIRouter:
    """The routes under `/preview`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    known = Annotated[Operator, Depends(access.demand)]

    @router.get("/")
    def root(operator: known) -> Response:
        return RedirectResponse("/preview", 307)

    @router.get("/preview")
    def listing(operator: known) -> Response:
        briefs, broken = desk.list_briefs()
        problems = [describe_problem(error) for error in broken]
        return pages.render("briefs.html", {"operator": operator, "briefs": briefs, "broken": problems})

    @router.get("/preview/events")
    async def events(operator: known, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        return StreamingResponse(_tell_changes(desk), media_type="text/event-stream")

    @router.get("/preview/people")
    def people(operator: known, q: str = "") -> list[str]:
        return desk.find_people(q[:100])

    @router.get("/preview/{brief}")
    def show(brief: str, request: Request, operator: known) -> Response:
        look = read_look(brief, request.query_params)
        view = desk.view(look)
        if look.part:
            return show_part(look, view)
        before, after = desk.find_neighbours(look.email)
        context = {
            "operator": operator,
            "look": look,
            "view": view,
            "widths": WIDTHS,
            "schemes": list(Scheme),
            "themes": list_themes(desk.service.templates),
            "topics": list(desk.service.catalogue.values()),
            "people": desk.find_people(""),
            "before": before,
            "after": after,
        }
        return pages.render("preview.html", context)

    @router.get("/preview/{brief}/checks")
    def checks(brief: str, request: Request, operator: known) -> Response:
        look = read_look(brief, request.query_params)
        view = desk.view(look)
        found = desk.check(view)
        if request.query_params.get("format") == "json":
            return JSONResponse([asdict(finding) for finding in found])
        return pages.render("checks.html", {"operator": operator, "look": look, "view": view, "found": found})

    @router.get("/preview/{brief}/compare")
    def compare(brief: str, request: Request, operator: known) -> Response:
        look = read_look(brief, request.query_params)
        frames = [(name, look.change(**changes, part="html"), changes["width"]) for name, changes in COMPARED]
        view = desk.view(look)
        return pages.render("compare.html", {"operator": operator, "look": look, "view": view, "frames": frames})

    return router


def show_problem(pages: PageTemplates, error: NewsletterError) -> Response:
    """A page that names file, line and text; that of a file heals by itself."""
    heals = not isinstance(error, StoreError | QueryError)
    context = {"problem": describe_problem(error), "heals": heals}
    return pages.render("problem.html", context, status=status_of(error))


def show_part(look: Look, view: View) -> Response:
    """A part of the mail by itself, the HTML under a policy of its own."""
    if view.proof is None:
        return PlainTextResponse(view.empty + "\n", 404)
    proof = view.proof
    match look.part:
        case "html":
            images = "https: http: data:" if look.images else "'none'"
            policy_ = FRAME_POLICY.format(images=images)
            content = light_html(proof.html, look.scheme)
            return Response(content, media_type="text/html", headers={"Content-Security-Policy": policy_})
        case "eml":
            name = {"Content-Disposition": f'attachment; filename="{_file_name(look.brief)}.eml"'}
            return Response(proof.eml, media_type="message/rfc822", headers=name)
        case part:
            return PlainTextResponse(_write_part(proof, part))


def _write_part(proof: Proof, part: str) -> str:
    match part:
        case "text":
            return proof.text
        case "mjml":
            return proof.mjml
        case "source":
            return proof.html
        case _:
            return proof.eml.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").replace("\r\n", "\n") + "\n"


def _file_name(brief: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in brief)


async def _tell_changes(desk: Desk) -> AsyncIterator[str]:
    """One event whenever a brief, a template, the topics or our own style sheet has changed."""
    yield "retry: 500\n\n"
    async for _ in awatch(*desk.watched, STATIC, step=WATCH_MS, debounce=SETTLE_MS):
        yield "event: change\ndata: 1\n\n"

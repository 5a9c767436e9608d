"""The preview: every mail as every reader would get it, and why; redrawn when a file changes.

The mail stands in a sandboxed frame under a policy of its own. Nothing here changes anything.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from watchfiles import awatch

from newsletter.core.errors import BriefError, ConfigError, NewsletterError, StoreError
from newsletter.core.mails.viewing import Scheme, light_html
from newsletter.proof import Proof
from newsletter.web.desk import Desk, View, describe_problem
from newsletter.web.look import WIDTHS, Look, read_look
from newsletter.web.pages import STATIC, PageTemplates

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


def make_preview(desk: Desk, pages: PageTemplates) -> APIRouter:
    """The routes under `/preview`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def root() -> Response:
        return RedirectResponse("/preview", 307)

    @router.get("/preview")
    def listing() -> Response:
        briefs, broken = desk.list_briefs()
        return pages.render("briefs.html", {"briefs": briefs, "broken": [describe_problem(error) for error in broken]})

    @router.get("/preview/events")
    async def events() -> Response:
        return StreamingResponse(_tell_changes(desk), media_type="text/event-stream")

    @router.get("/preview/people")
    def people(q: str = "") -> list[str]:
        return desk.find_people(q[:100])

    @router.get("/preview/{brief}")
    def show(brief: str, request: Request) -> Response:
        look = read_look(brief, request.query_params)
        view = desk.view(look)
        if look.part:
            return _show_part(look, view)
        before, after = desk.find_neighbours(look.email)
        context = {
            "look": look,
            "view": view,
            "widths": WIDTHS,
            "schemes": list(Scheme),
            "topics": list(desk.service.catalogue.values()),
            "people": desk.find_people(""),
            "before": before,
            "after": after,
        }
        return pages.render("preview.html", context)

    @router.get("/preview/{brief}/checks")
    def checks(brief: str, request: Request) -> Response:
        look = read_look(brief, request.query_params)
        view = desk.view(look)
        found = desk.check(view)
        if request.query_params.get("format") == "json":
            return JSONResponse([asdict(finding) for finding in found])
        return pages.render("checks.html", {"look": look, "view": view, "found": found})

    @router.get("/preview/{brief}/compare")
    def compare(brief: str, request: Request) -> Response:
        look = read_look(brief, request.query_params)
        frames = [(name, look.change(**changes, part="html"), changes["width"]) for name, changes in COMPARED]
        view = desk.view(look)
        return pages.render("compare.html", {"look": look, "view": view, "frames": frames})

    return router


def show_problem(pages: PageTemplates, error: NewsletterError) -> Response:
    """A page that names file, line and text, and heals by itself."""
    status = 404 if isinstance(error, StoreError) or _is_missing(error) else 422
    return pages.render("problem.html", {"problem": describe_problem(error)}, status=status)


def _is_missing(error: NewsletterError) -> bool:
    return isinstance(error, BriefError | ConfigError) and str(error).startswith("there is no")


def _show_part(look: Look, view: View) -> Response:
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

"""The themes: each with a sample of all that a story may hold, and its colours; redrawn when a file changes."""

from itertools import groupby
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from newsletter.core.briefs.sample import SAMPLE_PICTURE
from newsletter.core.checks.palettes import list_pairs
from newsletter.core.mails.theme import list_themes
from newsletter.core.mails.viewing import Scheme
from newsletter.web.access import Access, Operator
from newsletter.web.desk import Desk
from newsletter.web.look import WIDTHS, read_look
from newsletter.web.pages import PageRoute, PageTemplates
from newsletter.web.preview import show_part

PICTURE = "data:image/svg+xml," + quote(
    '<svg xmlns="http://www.w3.org/2000/svg" width="1200" height="675"><rect width="1200" height="675" fill="#c5d3d8"/>'
    '<circle cx="880" cy="230" r="80" fill="#f0dfb8"/><rect y="420" width="1200" height="255" fill="#54757f"/></svg>'
)
"""What stands for the sample's picture, so that nothing is loaded from elsewhere."""


def make_themes(desk: Desk, pages: PageTemplates, access: Access) -> APIRouter:
    """The routes under `/themes`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    known = Annotated[Operator, Depends(access.demand)]

    @router.get("/themes")
    def listing(operator: known) -> Response:
        service = desk.open()
        context = {"themes": list_themes(service.templates), "chosen": service.settings.theme}
        return pages.render("themes.html", {"operator": operator, "here": "themes", **context})

    @router.get("/themes/{name}")
    def show(name: str, request: Request, operator: known) -> Response:
        look = read_look("", request.query_params, theme=name)
        view = desk.view(look)
        if look.part:
            answer = show_part(look, view)
            if look.part == "html":
                answer.body = bytes(answer.body).replace(SAMPLE_PICTURE.encode(), PICTURE.encode())
                answer.headers["Content-Length"] = str(len(answer.body))
            return answer
        theme = desk.find_typesetter(name).renderer.theme
        pairs = [(scheme, list(group)) for scheme, group in groupby(list_pairs(theme), lambda pair: pair.scheme)]
        context = {"look": look, "view": view, "theme": theme, "pairs": pairs, "files": desk.list_theme_files(theme)}
        options = {"widths": WIDTHS, "schemes": list(Scheme), "themes": list_themes(desk.service.templates)}
        return pages.render("theme.html", {"operator": operator, "here": "themes", **context, **options})

    return router

"""The operator's way in and out: `/sign-in`, `/sign-out`, and the page that others see instead of the operator's."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from newsletter.web.access import Access, AccessError, cookie_settings
from newsletter.web.forms import read_form
from newsletter.web.pages import PageRoute, PageTemplates
from newsletter.web.sessions import COOKIE


def make_signing_in(access: Access, pages: PageTemplates, *, home: str) -> APIRouter:
    """The routes; who signs in is sent to the page they wanted, or `home`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get("/sign-in")
    def show(target: str = "") -> Response:
        return pages.render("sign_in.html", {"target": _choose_target(target, home), "problem": ""})

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        form = await read_form(request)
        target = _choose_target(form.get("target", ""), home)
        peer = request.client.host if request.client else ""
        try:
            token = await run_in_threadpool(access.sign_in, form.get("password", ""), peer)
        except AccessError as error:
            return show_sign_in(pages, error, target)
        answer = RedirectResponse(target, 303)
        answer.set_cookie(value=token, **cookie_settings(request))  # type: ignore[arg-type]
        return answer

    @router.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        operator = await run_in_threadpool(access.demand, request)
        access.check_form(operator, (await read_form(request)).get("csrf", ""))
        await run_in_threadpool(access.sign_out)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(COOKIE)
        return answer

    return router


def refuse(pages: PageTemplates, error: AccessError, request: Request) -> Response:
    """What somebody else sees: the sign-in page, or why there is none."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return show_sign_in(pages, error, target if request.method == "GET" else "")


def show_sign_in(pages: PageTemplates, error: AccessError, target: str) -> Response:
    """The sign-in page with what is wrong."""
    answer = pages.render("sign_in.html", {"target": target, "problem": str(error)}, status=error.status)
    answer.headers.update(challenge(error))
    return answer


def challenge(error: AccessError) -> dict[str, str]:
    """The headers of a refusal (RFC 9110 11.6.1, RFC 6750). No `Basic`: a browser would ask before the page could."""
    if error.status == 429:
        return {"Retry-After": f"{error.wait:.0f}"}
    return {"WWW-Authenticate": 'Bearer realm="newsletter"'} if error.status == 401 else {}


def _choose_target(wanted: str, home: str) -> str:
    """A page of ours and of nobody else."""
    parts = urlsplit(wanted)
    is_ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and not parts.netloc
    return wanted if is_ours and wanted.isprintable() else home

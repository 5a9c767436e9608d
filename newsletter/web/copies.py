"""What went out, on the web: a reader's own edition, the archive of issues, feeds, and what robots ask for.

The copy of an edition holds nothing that is its reader's: it may be passed on. The archive may be switched off.
"""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, Response
from pydantic import TypeAdapter
from sqlalchemy import Connection, Row

from newsletter.compose import Composer
from newsletter.core.model import IssueState, Story
from newsletter.core.tokens import Purpose
from newsletter.store import issues, ledger
from newsletter.web.pages import POLICY, STATIC, PageRoute
from newsletter.web.reading import PRIVATE, ReaderPages

COPY_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation; "
    "default-src 'none'; style-src 'unsafe-inline'; img-src https: http: data:; frame-ancestors 'none'"
)
ISSUES_SHOWN, ENTRIES, SITEMAP_ISSUES = 50, 50, 1_000
MOST_NUMBER = 2**31
ROBOTS = "User-agent: *\nDisallow: /console\nDisallow: /preview\nDisallow: /api\n"
_STORY = TypeAdapter(Story)


def make_copies(readers: ReaderPages) -> APIRouter:
    """`/view/TOKEN`, `/archive`, `/feed.xml` and `/feed/TOPIC.xml`, `/robots.txt`, `/sitemap.xml`, `/favicon.ico`."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    _add_view(router, readers)
    if readers.desk.service.settings.archive:
        _add_archive(router, readers)
        _add_feeds(router, readers)
    _add_robots(router, readers)
    return router


def _add_view(router: APIRouter, readers: ReaderPages) -> None:
    desk = readers.desk

    @router.get("/view/{token}")
    def view(token: str, request: Request) -> Response:
        claim = readers.read(token, Purpose.VIEW)
        if claim is None or claim.issue is None:
            return readers.refuse(request)
        service = desk.service
        with service.database.read() as conn:
            delivery = ledger.find_delivery(conn, claim.issue, claim.subscriber)
            if delivery is None or delivery.edition_id is None:
                return readers.refuse(request)
            edition = issues.read_edition(conn, delivery.edition_id)
            rows = issues.read_stories(conn, [int(number) for number in edition.stories.split(",")])
        topics = dict.fromkeys(topic["id"] for row in rows for topic in json.loads(row.topics))
        html = Composer(service.database, service.signer).render_copy(edition, tuple(topics), str(request.url.path))
        return Response(html, media_type="text/html", headers={**PRIVATE, "Content-Security-Policy": COPY_POLICY})


def _add_archive(router: APIRouter, readers: ReaderPages) -> None:
    desk = readers.desk

    @router.get("/archive")
    def archive(request: Request, before: Annotated[int | None, Query(ge=1, lt=MOST_NUMBER)] = None) -> Response:
        with desk.service.database.read() as conn:
            rows = issues.list_latest(conn, ISSUES_SHOWN + 1, before=before)
        following = rows[ISSUES_SHOWN - 1].id if len(rows) > ISSUES_SHOWN else None
        topics = list(desk.open().catalogue.values())
        context: dict[str, Any] = {
            "issues": [row for row in rows[:ISSUES_SHOWN] if _is_public(row)],
            "next": following,
            "topics": topics,
        }
        return readers.answer("archive.html", readers.speak(request), public=True, **context)

    @router.get("/archive/{number}")
    def show_issue(number: str, request: Request, topic: str = "") -> Response:
        found = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0
        with desk.service.database.read() as conn:
            rows = [row for row in issues.list_latest(conn, 1, before=found + 1) if row.id == found and _is_public(row)]
            if not rows:
                return readers.refuse(request)
            stories = [entry for entry in _read_entries(conn, rows) if entry["story"]]
        catalogue = desk.open().catalogue
        there = {name for entry in stories for name in entry["topics"]}
        shown = [entry["story"] for entry in stories if not topic or topic in entry["topics"]]
        listed = [t for t in catalogue.values() if t.id in there]
        context: dict[str, Any] = {"topics": listed, "chosen": topic, "stories": shown}
        answer = readers.answer("archive_issue.html", readers.speak(request), public=True, issue=rows[0], **context)
        answer.headers["Content-Security-Policy"] = POLICY.replace("img-src", "img-src https: http:")
        return answer


def _add_feeds(router: APIRouter, readers: ReaderPages) -> None:
    desk, settings = readers.desk, readers.desk.service.settings

    @router.get("/feed.xml")
    def feed() -> Response:
        return write_feed("", f"{settings.base_url}/feed.xml", readers.name)

    @router.get("/feed/{topic}.xml")
    def topic_feed(topic: str, request: Request) -> Response:
        catalogue = desk.open().catalogue
        if topic not in catalogue:
            return readers.refuse(request)
        title = f"{readers.name}: {catalogue[topic].name}"
        return write_feed(topic, f"{settings.base_url}/feed/{topic}.xml", title)

    def write_feed(topic: str, address: str, title: str) -> Response:
        service = desk.open()
        with service.database.read() as conn:
            rows = [row for row in issues.list_latest(conn, ISSUES_SHOWN) if _is_public(row)]
            entries = [e for e in _read_entries(conn, rows) if e["story"] and (not topic or topic in e["topics"])]
        named = [
            {**entry, "topics": [service.catalogue[t] for t in entry["topics"] if t in service.catalogue]}
            for entry in entries[:ENTRIES]
        ]
        context = {
            **readers.speak(None).context,
            "title": title,
            "address": address,
            "name": readers.name,
            "base_url": settings.base_url,
            "entries": named,
            "updated": named[0]["published"] if named else service.now(),
        }
        return Response(readers.pages.write("feed.xml", context), media_type="application/atom+xml")


def _add_robots(router: APIRouter, readers: ReaderPages) -> None:
    desk, settings = readers.desk, readers.desk.service.settings

    @router.get("/robots.txt")
    def robots() -> Response:
        return PlainTextResponse(f"{ROBOTS}Sitemap: {settings.base_url}/sitemap.xml\n")

    @router.get("/sitemap.xml")
    def sitemap() -> Response:
        with desk.service.database.read() as conn:
            rows = [row for row in issues.list_latest(conn, SITEMAP_ISSUES) if _is_public(row)]
        places = ["/", *(("/archive", *(f"/archive/{row.id}" for row in rows)) if settings.archive else ())]
        listed = "".join(f"<url><loc>{settings.base_url}{place}</loc></url>" for place in places)
        head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        return Response(f"{head}{listed}</urlset>\n", media_type="application/xml")

    @router.get("/favicon.ico")
    def favicon() -> Response:
        return FileResponse(STATIC / "favicon.ico", media_type="image/x-icon")


def _is_public(row: Row[Any]) -> bool:
    """Whether an issue went out for everybody."""
    return row.published_at is not None and row.state not in (IssueState.PREPARING, IssueState.CANCELLED)


def _read_entries(conn: Connection, rows: list[Row[Any]]) -> list[dict[str, Any]]:
    """The stories of issues, newest issue first, each in the order of its issue; None where the text is gone."""
    return [
        {
            "issue": row.id,
            "position": position,
            "language": row.language,
            "published": row.published_at,
            "topics": [topic["id"] for topic in json.loads(found.topics)],
            "story": _STORY.validate_json(found.content) if found.content != "{}" else None,
        }
        for row in rows
        for position, found in enumerate(issues.list_stories(conn, row.id), start=1)
    ]

"""The console: what goes out, how it goes, what became of every mail, and the operator's hand on it.

Every page is whole without a script; with one its numbers follow. No GET changes anything: an action is asked for on a
page of its own, and done by its form.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from newsletter.core.search import KEYS, STATES
from newsletter.feedback import Feedback
from newsletter.report import describe_report
from newsletter.report.bounces import describe_bounces
from newsletter.report.overview import STRIP, describe_overview, describe_schedule
from newsletter.report.topics import describe_topics
from newsletter.settings.shown import show_settings
from newsletter.store import reports
from newsletter.web import charts
from newsletter.web.access import Access, Operator
from newsletter.web.acts import set_service_paused
from newsletter.web.console.deliveries import add_deliveries
from newsletter.web.console.issues import add_issues
from newsletter.web.console.people import add_people
from newsletter.web.console.room import Number, Room
from newsletter.web.desk import Desk
from newsletter.web.forms import read_form
from newsletter.web.pages import PageRoute, PageTemplates, answer_page

RUNS_SHOWN = 10


def make_console(desk: Desk, pages: PageTemplates, access: Access) -> APIRouter:
    """The routes under `/console`."""
    router = APIRouter(prefix="/console", include_in_schema=False, route_class=PageRoute)
    room = Room(desk=desk, pages=pages, access=access)
    _add_service(router, room)
    add_issues(router, room)
    add_deliveries(router, room)
    add_people(router, room)
    _add_tables(router, room)
    return router


def _add_service(router: APIRouter, room: Room) -> None:
    known = Annotated[Operator, Depends(room.access.demand)]

    @router.get("")
    def start(request: Request, operator: known) -> Response:
        return answer_page(
            request, room.pages, "console/start.html", lambda: {"operator": operator, **_look_around(room.desk)}
        )

    @router.get("/pause")
    @router.get("/resume")
    def ask_service(request: Request, operator: known) -> Response:
        return room.answer(operator, "ask_service", pausing=request.url.path.endswith("/pause"))

    @router.post("/pause")
    @router.post("/resume")
    async def act_on_service(request: Request, operator: known) -> Response:
        room.access.check_form(operator, (await read_form(request)).get("csrf", ""))
        await run_in_threadpool(set_service_paused, room.desk.service, request.url.path.endswith("/pause"))
        return RedirectResponse("/console", 303)


def _add_tables(router: APIRouter, room: Room) -> None:
    known = Annotated[Operator, Depends(room.access.demand)]

    @router.get("/schedule")
    def show_schedule(operator: known) -> Response:
        service = room.desk.service
        told = describe_schedule(service.timetable, service.now(), RUNS_SHOWN)
        return room.answer(operator, "schedule", told=told)

    @router.get("/bounces")
    def show_bounces(operator: known) -> Response:
        with room.desk.service.database.read() as conn:
            told = describe_bounces(conn, room.desk.service.now())
        return room.answer(operator, "bounces", told=told, days=charts.plot_days(told["by_day"]))

    @router.get("/reports/{number}/vouch")
    def ask_to_vouch(operator: known, number: Number) -> Response:
        with room.desk.service.database.read() as conn:
            row = reports.find_report(conn, number)
            return room.answer(operator, "vouch", here="bounces", told=describe_report(row), is_ours=row.is_ours)

    @router.post("/reports/{number}/vouch")
    async def vouch(request: Request, operator: known, number: Number) -> Response:
        room.access.check_form(operator, (await read_form(request)).get("csrf", ""))
        service = room.desk.service
        feedback = Feedback(database=service.database, signer=service.signer)
        await run_in_threadpool(feedback.vouch, number, now=service.now())
        return RedirectResponse("/console/bounces", 303)

    @router.get("/topics")
    def show_topics(operator: known) -> Response:
        service = room.desk.open()
        with service.database.read() as conn:
            told = describe_topics(conn, service.catalogue, service.matcher)
        sparks = {topic["id"]: charts.plot_spark(topic["stories"]) for topic in told["topics"]}
        return room.answer(operator, "topics", told=told, sparks=sparks)

    @router.get("/settings")
    def settings(operator: known) -> Response:
        return room.answer(operator, "settings", rows=show_settings(room.desk.service.settings))

    @router.get("/help")
    def show_help(operator: known) -> Response:
        return room.answer(operator, "help", keys=KEYS, states=STATES)


def _look_around(desk: Desk) -> dict[str, Any]:
    service = desk.service
    with service.database.read() as conn:
        told = describe_overview(
            conn,
            relays=service.make_relays(),
            limits=service.make_limits(),
            timetable=service.timetable,
            now=service.now(),
        )
    current = told["current"]
    return {
        "here": "start",
        "told": told,
        "strip": charts.plot_strip(told["issues"], STRIP),
        "bar": charts.stack_states(current) if current else [],
        "newest": desk.find_newest(),
        "database": service.database.name,
    }

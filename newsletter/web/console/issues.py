"""The console's pages of issues: all, one as it goes, and what the operator may do with it."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse, Response

from newsletter.core.errors import QueryError
from newsletter.report.progress import describe_issues, describe_progress
from newsletter.store import issues
from newsletter.web import charts
from newsletter.web.access import Operator
from newsletter.web.acts import ACTS, act_on_issue, find_act
from newsletter.web.console.room import MOST_NUMBER, Number, Room
from newsletter.web.desk import Desk
from newsletter.web.forms import read_form
from newsletter.web.pages import answer_page

ISSUES_SHOWN = 50


def add_issues(router: APIRouter, room: Room) -> None:
    """The routes under `/console/issues`."""
    known = Annotated[Operator, Depends(room.access.demand)]

    @router.get("/issues")
    def list_issues(operator: known, before: Annotated[int | None, Query(ge=1, lt=MOST_NUMBER)] = None) -> Response:
        with room.desk.service.database.read() as conn:
            rows = issues.list_latest(conn, ISSUES_SHOWN + 1, before=before)
            told = describe_issues(conn, rows[:ISSUES_SHOWN])
        following = rows[ISSUES_SHOWN - 1].id if len(rows) > ISSUES_SHOWN else None
        return room.answer(operator, "issues", issues=told, next=following)

    @router.get("/issues/{number}")
    def show_issue(request: Request, operator: known, number: Number) -> Response:
        return answer_page(
            request,
            room.pages,
            "console/issue.html",
            lambda: {"operator": operator, **_look_at_issue(room.desk, number)},
        )

    @router.get("/issues/{number}/{action}")
    def ask(
        operator: known,
        number: Number,
        action: str,
        reply: Annotated[int | None, Query(ge=1, lt=MOST_NUMBER)] = None,
    ) -> Response:
        act = find_act(action)
        with room.desk.service.database.read() as conn:
            told = describe_progress(conn, number, room.desk.service.now())
        wording = next((kind["wording"] for kind in told["errors"] if kind["id"] == reply), None)
        context = {"act": act, "told": told, "reply": reply, "wording": wording, "back": f"/console/issues/{number}"}
        return room.answer(operator, "ask", here="issues", legal=act.needs in told["actions"], **context)

    @router.post("/issues/{number}/{action}")
    async def act(request: Request, operator: known, number: Number, action: str) -> Response:
        form = await read_form(request)
        room.access.check_form(operator, form.get("csrf", ""))
        reply = form.get("reply", "")
        if reply and not (re.fullmatch(r"[0-9]{1,10}", reply) and int(reply) < MOST_NUMBER):
            raise QueryError(f"{reply[:40]!r} is no kind of reply")
        await run_in_threadpool(act_on_issue, room.desk.service, number, action, reply=int(reply) if reply else None)
        return RedirectResponse(f"/console/issues/{number}", 303)


def _look_at_issue(desk: Desk, number: int) -> dict[str, Any]:
    service = desk.service
    with service.database.read() as conn:
        told = describe_progress(conn, number, service.now())
        stories = [row.title for row in issues.list_stories(conn, number)]
        briefs = [row.name for row in issues.list_briefs(conn, number)]
    return {
        "here": "issues",
        "told": told,
        "stories": stories,
        "briefs": briefs,
        "bar": charts.stack_states(told),
        "plot": charts.plot_throughput(told["throughput"]),
        "acts": {name: act for name, act in ACTS.items() if act.needs in told["actions"]},
    }

"""The API: everything the console shows and does, as JSON under `/api`, described at `/api/openapi.json`.

For the operator's session, this machine where no password is set, or a bearer token.
"""

import re
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache, partial
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BeforeValidator

from newsletter.compose import reproduce_mail
from newsletter.core.errors import StoreError
from newsletter.core.model import DeliveryState, Exclusion, parse_delivery
from newsletter.core.search import CODE, Search
from newsletter.feedback import Feedback
from newsletter.publish import audit as audit_issue
from newsletter.report import describe_subscriber, explain_delivery
from newsletter.report.bounces import describe_bounces
from newsletter.report.deliveries import describe_delivery, find_deliveries
from newsletter.report.overview import describe_overview, describe_schedule, find_people
from newsletter.report.progress import describe_issues, describe_progress
from newsletter.report.topics import describe_topics
from newsletter.settings.shown import show_settings
from newsletter.store import issues, subscribers
from newsletter.web.access import Access
from newsletter.web.acts import act_on_issue, set_service_paused
from newsletter.web.api import models
from newsletter.web.api.models import MOST_NUMBER
from newsletter.web.api.problems import describe_api, handle_problems
from newsletter.web.desk import Desk

Number = Annotated[int, Path(ge=1, le=MOST_NUMBER, description="Number of the issue.", examples=[12])]
DeliveryId = Annotated[
    str, Path(pattern=r"^[1-9][0-9]{0,17}-[1-9][0-9]{0,17}$", description="ISSUE-SUBSCRIBER.", examples=["12-345"])
]
Limit = Annotated[int, Query(ge=1, le=200, description="How many a page holds at most.")]
Address = Annotated[
    str,
    Query(
        max_length=320,
        description="An address, a domain (`@example.org`), or what an address begins with.",
        examples=["@example.org"],
    ),
]
Reply = Annotated[int | None, Query(ge=1, le=MOST_NUMBER, description="Only those of this error group (its `id`).")]


def _demand_date_time(value: object) -> object:
    """Nothing but RFC 3339: a number would be taken for seconds, and OpenAPI promises a date-time."""
    if isinstance(value, str) and not re.match(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d", value, re.ASCII):
        raise ValueError("it is no time such as 2026-11-25T08:00:00Z")
    return value


Time = Annotated[datetime, BeforeValidator(_demand_date_time)]


def make_api(desk: Desk, access: Access) -> FastAPI:
    """The application to be mounted at `/api`."""
    api = FastAPI(
        title="Newsletter",
        version=version("newsletter"),
        description="What goes out, how it goes, what became of every mail, and the operator's hand on it.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(access.demand)],
    )
    handle_problems(api)
    _add_service(api, desk)
    _add_issues(api, desk)
    _add_deliveries(api, desk)
    _add_people(api, desk)
    describe = cache(partial(describe_api, api, open_to_loopback=access.password is None))

    @api.get("/openapi.json", include_in_schema=False)
    def openapi() -> Response:
        return JSONResponse(describe())

    return api


def _add_service(api: FastAPI, desk: Desk) -> None:
    @api.get("/status", response_model=models.Status, tags=["service"])
    def read_status() -> Any:
        """What runs, what comes, what is wrong, and the last issues."""
        service = desk.service
        with service.database.read() as conn:
            return describe_overview(
                conn,
                relays=service.make_relays(),
                limits=service.make_limits(),
                timetable=service.timetable,
                now=service.now(),
            )

    @api.get("/schedule", response_model=models.Schedule, tags=["service"])
    def read_schedule(count: Annotated[int, Query(ge=1, le=1000, description="How many runs.")] = 10) -> Any:
        """When the next issues go out."""
        return describe_schedule(desk.service.timetable, desk.service.now(), count)

    @api.post("/pause", response_model=models.Paused, tags=["service"])
    def pause_service() -> Any:
        """Pause the whole service; it stays paused over restarts."""
        return set_service_paused(desk.service, True)

    @api.post("/resume", response_model=models.Paused, tags=["service"])
    def resume_service() -> Any:
        """Let the whole service go on."""
        return set_service_paused(desk.service, False)

    @api.get("/settings", response_model=models.Settings, tags=["service"])
    def read_settings() -> Any:
        """The settings in force, secrets masked."""
        return {"settings": show_settings(desk.service.settings)}

    @api.get("/topics", response_model=models.Topics, tags=["service"])
    def read_topics() -> Any:
        """How the catalogue does on what was published."""
        service = desk.open()
        with service.database.read() as conn:
            return describe_topics(conn, service.catalogue, service.matcher)

    @api.get("/bounces", response_model=models.Bounces, tags=["service"])
    def read_bounces() -> Any:
        """What came back lately, what was refused in the last issues, and who is suppressed."""
        with desk.service.database.read() as conn:
            return describe_bounces(conn, desk.service.now())

    @api.post("/reports/{number}/vouch", response_model=models.ReportVouched, tags=["service"])
    def vouch_for_report(number: Number) -> Any:
        """Vouch for a report that carries no token of ours: it counts by the address that it names."""
        service = desk.service
        feedback = Feedback(database=service.database, signer=service.signer)
        return feedback.vouch(number, now=service.now()).describe()


def _add_issues(api: FastAPI, desk: Desk) -> None:
    @api.get("/issues", response_model=models.Issues, tags=["issues"])
    def list_issues(
        limit: Limit = 50,
        before: Annotated[
            int | None, Query(ge=1, le=MOST_NUMBER, description="Only issues before this one: a page's `next`.")
        ] = None,
    ) -> Any:
        """The issues, newest first."""
        with desk.service.database.read() as conn:
            rows = issues.list_latest(conn, limit + 1, before=before)
            told = describe_issues(conn, rows[:limit])
        return {"issues": told, "next": rows[limit - 1].id if len(rows) > limit else None}

    @api.get("/issues/{number}", response_model=models.Issue, tags=["issues"])
    def read_issue(number: Number) -> Any:
        """An issue as it goes: counts, rate, throughput, and why attempts failed."""
        with desk.service.database.read() as conn:
            return describe_progress(conn, number, desk.service.now())

    @api.get("/issues/{number}/audit", response_model=models.Audit, tags=["issues"])
    def read_audit(number: Number) -> Any:
        """The books of an issue, counted row by row: seconds where it has millions."""
        return asdict(audit_issue(desk.service.database, number))

    def add_action(action: str, meaning: str, *, by_group: bool = False) -> None:
        def act(number: Number) -> Any:
            return act_on_issue(desk.service, number, action)

        def act_on_group(number: Number, reply: Reply = None) -> Any:
            return act_on_issue(desk.service, number, action, reply=reply)

        api.post(
            f"/issues/{{number}}/{action}",
            response_model=models.Acted,
            response_model_exclude_none=True,
            tags=["issues"],
            summary=meaning,
            operation_id=f"{action.replace('-', '_')}_issue",
        )(act_on_group if by_group else act)

    add_action("pause", "Begin none of its mails until it is resumed")
    add_action("resume", "Let a paused issue go on")
    add_action("cancel", "Exclude what it still owes, for good")
    add_action("retry", "Put rejected deliveries back into the queue", by_group=True)
    add_action("settle-sent", "Take its uncertain deliveries for accepted")
    add_action("settle-resend", "Send its uncertain deliveries again")


def _add_deliveries(api: FastAPI, desk: Desk) -> None:
    @api.get("/deliveries", response_model=models.Deliveries, tags=["deliveries"])
    def search_deliveries(
        to: Address = "",
        state: models.State | None = None,
        reason: Annotated[Exclusion | None, Query(description="Why it is excluded.")] = None,
        code: Annotated[
            str,
            Query(
                pattern=f"^(?:{CODE})?$",
                description="A reply or enhanced code of any attempt, or how it begins.",
                examples=["5.1.1"],
            ),
        ] = "",
        issue: Annotated[int | None, Query(ge=1, le=MOST_NUMBER, description="Number of an issue.")] = None,
        topic: Annotated[str, Query(max_length=100, description="Mails that hold a story of this topic.")] = "",
        since: Annotated[
            Time | None, Query(description="Attempted at or after this time.", examples=["2026-11-25T08:00:00Z"])
        ] = None,
        limit: Limit = 50,
        after: Annotated[
            str | None, Query(pattern=r"^[0-9]{1,18}-[0-9]{1,18}$", description="A page's `next`.", examples=["12-345"])
        ] = None,
    ) -> Any:
        """Search the deliveries, the newest issue first."""
        search = Search(
            to=to.casefold(),
            state=state or (DeliveryState.EXCLUDED if reason else ""),
            reason=reason or "",
            code=code,
            issue=issue,
            topic=topic,
            since=since.replace(tzinfo=since.tzinfo or UTC) if since else None,
        )
        return find_deliveries(desk.service.database, search, after=after or "", most=limit)

    @api.get("/deliveries/{delivery}", response_model=models.DeliveryInFull, tags=["deliveries"])
    def read_delivery(delivery: DeliveryId) -> Any:
        """A delivery with every attempt and the relay's words."""
        return describe_delivery(desk.service.database, parse_delivery(delivery))

    @api.get("/deliveries/{delivery}/reasons", response_model=models.Reasons, tags=["deliveries"])
    def read_reasons(delivery: DeliveryId) -> Any:
        """Why its reader got these stories, and not the others."""
        service, (issue, number) = desk.open(), parse_delivery(delivery)
        describe_delivery(service.database, (issue, number))
        with service.database.read() as conn:
            person = subscribers.find_by_id(conn, number)
        if person is None:
            raise StoreError(f"there is no subscriber {number} any more")
        return explain_delivery(service.database, service.catalogue, person, issue)

    @api.get(
        "/deliveries/{delivery}/mail",
        response_class=Response,
        responses={
            200: {"content": {"message/rfc822": {"schema": {"type": "string", "format": "binary"}}}},
            409: {"description": "Its reader was erased, or its retention is over."},
        },
        tags=["deliveries"],
    )
    def read_mail(delivery: DeliveryId) -> Response:
        """The exact bytes of a delivery, again."""
        service = desk.service
        made = reproduce_mail(service.database, service.signer, parse_delivery(delivery))
        return Response(made, media_type="message/rfc822")


def _add_people(api: FastAPI, desk: Desk) -> None:
    @api.get("/subscribers", response_model=models.Subscribers, tags=["subscribers"])
    def list_subscribers(
        q: Address = "",
        limit: Limit = 50,
        after: Annotated[int, Query(ge=0, le=MOST_NUMBER, description="A page's `next`.")] = 0,
    ) -> Any:
        """The subscribers by address."""
        with desk.service.database.read() as conn:
            return find_people(conn, q, after=after, most=limit)

    @api.get("/subscribers/{number}", response_model=models.SubscriberInFull, tags=["subscribers"])
    def read_subscriber(
        number: Annotated[int, Path(ge=1, le=MOST_NUMBER, description="A list's `subscriber`.", examples=[345])],
    ) -> Any:
        """Everything held on a person."""
        with desk.service.database.read() as conn:
            person = subscribers.find_by_id(conn, number)
            if person is None:
                raise StoreError(f"there is no subscriber {number}")
            return describe_subscriber(conn, person)

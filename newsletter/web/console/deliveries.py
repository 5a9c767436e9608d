"""The console's pages of deliveries: a search, what it finds to take away, and one with its attempts and its mail."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import Response, StreamingResponse

from newsletter.compose import reproduce_mail
from newsletter.core.errors import QueryError, StoreError
from newsletter.core.model import parse_delivery
from newsletter.core.search import STATES, parse_search
from newsletter.report import explain_delivery
from newsletter.report.deliveries import describe_delivery, export_deliveries, find_deliveries
from newsletter.report.progress import describe_issues
from newsletter.store import issues, subscribers
from newsletter.web.access import Operator
from newsletter.web.console.room import Room
from newsletter.web.desk import Desk

ROWS = 50


def add_deliveries(router: APIRouter, room: Room) -> None:
    """The routes under `/console/deliveries`."""
    known = Annotated[Operator, Depends(room.access.demand)]

    @router.get("/deliveries")
    def search(operator: known, q: str = "", after: str = "") -> Response:
        return room.answer(operator, "deliveries", **_search(room.desk, q, after))

    @router.get("/deliveries/export")
    def export(operator: known, q: str = "", format: str = "csv") -> Response:  # noqa: A002
        as_csv = format != "jsonl"
        search = parse_search(q, now=room.desk.service.now())
        lines = export_deliveries(room.desk.service.database, search, as_csv=as_csv)
        kind, name = ("text/csv", "deliveries.csv") if as_csv else ("application/jsonl", "deliveries.jsonl")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(lines, media_type=kind, headers=headers)

    @router.get("/deliveries/{name}")
    def show_delivery(operator: known, name: str) -> Response:
        service = room.desk.open()
        told = describe_delivery(service.database, parse_delivery(name))
        with service.database.read() as conn:
            person = subscribers.find_by_id(conn, told["subscriber"])
        why = explain_delivery(service.database, service.catalogue, person, told["issue"]) if person else None
        return room.answer(operator, "delivery", here="deliveries", told=told, why=why)

    @router.get("/deliveries/{name}/mail")
    def show_mail(operator: known, name: str) -> Response:
        service = room.desk.service
        octets = reproduce_mail(service.database, service.signer, parse_delivery(name))
        headers = {"Content-Disposition": f'attachment; filename="{name}.eml"'}
        return Response(octets, media_type="message/rfc822", headers=headers)


def _search(desk: Desk, text: str, after: str) -> dict[str, Any]:
    """A page of a search; what is wrong with it is told beside the words as they were typed."""
    service = desk.service
    empty: dict[str, Any] = {"deliveries": [], "next": None}
    problem, found, chips = "", empty, []
    try:
        search = parse_search(text, now=service.now())
        found = find_deliveries(service.database, search, after=after, most=ROWS)
        with service.database.read() as conn:
            rows = issues.list_latest(conn, 1) if not search.issue else [issues.find_issue(conn, search.issue)]
            told = describe_issues(conn, rows)
        chips = _make_chips(text, told[0], search.state) if told else []
    except (QueryError, StoreError) as error:
        problem = str(error)
    following = urlencode({"q": text, "after": found["next"]}) if found["next"] else None
    return {
        "q": text,
        "found": found["deliveries"],
        "next": following,
        "query": urlencode({"q": text}),
        "chips": chips,
        "problem": problem,
    }


def _make_chips(text: str, told: Mapping[str, Any], chosen: str) -> list[dict[str, Any]]:
    """The states of the issue that is searched, or of the latest, each with its number and the search for it."""
    words = [word for word in text.split() if not word.startswith("state:")]
    if not any(word.startswith("issue:") for word in words):
        words.append(f"issue:{told['issue']}")
    counts = {state: sum(told[state].values()) if state == "excluded" else told[state] for state in STATES}
    return [
        {
            "state": state,
            "count": n,
            "here": state == chosen,
            "query": urlencode({"q": " ".join([*words, f"state:{state}"])}),
        }
        for state, n in counts.items()
    ]

"""The console's pages of subscribers: by address, and one with everything held on them."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from newsletter.core.errors import StoreError
from newsletter.report import describe_subscriber
from newsletter.report.overview import find_people
from newsletter.store import subscribers, tallies
from newsletter.web.access import Operator
from newsletter.web.console.room import MOST_NUMBER, Number, Room

ROWS = 50


def add_people(router: APIRouter, room: Room) -> None:
    """The routes under `/console/subscribers`."""
    known = Annotated[Operator, Depends(room.access.demand)]

    @router.get("/subscribers")
    def list_people(operator: known, q: str = "", after: Annotated[int, Query(ge=0, lt=MOST_NUMBER)] = 0) -> Response:
        with room.desk.service.database.read() as conn:
            found = find_people(conn, q[:320], after=after, most=ROWS)
            counts = tallies.count_people(conn)
        query = urlencode({"q": q, "after": found["next"]}) if found["next"] else None
        return room.answer(operator, "subscribers", q=q, found=found["subscribers"], next=query, counts=counts)

    @router.get("/subscribers/{number}")
    def show_person(operator: known, number: Number) -> Response:
        with room.desk.service.database.read() as conn:
            person = subscribers.find_by_id(conn, number)
            if person is None:
                raise StoreError(f"there is no subscriber {number}")
            told = describe_subscriber(conn, person)
        return room.answer(operator, "subscriber", here="subscribers", told=told, number=number)

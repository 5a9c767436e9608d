"""What came back is seen: on the console's page, in the API, in `status`, in the metrics, as alarms."""

from pathlib import Path

import pytest
from daemon_house import House
from test_feedback import bounce, key_of, publish, take, write_bounce, write_complaint, write_return_path
from test_feedback import house as feedback_house
from web_house import open_client, post

from newsletter.daemon.shelf import Shelf
from newsletter.daemon.watcher import Watcher
from newsletter.metrics import Metrics
from newsletter.report.bounces import describe_bounces, describe_came_back
from newsletter.store import alarms

pytestmark = pytest.mark.anyio
house = feedback_house


def let_come_back(house: House) -> None:
    """Two hard, one soft, one complaint, and one of nobody's."""
    publish(house, "two")
    bounce(house, "ann@example.org", 2)
    bounce(house, "ben@example.org", 2)
    take(house, write_bounce(write_return_path(house, key_of(house)), status="5.2.2", said="552 mailbox full"))
    take(house, write_complaint(write_return_path(house, key_of(house, "cyd@example.org")), "cyd@example.org"))
    take(house, write_bounce("news@example.org", "stranger@example.net", said="550 <script>alert(1)</script>"))


async def test_the_console_shows_what_came_back_and_lets_an_operator_vouch(house: House) -> None:
    let_come_back(house)
    async with open_client(house) as client:
        page = (await client.get("/console/bounces")).text
        assert "2 hard, 1 soft, 1 complaints" in page
        assert "unknown user" in page
        assert "2026-11-25: 2 hard" in page
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        asked = await client.get("/console/reports/5/vouch")
        assert "stranger@example.net" in asked.text
        assert (await client.post("/console/reports/5/vouch", data={"csrf": "forged"})).status_code == 403
        assert (await post(client, "/console/reports/5/vouch")).status_code == 303
        assert "needs nobody" in (await client.get("/console/reports/5/vouch")).text
        assert (
            "stranger@example.net"
            not in (await client.get("/console/bounces")).text.partition("What relays refused")[0]
        )
        assert (await client.get("/console/reports/99/vouch")).status_code == 404


async def test_the_api_tells_it_and_takes_a_word_for_it(house: House) -> None:
    let_come_back(house)
    async with open_client(house) as client:
        told = (await client.get("/api/bounces")).json()
        assert told["came_back"] == {
            "days": 30,
            "hard": 2,
            "soft": 1,
            "complaint": 1,
            "unsubscribe": 0,
            "auto-reply": 0,
        }
        assert {"kind": "hard", "reason": "unknown user", "reports": 2} in told["reasons"]
        assert told["came_back_from"][0]["domain"] == "example.org"
        assert (len(told["by_day"]), told["by_day"][-1]["hard"]) == (31, 2)
        (unclear,) = told["unclear"]
        vouched = (await client.post(f"/api/reports/{unclear['report']}/vouch")).json()
        assert (vouched["email"], vouched["action"]) == ("stranger@example.net", "suppressed")
        assert (await client.post(f"/api/reports/{unclear['report']}/vouch")).status_code == 409
        assert (await client.post("/api/reports/99/vouch")).status_code == 404


def test_status_tells_reasons_and_domains(house: House) -> None:
    let_come_back(house)
    with house.service.database.read() as conn:
        told = describe_came_back(conn, house.now)
    assert told["reasons"] == {"unknown user": 2, "mailbox full": 1, "abuse": 1}
    assert told["domains"] == {"example.org": 4}


def test_the_metrics_count_it_by_kind_and_reason(house: House) -> None:
    let_come_back(house)
    watcher = Watcher(service=house.service, shelf=Shelf(), metrics=Metrics("1"))
    watcher.look(house.now, delivering=True, stopped=None)
    assert 'newsletter_reports{kind="hard",reason="unknown user"} 2.0' in watcher.metrics.render()


def test_too_much_of_an_issue_and_a_mailbox_that_cannot_be_read_are_alarms(house: House, tmp_path: Path) -> None:
    house.add_people(*(f"p{n}@example.org" for n in range(25)))
    number = publish(house, "two")
    for n in range(20):
        bounce(house, f"p{n}@example.org", number)
    watcher = Watcher(service=house.service, shelf=Shelf(), metrics=Metrics("1"))
    watcher.look(house.now, delivering=True, stopped=None, mailbox_failure=f"{tmp_path} is no maildir")
    with house.service.database.read() as conn:
        standing = {row.cause: row.message for row in alarms.list_standing(conn)}
    assert standing["reported_share"].startswith(f"issue {number}: 20 hard bounces of the mails that were taken (71.4%")
    assert standing["mailbox_unreadable"] == f"bounces are not read: {tmp_path} is no maildir"
    watcher.look(house.now, delivering=True, stopped=None)
    with house.service.database.read() as conn:
        assert "mailbox_unreadable" not in {row.cause for row in alarms.list_standing(conn)}


def test_without_anything_the_days_are_there_and_empty(house: House) -> None:
    with house.service.database.read() as conn:
        told = describe_bounces(conn, house.now)
    assert (told["reasons"], told["unclear"], len(told["by_day"])) == ([], [], 31)

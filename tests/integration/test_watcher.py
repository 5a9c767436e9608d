"""What the daemon sees of itself: alarms raised and ended, told by mail once a cause and hour, and the metrics."""

import email
from collections.abc import Iterator
from datetime import timedelta
from email import policy
from pathlib import Path

import pytest
from daemon_house import START, House
from smtp_server import SmtpServer

from newsletter.bootstrap import Service
from newsletter.core.model import DeliveryState, IssueState, Outcome
from newsletter.core.policy import BLAMED
from newsletter.core.throttle import HEALTHY, back_off
from newsletter.daemon.alert import mail_alarms
from newsletter.daemon.shelf import Shelf
from newsletter.daemon.watcher import Watcher
from newsletter.metrics import Metrics
from newsletter.store import issues, upkeep
from newsletter.store.alarms import describe_alarms
from newsletter.store.moves import Finished
from newsletter.store.throttles import Throttled, write_backoff

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
HOUR_AGO = START - HOUR


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path / "house")
    house.add_readers("Europe/Berlin")
    yield house
    house.service.database.close()


def make_watcher(house: House, service: Service | None = None) -> Watcher:
    shelf = Shelf(clock=lambda: house.now.timestamp())
    return Watcher(service=service or house.service, shelf=shelf, metrics=Metrics("1.0"))


def look(house: House, watcher: Watcher, *, stopped: str | None = None) -> list[str]:
    """Look once; returns the causes that stand."""
    watcher.look(house.now, delivering=True, stopped=stopped)
    with house.service.database.read() as conn:
        return [str(alarm["cause"]) for alarm in describe_alarms(conn)]


def finish(number: int, state: DeliveryState) -> Finished:
    outcome = Outcome(state.value)
    return Finished(
        key=(1, number), attempt=1, at=HOUR_AGO, relay_id=1, outcome=outcome, code=250, enhanced=None,
        response="", seconds=0.1, digest=None, state=state,
    )  # fmt: skip


def test_a_brief_that_cannot_be_read_stands_until_it_is_mended(house: House, caplog: pytest.LogCaptureFixture) -> None:
    path = house.add_brief("2026-11-25-wed", "Wednesday")
    watcher = make_watcher(house)
    assert look(house, watcher) == []
    path.write_bytes(b"# Wed\n\n\xff\n")
    house.age(path)
    assert look(house, watcher) == ["brief_unreadable"]
    assert look(house, watcher) == ["brief_unreadable"]
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "2026-11-25-wed.md, line 3: byte 0xff" in record.getMessage()
    assert 'newsletter_alarms{cause="brief_unreadable"} 1.0' in watcher.metrics.render()
    assert "newsletter_broken_briefs 1.0" in watcher.metrics.render()
    house.add_brief("2026-11-25-wed", "Wednesday")
    assert look(house, watcher) == []
    assert "newsletter_broken_briefs 0.0" in watcher.metrics.render()


def test_a_folder_that_is_missing_alarms(tmp_path: Path) -> None:
    house = House(tmp_path / "house", settings={"BRIEFS": str(tmp_path / "nowhere")})
    assert look(house, make_watcher(house)) == ["brief_unreadable"]
    house.service.database.close()


def test_a_relay_that_is_down_stands_until_it_takes_mail(house: House) -> None:
    watcher = make_watcher(house)
    name = house.service.make_relays()[0].name
    with house.service.database.write() as conn:
        down = back_off(HEALTHY, house.now, [HOUR], reason="refused")
        write_backoff(conn, Throttled.RELAY, name, down)
    assert look(house, watcher, stopped="refused") == ["relay_down"], "and not the stop that follows from it"
    assert f'newsletter_relay_up{{relay="{name}"}} 0.0' in watcher.metrics.render()
    with house.service.database.write() as conn:
        write_backoff(conn, Throttled.RELAY, name, HEALTHY)
    assert look(house, watcher) == []
    assert f'newsletter_relay_up{{relay="{name}"}} 1.0' in watcher.metrics.render()


def test_delivery_and_publication_that_fail_alarm(house: House) -> None:
    watcher = make_watcher(house)
    assert look(house, watcher, stopped="the disk is full") == ["delivery_stopped"]
    watcher.look(house.now, delivering=True, stopped=None, publishing_failure="no such topic")
    with house.service.database.read() as conn:
        assert [str(alarm["cause"]) for alarm in describe_alarms(conn)] == ["run_failed"]


def test_an_issue_that_paused_itself_alarms_until_it_goes_on(house: House) -> None:
    house.add_brief("2026-11-25-wed", "Wednesday")
    service = house.open()
    service.make_publisher().publish(service.find_brief("latest"), now=house.now)
    with service.database.write() as conn:
        issues.pause_running(conn, 1, f"{BLAMED}, as in: 554 spam")
    assert look(house, make_watcher(house)) == ["issue_paused"]
    with service.database.write() as conn:
        issues.set_issue_state(conn, 1, IssueState.RUNNING)
    assert look(house, make_watcher(house)) == []


def test_a_share_of_rejections_alarms_and_attempts_are_counted(house: House) -> None:
    watcher = make_watcher(house)
    for number in range(30):
        watcher.note(finish(number, DeliveryState.REJECTED if number < 20 else DeliveryState.ACCEPTED))
    assert look(house, watcher) == ["rejected_share"]
    text = watcher.metrics.render()
    assert 'newsletter_attempts_total{outcome="rejected"} 20.0' in text
    assert 'newsletter_deliveries_total{outcome="accepted"} 10.0' in text
    assert "newsletter_attempt_seconds_count 30.0" in text


def test_the_metrics_say_what_is_owed_and_when_the_next_run_is(house: House) -> None:
    house.add_brief("2026-11-25-wed", "Wednesday")
    service = house.open()
    service.make_publisher().publish(service.find_brief("latest"), now=house.now)
    watcher = make_watcher(house)
    look(house, watcher)
    text = watcher.metrics.render()
    numbers = {
        name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    }
    assert numbers['newsletter_owed{state="queued"}'] == 1
    assert numbers['newsletter_owed{state="sending"}'] == 0
    assert numbers["newsletter_next_run_timestamp_seconds"] == (START + HOUR).timestamp()
    assert numbers["newsletter_last_brief_age_seconds"] == 3600
    assert numbers["newsletter_paused"] == 0
    assert numbers["newsletter_delivering"] == 1
    assert numbers['newsletter_info{version="1.0"}'] == 1
    with house.service.database.write() as conn:
        upkeep.set_paused(conn, True)
    look(house, watcher)
    assert "newsletter_paused 1.0" in watcher.metrics.render()


def test_without_schedule_and_briefs_there_is_no_number_for_them(tmp_path: Path) -> None:
    house = House(tmp_path / "house", settings={"SCHEDULE": ""})
    watcher = make_watcher(house)
    look(house, watcher)
    assert "newsletter_next_run_timestamp_seconds NaN" in watcher.metrics.render()
    assert "newsletter_last_brief_age_seconds NaN" in watcher.metrics.render()
    house.service.database.close()


async def test_one_mail_a_cause_and_hour_tells_of_alarms(house: House) -> None:
    async with SmtpServer() as server:
        settings = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none"}
        service = house.open(ALERT_TO="ops@example.org", **settings)
        watcher = make_watcher(house, service)
        broken = [house.add_brief(f"2026-11-2{day}-x", "X") for day in (3, 4, 5)]
        for path, minutes in zip(broken, (0, 20, 50), strict=True):
            path.write_bytes(b"\xff")
            house.age(path)
            look(house, watcher)
            house.now += timedelta(minutes=minutes)
            await mail_alarms(service, house.now)
            await mail_alarms(service, house.now)
        assert [mail.recipient for mail in server.mails] == ["ops@example.org"] * 2
        first, second = (email.message_from_bytes(mail.data, policy=policy.default) for mail in server.mails)
    assert first["Subject"] == "News: brief unreadable"
    assert first["From"] == "news@example.org"
    assert first["Auto-Submitted"] == "auto-generated"
    assert "2026-11-23-x.md" in first.get_content()
    assert second["Subject"] == "News: brief unreadable (2)"
    assert "2026-11-25-x.md" in second.get_content()


async def test_an_alarm_that_no_relay_takes_is_mailed_later(house: House, caplog: pytest.LogCaptureFixture) -> None:
    async with SmtpServer(replies={"MAIL": ["451 4.3.0 later", None]}) as server:
        settings = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none"}
        gone = '{"host":"127.0.0.1","port":1,"tls":"none"}'
        there = f'{{"host":"{server.host}","port":{server.port},"tls":"none"}}'
        service = house.open(ALERT_TO="ops@example.org", RELAYS=f"[{gone},{there}]", **settings)
        look(house, make_watcher(house, service), stopped="the disk is full")
        await mail_alarms(service, house.now)
        assert server.mails == []
        assert "could not be mailed" in caplog.text
        await mail_alarms(service, house.now)
        assert len(server.mails) == 1


async def test_without_an_address_for_them_alarms_stay_in_the_log(house: House) -> None:
    async with SmtpServer() as server:
        service = house.open(SMTP__HOST=server.host, SMTP__PORT=str(server.port), SMTP__TLS="none")
        look(house, make_watcher(house, service), stopped="the disk is full")
        await mail_alarms(service, house.now)
    assert server.sessions == []
    with house.service.database.read() as conn:
        assert [alarm["cause"] for alarm in describe_alarms(conn)] == ["delivery_stopped"]

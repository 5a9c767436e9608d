"""A whole day of two daemons on one database, with a clock that the test turns and a server that is not always kind."""

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from daemon_house import START, House
from smtp_server import SmtpServer

from newsletter.daemon.ticker import Ticker
from newsletter.publish import audit
from newsletter.store import upkeep

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)
ZONES = ("Europe/Berlin", "Asia/Tokyo", "Asia/Kathmandu", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago")
STEP = timedelta(minutes=5)


async def deliver_due(house: House, ticker: Ticker) -> None:
    with house.service.database.read() as conn:
        due = upkeep.is_work_due(conn, house.now)
    if due:
        await ticker.service.make_delivery(issue=None, by_hand=False).deliver()


@pytest.mark.long
@pytest.mark.parametrize("local", ["false", "true"])
async def test_twenty_four_hours(tmp_path: Path, local: str) -> None:
    house = House(tmp_path / "house", settings={"SCHEDULE": "0 7,19 * * *", "LOCAL_TIME": local})
    house.add_readers(*ZONES)
    house.add_readers(*ZONES, frequency="daily")
    full = {"tokyo-each@example.org": ["452 4.2.2 mailbox full", None]}
    gone = {"berlin-daily@example.org": "550 5.1.1 no such user"}
    async with SmtpServer(greylist="451 4.7.1 try again in 300 seconds", replies={"RCPT": {**full, **gone}}) as server:
        relay = {"SMTP__HOST": server.host, "SMTP__PORT": str(server.port), "SMTP__TLS": "none"}
        tickers = [house.make_ticker(**relay) for _ in range(2)]
        house.add_brief("2026-11-25-morning", "Morning")
        end, set_back = START + 50 * HOUR, False
        while house.now < end:
            house.now += STEP
            if house.now == START + 10 * HOUR:
                house.add_brief("2026-11-25-evening", "Evening")
            if house.now == START + 14 * HOUR:  # the first daemon dies, and its successor starts with nothing in mind
                tickers[0] = house.make_ticker(**relay)
            if house.now == START + 20 * HOUR and not set_back:
                set_back = True
                house.now -= 2 * HOUR
            for ticker in tickers:
                ticker.tick(house.now)
                await deliver_due(house, ticker)
        told = Counter((mail.recipient, title_of(mail.data)) for mail in server.mails)
    readers = {mail.recipient for mail in server.mails}
    assert len(house.list_issues()) == 2
    assert max(told.values()) == 1
    assert len(readers) == len(ZONES) * 2 - 1, "all but the one that the server does not know"
    for recipient in readers:
        titles = {title for reader, title in told if reader == recipient}
        expected = {"Morning", "Evening"}
        assert titles == expected or (recipient.endswith("-daily@example.org") and titles == {"Morning"})
    for number, _, _ in house.list_issues():
        books = audit(house.service.database, number)
        assert books.balanced
        assert books.queued == books.deferred == books.sending == 0
    for ticker in tickers:
        ticker.service.database.close()
    house.service.database.close()


def title_of(data: bytes) -> str:
    return "Morning" if b"Morning" in data else "Evening"

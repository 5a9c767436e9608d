"""A service in a folder of its own, with a clock that the test turns, for tests of the daemon's rooms."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from newsletter.bootstrap import Service
from newsletter.core.model import DeliveryState
from newsletter.core.preferences import parse_row
from newsletter.daemon.shelf import Shelf
from newsletter.daemon.ticker import Ticker
from newsletter.settings import load_settings
from newsletter.store import issues, requests
from newsletter.store.schema import batches, briefs, deliveries
from newsletter.transfer import ImportResult, save_rows

START = datetime(2026, 11, 25, 5, 0, tzinfo=UTC)
TOPICS = '[topics.sport]\nname = "Sport"\nkeywords = ["football"]\n'


@dataclass
class House:
    """A folder with topics and briefs, and the service over it; `now` is what its clock shows.

    A folder that is there already is taken as it is.
    """

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    now: datetime = START

    def __post_init__(self) -> None:
        if not (self.folder / "briefs").exists():
            (self.folder / "briefs").mkdir(parents=True)
            (self.folder / "topics.toml").write_text(TOPICS)
            (self.folder / "empty.env").touch()
        self.service = self.open()

    def open(self, **more: str) -> Service:
        """Another process, as it were, over the same folder and database."""
        given = {
            "FROM": "News <news@example.org>",
            "SECRET_KEY": "k" * 32,
            "DATABASE_URL": f"sqlite:///{self.folder / 'n.db'}",
            "BRIEFS": str(self.folder / "briefs"),
            "TOPICS": str(self.folder / "topics.toml"),
            "TIMEZONE": "Europe/Berlin",
            "SCHEDULE": "0 7 * * *",
            **self.settings,
            **more,
        }
        environ = {f"NEWSLETTER_{name}": value for name, value in given.items()}
        return Service(load_settings(self.folder / "empty.env", environ), clock=lambda: self.now)

    def make_ticker(self, **more: str) -> Ticker:
        """A daemon's ticker that has begun now."""
        service = self.open(**more)
        ticker = Ticker(service=service, shelf=Shelf(clock=lambda: self.now.timestamp()))
        ticker.begin(self.now)
        return ticker

    def turn(self, ticker: Ticker, to: datetime, *, step: timedelta = timedelta(minutes=1)) -> None:
        """Let the clock run to a moment, with a tick at every step and at the end."""
        while self.now < to:
            self.now = min(self.now + step, to)
            ticker.tick(self.now)

    def add_brief(self, name: str, title: str, *, text: str = "All about football.") -> Path:
        """Put a brief of one story into the folder, written an hour ago."""
        path = self.folder / "briefs" / f"{name}.md"
        path.write_text(f"# {title}\n\n## {title}: a story\n\n{text} {title}.\n")
        self.age(path)
        return path

    def age(self, path: Path, seconds: float = 3600) -> None:
        """Let a file have been changed so long ago by the house's clock."""
        moment = self.now.timestamp() - seconds
        os.utime(path, (moment, moment))

    def add_readers(self, *zones: str, frequency: str = "each") -> None:
        """A reader of everything a zone; they have been there for a year."""
        self._sign_up(
            {
                "email": f"{zone.rpartition('/')[2].lower()}-{frequency.replace(':', '-')}@example.org",
                "topics": "*",
                "timezone": zone,
                "frequency": frequency,
            }
            for zone in zones
        )

    def add_people(self, *emails: str) -> None:
        """Readers of everything; they have been there for a year."""
        self._sign_up({"email": email, "topics": "*"} for email in emails)

    def _sign_up(self, people: Iterable[dict[str, str]]) -> None:
        rows = [parse_row(person, topics={"sport"}, languages={"en"}) for person in people]
        with self.service.database.write() as conn:
            signed_up = self.now - timedelta(days=365)
            save_rows(conn, self.service.database.ledger_key, rows, ImportResult(), now=signed_up, source="test")

    def list_issues(self) -> list[tuple[int, str, str]]:
        """(number, period, names of its briefs) of each issue, oldest first."""
        with self.service.database.read() as conn:
            found = []
            for row in reversed(issues.list_issues(conn)):
                names = conn.execute(briefs.select().where(briefs.c.issue_id == row.id).order_by(briefs.c.id))
                found.append((row.id, row.period, "+".join(brief.name for brief in names)))
            return found

    def count_rows(self) -> int:
        """How many deliveries were written."""
        with self.service.database.read() as conn:
            return len(conn.execute(deliveries.select()).all())

    def list_batches(self) -> list[Any]:
        """The batches, by when they are due."""
        with self.service.database.read() as conn:
            return list(conn.execute(batches.select().order_by(batches.c.due_at)).all())

    def count_in(self, state: DeliveryState) -> int:
        """How many deliveries are in a state."""
        with self.service.database.read() as conn:
            return len(conn.execute(deliveries.select().where(deliveries.c.state == state)).all())

    def list_requests(self) -> list[str]:
        """What is asked of who delivers."""
        with self.service.database.read() as conn:
            return [name for name, _ in requests.list_requests(conn)]

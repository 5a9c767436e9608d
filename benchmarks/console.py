"""How quick the console is with a million deliveries: every page, and searches that find many, few or none.

A daemon serves it (`run --no-delivery`); each page is asked for over HTTP, after one that warms it. Exit 1 where the
slowest of a page's askings takes over 200 ms. `python benchmarks/console.py --readers 20000` for a quick look.
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from _results import save_results
from _workfolder import WorkFolder
from health import find_port, is_up

from newsletter.bootstrap import open_service
from newsletter.core.model import DeliveryState, Outcome
from newsletter.settings import load_settings
from newsletter.store import moves, outbox
from newsletter.store.database import Database
from newsletter.store.schema import deliveries

MOST_MS = 200.0
TIMES = 7
CHUNK = 5_000
PAGES = (
    *("/console", "/console/issues", "/console/issues/1", "/console/deliveries", "/console/deliveries/1-77"),
    *("/console/schedule", "/console/subscribers", "/console/subscribers/77", "/console/bounces", "/console/topics"),
    *("/console/settings", "/api/status", "/api/issues/1", "/api/deliveries?limit=200", "/api/subscribers?limit=200"),
)
SEARCHES = (
    *("to:reader77@example.org", "reader99", "@d7.example.org", "@nowhere.example", "state:accepted", "state:rejected"),
    *(
        "state:deferred",
        "state:uncertain",
        "state:queued",
        "state:suppressed",
        "state:no_matching_stories",
        "code:5.1.1",
    ),
    *(
        "code:4",
        "code:250",
        "code:5.7.26",
        "topic:t3",
        "topic:nothing",
        "since:1h",
        "since:10m",
        "topic:t3 state:rejected",
    ),
)


def build(folder: WorkFolder, readers: int) -> None:
    """A database with one issue for so many readers, most of them accepted, some refused, deferred, in doubt."""
    folder.write_brief(3)
    folder.write_readers(readers)
    with chdir(folder.path), open_service(load_settings(None, environ=folder.environment)) as service:
        now = datetime.now(UTC)
        service.make_publisher().publish(service.find_brief("latest"), now=now)
        pretend(service.database, now - timedelta(hours=2))


def pretend(database: Database, began: datetime) -> None:
    """What a send would have written: of 1,000 950 accepted, 25 rejected, 20 deferred, 2 uncertain, 3 still queued."""
    with database.read() as conn:
        keys = [
            (row.issue_id, row.subscriber_id)
            for row in conn.execute(deliveries.select().where(deliveries.c.state == "queued"))
        ]
    with database.write() as conn:
        relay = outbox.intern_relay(conn, "127.0.0.1:25")
    for start in range(0, len(keys), CHUNK):
        finished = [
            pretend_one(key, relay, began + timedelta(seconds=key[1] / 300)) for key in keys[start : start + CHUNK]
        ]
        with database.write() as conn:
            moves.finish_attempts(conn, [attempt for attempt in finished if attempt is not None])


def pretend_one(key: tuple[int, int], relay: int, at: datetime) -> moves.Finished | None:
    place = key[1] % 1000
    if place < 3:
        return None
    outcome, code, enhanced, text, state = Outcome.ACCEPTED, 250, "2.0.0", f"2.0.0 queued as {key[1]:X}", "accepted"
    if place < 28:
        outcome, code, enhanced, state = Outcome.REJECTED, 550, "5.1.1", "rejected"
        text = (
            f"5.1.1 <reader{key[1]}@example.org>: no such user ({place})" if place < 20 else "5.7.1 refused by policy"
        )
    elif place < 48:
        outcome, code, enhanced, state = Outcome.DEFERRED, 450, "4.2.0", "queued"
        text = f"4.2.0 greylisted, try again in {place} seconds"
    elif place < 50:
        outcome, code, enhanced, text, state = Outcome.UNCERTAIN, 0, "", "the connection was lost", "uncertain"
    return moves.Finished(
        key=key,
        attempt=1,
        at=at,
        relay_id=relay,
        outcome=outcome,
        code=code or None,
        enhanced=enhanced or None,
        response=text,
        seconds=0.01,
        digest=None,
        state=DeliveryState(state),
        due_at=at + timedelta(hours=9) if state == "queued" else None,
    )


def ask(address: str) -> list[float]:
    """Milliseconds of each asking."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        with urlopen(address, timeout=60) as answer:
            answer.read()
        took.append((time.perf_counter() - began) * 1000)
    return took


def measure(folder: WorkFolder, port: int) -> dict[str, dict[str, float]]:
    told = {}
    for path in (*PAGES, *(f"/console/deliveries?q={quote(words)}" for words in SEARCHES)):
        first, *rest = ask(f"http://127.0.0.1:{port}{path}")
        told[path] = {
            "first": round(first, 1),
            "median": round(statistics.median(rest), 1),
            "most": round(max(rest), 1),
        }
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readers", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="Keep the database there, and use it again.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        path = given.folder or Path(made)
        port = find_port()
        folder = WorkFolder(
            path=path, topics=20, stories=20, settings={"WEB__PORT": str(port), "SCHEDULE": "0 7 * * *"}
        )
        if not (path / "newsletter.db").exists():
            build(folder, given.readers)
        daemon = folder.start("run", "--no-delivery")
        try:
            while not is_up(f"http://127.0.0.1:{port}"):
                time.sleep(0.1)
            told = measure(folder, port)
        finally:
            daemon.terminate()
            daemon.wait(30)
    for address, times in told.items():
        sys.stdout.write(
            f"{times['median']:7.1f} ms, at most {times['most']:6.1f}, first {times['first']:6.1f}  {address}\n"
        )
    slowest = max(max(times["most"], times["first"]) for times in told.values())
    sys.stdout.write(f"{given.readers:,} readers: the slowest {slowest:.0f} ms\n")
    save_results("console", {"readers": given.readers, "pages": told})
    sys.exit(slowest > MOST_MS)


if __name__ == "__main__":
    main()

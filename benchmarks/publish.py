"""Importing readers and publishing to them: the time a reader takes, and how it grows with their number.

Twenty topics, each reader with one to six of them: most editions have a few readers only, as on a real list. Sizes may
be named: `python benchmarks/publish.py 10000 1000000`.
"""

import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from sqlalchemy import Connection

from newsletter.core.mails.parts import Sender
from newsletter.core.mails.render import Renderer
from newsletter.core.model import Block, BlockKind, Brief, Span, Story, Topic
from newsletter.core.topics.matcher import TopicMatcher
from newsletter.publish import Publisher
from newsletter.sources.resources import load_templates
from newsletter.store.database import Database, open_database
from newsletter.transfer import import_file

SIZES = tuple(map(int, sys.argv[1:])) or (2_000, 20_000)
TOPICS = {f"t{number}": Topic(id=f"t{number}", name=f"Topic {number}") for number in range(20)}
SENDER = Sender(name="N", from_name="N", from_address="n@example.org", base_url="https://example.org", key_id="00")
NOW = datetime(2026, 1, 5, 7, 0, tzinfo=UTC)


class TimedDatabase(Database):
    """One that remembers how long its longest write transaction took, in seconds."""

    longest = 0.0

    @contextmanager
    def write(self) -> Iterator[Connection]:
        with super().write() as conn:
            began = time.perf_counter()
            yield conn
        TimedDatabase.longest = max(TimedDatabase.longest, time.perf_counter() - began)


def write_list(path: Path, count: int) -> None:
    """A CSV of so many readers."""
    chosen = random.Random(1)  # the same list in every run
    rows = (";".join(chosen.sample(list(TOPICS), chosen.randint(1, 6))) for _ in range(count))
    lines = (f"reader{number}@example.org,{topics}\n" for number, topics in enumerate(rows))
    path.write_text("email,topics\n" + "".join(lines), encoding="utf-8")


def peak_memory() -> int:
    """Of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def make_brief() -> Brief:
    """Twenty stories of two topics each."""
    body = (Block(kind=BlockKind.PARAGRAPH, spans=(Span(text="Something happened, and people told of it. " * 12),)),)
    names = list(TOPICS)
    stories = tuple(
        Story(title=f"Story {number}", blocks=body, by_hand=(names[number], names[number * 7 % 20]))
        for number in range(20)
    )
    return Brief(id="day", title="Day", date=date(2026, 1, 5), language="en", stories=stories, source="day.md")


def measure(folder: Path, count: int) -> tuple[float, float, int]:
    """Seconds to import so many readers, seconds to publish to them, and the number of editions."""
    database = open_database(f"sqlite:///{folder / f'{count}.db'}")
    write_list(folder / f"{count}.csv", count)
    began = time.perf_counter()
    import_file(database, folder / f"{count}.csv", topics=TOPICS, languages=("en",), now=NOW)
    imported = time.perf_counter()
    sys.stdout.write(f"peak memory of importing {count:,}: {peak_memory()} MB\n")
    database.__class__ = TimedDatabase
    publisher = Publisher(
        database=database,
        catalogue=TOPICS,
        matcher=TopicMatcher(TOPICS),
        renderer=Renderer(load_templates(None)),
        sender=Sender(
            name="N", from_name="N", from_address="n@example.org", base_url="https://example.org", key_id="00"
        ),
        language="en",
        timezone="UTC",
    )
    published = publisher.publish(make_brief(), now=NOW)
    ended = time.perf_counter()
    database.close()
    return imported - began, ended - imported, published.editions


def main() -> None:
    """Print a line a size, and the ratios."""
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for count in SIZES:
            importing, publishing, editions = measure(Path(folder), count)
            costs.append((importing / count, publishing / count))
            told = f"import {importing:.2f} s, publish {publishing:.2f} s, {editions:,} editions"
            sys.stdout.write(f"{count:>7,} readers: {told}\n")
    (first_import, first_publish), (last_import, last_publish) = costs[0], costs[-1]
    sys.stdout.write(
        f"a reader at {SIZES[-1]:,} against {SIZES[0]:,}: "
        f"import {last_import / first_import:.2f}, publish {last_publish / first_publish:.2f}\n"
    )
    longest = TimedDatabase.longest * 1000
    sys.stdout.write(f"peak memory {peak_memory()} MB, the longest write transaction of publishing {longest:.0f} ms\n")


if __name__ == "__main__":
    main()

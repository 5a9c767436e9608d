"""Writes the deliveries of an issue: decides for a page of readers at a time, and commits each page by itself."""

import gc
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row

from newsletter.core.model import Brief, DeliveryState, Exclusion, IssueState, Story
from newsletter.core.plan import WINDOW, Decision, Planner, Reader, WindowStory
from newsletter.publish.typesetter import Matched, Typesetter
from newsletter.store import issues, ledger, outbox, subscribers
from newsletter.store.database import Database
from newsletter.store.ledger import Audit

STORY = TypeAdapter(Story)
YOUNG = 1
"""The generation of the garbage collector in which the refuse of a page is."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What publishing would come to; `issue` is None where it would be a new one."""

    issue: int | None
    new: int
    editions: int
    audit: Audit


@dataclass(frozen=True, kw_only=True)
class Press(Typesetter):
    """What compiles an issue into one database.

    `timezone` serves readers who chose none; `embed` puts into stories the pictures that travel with them.
    """

    database: Database
    timezone: str
    embed: Callable[[Sequence[Story]], Sequence[Story]] = tuple

    def match_embedded(self, brief: Brief) -> list[Matched]:
        """Each story of a brief with its topics and its pictures; fetches these, and so takes its time."""
        matched = self.match_topics(brief)
        stories = self.embed([story for story, _ in matched])
        return [(story, topics) for story, (_, topics) in zip(stories, matched, strict=True)]


@dataclass
class PageWriter:
    """Writes the deliveries of one issue, a page of subscribers a transaction, until its audience is through."""

    press: Press
    number: int
    _frames: dict[str, bytes] = field(default_factory=dict)
    _rendered: set[tuple[str, int]] = field(default_factory=set)
    _editions: dict[tuple[str, tuple[int, ...]], int] = field(default_factory=dict)
    _held_stories: dict[int, frozenset[int]] = field(default_factory=dict)

    def write_all(self, now: datetime, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Write what is missing, unless told to stop between two pages; returns how many rows this call wrote."""
        database, written = self.press.database, 0
        with database.read() as conn:
            issue = issues.find_issue(conn, self.number)
            if issue.state != IssueState.PREPARING:
                return 0
            window = issues.read_window(conn, self.number, issue.due_at - WINDOW)
        waves = issues.read_waves(issue)
        planner = Planner(issue_id=self.number, due_at=issue.due_at, window=window, waves=waves)
        self._stories = {story.id: story.story_id for story in window}
        with _collecting_by_hand():
            while count := self._write_next(planner):
                written += count
                gc.collect(YOUNG)
                if should_stop():
                    return written
        with database.write() as conn:
            issues.finish_issue(conn, self.number, now)
        return written

    def _write_next(self, planner: Planner) -> int:
        """Decide on the next page and write it, in one transaction, so that nothing changes in between."""
        with self.press.database.write() as conn:
            issue = issues.find_issue(conn, self.number)
            page = self._read_page(conn, issue.cursor, issue.audience_max_id)
            if not page or issue.state != IssueState.PREPARING:
                return 0
            issues.advance_cursor(conn, self.number, page[-1].id, selected=len(page))
            self._write_page(conn, issue, planner, list(self._decide(conn, planner, page)))
            return len(page)

    def count_all(self, now: datetime, window: Sequence[WindowStory]) -> Planned:
        """Decide on the whole audience without writing anything."""
        planner = Planner(issue_id=self.number, due_at=now, window=window)
        self._stories = {story.id: story.story_id for story in window}
        counts: Counter[str] = Counter()
        editions: set[tuple[str, tuple[int, ...]]] = set()
        cursor = 0
        with self.press.database.read() as conn:
            while page := self._read_page(conn, cursor, None):
                cursor = page[-1].id
                for reader, decision in self._decide(conn, planner, page):
                    counts[decision.exclusion or DeliveryState.QUEUED] += 1
                    if decision.stories:
                        editions.add((reader.language, decision.stories))
        queued = counts.pop(DeliveryState.QUEUED, 0)
        books = Audit.opening(queued=queued, excluded=dict(counts))
        return Planned(issue=None, new=books.selected, editions=len(editions), audit=books)

    def _read_page(self, conn: Connection, after: int, until: int | None) -> list[Reader]:
        press = self.press
        return subscribers.read_audience(
            conn, after=after, until=until, timezone=press.timezone, language=press.language
        )

    def _decide(self, conn: Connection, planner: Planner, page: Sequence[Reader]) -> Iterator[tuple[Reader, Decision]]:
        excluded = {reader.id: planner.exclude(reader) for reader in page}
        to_check = {r.id: planner.issues_to_check(r) for r in page if excluded[r.id] is None}
        earlier = frozenset[int]().union(*to_check.values())
        mails = ledger.read_held_editions(conn, earlier, page[0].id, page[-1].id) if earlier else {}
        for reader in page:
            exclusion = excluded[reader.id]
            if exclusion is not None:
                yield reader, Decision(exclusion=exclusion)
                continue
            held = frozenset[int]().union(*(self._stories_of(conn, edition) for edition in mails.get(reader.id, ())))
            yield reader, planner.decide(reader, held)

    def _stories_of(self, conn: Connection, edition_id: int) -> frozenset[int]:
        if edition_id not in self._held_stories:
            listed = issues.read_edition(conn, edition_id).stories.split(",")
            self._held_stories[edition_id] = frozenset(
                self._stories[int(story)] for story in listed if int(story) in self._stories
            )
        return self._held_stories[edition_id]

    def _write_page(
        self, conn: Connection, issue: Row[Any], planner: Planner, decided: Sequence[tuple[Reader, Decision]]
    ) -> None:
        mailed = [(reader, decision) for reader, decision in decided if decision.exclusion is None]
        batches, batch_of = _make_batches(planner, [reader for reader, _ in mailed])
        self._intern_editions(conn, issue, {(reader.language, decision.stories) for reader, decision in mailed})
        rows = [
            {
                "issue_id": self.number,
                "subscriber_id": reader.id,
                "edition_id": self._editions.get((reader.language, decision.stories)),
                "batch_id": batch_of.get(reader.id),
                "lane": reader.lane,
                "state": DeliveryState.QUEUED if decision.exclusion is None else DeliveryState.EXCLUDED,
                "reason": decision.exclusion,
                "since_issue_id": None if reader.frequency == "each" else reader.covered_issue_id,
            }
            for reader, decision in decided
        ]
        issues.insert_page(conn, rows, batches)
        gathering = [(reader, decision) for reader, decision in decided if reader.frequency != "each"]
        mailed_at: dict[datetime, list[int]] = defaultdict(list)
        for reader, decision in gathering:
            if decision.exclusion is None:
                mailed_at[planner.due_at(reader)].append(reader.id)
        skipped = [r.id for r, decision in gathering if decision.exclusion is Exclusion.NO_MATCHING_STORIES]
        subscribers.advance_windows(conn, self.number, mailed=mailed_at, skipped=skipped)

    def _intern_editions(self, conn: Connection, issue: Row[Any], wanted: set[tuple[str, tuple[int, ...]]]) -> None:
        new = sorted(wanted - self._editions.keys())
        for language, group in groupby(new, key=lambda edition: edition[0]):
            self._render(conn, language, {story for _, stories in group for story in stories})
        frames = [(language, self._frame(conn, issue, language), stories) for language, stories in new]
        self._editions.update(zip(new, issues.intern_editions(conn, self.number, frames), strict=True))

    def _frame(self, conn: Connection, issue: Row[Any], language: str) -> bytes:
        if language not in self._frames:
            frame = self.press.renderer.compile_frame(
                self.press.sender,
                issue=self.number,
                title=issue.title,
                date=issue.date,
                language=language,
                due_at=None if issues.read_waves(issue) else issue.due_at,
                timezone=self.press.timezone,
            )
            self._frames[language] = issues.put_blobs(conn, [frame.to_bytes()])[0]
        return self._frames[language]

    def _render(self, conn: Connection, language: str, wanted: set[int]) -> None:
        missing = {story for story in wanted if (language, story) not in self._rendered}
        if not missing:
            return
        rows = issues.read_stories(conn, missing)
        sources = [
            self.press.name_story(STORY.validate_json(row.content), [t["id"] for t in json.loads(row.topics)], row.date)
            for row in rows
        ]
        compiled = self.press.renderer.compile_stories(sources, language)
        parts = {row.id: story.to_bytes() for row, story in zip(rows, compiled, strict=True)}
        issues.insert_rendering(conn, self.number, language, parts)
        self._rendered.update((language, story) for story in missing)


@contextmanager
def _collecting_by_hand() -> Iterator[None]:
    """No garbage collection in the middle of a page: a full one takes 100 ms, and nobody else can write meanwhile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _make_batches(planner: Planner, readers: Sequence[Reader]) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Batches of at most BATCH_SIZE readers of one lane and due moment, and the index of each reader's batch."""
    batches: list[dict[str, Any]] = []
    batch_of: dict[int, int] = {}
    grouped: dict[tuple[str, datetime], list[int]] = defaultdict(list)
    for reader in readers:
        grouped[reader.lane, planner.due_at(reader)].append(reader.id)
    for (lane, due_at), ids in sorted(grouped.items()):
        for start in range(0, len(ids), outbox.BATCH_SIZE):
            chunk = ids[start : start + outbox.BATCH_SIZE]
            batch_of.update(dict.fromkeys(chunk, len(batches)))
            batches.append(
                {
                    "issue_id": planner.issue_id,
                    "lane": lane,
                    "first_subscriber": chunk[0],
                    "last_subscriber": chunk[-1],
                    "due_at": due_at,
                }
            )
    return batches, batch_of

"""Publishing: a brief becomes an issue, its stories are matched and compiled, and every active subscriber gets a row.

Killed at any point it may be run again: the issue is unique by its period, each page of deliveries by its cursor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row

from newsletter.core.errors import BriefError
from newsletter.core.model import Brief, Story
from newsletter.core.plan import WINDOW, WindowStory
from newsletter.publish.pages import STORY, PageWriter, Planned, Press
from newsletter.publish.typesetter import Matched, Matches
from newsletter.store import issues, ledger, subscribers
from newsletter.store.database import Database
from newsletter.store.issues import NewIssue
from newsletter.store.ledger import Audit

__all__ = ["Planned", "Published", "Publisher", "audit"]

Contents = tuple[Brief, Sequence[Matched]]
FreshStory = tuple[Story, Matches, Row[Any] | None]


@dataclass(frozen=True, kw_only=True)
class Published:
    """What publishing came to: `new` rows were written by this call, 0 when the issue was there already."""

    issue: int
    new: int
    editions: int


@dataclass(frozen=True, kw_only=True)
class Publisher(Press):
    """Publishes briefs: finds or makes the issue, and has its deliveries written."""

    def publish(self, brief: Brief, *, now: datetime, reissue: bool = False, paused: str | None = None) -> Published:
        """Publish a brief, or go on with the issue that it is in already.

        With `paused` a new issue is left paused for that reason. Raises BriefError where the brief was published and
        has changed since (unless `reissue`), or has nothing new to say; TemplateError before anything is written.
        """
        with self.database.read() as conn:
            number = self._find_issue(conn, brief, reissue=reissue)
        if number is None:
            number = self._create_issue(brief, now, reissue=reissue, paused=paused)
        new = PageWriter(self, number).write_all(now)
        with self.database.read() as conn:
            return Published(issue=number, new=new, editions=issues.count_editions(conn, number))

    def finish_preparing(self, *, now: datetime, should_stop: Callable[[], bool] = lambda: False) -> int:
        """Write what killed publications left unwritten, unless told to stop; returns how many rows."""
        with self.database.read() as conn:
            numbers = issues.list_preparing(conn)
        return sum(PageWriter(self, number).write_all(now, should_stop) for number in numbers)

    def plan(self, brief: Brief, *, now: datetime, reissue: bool = False) -> Planned:
        """What publishing would come to, with nothing written; raises what `publish` would raise."""
        with self.database.read() as conn:
            number = self._find_issue(conn, brief, reissue=reissue)
            editions = issues.count_editions(conn, number or 0)
        if number is not None:
            return Planned(issue=number, new=0, editions=editions, audit=audit(self.database, number))
        matched = self.match_topics(brief)
        self.compile_all(brief, matched)
        with self.database.read() as conn:
            fresh = self._demand_fresh(conn, (brief, matched), now)
            number = subscribers.last_issue(conn)[0] + 1
            window = issues.read_window(conn, number, now - WINDOW)
        for position, (_, topics, seen) in enumerate(fresh, start=1):
            # Not yet written stories get ids below zero, which no written story has.
            named = frozenset(match.topic for match in topics)
            story_id = seen.id if seen else -position
            window.append(WindowStory(id=-position, issue_id=number, story_id=story_id, topics=named))
        return PageWriter(self, number).count_all(now, window)

    def _find_issue(self, conn: Connection, brief: Brief, *, reissue: bool) -> int | None:
        """The issue that holds this brief just as it is; BriefError where another state of it was published.

        Of a continuous brief without news it is the last one: what was corrected in a feed is no story again.
        """
        known = issues.find_brief(conn, brief)
        same = next((int(row.issue_id) for row in known if row.digest == brief.digest), None)
        if same is None and known and not reissue:
            if brief.is_continuous:
                return None if has_news(conn, brief) else int(known[0].issue_id)
            raise BriefError(
                f"{brief.source}: this brief was published as issue {known[0].issue_id} and has changed since; "
                "--reissue sends its new and changed stories"
            )
        return same

    def _create_issue(self, brief: Brief, now: datetime, *, reissue: bool, paused: str | None) -> int:
        matched = self.match_embedded(brief)
        self.compile_all(brief, matched)  # before anything is written: a template that fails leaves nothing behind
        with self.database.write() as conn:
            # Asked again under the write lock: another process may have published the same brief meanwhile.
            number = self._find_issue(conn, brief, reissue=reissue)
            if number is not None:
                return number
            times = len(issues.find_brief(conn, brief))
            period = f"brief:{brief.id}@{brief.date}" + (f"#{times + 1}" if times else "")
            new = NewIssue(period=period, due_at=now, paused=paused)
            return self.insert_issue(conn, [brief], self._demand_fresh(conn, (brief, matched), now), new, now)

    def compile_all(self, lead: Brief, matched: Sequence[Matched]) -> None:
        """Compile everything once, in every language that a reader chose; TemplateError where that fails."""
        with self.database.read() as conn:
            languages = sorted({self.language, *subscribers.list_languages(conn)})
        sources = [self.name_story(story, [m.topic for m in topics], lead.date) for story, topics in matched]
        for language in languages:
            self.renderer.compile_frame(self.sender, issue=None, title=lead.title, date=lead.date, language=language)
            self.renderer.compile_stories(sources, language)

    def _demand_fresh(self, conn: Connection, contents: Contents, now: datetime) -> list[FreshStory]:
        fresh = self.find_fresh(conn, [contents], now)
        if not fresh:
            raise BriefError(f"{contents[0].source}: this brief has no story that was not published before")
        return fresh

    def find_fresh(self, conn: Connection, contents: Sequence[Contents], now: datetime) -> list[FreshStory]:
        """The stories to publish, each with its row where it was seen before.

        Left out is what earlier issues of these briefs carried, what was first seen before the window, and what
        stands there twice; of a continuous brief, whatever was seen before.
        """
        known = [row for brief, _ in contents for row in issues.find_brief(conn, brief)]
        published = issues.published_content_keys(conn, known)
        fresh: list[FreshStory] = []
        keys: set[str] = set()
        for brief, matched in contents:
            for story, topics in matched:
                row = issues.find_story(conn, story)
                may_return = row is None or (not brief.is_continuous and row.first_seen_at >= now - WINDOW)
                if may_return and story.content_key not in published and keys.isdisjoint(story.identity):
                    fresh.append((story, topics, row))
                    keys |= story.identity
        return fresh

    def insert_issue(
        self, conn: Connection, briefs: Sequence[Brief], fresh: Sequence[FreshStory], new: NewIssue, now: datetime
    ) -> int:
        """Write an issue of these briefs, the first of which gives it title, date and language; returns its number."""
        domain = self.sender.from_address.rpartition("@")[2]
        number = issues.insert_issue(conn, briefs, new, domain=domain, now=now)
        for position, (story, topics, seen) in enumerate(fresh, start=1):
            story_id = seen.id if seen else issues.insert_story(conn, story, now)
            content = STORY.dump_json(story).decode()
            reasons = [{"id": m.topic, "because": [e.sentence for e in m.because]} for m in topics]
            placed = issues.NewStory(story=story, content=content, topics=reasons)
            issues.insert_issue_story(conn, number, position, story_id, placed)
        return number


def has_news(conn: Connection, brief: Brief) -> bool:
    """Whether a brief holds a story that no issue has carried."""
    return any(issues.find_story(conn, story) is None for story in brief.stories)


def audit(database: Database, number: int | None) -> Audit:
    """The books of an issue, the latest where None."""
    with database.read() as conn:
        return ledger.audit_issue(conn, issues.find_issue(conn, number))

"""Issues, their stories and editions: what was published, and what is needed to make its mails again."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row, Select, case, func, literal_column, or_, select, update

from newsletter.core.errors import StoreError
from newsletter.core.model import Brief, IssueState, Story
from newsletter.core.plan import WindowStory
from newsletter.store import jobs
from newsletter.store.inserting import insert_ignoring
from newsletter.store.postgres import copy_rows
from newsletter.store.prepared import insert_rows
from newsletter.store.schema import (
    batches,
    blobs,
    briefs,
    deliveries,
    editions,
    issue_stories,
    issues,
    renderings,
    stories,
    subscribers,
)

DELIVERY_COLUMNS = (
    *("issue_id", "subscriber_id", "edition_id", "batch_id"),
    *("lane", "state", "reason", "since_issue_id"),
)
"""What publishing says of a delivery."""


class StoredEdition(NamedTuple):
    """What makes an edition: the digest of its frame, and ids of issue stories, joined by commas."""

    id: int
    issue_id: int
    language: str
    frame: bytes
    stories: str


@dataclass(frozen=True, kw_only=True)
class NewStory:
    """A story about to be published: its content as JSON, and the topics it has with the reasons, JSON-ready."""

    story: Story
    content: str
    topics: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class NewIssue:
    """An issue about to be written: what makes it unique, and when it is due, in some zones at their own moments.

    With `paused`, a reason, it will be paused when its deliveries are written.
    """

    period: str
    due_at: datetime
    waves: Mapping[str, datetime] = field(default_factory=dict)
    paused: str | None = None


_WAVES = TypeAdapter(dict[str, datetime])


def find_issue(conn: Connection, number: int | None) -> Row[Any]:
    """The issue of this number, or the latest where None; StoreError where there is none."""
    query = issues.select().order_by(issues.c.id.desc()).limit(1)
    row = conn.execute(query if number is None else query.where(issues.c.id == number)).first()
    if row is None:
        raise StoreError("no issue was published yet" if number is None else f"there is no issue {number}")
    return row


def find_by_number(conn: Connection, number: int) -> Row[Any] | None:
    """The issue of this number; None where there is none."""
    return conn.execute(issues.select().where(issues.c.id == number)).first()


def find_issue_of_batch(conn: Connection, batch_id: int) -> Row[Any] | None:
    """The issue that a batch is of; None where there is no such batch."""
    query = issues.select().join(batches, batches.c.issue_id == issues.c.id).where(batches.c.id == batch_id)
    return conn.execute(query).first()


def list_issues(conn: Connection) -> Sequence[Row[Any]]:
    """All issues, newest first."""
    return conn.execute(issues.select().order_by(issues.c.id.desc())).all()


def list_latest(conn: Connection, count: int, *, before: int | None = None) -> Sequence[Row[Any]]:
    """The latest issues, or the latest of those before one, newest first."""
    query = issues.select().order_by(issues.c.id.desc()).limit(count)
    return conn.execute(query if before is None else query.where(issues.c.id < before)).all()


def list_latest_stories(conn: Connection, numbers: Collection[int]) -> Iterator[Row[Any]]:
    """The stories of these issues with their issues' language, the newest first."""
    query = select(issue_stories, issues.c.language).join(issues, issues.c.id == issue_stories.c.issue_id)
    yield from conn.execute(query.where(issues.c.id.in_(numbers)).order_by(issue_stories.c.id.desc()))


def list_paused(conn: Connection) -> Sequence[Row[Any]]:
    """The issues that are paused, oldest first."""
    return conn.execute(issues.select().where(issues.c.state == IssueState.PAUSED).order_by(issues.c.id)).all()


def find_brief(conn: Connection, brief: Brief) -> Sequence[Row[Any]]:
    """The rows of this brief (same name and date), newest first; more than one where it was reissued.

    A continuous brief is the same whatever its date.
    """
    query = briefs.select().where(briefs.c.name == brief.id)
    if not brief.is_continuous:
        query = query.where(briefs.c.date == brief.date)
    return conn.execute(query.order_by(briefs.c.id.desc())).all()


def list_briefs(conn: Connection, issue_id: int) -> Sequence[Row[Any]]:
    """The briefs that an issue was made of."""
    return conn.execute(briefs.select().where(briefs.c.issue_id == issue_id).order_by(briefs.c.id)).all()


def newest_brief_date(conn: Connection) -> date | None:
    """The date of the newest brief that is in an issue."""
    return conn.execute(select(func.max(briefs.c.date))).scalar()


def has_period(conn: Connection, period: str) -> bool:
    """Whether an issue of this period was published."""
    return conn.execute(select(issues.c.id).where(issues.c.period == period)).scalar() is not None


def insert_issue(conn: Connection, contents: Sequence[Brief], new: NewIssue, *, domain: str, now: datetime) -> int:
    """Write a new issue of these briefs in state `preparing`, its audience frozen now; returns its number.

    The first brief gives it title, date and language.
    """
    lead = contents[0]
    audience = conn.execute(select(func.coalesce(func.max(subscribers.c.id), 0))).scalar_one()
    values = {
        "period": new.period,
        "title": lead.title,
        "date": lead.date,
        "language": lead.language,
        "domain": domain,
        "state": IssueState.PREPARING,
        "reason": new.paused,
        "created_at": now,
        "due_at": new.due_at,
        "waves": _WAVES.dump_json(dict(new.waves)).decode() if new.waves else None,
        "audience_max_id": audience,
    }
    number = int(conn.execute(issues.insert().values(values).returning(issues.c.id)).scalar_one())
    rows = [
        {"name": b.id, "date": b.date, "digest": b.digest, "title": b.title, "source": b.source, "issue_id": number}
        for b in contents
    ]
    conn.execute(briefs.insert(), rows)
    return number


def read_waves(issue: Row[Any]) -> dict[str, datetime]:
    """The moments of an issue that goes by local time, by the name of a zone; empty where it has one moment."""
    return _WAVES.validate_json(issue.waves) if issue.waves else {}


def find_story(conn: Connection, story: Story) -> Row[Any] | None:
    """The row of this story, wherever it stood before.

    Two stories are one when their feed ids are equal, or their folded title and text both are; a title alone is
    never enough.
    """
    same = []
    if story.guid:
        same.append(stories.c.guid == story.guid)
    if story.text:
        same.append(stories.c.content_key == story.content_key)
        # Corrected under its feed id, a story has had other texts than its first.
        texts = select(issue_stories.c.story_id).where(issue_stories.c.content_key == story.content_key)
        same.append(stories.c.id.in_(texts))
    if not same:
        return None
    return conn.execute(stories.select().where(or_(*same)).order_by(stories.c.first_seen_at).limit(1)).first()


def insert_story(conn: Connection, story: Story, now: datetime) -> int:
    """Write down a story that was never seen before; returns its id."""
    values = {"guid": story.guid, "content_key": story.content_key, "first_seen_at": now}
    return int(conn.execute(stories.insert().values(values).returning(stories.c.id)).scalar_one())


def insert_issue_story(conn: Connection, issue_id: int, position: int, story_id: int, new: NewStory) -> int:
    """Write down a story as it stands in an issue; returns the id by which editions name it."""
    values = {
        "issue_id": issue_id,
        "position": position,
        "story_id": story_id,
        "title": new.story.title,
        "content_key": new.story.content_key,
        "content": new.content,
        "topics": json.dumps(new.topics, ensure_ascii=False),
    }
    return int(conn.execute(issue_stories.insert().values(values).returning(issue_stories.c.id)).scalar_one())


def _stories() -> Select[Any]:
    return select(issue_stories, issues.c.date, issues.c.language).join(issues, issues.c.id == issue_stories.c.issue_id)


def list_stories(conn: Connection, issue_id: int) -> Sequence[Row[Any]]:
    """The stories of an issue in their order, each with the issue's date and language."""
    query = _stories().where(issue_stories.c.issue_id == issue_id)
    return conn.execute(query.order_by(issue_stories.c.position)).all()


def read_stories(conn: Connection, ids: Collection[int]) -> Sequence[Row[Any]]:
    """These stories (ids of issue stories), in no order."""
    return conn.execute(_stories().where(issue_stories.c.id.in_(ids))).all()


def published_content_keys(conn: Connection, brief_rows: Iterable[Row[Any]]) -> set[str]:
    """The content keys of all stories that earlier issues of a brief carried."""
    query = select(issue_stories.c.content_key).where(
        issue_stories.c.issue_id.in_([row.issue_id for row in brief_rows])
    )
    return set(conn.execute(query).scalars())


def read_window(conn: Connection, issue_id: int, since: datetime) -> list[WindowStory]:
    """The stories of this issue, and of all others due since then."""
    columns = [issue_stories.c[name] for name in ("id", "issue_id", "story_id", "topics")]
    query = (
        select(*columns, issues.c.state)
        .join(issues, issues.c.id == issue_stories.c.issue_id)
        .where((issues.c.id == issue_id) | (issues.c.due_at >= since))
    )
    return [
        WindowStory(
            id=row.id,
            issue_id=row.issue_id,
            story_id=row.story_id,
            topics=frozenset(topic["id"] for topic in json.loads(row.topics)),
            withdrawn=row.state == IssueState.CANCELLED,
        )
        for row in conn.execute(query)
    ]


def set_issue_state(conn: Connection, number: int, state: IssueState, reason: str | None = None) -> None:
    """Put an issue into another state; `reason` says why it is paused."""
    conn.execute(update(issues).where(issues.c.id == number).values(state=state, reason=reason))


def pause_running(conn: Connection, number: int, reason: str) -> None:
    """Pause an issue if it is running."""
    running = (issues.c.id == number, issues.c.state == IssueState.RUNNING)
    conn.execute(update(issues).where(*running).values(state=IssueState.PAUSED, reason=reason))


def put_blobs(conn: Connection, contents: Iterable[bytes]) -> list[bytes]:
    """Store contents under their sha256, each once; returns the digests in the same order."""
    rows = [{"sha256": hashlib.sha256(content).digest(), "bytes": content} for content in contents]
    if rows:
        conn.execute(insert_ignoring(conn, blobs), rows)
    return [row["sha256"] for row in rows]


def read_blob(conn: Connection, sha256: bytes) -> bytes:
    """The content of this digest; StoreError where it was pruned."""
    content = conn.execute(select(blobs.c.bytes).where(blobs.c.sha256 == sha256)).scalar()
    if content is None:
        raise StoreError(f"the rendered part {sha256.hex()[:12]} was pruned after its retention")
    return bytes(content)


def insert_rendering(conn: Connection, issue_id: int, language: str, parts: Mapping[int, bytes]) -> None:
    """Store the compiled parts of stories (by issue_story id) for an issue in one language."""
    digests = put_blobs(conn, parts.values())
    rows = [
        {"issue_id": issue_id, "language": language, "issue_story_id": story, "sha256": digest}
        for story, digest in zip(parts, digests, strict=True)
    ]
    if rows:
        conn.execute(insert_ignoring(conn, renderings), rows)


def read_rendering(conn: Connection, issue_id: int, language: str, story: int) -> bytes:
    """The compiled parts of one story as this issue carries it in this language."""
    query = select(renderings.c.sha256).where(
        renderings.c.issue_id == issue_id,
        renderings.c.language == language,
        renderings.c.issue_story_id == story,
    )
    return read_blob(conn, conn.execute(query).scalar_one())


def intern_editions(conn: Connection, issue_id: int, wanted: Sequence[tuple[str, bytes, Sequence[int]]]) -> list[int]:
    """The ids of editions, each given as language, frame and story ids in their order; written where they are new."""
    rows: list[dict[str, Any]] = []
    for language, frame, story_ids in wanted:
        listed = ",".join(map(str, story_ids))
        digest = hashlib.sha256(frame + listed.encode()).digest()
        rows.append({"issue_id": issue_id, "language": language, "frame": frame, "stories": listed, "digest": digest})
    ids = {bytes(digest): int(number) for digest, number in _INTERN_EDITIONS.run(conn, rows)}
    return [ids[row["digest"]] for row in rows]


# The row's id is given also where the row is there already.
_INTERN_EDITIONS = insert_rows(
    editions,
    ("issue_id", "language", "frame", "stories", "digest"),
    on_conflict=lambda new: new.on_conflict_do_update(
        index_elements=["issue_id", "digest"], set_={"issue_id": editions.c.issue_id}
    ).returning(editions.c.digest, editions.c.id),
)


def read_edition(conn: Connection, edition_id: int) -> StoredEdition:
    """One edition."""
    columns = [editions.c[name] for name in StoredEdition._fields]
    return StoredEdition(*conn.execute(select(*columns).where(editions.c.id == edition_id)).one())


def read_edition_stories(conn: Connection, edition_id: int) -> frozenset[int]:
    """The stories of an edition, wherever else they stand."""
    listed = [int(story) for story in read_edition(conn, edition_id).stories.split(",")]
    found = conn.execute(select(issue_stories.c.story_id).where(issue_stories.c.id.in_(listed)))
    return frozenset(found.scalars())


def count_editions(conn: Connection, issue_id: int) -> int:
    """How many editions an issue has."""
    return int(conn.execute(select(func.count()).where(editions.c.issue_id == issue_id)).scalar_one())


def advance_cursor(conn: Connection, issue_id: int, cursor: int, *, selected: int) -> None:
    """Note how far the audience is through; the caller holds the write lock."""
    conn.execute(
        update(issues).where(issues.c.id == issue_id).values(cursor=cursor, selected=issues.c.selected + selected)
    )


def finish_issue(conn: Connection, issue_id: int, now: datetime) -> None:
    """Open a prepared issue for delivery, or leave it paused where it was begun so."""
    state = case((issues.c.reason.is_(None), IssueState.RUNNING), else_=IssueState.PAUSED)
    conn.execute(
        update(issues)
        .where(issues.c.id == issue_id, issues.c.state == IssueState.PREPARING)
        .values(state=state, published_at=now)
    )


def list_preparing(conn: Connection) -> list[int]:
    """The issues whose deliveries are not all written yet."""
    return list(conn.execute(select(issues.c.id).where(issues.c.state == IssueState.PREPARING)).scalars())


def insert_page(conn: Connection, rows: Sequence[Mapping[str, Any]], new_batches: Iterable[Mapping[str, Any]]) -> None:
    """Write a page of deliveries and the batches over it; a row names its batch by the batch's index in `batch_id`.

    On PostgreSQL the rows go by COPY, and each batch has a job from the start.
    """
    made = [
        conn.execute(batches.insert().values(batch).returning(batches.c.id, batches.c.due_at)).mappings().one()
        for batch in new_batches
    ]
    placed = ({**row, "batch_id": None if row["batch_id"] is None else made[row["batch_id"]]["id"]} for row in rows)
    if conn.dialect.name == "postgresql":
        copy_rows(conn, deliveries, (*DELIVERY_COLUMNS, "attempts"), ({**row, "attempts": 0} for row in placed))
        jobs.defer_batches(conn, made)
    else:
        _INSERT_DELIVERIES.run(conn, placed)


_INSERT_DELIVERIES = insert_rows(deliveries, DELIVERY_COLUMNS, constants={"attempts": literal_column("0")})

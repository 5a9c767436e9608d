"""The tables of the ledger. Times are integers: microseconds since 1970 in UTC, aware datetimes in Python.

`deliveries` is keyed by (issue, subscriber) and carries no index over its state: a fresh row is found through its
batch, a deferred one through the partial index over `due_at`. `attempts` is append-only; blobs are named by sha256.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(moment: datetime) -> int:
    """A moment as the database holds it."""
    return (moment - _EPOCH) // _MICROSECOND


class Instant(TypeDecorator[datetime]):
    """An aware datetime, stored as whole microseconds since 1970 so that it compares and indexes as a number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Turn an aware datetime into microseconds."""
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds back into an aware datetime."""
        return None if value is None else _EPOCH + value * _MICROSECOND


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# Rows whose ids stand in tokens and logs: an id is never given out twice, also after the newest row was deleted.
_FOREVER: dict[str, Any] = {"sqlite_autoincrement": True}
_ID = BigInteger().with_variant(Integer, "sqlite")

service = Table("service", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

topic_sets = Table(
    "topic_sets",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("topics", Text, nullable=False, unique=True),
    # How many active subscribers chose it; kept by triggers, as are `tallies` and `headcount`.
    Column("readers", BigInteger, nullable=False, server_default="0"),
)

subscribers = Table(
    "subscribers",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False, unique=True),
    Column("address_hash", LargeBinary, nullable=False),
    Column("name", Text, nullable=False, default=""),
    Column("state", Text, nullable=False),
    Column("topic_set_id", _ID, ForeignKey("topic_sets.id"), nullable=False),
    Column("frequency", Text, nullable=False, default="each"),
    Column("timezone", Text),
    Column("language", Text),
    Column("lane", Text, nullable=False, default=""),
    Column("paused_until", Instant),
    Column("created_at", Instant, nullable=False),
    Column("signed_up_at", Instant, nullable=False),
    Column("last_mail_at", Instant),
    Column("covered_issue_id", _ID, nullable=False, default=0),
    Column("has_gap", Boolean, nullable=False, default=False),
    **_FOREVER,
)

# What a person's mails were filled with before a change, so that an old mail can be made again byte for byte.
subscriber_versions = Table(
    "subscriber_versions",
    metadata,
    Column("subscriber_id", _ID, nullable=False),
    Column("until_at", Instant, nullable=False),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("topic_set_id", _ID, nullable=False),
    Column("timezone", Text),
    PrimaryKeyConstraint("subscriber_id", "until_at"),
)

consents = Table(
    "consents",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("subscriber_id", _ID, ForeignKey("subscribers.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("wording", Text, nullable=False, default=""),
    Column("topics", Text, nullable=False, default=""),
    Column("confirmed_at", Instant),
    Column("withdrawn_at", Instant),
    Column("withdrawn_by", Text),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("address_hash", LargeBinary, primary_key=True),
    Column("email", Text),
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("source", Text, nullable=False),
)

blobs = Table(
    "blobs", metadata, Column("sha256", LargeBinary, primary_key=True), Column("bytes", LargeBinary, nullable=False)
)

issues = Table(
    "issues",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("period", Text, nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("date", Date, nullable=False),
    Column("language", Text, nullable=False),
    Column("domain", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("published_at", Instant),
    Column("selected", BigInteger, nullable=False, default=0),
    Column("audience_max_id", BigInteger, nullable=False),
    Column("cursor", BigInteger, nullable=False, default=0),
    Column("waves", Text),
    Column("pruned_at", Instant),
    **_FOREVER,
)

briefs = Table(
    "briefs",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("date", Date, nullable=False),
    Column("digest", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("issue_id", _ID, ForeignKey("issues.id"), nullable=False, index=True),
    UniqueConstraint("name", "date", "digest"),
)

stories = Table(
    "stories",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("guid", Text, index=True),
    Column("content_key", Text, nullable=False, index=True),
    Column("first_seen_at", Instant, nullable=False),
)

issue_stories = Table(
    "issue_stories",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("issue_id", _ID, ForeignKey("issues.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("story_id", _ID, ForeignKey("stories.id"), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("content_key", Text, nullable=False, index=True),
    Column("content", Text, nullable=False),
    Column("topics", Text, nullable=False),
    UniqueConstraint("issue_id", "position"),
)

renderings = Table(
    "renderings",
    metadata,
    Column("issue_id", _ID, nullable=False),
    Column("language", Text, nullable=False),
    Column("issue_story_id", _ID, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
    PrimaryKeyConstraint("issue_id", "language", "issue_story_id"),
)

editions = Table(
    "editions",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("issue_id", _ID, ForeignKey("issues.id"), nullable=False),
    Column("language", Text, nullable=False),
    Column("frame", LargeBinary, nullable=False),
    Column("stories", Text, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    UniqueConstraint("issue_id", "digest"),
)

batches = Table(
    "batches",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("issue_id", _ID, ForeignKey("issues.id"), nullable=False),
    Column("lane", Text, nullable=False),
    Column("first_subscriber", BigInteger, nullable=False),
    Column("last_subscriber", BigInteger, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("done", Boolean, nullable=False, default=False),
    Column("owner", BigInteger),
    Column("job_id", BigInteger),  # Procrastinate's, on PostgreSQL
)
Index("ix_batches_open", batches.c.due_at, batches.c.id, sqlite_where=~batches.c.done, postgresql_where=~batches.c.done)

relays = Table(
    "relays", metadata, Column("id", _ID, primary_key=True), Column("name", Text, nullable=False, unique=True)
)

throttles = Table(
    "throttles",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("step", Integer, nullable=False),
    Column("until_at", Instant),
    Column("reason", Text, nullable=False),
    PrimaryKeyConstraint("kind", "name"),
)

# The domains, selectors and algorithms of DKIM-Signatures, as JSON: an attempt names them by a number.
dkim_identities = Table(
    "dkim_identities", metadata, Column("id", _ID, primary_key=True), Column("names", Text, nullable=False, unique=True)
)

# The last good state of each feed that is fetched over HTTP, by its address, and what is wrong with it now.
feeds = Table(
    "feeds",
    metadata,
    Column("address", Text, primary_key=True),
    Column("body", LargeBinary),
    Column("content_type", Text),
    Column("etag", Text),
    Column("last_modified", Text),
    Column("checked_at", Instant),
    Column("changed_at", Instant),
    Column("problem", Text),
)

# What the operator should know, one row a cause and subject: it stands until `over_at`.
alarms = Table(
    "alarms",
    metadata,
    Column("cause", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("times", Integer, nullable=False),
    Column("mailed_at", Instant),
    Column("over_at", Instant),
    PrimaryKeyConstraint("cause", "subject"),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("issue_id", _ID, nullable=False),
    Column("subscriber_id", _ID, nullable=False),
    Column("edition_id", _ID),
    Column("batch_id", _ID),
    Column("lane", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("due_at", Instant),
    Column("attempts", Integer, nullable=False, default=0),
    Column("owner", BigInteger),
    Column("started_at", Instant),
    Column("since_issue_id", _ID),
    PrimaryKeyConstraint("issue_id", "subscriber_id"),
    sqlite_with_rowid=False,
    postgresql_with={"fillfactor": 85},
)
Index(
    "ix_deliveries_due",
    deliveries.c.lane,
    deliveries.c.due_at,
    sqlite_where=deliveries.c.due_at.is_not(None),
    postgresql_where=deliveries.c.due_at.is_not(None),
)
# The few rows on the wire. PostgreSQL finds them by their batches: an index here would cost it its HOT updates.
Index("ix_deliveries_sending", deliveries.c.owner, sqlite_where=deliveries.c.owner.is_not(None)).ddl_if("sqlite")

attempts = Table(
    "attempts",
    metadata,
    Column("issue_id", _ID, nullable=False),
    Column("subscriber_id", _ID, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("relay_id", _ID, ForeignKey("relays.id")),
    Column("outcome", Text, nullable=False),
    Column("code", Integer),
    Column("enhanced", Text),
    Column("response", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("digest", LargeBinary),
    Column("stage", Text),
    Column("dkim_id", _ID),
    Column("signatures", LargeBinary),
    Column("reply_id", _ID),
    PrimaryKeyConstraint("issue_id", "subscriber_id", "attempt"),
    sqlite_with_rowid=False,
)
_failed = attempts.c.outcome != "accepted"
Index(
    "ix_attempts_failed",
    attempts.c.issue_id,
    attempts.c.reply_id,
    attempts.c.at,
    sqlite_where=_failed,
    postgresql_where=_failed,
)

# The kinds of reply that attempts failed by: codes (0 and "" where none came) and the text with its numbers taken out.
replies = Table(
    "replies",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("code", Integer, nullable=False),
    Column("enhanced", Text, nullable=False),
    Column("wording", Text, nullable=False),
    UniqueConstraint("code", "enhanced", "wording"),
)

# How many deliveries of an issue stand where, by state (`deferred` apart) and reason ("" where there is none). The
# counts of all shards add up, one alone may be below zero: each worker has its own, so that none waits for another.
tallies = Table(
    "tallies",
    metadata,
    Column("issue_id", _ID, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("shard", Integer, nullable=False, server_default="0"),
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("issue_id", "state", "reason", "shard"),
    sqlite_with_rowid=False,
)

# How many attempts of an issue came to what in which minute; in shards likewise.
throughput = Table(
    "throughput",
    metadata,
    Column("issue_id", _ID, nullable=False),
    Column("minute", Instant, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("shard", Integer, nullable=False, server_default="0"),
    Column("n", BigInteger, nullable=False),
    PrimaryKeyConstraint("issue_id", "minute", "outcome", "shard"),
    sqlite_with_rowid=False,
)

# Who delivers on a PostgreSQL database, by the number that claims carry: alive until `lease_until`, by the database's
# clock. `wire` names the deliveries that are on the wire since its ledger's last `step`, `slot` is its shard of the
# counts.
workers = Table(
    "workers",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("slot", Integer, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("is_daemon", Boolean, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("lease_until", Instant, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("wire", Text, nullable=False),
    postgresql_with={"fillfactor": 50},
)

# How much of a limit of the whole fleet (connections or mails a second) a worker has, and whether it has use for it.
shares = Table(
    "shares",
    metadata,
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("worker_id", BigInteger, ForeignKey("workers.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("wanted", Boolean, nullable=False),
    Column("granted", Float, nullable=False),
    PrimaryKeyConstraint("kind", "name", "worker_id"),
)

# How many subscribers are in which state.
headcount = Table(
    "headcount", metadata, Column("state", Text, primary_key=True), Column("n", BigInteger, nullable=False)
)

# Bearer tokens for the API; of a token only its hash is kept.
tokens = Table(
    "tokens",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", LargeBinary, nullable=False, unique=True),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("used_at", Instant),
    **_FOREVER,
)

# The service's own mails to a person, by kind (store/notices.py). One is owed as long as it has a `due_at`.
notices = Table(
    "notices",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("subscriber_id", _ID, ForeignKey("subscribers.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("language", Text, nullable=False),
    Column("choice", Text, nullable=False, default="{}"),
    Column("created_at", Instant, nullable=False),
    Column("due_at", Instant),
    Column("attempts", Integer, nullable=False, default=0),
    Column("confirmed_at", Instant),
    **_FOREVER,
)
Index(
    "ix_notices_due",
    notices.c.due_at,
    sqlite_where=notices.c.due_at.is_not(None),
    postgresql_where=notices.c.due_at.is_not(None),
)

notice_attempts = Table(
    "notice_attempts",
    metadata,
    Column("notice_id", _ID, ForeignKey("notices.id", ondelete="CASCADE"), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("relay_id", _ID, ForeignKey("relays.id")),
    Column("outcome", Text, nullable=False),
    Column("code", Integer),
    Column("enhanced", Text),
    Column("response", Text, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("message_id", Text, nullable=False),
    PrimaryKeyConstraint("notice_id", "attempt"),
)

# What came back by mail or from a relay: a message is taken once, however often it is seen.
inbound = Table(
    "inbound",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("at", Instant, nullable=False, index=True),
    Column("source", Text, nullable=False),
)

# What such a message says of one recipient, and what was done; `is_ours`: it carried a token of ours.
reports = Table(
    "reports",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("inbound_id", _ID, ForeignKey("inbound.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", Instant, nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("issue_id", _ID),
    Column("subscriber_id", _ID, index=True),
    Column("email", Text),
    Column("domain", Text, nullable=False),
    Column("status", Text),
    Column("code", Integer),
    Column("reason", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("is_ours", Boolean, nullable=False),
    Index("ix_reports_issue_id_kind", "issue_id", "kind"),
)

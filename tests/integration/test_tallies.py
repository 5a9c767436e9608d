"""Counts that are kept as rows change: always what counting would say, whatever happens to a delivery."""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from smtp_server import DROP, SmtpServer
from sqlalchemy import case, func, select
from test_deliver import NOW, RULES, SIGNER, deliver, publish
from test_publish import make_publisher

from newsletter import control
from newsletter.publish import Publisher
from newsletter.report.progress import describe_issues, describe_progress
from newsletter.store import issues, subscribers, tallies
from newsletter.store.database import Database, open_database
from newsletter.store.schema import attempts, deliveries, topic_sets
from newsletter.store.schema import subscribers as people
from newsletter.subscribe import forget_subscriber, remove_subscriber


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    with make_publisher(tmp_path) as made:
        yield replace(made, sender=replace(made.sender, key_id=SIGNER.key_id))


def assert_counts_are_true(database: Database, issue: int) -> dict[str, int]:
    """Kept and counted say the same of deliveries, people, topic sets and attempts; returns the deliveries' counts."""
    deferred = (deliveries.c.state == "queued") & (deliveries.c.attempts > 0)
    state = case((deferred, "deferred"), else_=deliveries.c.state)
    with database.read() as conn:
        counted = {
            (row[0], row[1] or ""): row[2]
            for row in conn.execute(
                select(state, deliveries.c.reason, func.count())
                .where(deliveries.c.issue_id == issue)
                .group_by(state, deliveries.c.reason)
            )
        }
        assert tallies.read_tallies(conn, [issue])[issue] == counted
        by_state = conn.execute(select(people.c.state, func.count()).group_by(people.c.state))
        assert tallies.count_people(conn) == {row[0]: row[1] for row in by_state}
        readers = conn.execute(
            select(topic_sets.c.topics, func.count())
            .join(people, people.c.topic_set_id == topic_sets.c.id)
            .where(people.c.state == "active")
            .group_by(topic_sets.c.topics)
        )
        assert sorted(subscribers.count_topic_sets(conn)) == sorted((row[0], row[1]) for row in readers)
        outcomes: dict[str, int] = {}
        for row in tallies.read_throughput(conn, issue):
            outcomes[row.outcome] = outcomes.get(row.outcome, 0) + row.n
        logged = conn.execute(
            select(attempts.c.outcome, func.count()).where(attempts.c.issue_id == issue).group_by(attempts.c.outcome)
        )
        assert outcomes == {row[0]: row[1] for row in logged}
    counts: Counter[str] = Counter()
    for (told, _), n in counted.items():
        counts[told] += n
    return dict(counts)


def test_the_counts_follow_a_delivery_through_every_state(publisher: Publisher) -> None:
    database = publisher.database
    issue = publish(publisher, 60)
    assert assert_counts_are_true(database, issue) == {"queued": 60}
    remove_subscriber(database, "p0@x.org", now=NOW, channel="test")
    forget_subscriber(database, "p1@x.org", now=NOW)
    answers = {
        "RCPT": {
            **{f"p{n}@x.org": f"450 4.2.0 greylisted for {n} s" for n in range(10, 20)},
            **{f"p{n}@x.org": f"550 5.1.1 <p{n}@x.org>: no such user" for n in range(20, 25)},
        }
    }
    deliver(database, SmtpServer(replies=answers))
    counts = assert_counts_are_true(database, issue)
    assert counts == {"accepted": 43, "deferred": 10, "rejected": 5, "excluded": 2}
    with database.read() as conn:
        told = describe_progress(conn, issue, NOW)
    assert [(kind["attempts"], kind["enhanced_code"], kind["wording"]) for kind in told["errors"]] == [
        (10, "4.2.0", "greylisted for … s"),
        (5, "5.1.1", "…: no such user"),
    ]
    assert (told["owed"], told["closes"], told["actions"]) == (10, True, ["pause", "cancel", "retry"])
    assert told["rate"] == 43.0
    first = told["errors"][1]["id"]
    done = control.retry_issue(database, issue, now=NOW, expire_after=RULES.expire_after, reply_id=first)
    assert done["retried"] == 5
    assert assert_counts_are_true(database, issue)["deferred"] == 15
    control.cancel_issue(database, issue, now=NOW)
    assert assert_counts_are_true(database, issue) == {"accepted": 43, "excluded": 17}


def test_the_counts_are_true_of_what_is_uncertain_settled_and_expired(publisher: Publisher) -> None:
    database = publisher.database
    issue = publish(publisher, 12)
    deliver(database, SmtpServer(replies={"BODY": DROP}), hold=True)
    held = assert_counts_are_true(database, issue)
    assert held["uncertain"] > 0
    with database.read() as conn:
        assert "settle" in describe_issues(conn, [issues.find_issue(conn, issue)])[0]["actions"]
    control.settle_issue(database, issue, now=NOW, resend=False, expire_after=RULES.expire_after)
    assert assert_counts_are_true(database, issue)["accepted"] == held["uncertain"]
    deliver(database, SmtpServer(), now=NOW + timedelta(days=3))
    assert_counts_are_true(database, issue)


def test_retrying_one_kind_of_failure_leaves_the_others(publisher: Publisher) -> None:
    database = publisher.database
    issue = publish(publisher, 4)
    answers = {"RCPT": {"p0@x.org": "550 5.1.1 no such user", "p1@x.org": "554 5.7.1 refused by policy"}}
    deliver(database, SmtpServer(replies=answers))
    with database.read() as conn:
        kinds = {kind.wording: kind.id for kind in tallies.count_failures(conn, issue, most=10)}
    told = control.retry_issue(
        database, issue, now=NOW, expire_after=RULES.expire_after, reply_id=kinds["refused by policy"]
    )
    assert told["retried"] == 1
    assert assert_counts_are_true(database, issue) == {"accepted": 2, "rejected": 1, "deferred": 1}


@pytest.mark.sqlite
def test_an_older_database_is_counted_when_it_is_brought_up_to_date(publisher: Publisher, tmp_path: Path) -> None:
    database = publisher.database
    issue = publish(publisher, 9)
    answers = {"RCPT": {f"p{n}@x.org": f"550 5.1.1 <p{n}@x.org>: no such user" for n in range(3)}}
    deliver(database, SmtpServer(replies=answers))
    old = tmp_path / "old.db"
    database.back_up(old)
    with closing(sqlite3.connect(old)) as raw, raw:
        for (trigger,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {trigger}")
        raw.execute("DROP INDEX ix_attempts_failed")
        tables = ("tallies", "throughput", "replies", "headcount", "tokens", "notice_attempts", "notices")
        for table in (*tables, "reports", "inbound", "shares", "workers"):
            raw.execute(f"DROP TABLE {table}")
        raw.execute("ALTER TABLE batches DROP COLUMN job_id")
        raw.execute("ALTER TABLE batches ADD COLUMN lease_until BIGINT")
        raw.execute("ALTER TABLE attempts DROP COLUMN reply_id")
        raw.execute("ALTER TABLE topic_sets DROP COLUMN readers")
        raw.execute("ALTER TABLE subscriber_versions DROP COLUMN timezone")
        raw.execute("UPDATE alembic_version SET version_num = '0003'")
    with closing(open_database(f"sqlite:///{old}")) as renewed:
        assert assert_counts_are_true(renewed, issue) == {"accepted": 6, "rejected": 3}
        with renewed.read() as conn:
            (kind,) = tallies.count_failures(conn, issue, most=5)
        assert (kind.n, kind.code, kind.enhanced, kind.wording) == (3, 550, "5.1.1", "…: no such user")

"""What the console looks at: counts kept as rows change, throughput a minute, errors in groups, and bearer tokens.

The counts are kept by triggers, so that no statement can forget them: 1 µs a written delivery, 6 µs a mail (measured).
"""

import sqlalchemy as sa
from alembic import op

from newsletter.core.replies import take_out_numbers

revision = "0004"
down_revision = "0003"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MINUTE = 60_000_000

_STATE = "iif({0}.state = 'queued' and {0}.attempts > 0, 'deferred', {0}.state)"
_COUNT_DELIVERY = f"""
  insert into tallies (issue_id, state, reason, n)
  values (new.issue_id, {_STATE.format("new")}, coalesce(new.reason, ''), 1)
  on conflict do update set n = n + 1;"""
_DISCOUNT_DELIVERY = f"""
  update tallies set n = n - 1
  where issue_id = old.issue_id and state = {_STATE.format("old")} and reason = coalesce(old.reason, '');"""
_COUNT_PERSON = """
  insert into headcount (state, n) values (new.state, 1) on conflict do update set n = n + 1;
  update topic_sets set readers = readers + 1 where id = new.topic_set_id and new.state = 'active';"""
_DISCOUNT_PERSON = """
  update headcount set n = n - 1 where state = old.state;
  update topic_sets set readers = readers - 1 where id = old.topic_set_id and old.state = 'active';"""

TRIGGERS = {
    "delivery_written": f"after insert on deliveries begin {_COUNT_DELIVERY} end",
    "delivery_moved": f"""after update of state, reason, attempts on deliveries
      when old.state <> new.state or old.reason is not new.reason or old.attempts <> new.attempts
      begin {_DISCOUNT_DELIVERY} {_COUNT_DELIVERY} end""",
    "delivery_deleted": f"after delete on deliveries begin {_DISCOUNT_DELIVERY} end",
    "person_written": f"after insert on subscribers begin {_COUNT_PERSON} end",
    "person_changed": f"""after update of state, topic_set_id on subscribers
      when old.state <> new.state or old.topic_set_id <> new.topic_set_id
      begin {_DISCOUNT_PERSON} {_COUNT_PERSON} end""",
    "person_deleted": f"after delete on subscribers begin {_DISCOUNT_PERSON} end",
}


def upgrade() -> None:
    """Add the tables and fill them from what is there."""
    op.create_table(
        "tallies",
        sa.Column("issue_id", ID, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issue_id", "state", "reason", name=op.f("pk_tallies")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "throughput",
        sa.Column("issue_id", ID, nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issue_id", "minute", "outcome", name=op.f("pk_throughput")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "replies",
        sa.Column("id", ID, nullable=False),
        sa.Column("code", sa.Integer(), nullable=False),
        sa.Column("enhanced", sa.Text(), nullable=False),
        sa.Column("wording", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replies")),
        sa.UniqueConstraint("code", "enhanced", "wording", name=op.f("uq_replies_code_enhanced_wording")),
    )
    op.create_table(
        "headcount",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("state", name=op.f("pk_headcount")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
        sqlite_autoincrement=True,
    )
    op.add_column("topic_sets", sa.Column("readers", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("attempts", sa.Column("reply_id", ID, nullable=True))
    is_sqlite = op.get_bind().dialect.name == "sqlite"  # PostgreSQL came later: its triggers are in 0007
    if is_sqlite:
        _fill()
    op.create_index(
        "ix_attempts_failed",
        "attempts",
        ["issue_id", "reply_id", "at"],
        sqlite_where=sa.text("outcome != 'accepted'"),
        postgresql_where=sa.text("outcome != 'accepted'"),
    )
    for name, body in TRIGGERS.items() if is_sqlite else ():
        op.execute(f"create trigger {name} {body}")


def _fill() -> None:
    op.execute(f"""insert into tallies (issue_id, state, reason, n)
      select issue_id, {_STATE.format("deliveries")}, coalesce(reason, ''), count(*) from deliveries
      group by 1, 2, 3""")
    op.execute("insert into headcount (state, n) select state, count(*) from subscribers group by state")
    op.execute("""update topic_sets set readers = held.n
      from (select topic_set_id, count(*) as n from subscribers where state = 'active' group by 1) as held
      where held.topic_set_id = topic_sets.id""")
    op.execute(f"""insert into throughput (issue_id, minute, outcome, n)
      select issue_id, at - at % {MINUTE}, outcome, count(*) from attempts group by 1, 2, 3""")
    _group_failures(op.get_bind())


def _group_failures(conn: sa.Connection) -> None:
    """Name the kind of reply of each attempt that failed."""
    known: dict[tuple[int, str, str], int] = {}
    keys = []
    failed = conn.execute(
        sa.text("""select issue_id, subscriber_id, attempt, response,
            coalesce(code, 0) as code, coalesce(enhanced, '') as enhanced
          from attempts where outcome != 'accepted'""")
    ).all()
    for row in failed:
        kind = known.setdefault((row.code, row.enhanced, take_out_numbers(row.response)), len(known) + 1)
        keys.append({"i": row.issue_id, "s": row.subscriber_id, "a": row.attempt, "r": kind})
    values = [{"id": n, "code": c, "enhanced": e, "wording": w} for (c, e, w), n in known.items()]
    if failed:
        conn.execute(sa.text("insert into replies values (:id, :code, :enhanced, :wording)"), values)
        conn.execute(
            sa.text("""update attempts set reply_id = :r
              where issue_id = :i and subscriber_id = :s and attempt = :a"""),
            keys,
        )

"""Many workers on one database: who they are, what each may use of the limits, and counts that none waits for.

PostgreSQL gets its triggers here (SQLite has them since 0004) and Procrastinate's tables. They fire once a statement:
a worker writes a group of outcomes with one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_SHARD = "coalesce(nullif(current_setting('newsletter.shard', true), ''), '0')::integer"
_STATE = "case when state = 'queued' and attempts > 0 then 'deferred' else state end"


def _tally(*sides: str) -> str:
    """What a change adds to the tallies, from the rows before (`-1`) and after it (`1`)."""
    union = " union all ".join(
        f"select issue_id, {_STATE} as state, coalesce(reason, '') as reason, {side} from {table}"
        for table, side in (pair.split(":") for pair in sides)
    )
    return f"""
      insert into tallies (issue_id, state, reason, shard, n)
      select issue_id, state, reason, {_SHARD}, sum(n) from ({union}) as changes (issue_id, state, reason, n)
      group by 1, 2, 3 having sum(n) <> 0 order by 1, 2, 3
      on conflict (issue_id, state, reason, shard) do update set n = tallies.n + excluded.n;"""


def _count_people(*sides: str) -> str:
    union = " union all ".join(
        f"select state, topic_set_id, {side} from {table}" for table, side in (pair.split(":") for pair in sides)
    )
    changes = f"({union}) as changes (state, topic_set_id, n)"
    return f"""
      insert into headcount (state, n) select state, sum(n) from {changes} group by 1 having sum(n) <> 0 order by 1
      on conflict (state) do update set n = headcount.n + excluded.n;
      update topic_sets set readers = readers + held.n
      from (select topic_set_id, sum(n) as n from {changes} where state = 'active' group by 1) as held
      where held.topic_set_id = topic_sets.id;"""


TRIGGERS = {
    "delivery_written": ("insert", "deliveries", _tally("after:1")),
    "delivery_moved": ("update", "deliveries", _tally("before:-1", "after:1")),
    "delivery_deleted": ("delete", "deliveries", _tally("before:-1")),
    "person_written": ("insert", "subscribers", _count_people("after:1")),
    "person_changed": ("update", "subscribers", _count_people("before:-1", "after:1")),
    "person_deleted": ("delete", "subscribers", _count_people("before:-1")),
}
_SEEN = {"insert": "new table as after", "delete": "old table as before"}
_SEEN["update"] = f"{_SEEN['delete']} {_SEEN['insert']}"


def upgrade() -> None:
    """Add two tables and a column; give the counts their shards, and PostgreSQL its triggers and jobs."""
    op.create_table(
        "workers",
        sa.Column("id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("is_daemon", sa.Boolean(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("wire", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        sa.UniqueConstraint("slot", name=op.f("uq_workers_slot")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "shares",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("granted", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["worker_id"], ["workers.id"], name=op.f("fk_shares_worker_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("kind", "name", "worker_id", name=op.f("pk_shares")),
    )
    op.create_index(op.f("ix_shares_worker_id"), "shares", ["worker_id"])
    op.drop_index("ix_batches_open", "batches")
    op.create_index(
        "ix_batches_open",
        "batches",
        ["due_at", "id"],  # without the id, all that are due at once would be sorted for each claim
        sqlite_where=sa.text("done = 0"),
        postgresql_where=sa.text("NOT done"),
    )
    op.drop_column("batches", "lease_until")  # a worker has one lease, not each of its batches
    op.add_column("batches", sa.Column("job_id", sa.BigInteger(), nullable=True))
    _add_shards(
        "tallies",
        sa.Column("issue_id", ID, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
    )
    _add_shards(
        "throughput",
        sa.Column("issue_id", ID, nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        _add_triggers_and_jobs()


def _add_shards(table: str, *keys: "sa.Column[object]") -> None:
    """Make the table anew: SQLite adds nothing to a key."""
    names = ", ".join(key.name for key in keys)
    op.execute(f"create table {table}_before as select * from {table}")
    op.drop_table(table)
    op.create_table(
        table,
        *keys,
        sa.Column("shard", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(*(key.name for key in keys), "shard", name=op.f(f"pk_{table}")),
        sqlite_with_rowid=False,
    )
    op.execute(f"insert into {table} ({names}, n) select {names}, n from {table}_before")
    op.drop_table(f"{table}_before")


def _add_triggers_and_jobs() -> None:
    # Addresses are searched by their beginnings, which is right by octets alone.
    op.execute('alter table subscribers alter column email_key type text collate "C"')
    from procrastinate.schema import SchemaManager

    for name, (event, table, body) in TRIGGERS.items():
        op.execute(
            f"""create function {name}() returns trigger language plpgsql as $body$
            begin
              if current_setting('newsletter.counting', true) = 'off' then return null; end if;
              {body}
              return null;
            end $body$"""
        )
        op.execute(
            f"""create trigger {name} after {event} on {table} referencing {_SEEN[event]}
            for each statement execute function {name}()"""
        )
    op.get_bind().connection.cursor().execute(SchemaManager.get_schema())  # many statements, with no parameters

"""What the delivery engine remembers: backed off relays and domains; of attempts, the step and DKIM's signatures."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add two tables, and three columns to the attempts."""
    op.create_table(
        "throttles",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("until_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_throttles")),
    )
    op.create_table(
        "dkim_identities",
        sa.Column("id", ID, nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dkim_identities")),
        sa.UniqueConstraint("names", name=op.f("uq_dkim_identities_names")),
    )
    op.add_column("attempts", sa.Column("stage", sa.Text(), nullable=True))
    op.add_column("attempts", sa.Column("dkim_id", ID, nullable=True))
    op.add_column("attempts", sa.Column("signatures", sa.LargeBinary(), nullable=True))

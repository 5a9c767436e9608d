"""The day that a mail bears is its reader's: the time zone belongs to what earlier mails were filled with."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add a column; mails of before bear the same day for everybody."""
    op.add_column("subscriber_versions", sa.Column("timezone", sa.Text(), nullable=True))

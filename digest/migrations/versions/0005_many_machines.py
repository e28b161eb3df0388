"""runs that are seen to live, and the pace they share."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("run", sa.Column("seen_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("run", sa.Column("stopped", sa.String(), nullable=False, server_default=""))
    op.create_table(
        "pace",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name="pace_once"),
        sa.PrimaryKeyConstraint("id"),
    )

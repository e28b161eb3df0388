"""which store it is, where letters last went out from, and how often each was marked."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    store = op.create_table(
        "store",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("home", sa.String(), nullable=False),
        sa.Column("restored", sa.JSON(), nullable=False),
        sa.Column("misdated_run", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name="store_one_row"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(store, [{"id": 1, "name": uuid4().hex, "home": "", "restored": {}, "misdated_run": 0}])
    # With a default of the column's own the table is not copied: a ledger may have millions of rows.
    op.add_column("delivery", sa.Column("marks", sa.Integer(), nullable=False, server_default="0"))

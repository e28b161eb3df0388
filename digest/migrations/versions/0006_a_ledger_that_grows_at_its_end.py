"""a ledger that grows at its end: its rows name issue and subscriber without a foreign key."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: SQLite's foreign keys have no names of their own; PostgreSQL gave them these
_NAMES = {"fk": "%(table_name)s_%(column_0_name)s_fkey"}


def upgrade() -> None:
    op.drop_index("ix_delivery_subscriber_id", "delivery")
    # SQLite copies the table, once: four seconds for a million letters. Nothing refers to it.
    with op.batch_alter_table("delivery", naming_convention=_NAMES) as batch_op:
        batch_op.drop_constraint("delivery_issue_id_fkey", type_="foreignkey")
        batch_op.drop_constraint("delivery_subscriber_id_fkey", type_="foreignkey")

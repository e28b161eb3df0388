"""what is done while it is sent."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KINDS = (
    "edited",
    "taken back",
    "approved",
    "withdrawn",
    "rejected",
    "left",
    "paused",
    "resumed",
    "cancelled",
    "decided",
)


def upgrade() -> None:
    kinds = ", ".join(map(repr, KINDS))
    # A check is no part of what Alembic reads of a table: on SQLite the copy would have none.
    with op.batch_alter_table("change", schema=None) as batch_op:
        if op.get_bind().dialect.name == "postgresql":
            batch_op.drop_constraint("change_kind", type_="check")
        batch_op.create_check_constraint("change_kind", f"kind IN ({kinds})")

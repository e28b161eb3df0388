"""what visitors ask for on the pages, and why an address is suppressed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "outgoing",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("subscriber_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tried", sa.Integer(), nullable=False),
        sa.CheckConstraint("kind IN ('confirm', 'manage', 'move', 'moved', 'data')", name="outgoing_kind"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("outgoing", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_outgoing_due_at"), ["due_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_outgoing_subscriber_id"), ["subscriber_id"], unique=False)

    op.create_table(
        "tried",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("tried", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tried_at"), ["at"], unique=False)
        batch_op.create_index("tried_key_at", ["key", "at"], unique=False)

    op.create_table(
        "wish",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("asked", sa.String(), nullable=False),
        sa.Column("subscriber_id", sa.Integer(), nullable=True),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("address_key", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wording", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=True),
        sa.Column("user_agent", sa.String(), nullable=True),
        sa.CheckConstraint("asked IN ('subscribe', 'move', 'data')", name="wish_asked"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("wish", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_wish_address_key"), ["address_key"], unique=False)
        batch_op.create_index(batch_op.f("ix_wish_due_at"), ["due_at"], unique=False)

    op.create_table(
        "ticket",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("aim", sa.String(), nullable=False),
        sa.Column("subscriber_id", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("aim IN ('confirm', 'move', 'undo', 'data')", name="ticket_aim"),
        sa.ForeignKeyConstraint(
            ["subscriber_id"],
            ["subscriber.id"],
        ),
        sa.PrimaryKeyConstraint("key"),
    )
    with op.batch_alter_table("ticket", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_ticket_subscriber_id"), ["subscriber_id"], unique=False)

    acts = "act IN ('requested', 'confirmed', 'paused', 'resumed', 'withdrawn', 'moved', 'bounced', 'complained')"
    causes = "cause IN ('left', 'erased', 'bounced', 'complained', 'manual')"
    op.add_column("consent", sa.Column("address", sa.String(), nullable=False, server_default=""))
    op.add_column("suppression", sa.Column("cause", sa.String(), nullable=False, server_default="manual"))
    # A reason began with its cause: "bounced: …".
    suppression = sa.table("suppression", sa.column("cause", sa.String()), sa.column("reason", sa.String()))
    reason = suppression.c.reason
    for cause in ("bounced", "complained", "manual"):
        op.execute(
            suppression.update()
            .where(sa.or_(reason == cause, reason.startswith(f"{cause}: ")))
            .values(cause=cause, reason=sa.func.substr(reason, len(cause) + 3))
        )
    with op.batch_alter_table("consent") as batch_op:
        batch_op.drop_constraint("consent_act", type_="check")
        batch_op.create_check_constraint("consent_act", acts)
        batch_op.alter_column("address", server_default=None)
    with op.batch_alter_table("suppression") as batch_op:
        batch_op.create_check_constraint("suppression_cause", causes)
        batch_op.alter_column("cause", server_default=None)

"""what came back: messages as they came, what they said, whom we do not believe."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider",
        sa.Column("issue_id", sa.Integer(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("hard", sa.Integer(), nullable=False),
        sa.Column("letters", sa.Integer(), nullable=True),
        sa.Column("doubted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("is_settled", sa.Boolean(), nullable=False),
        sa.Column("is_vouched", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("issue_id", "domain"),
    )
    op.create_table(
        "received",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("came", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "came IN ('mail', 'ses', 'postmark', 'mailgun', 'sendgrid')", name="received_came"
        ),
        sa.CheckConstraint("stage = 'done' OR raw IS NOT NULL", name="received_undone_is_whole"),
        sa.CheckConstraint("stage IN ('kept', 'done', 'waiting')", name="received_stage"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("sha256"),
    )
    with op.batch_alter_table("received", schema=None) as batch_op:
        batch_op.create_index("received_by_stage", ["stage", "id"], unique=False)
        batch_op.create_index(
            "received_with_text",
            ["done_at"],
            unique=False,
            sqlite_where=sa.text("raw IS NOT NULL"),
            postgresql_where=sa.text("raw IS NOT NULL"),
        )

    op.create_table(
        "report",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("received_id", sa.Integer(), nullable=True),
        sa.Column("issue_id", sa.Integer(), nullable=True),
        sa.Column("subscriber_id", sa.Integer(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("klass", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("diagnostic", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cost", sa.String(), nullable=False),
        sa.Column("before", sa.String(), nullable=True),
        sa.Column("charged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("undone_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "before IS NULL OR before IN ('pending', 'active', 'paused', 'unsubscribed', 'bounced', 'complained')",
            name="report_before",
        ),
        sa.CheckConstraint(
            "cost = 'stays' OR (before IS NOT NULL AND charged_at IS NOT NULL)", name="report_cost_is_whole"
        ),
        sa.CheckConstraint("cost IN ('stays', 'paused', 'bounced', 'complained')", name="report_cost"),
        sa.CheckConstraint(
            "klass IN ('not a failure', 'delayed', 'policy', 'soft', 'hard', 'complaint')",
            name="report_klass",
        ),
        sa.ForeignKeyConstraint(
            ["received_id"],
            ["received.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_report_received_id"), ["received_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_report_subscriber_id"), ["subscriber_id"], unique=False)
        batch_op.create_index("report_at", ["at"], unique=False)
        batch_op.create_index("report_by_issue", ["issue_id", "domain"], unique=False)
        batch_op.create_index(
            "report_one_refusal",
            ["issue_id", "subscriber_id"],
            unique=True,
            sqlite_where=sa.text("received_id IS NULL"),
            postgresql_where=sa.text("received_id IS NULL"),
        )

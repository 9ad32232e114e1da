"""The first ledger: attempts and judgements, and triggers that keep both append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create both tables, and refuse every later change or removal of a row."""
    op.create_table(
        "attempt",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("card_id", sa.String, nullable=False, index=True),
        sa.Column("serial", sa.String, index=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("simulated", sa.Boolean, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("gpucert", sa.String, nullable=False),
    )
    op.create_table(
        "judgement",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("attempt_id", sa.Integer, sa.ForeignKey("attempt.id"), nullable=False, index=True),
        sa.Column("judged_at", sa.String, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("tier", sa.String),
        sa.Column("exit_code", sa.Integer, nullable=False),
        sa.Column("diagnoses", sa.String, nullable=False),
        sa.Column("record_sha256", sa.String, nullable=False),
        sa.Column("verdict_sha256", sa.String, nullable=False),
        sa.Column("policy_sha256", sa.String, nullable=False),
    )
    for table in ("attempt", "judgement"):
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )

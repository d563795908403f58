"""Production lines: their state, their messages on the way, drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    moment = sa.DateTime(timezone=True)
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.create_table(
        "lines",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("updated_at", moment, nullable=False),
        sa.Column("state", json, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_lines"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("line", sa.String(100), nullable=False),
        sa.Column("sink", sa.String(100), nullable=False),
        sa.Column("message_id", sa.String(32), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("ended_at", moment),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_state", "outbox", ["line", "sink", "state", "sequence"])
    op.create_index("ix_outbox_message_id", "outbox", ["message_id"])
    op.create_table(
        "drift_alarms",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("line", sa.String(100), nullable=False),
        sa.Column("category", sa.String(100), nullable=False),
        sa.Column("quantity", sa.String(32), nullable=False),
        sa.Column("raised_at", moment, nullable=False),
        sa.Column("facts", json, nullable=False),
        sa.Column("before_sha256", sa.String(64)),
        sa.Column("after_sha256", sa.String(64)),
        sa.Column("acknowledged_at", moment),
        sa.Column("acknowledged_by", sa.String(100)),
        sa.PrimaryKeyConstraint("id", name="pk_drift_alarms"),
        sa.ForeignKeyConstraint(["before_sha256"], ["files.sha256"], name="fk_drift_alarms_before_sha256"),
        sa.ForeignKeyConstraint(["after_sha256"], ["files.sha256"], name="fk_drift_alarms_after_sha256"),
    )
    op.create_index("ix_drift_alarms_line", "drift_alarms", ["line", "raised_at"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("drift_alarms", "outbox", "lines"):
        op.drop_table(table)

"""The first record: inspections, files, feedback, audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    moment = sa.DateTime(timezone=True)
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    op.create_table(
        "inspections",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("image_sha256", sa.String(64), nullable=False),
        sa.Column("request", json, nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("started_at", moment),
        sa.Column("finished_at", moment),
        sa.Column("verdict", sa.String(16)),
        sa.Column("probability", sa.Double()),
        sa.Column("category", sa.String(100)),
        sa.Column("defect_type", sa.String(100)),
        sa.Column("report", json),
        sa.Column("error", sa.Text()),
        sa.PrimaryKeyConstraint("id", name="pk_inspections"),
    )
    for name in ("state", "verdict", "category", "image_sha256"):
        op.create_index(f"ix_inspections_{name}", "inspections", [name])
    op.create_index("ix_inspections_created_at", "inspections", ["created_at", "id"])
    op.create_table(
        "files",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("media_type", sa.String(50), nullable=False),
        sa.Column("num_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_files"),
    )
    op.create_table(
        "inspection_files",
        sa.Column("inspection_id", sa.String(32), nullable=False),
        sa.Column("role", sa.String(32), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("inspection_id", "role", name="pk_inspection_files"),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_inspection_files_inspection_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["sha256"], ["files.sha256"], name="fk_inspection_files_sha256"),
    )
    op.create_index("ix_inspection_files_sha256", "inspection_files", ["sha256"])
    op.create_table(
        "feedback",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("inspection_id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_feedback_inspection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_feedback_inspection_id", "feedback", ["inspection_id"])
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("action", sa.String(50), nullable=False),
        sa.Column("target", sa.String(255), nullable=False),
        sa.Column("outcome", sa.String(100), nullable=False),
        sa.Column("client", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("audit", "feedback", "inspection_files", "files", "inspections"):
        op.drop_table(table)

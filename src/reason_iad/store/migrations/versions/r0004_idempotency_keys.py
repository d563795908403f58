"""Keys of requests that may be sent again. A program of the revision before goes on, and knows no keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "idempotency_keys",
        sa.Column("who", sa.String(100), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("claim", sa.String(32), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("claimed_until", moment),
        sa.Column("inspection_id", sa.String(32)),
        sa.Column("answer", sa.JSON().with_variant(JSONB(), "postgresql")),
        sa.PrimaryKeyConstraint("who", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_idempotency_keys_inspection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    op.create_index("ix_idempotency_keys_inspection_id", "idempotency_keys", ["inspection_id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("idempotency_keys")

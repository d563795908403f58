"""Several servers on one record: leases, events, servers, tokens, rates; the audit log as a hash chain.

Everything is added, nothing changed: a program of the revision before goes on reading and writing.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from reason_iad.store.chain import START, link

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and tables, and chain the audit log that is there."""
    moment = sa.DateTime(timezone=True)
    json = sa.JSON().with_variant(JSONB(), "postgresql")
    for column in (
        sa.Column("priority", sa.String(16), nullable=False, server_default="person"),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("leased_by", sa.String(32)),
        sa.Column("lease_until", moment),
    ):
        op.add_column("inspections", column)
    op.create_index("ix_inspections_who", "inspections", ["who", "started_at"])
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("inspection_id", sa.String(32), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("data", json, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(
            ["inspection_id"], ["inspections.id"], name="fk_events_inspection_id", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_events_inspection_id", "events", ["inspection_id", "id"])
    op.create_index("ix_events_at", "events", ["at"])
    op.create_table(
        "servers",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("workers", sa.Integer(), nullable=False),
        sa.Column("ready", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("started_at", moment, nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_servers"),
    )
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("created_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_tokens"),
    )
    op.create_table(
        "rates",
        sa.Column("client", sa.String(255), nullable=False),
        sa.Column("level", sa.Double(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.PrimaryKeyConstraint("client", name="pk_rates"),
        prefixes=["UNLOGGED"] if op.get_bind().dialect.name == "postgresql" else [],  # may be lost in a crash
    )
    op.create_table(
        "shelf",
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("manifest", json, nullable=False),
        sa.Column("changed_at", moment, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_shelf"),
    )
    facts = op.create_table(
        "facts",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_facts"),
    )
    op.bulk_insert(facts, [{"name": "oldest", "value": revision}])
    _chain(moment)


def downgrade() -> None:
    """Drop what was added."""
    with op.batch_alter_table("audit") as audit:
        audit.drop_column("hash")
    for table in ("audit_head", "facts", "shelf", "rates", "tokens", "servers", "events"):
        op.drop_table(table)
    op.drop_index("ix_inspections_who", "inspections")
    with op.batch_alter_table("inspections") as inspections:
        for column in ("lease_until", "leased_by", "attempts", "priority"):
            inspections.drop_column(column)


def _chain(moment: sa.DateTime) -> None:
    """Give every line of the audit log its hash."""
    op.add_column("audit", sa.Column("hash", sa.String(64)))
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    texts = ("who", "role", "action", "target", "outcome", "client")
    audit = sa.table("audit", sa.column("id"), sa.column("at", moment), sa.column("hash"), *map(sa.column, texts))
    connection, last, lines = op.get_bind(), START, 0
    for row in connection.execute(sa.select(audit).order_by(audit.c.id)).mappings().all():
        last, lines = link(last, row["at"], [row[name] for name in texts]), lines + 1
        connection.execute(audit.update().where(audit.c.id == row["id"]).values(hash=last))
    op.bulk_insert(head, [{"id": 1, "lines": lines, "hash": last}])

"""Run by Alembic: applies the revisions on the connection that `migrate.upgrade` hands over."""

from __future__ import annotations

from alembic import context

from reason_iad.store.tables import Base

if hasattr(context, "config"):  # under Alembic; a plain import, as for documentation, does nothing
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
    )
    with context.begin_transaction():
        context.run_migrations()

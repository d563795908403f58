"""The tables of the record. Migrations build them; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMES = {  # constraints have names, so that later migrations can refer to them
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite keeps no zone, so it is put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a moment without zone: it would mean another one on another machine."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; expected a moment in UTC")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Give back a moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Json = JSON().with_variant(JSONB(), "postgresql")


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMES)


class InspectionRow(Base):
    """One accepted inspection, from its acceptance to its end."""

    __tablename__ = "inspections"
    __table_args__ = (
        Index("ix_inspections_created_at", "created_at", "id"),
        Index("ix_inspections_state", "state"),
        Index("ix_inspections_verdict", "verdict"),
        Index("ix_inspections_category", "category"),
        Index("ix_inspections_image_sha256", "image_sha256"),
        Index("ix_inspections_who", "who", "started_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))  # queued, running, done, failed
    origin: Mapped[str] = mapped_column(String(16))  # server, batch, watch, line
    who: Mapped[str] = mapped_column(String(100))
    name: Mapped[str] = mapped_column(String(255))
    image_sha256: Mapped[str] = mapped_column(String(64))
    request: Mapped[dict[str, Any]] = mapped_column(Json)  # category, question, choices
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    verdict: Mapped[str | None] = mapped_column(String(16))
    probability: Mapped[float | None] = mapped_column(Double)
    category: Mapped[str | None] = mapped_column(String(100))
    defect_type: Mapped[str | None] = mapped_column(String(100))
    report: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[str] = mapped_column(String(16), server_default="person")  # person, lot
    attempts: Mapped[int] = mapped_column(server_default="0")  # how often a server has begun with it
    leased_by: Mapped[str | None] = mapped_column(String(32))  # the server that is at it
    lease_until: Mapped[datetime | None] = mapped_column(UtcTime)  # by the database's clock; then another may take it


class EventRow(Base):
    """Something that happened to an inspection, for whichever server is asked about it."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_inspection_id", "inspection_id", "id"), Index("ix_events_at", "at"))

    id: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True
    )  # fmt: skip
    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(UtcTime)
    event: Mapped[str] = mapped_column(String(16))  # queued, started, stage, done, failed
    data: Mapped[dict[str, Any]] = mapped_column(Json)


class ServerRow(Base):
    """A server that works on this record, as it last told of itself."""

    __tablename__ = "servers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(255))  # of its machine, and its port
    version: Mapped[str] = mapped_column(String(32))
    workers: Mapped[int]
    ready: Mapped[int]  # workers whose model is loaded
    running: Mapped[int]  # inspections that it is at
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)


class TokenRow(Base):
    """A bearer token by its hash, where tokens are kept in the record."""

    __tablename__ = "tokens"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class RateRow(Base):
    """How many requests a client may still send at a moment; counts for all servers."""

    __tablename__ = "rates"

    client: Mapped[str] = mapped_column(String(255), primary_key=True)
    level: Mapped[float] = mapped_column(Double)
    at: Mapped[datetime] = mapped_column(UtcTime)


class IdempotencyRow(Base):
    """What came of a request that a client may send again, under the key that it gave it."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_created_at", "created_at"),
        Index("ix_idempotency_keys_inspection_id", "inspection_id"),
    )

    who: Mapped[str] = mapped_column(String(100), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))  # of the request
    claim: Mapped[str] = mapped_column(String(32))  # of whoever is at it
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    claimed_until: Mapped[datetime | None] = mapped_column(UtcTime)  # then another may do it; None where it is done
    inspection_id: Mapped[str | None] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"))
    answer: Mapped[dict[str, Any] | None] = mapped_column(Json)  # where it made no inspection


class ShelfRow(Base):
    """A folder of profiles or knowledge that servers share through the record."""

    __tablename__ = "shelf"

    name: Mapped[str] = mapped_column(String(200), primary_key=True)
    version: Mapped[int]
    manifest: Mapped[dict[str, Any]] = mapped_column(Json)  # SHA-256 by path
    changed_at: Mapped[datetime] = mapped_column(UtcTime)


class FactRow(Base):
    """Something true of the whole record.

    oldest: the oldest revision whose programs may still use these tables; identity: the id that its files of evidence
    hold, too; evidence: the address of these, where every machine reaches them by the same.
    """

    __tablename__ = "facts"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[str] = mapped_column(Text)


class FileRow(Base):
    """A file of evidence, once for all inspections that share its bytes."""

    __tablename__ = "files"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    media_type: Mapped[str] = mapped_column(String(50))
    num_bytes: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(UtcTime)


class InspectionFileRow(Base):
    """Which file an inspection has in which role: image, map, reference-1 ..."""

    __tablename__ = "inspection_files"
    __table_args__ = (Index("ix_inspection_files_sha256", "sha256"),)

    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(32), primary_key=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("files.sha256"))


class FeedbackRow(Base):
    """What a person said about an inspection."""

    __tablename__ = "feedback"
    __table_args__ = (Index("ix_feedback_inspection_id", "inspection_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    inspection_id: Mapped[str] = mapped_column(ForeignKey("inspections.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(String(16))  # false_alarm, missed, confirmed
    comment: Mapped[str] = mapped_column(Text)
    who: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    effect: Mapped[str] = mapped_column(Text)  # what it changed, in plain words


class AuditRow(Base):
    """Who did what, when, and how it ended; rows are only ever added."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_at", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    who: Mapped[str] = mapped_column(String(100))
    role: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(50))
    target: Mapped[str] = mapped_column(String(255))
    outcome: Mapped[str] = mapped_column(String(100))
    client: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str | None] = mapped_column(String(64))  # of this line and the hash before it


class AuditHeadRow(Base):
    """One row: how long the chain of the audit log is, and its last hash."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    lines: Mapped[int]
    hash: Mapped[str] = mapped_column(String(64))


class LineRow(Base):
    """A production line: the number of its last message and how it is."""

    __tablename__ = "lines"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    sequence: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(UtcTime)
    state: Mapped[dict[str, Any]] = mapped_column(Json)


class OutboxRow(Base):
    """A message of a line on its way to one sink."""

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_state", "line", "sink", "state", "sequence"),
        Index("ix_outbox_message_id", "message_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    line: Mapped[str] = mapped_column(String(100))
    sink: Mapped[str] = mapped_column(String(100))
    message_id: Mapped[str] = mapped_column(String(32))
    sequence: Mapped[int]  # of the line: the order of its messages
    kind: Mapped[str] = mapped_column(String(16))
    payload: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))  # waiting, delivered, refused
    attempts: Mapped[int]
    error: Mapped[str] = mapped_column(Text)  # of the last attempt that failed
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcTime)


class DriftAlarmRow(Base):
    """The parts of a line are no longer like the good parts of its profile."""

    __tablename__ = "drift_alarms"
    __table_args__ = (Index("ix_drift_alarms_line", "line", "raised_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    line: Mapped[str] = mapped_column(String(100))
    category: Mapped[str] = mapped_column(String(100))
    quantity: Mapped[str] = mapped_column(String(32))
    raised_at: Mapped[datetime] = mapped_column(UtcTime)
    facts: Mapped[dict[str, Any]] = mapped_column(Json)
    before_sha256: Mapped[str | None] = mapped_column(ForeignKey("files.sha256"))  # a picture of a good part
    after_sha256: Mapped[str | None] = mapped_column(ForeignKey("files.sha256"))  # one that shows the drift
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcTime)
    acknowledged_by: Mapped[str | None] = mapped_column(String(100))

"""The flag that names the database of a record."""

from __future__ import annotations

import argparse
import os

DATABASE_VARIABLE = "REASON_IAD_DATABASE"


def add_database(parser: argparse.ArgumentParser) -> None:
    """Add `--database`, which the environment may give instead."""
    parser.add_argument(
        "--database", metavar="URL", default=os.environ.get(DATABASE_VARIABLE) or None,
        help="database of the record, or @FILE with its URL (default: $REASON_IAD_DATABASE, else SQLite inside --data)",
    )  # fmt: skip

"""SQLite connections for Airflow's own database that wait for their turn to write, also with a savepoint first.

SQLite lets one connection write at a time, and the others wait. One that has read and then wants to write can't
wait, though: what it read is stale by then, and it gets "database is locked" at once. Airflow comes to that where
a transaction begins with a savepoint, as in creating a backfill while its scheduler is at work: the runs that were
made already are deleted again, which ends a scheduler that has just seen them. So such a transaction asks for its
turn before it reads.

https://www.sqlite.org/lang_transaction.html
https://docs.python.org/3/library/sqlite3.html#transaction-control
"""

from __future__ import annotations

import sqlite3
from typing import Any, Self


class TurnTakingCursor(sqlite3.Cursor):
    """Begins a transaction as a writer where a savepoint would begin it as a reader."""

    def execute(self, sql: str, *parameters: Any) -> Self:
        """Execute one statement."""
        if sql.startswith("SAVEPOINT") and not self.connection.in_transaction:
            super().execute("BEGIN IMMEDIATE")
        return super().execute(sql, *parameters)


class TurnTakingConnection(sqlite3.Connection):
    """A connection with such cursors."""

    def cursor(self, factory: Any = TurnTakingCursor) -> Any:
        """Return a new cursor."""
        return super().cursor(factory)


# For the option [database] sql_alchemy_connect_args.
CONNECT_ARGS: dict[str, Any] = {"factory": TurnTakingConnection}

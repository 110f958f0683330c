"""A transaction that begins with a savepoint waits for its turn to write, instead of failing at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from threading import Thread

import pytest

from airflow_path.sqlite_turns import CONNECT_ARGS


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "turns.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (name TEXT)")
    return path


def read_then_write(database, between, **connect_args):
    """Begin with a savepoint, read, let something happen, write, commit."""
    with closing(sqlite3.connect(database, timeout=10, **connect_args)) as connection:
        cursor = connection.cursor()
        cursor.execute("SAVEPOINT first")
        cursor.execute("SELECT count(*) FROM runs").fetchall()
        between()
        cursor.execute("INSERT INTO runs VALUES ('backfill')")
        cursor.execute("RELEASE first")
        connection.commit()


def names(database):
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM runs ORDER BY name")]


def write(database):
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        connection.execute("INSERT INTO runs VALUES ('scheduler')")


def test_plain_connection_fails_when_another_wrote_meanwhile(database):
    with pytest.raises(sqlite3.OperationalError, match="database is locked"):
        read_then_write(database, lambda: write(database))


def test_turn_taking_connection_makes_the_other_wait(database):
    other = Thread(target=write, args=[database])
    read_then_write(database, other.start, **CONNECT_ARGS)
    other.join(timeout=10)
    assert names(database) == ["backfill", "scheduler"]


def test_nothing_is_kept_of_a_transaction_that_is_rolled_back_after_its_savepoint(database):
    with closing(sqlite3.connect(database, **CONNECT_ARGS)) as connection:
        cursor = connection.cursor()
        cursor.execute("SAVEPOINT first")
        cursor.execute("INSERT INTO runs VALUES ('backfill')")
        cursor.execute("RELEASE first")
        connection.rollback()
    assert names(database) == []


def test_savepoint_within_a_transaction_begins_no_other(database):
    with closing(sqlite3.connect(database, **CONNECT_ARGS)) as connection, connection:
        cursor = connection.cursor()
        cursor.execute("INSERT INTO runs VALUES ('first')")
        cursor.execute("SAVEPOINT inner")
        cursor.execute("INSERT INTO runs VALUES (?)", ["second"])
        cursor.execute("ROLLBACK TO inner")
    assert names(database) == ["first"]

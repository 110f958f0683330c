"""The retention policies that ``protection.yaml`` comes to, by table, also without asking AWS for tables.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from backup_flows.protection import Protection, Table, table_name
from backup_flows.protection_file import ProtectionFileError, load_protection
from recovery_retention.documents import DocumentError, read_policies
from recovery_retention.policy import PolicySet


def keep_policies(protection: Protection, tables: Iterable[Table]) -> PolicySet:
    """Return every table's policy; one that no entry fits (any more) goes by the file's ``defaults``.

    Args:
        protection: the file.
        tables: as AWS knows them, with their tags.
    """
    return PolicySet(
        protection.default_keep(), {selected.name: selected.rule.keep for selected in protection.select(tables)}
    )


def named_policies(protection: Protection) -> PolicySet:
    """Return the policies of the tables that the file names; entries by tag can't be told without AWS."""
    named = {
        table_name(entry.label): protection.rule(entry).keep
        for entry in reversed(protection.tables)
        if entry.selected_by != "tag"
    }
    return PolicySet(protection.default_keep(), named)


def read_any_policies(path: Path) -> PolicySet:
    """Read ``protection.yaml`` itself, or a file of policies alone.

    Raises:
        DocumentError: with file, line or field, and remedy.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"{path}: can't be read: {error}") from error
    if not any(line.startswith("version:") for line in text.splitlines()):
        return read_policies(path)
    try:
        return named_policies(load_protection(path))
    except ProtectionFileError as error:
        raise DocumentError(str(error)) from error

"""Which tables of the account are protected: ``protection.yaml`` held against what AWS knows.

No Airflow import.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from backup_flows.protection import ProtectedTable, Protection, ProtectionRule, Table, TableEntry, table_name
from recovery_retention.names import parse_restored_name

RESTORE_TEST_TAG = "awsbackup-restore-test"
"""AWS's own restore testing marks its tables with it, and backup plans leave them alone:
https://docs.aws.amazon.com/aws-backup/latest/devguide/restore-testing.html"""


@dataclass(frozen=True)
class ProtectedTables:
    """What the file selects.

    Attributes:
        tables: those that exist, by name.
        missing: entries by name or ARN whose table does not exist.
    """

    tables: tuple[ProtectedTable, ...]
    missing: tuple[TableEntry, ...]

    @property
    def names(self) -> frozenset[str]:
        """The names that no sweep may drop: of every table that is selected, or that an entry names."""
        missing = (entry.name or table_name(str(entry.arn)) for entry in self.missing)
        return frozenset({*(table.name for table in self.tables), *missing})


def find_protected_tables(clients: Callable[[str], Any], protection: Protection) -> ProtectedTables:
    """Ask AWS for the tables that the file selects.

    Named tables are described, tagged ones searched by GetResources (a page of a hundred each, where
    ListTagsOfResource takes one call a table, ten a second). Of the tagged ones, copies that a restore made are left
    out, since a restore may have given them their source's tags; one that an entry names is meant.

    https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html

    Args:
        clients: returns a low-level client for a service name.
        protection: the file.
    """
    tables: dict[str, Table] = {}
    missing = []
    named = set()
    for entry in protection.tables:
        if entry.tag is not None:
            for table in _tagged(clients("resourcegroupstaggingapi"), entry.tag):
                tables[table.arn] = table
            continue
        arn = _arn(clients("dynamodb"), entry)
        if arn is None:
            missing.append(entry)
        else:
            named.add(arn)
            tables.setdefault(arn, Table(table_name(arn), arn, {}))
    copies = {arn for arn, table in tables.items() if parse_restored_name(table.name) or RESTORE_TEST_TAG in table.tags}
    selected = protection.select(table for arn, table in tables.items() if arn in named or arn not in copies)
    return ProtectedTables(tuple(selected), tuple(missing))


def rule_of(clients: Callable[[str], Any], protection: Protection, table_arn: str) -> ProtectionRule | None:
    """Return by which rule one table is protected; None if the file does not select it.

    Args:
        clients: returns a low-level client for a service name.
        protection: the file.
        table_arn: the table.
    """
    tags: dict[str, str] = {}
    if protection.by_tag:
        pages = clients("dynamodb").get_paginator("list_tags_of_resource").paginate(ResourceArn=table_arn)
        tags = {tag["Key"]: tag["Value"] for page in pages for tag in page.get("Tags", ())}
    selected = protection.select([Table(table_name(table_arn), table_arn, tags)])
    return selected[0].rule if selected else None


def _tagged(tagging: Any, tags: dict[str, str]) -> Iterable[Table]:
    pages = tagging.get_paginator("get_resources").paginate(
        ResourceTypeFilters=["dynamodb:table"],
        TagFilters=[{"Key": key, "Values": [value]} for key, value in sorted(tags.items())],
        PaginationConfig={"PageSize": 100},
    )
    for page in pages:
        for found in page["ResourceTagMappingList"]:
            arn = found["ResourceARN"]
            if table_name(arn) != arn:
                yield Table(table_name(arn), arn, {tag["Key"]: tag["Value"] for tag in found["Tags"]})


def _arn(dynamodb: Any, entry: TableEntry) -> str | None:
    try:
        description = dynamodb.describe_table(TableName=entry.name or table_name(str(entry.arn)))["Table"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    arn = str(description["TableArn"])
    # A table of that name may stand in another account or Region than the file means.
    return arn if entry.name is not None or arn == entry.arn else None
